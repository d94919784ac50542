"""Where the numbers of a page come from: the run of this book, or a kept run, which is always named beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from fflib.book import reference, reference_sweep
from fflib.book.reference import MAIN, REFERENCES, Reference
from fflib.data import registry
from fflib.files import InputError
from fflib.runs import params, provenance, run_folder
from fflib.runs.run_folder import Side
from fflib.story import factors

TEMPLATES = Path(__file__).parents[1] / "template" / "pages"
STORY = "09_story"
AFTER = ("story", "tables")  # chapters that show rungs and choose none
OLDER, SAME, UNKNOWN = "of an older version", "of this version", "its version cannot be told here"


class Missing(LookupError):
    """A source does not hold what was asked for: the run did not measure it, or is of code that did not."""


@dataclass(frozen=True)
class Source:
    """The chapters' records and the ladder of a run.

    ``label`` and ``about`` (name, note) tell which kept run it is; they are empty for the run of this book.
    """

    side: Side
    label: str = ""
    about: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> dict[str, dict[str, Any]]:
        """The records by the names of their chapters without the number, which an older book counted otherwise."""
        return {_name(record["chapter"]): record for record in self.side.records}

    def fact(self, chapter: str, name: str) -> Any:
        """Return what a chapter left under ``name``. Missing: it left nothing, or an empty list or table."""
        found = self.by_name.get(_name(chapter), {}).get("facts", {}).get(name)
        if found is None or found == [] or found == {}:
            raise Missing(f"chapter {chapter} left no fact '{name}'")
        return found

    def parameter(self, chapter: str, name: str) -> Any:
        """Return a parameter with which a chapter ran. Missing: the chapter has none of that name, or did not run."""
        try:
            return self.by_name[_name(chapter)]["parameters"][name]
        except KeyError as error:
            raise Missing(f"chapter {chapter} has no parameter '{name}'") from error

    def rung(self, name: str) -> Mapping[str, Any]:
        """Return a rung's row of the ladder. Missing: there is none, or it failed."""
        rows = self.side.ladder[(self.side.ladder["rung"] == name) & (self.side.ladder["status"] == "ok")]
        if rows.empty:
            raise Missing(f"the ladder has no rung '{name}'")
        return rows.iloc[0].to_dict()

    def stack(self) -> pd.DataFrame:
        """Return the rows of the ladder from the padded reference to the last choice."""
        return Reference("", {}, self.side.ladder, self.side.records).way()

    @property
    def last(self) -> str:
        """The rung that the run ends with."""
        return factors.last_rung([record for record in self.side.records if _name(record["chapter"]) not in AFTER])


def _name(chapter: str) -> str:
    return chapter.partition("_")[2]


def template(name: str) -> str:
    """Return the text of a page, with the names of what `str.format` puts in."""
    return (TEMPLATES / f"{name}.md").read_text(encoding="utf-8")


def row(rows: Iterable[Mapping[str, Any]], **wanted: Any) -> Mapping[str, Any]:
    """Return the first row with the ``wanted`` values; a column's name has '_' for ' '. Missing: there is none."""
    for each in rows:
        if all(each.get(name.replace("_", " "), each.get(name)) == value for name, value in wanted.items()):
            return each
    raise Missing(f"there is no row with {wanted}")


@dataclass(frozen=True)
class Book:
    """What pages are made from: the run's folder, its records, and those of the kept runs, the default run's first."""

    folder: Path
    here: Source
    kept: Sequence[Source]
    chapters: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)  # cells of the executed notebooks

    @property
    def all_sources(self) -> list[Source]:
        """The run of this book, then the kept runs."""
        return [self.here, *self.kept]


def book_of(folder: Path, references: Path = REFERENCES) -> Book:
    """Read a run's folder and the kept runs. InputError: the run holds no ladder or no results, or a damaged one."""
    here = Source(run_folder.load(folder))
    cells = {path.stem: _cells(path) for path in folder.glob("[0-9][0-9]_*.ipynb")}
    others = [each for each in kept_runs(references) if not _is_the_same_run(each, here.side)]
    others = [each for each in others if not is_on_card(each.records)]  # of other chapters; see `card_runs`
    return Book(folder, here, [source_of(each) for each in others], cells)


def is_on_card(records: Sequence[Mapping[str, Any]], measured: bool = False) -> bool:
    """Whether these are of a run with the chapter on graphics cards; with ``measured``, and of a card indeed."""
    ran = any(record["chapter"] == params.CARD for record in records)
    return ran and (not measured or all("device" in record["machine"] for record in records))


def card_runs(references: Path = REFERENCES) -> list[Source]:
    """Return the kept runs that were measured on a graphics card, as sources; those in smoke size mean nothing."""
    kept = (each for each in kept_runs(references) if is_on_card(each.records, measured=True))
    return [source_of(each) for each in kept if each.about["size"] != "smoke"]


def source_of(kept: Reference) -> Source:
    """Return a kept run as a source."""
    about = {"name": kept.name, "note": kept.about.get("note", "")}
    return Source(Side(kept.name, kept.ladder, kept.records), label(kept), about)


def kept_runs(references: Path = REFERENCES) -> list[Reference]:
    """Return the kept runs that can be read: the default run's, then the newest first, then those of sweeps."""
    alone = [*_readable(references)]
    alone.sort(key=lambda each: each.about["written"], reverse=True)
    alone.sort(key=lambda each: each.name != MAIN)
    swept = [run for name in reference_sweep.names(references) for run in _readable(references / name)]
    return [*alone, *swept]


def _readable(folder: Path) -> Iterable[Reference]:
    for name in reference.names(folder):
        try:
            yield reference.read(name, folder)
        except InputError:
            continue


def label(kept: Reference) -> str:
    """Name a kept run with its machine, its date and its commit, and say where its code is not this project's."""
    machine = kept.about["machine"]
    commit = f", commit {machine['commit']}" if machine.get("commit") else ""
    older = "" if version(kept.records) == SAME else f", {version(kept.records)}"
    where = machine["device"]["identity"]["name"] if "device" in machine else machine["cpu"]
    return f"kept run {kept.name}, {where}, {kept.about['written'][:10]}{commit}{older}"


def version(records: Sequence[Mapping[str, Any]]) -> str:
    """Say whether records came of the code that is here: `SAME`, `OLDER` or `UNKNOWN`.

    A record's key hashes code, parameters, data and machine, so it is made again with the machine that it names. Data
    that do not come with the packages are in the key as well, and may not be here.
    """
    if any(record["chapter"] not in [*params.chapters(), params.TABLES, params.CARD] for record in records):
        return OLDER
    for record in records:
        if record["parameters"].get("task", registry.DOCS.name) != registry.DOCS.name:
            return UNKNOWN
        if provenance.chapter_key(record["chapter"], record["parameters"], record["machine"]) != record["key"]:
            return OLDER
    return SAME


def _is_the_same_run(kept: Reference, here: Side) -> bool:
    """Whether what was kept is the very run of this book: its chapters were written in the same seconds."""
    written = {record["chapter"]: record["written"] for record in here.records}
    return all(written.get(record["chapter"]) == record["written"] for record in kept.records)


def _cells(path: Path) -> list[dict[str, Any]]:
    """Read the cells of a notebook, each with its text as one string; without nbformat, whose checks take seconds."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [{"cell_type": cell["cell_type"], "source": "".join(cell["source"])} for cell in cells]
    except (OSError, ValueError, LookupError, TypeError):
        return []  # render.py reads it as well, and says what is wrong with it
