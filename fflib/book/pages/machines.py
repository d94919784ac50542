"""The page "The same ladder on other machines": this run beside the kept runs, in factors and never in seconds."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fflib.book.pages import machines_figure, sources
from fflib.book.pages.sources import Book, Missing, Source, template
from fflib.book.pages.which_one import STYLE
from fflib.files import InputError
from fflib.plotting import times
from fflib.runs import ladder as rungs
from fflib.story import factors, headline_told
from fflib.story.factors import AGAINST

FIGURE = "other_machines"
HERE, MULTIPLIED = "this run", "multiplied"
VERSIONS = {sources.SAME: "this version", sources.OLDER: "older version", sources.UNKNOWN: "version unknown"}
HEADS = ("run", "machine", "measured", "vs padded", "vs unpadded", "kept")


def page_of(book: Book, figures: Path) -> str:
    """Return the page as Markdown, and write its figure into the folder ``figures``.

    InputError: there is no kept run to stand beside this one.
    """
    if not book.kept:
        raise InputError("there is no kept run in outputs/reference to stand beside this one")
    runs = [row_of(source) for source in book.all_sources]
    figures.mkdir(parents=True, exist_ok=True)
    figure = machines_figure.steps([step for source in book.all_sources for step in steps_of(source)], caption(runs))
    figure.savefig(figures / f"{FIGURE}.png", dpi=150)
    return template("other_machines").format(
        style=STYLE,
        alt="What each step brought, as a factor: a mark a run, a colour a machine",
        figure=FIGURE,
        table=_table(runs),
        versions=_versions(runs),
        notes=_notes(book.kept),
    )


def row_of(source: Source) -> dict[str, Any]:
    """Return a run's row of the table: the columns of `HEADS`, each with one line or two, and its ``version``."""
    first, last = source.by_name["baseline"], source.stack().iloc[-1]
    machine, version = first["machine"], sources.version(source.side.records)
    written = max(record["written"] for record in source.side.records)
    cores = f"{machine['cores_available']} cores"
    by = instructions(source)
    cells = (
        [source.about.get("name", HERE), f"task {first['parameters']['task']}"],
        [short(machine["cpu"]), f"{cores}, eight bits by {by}" if by else cores],
        [
            f"{written[:10]}, {VERSIONS[version]}",
            f"commit {machine['commit']}" if machine.get("commit") else "not in git",
        ],
        _factor(source, last, "padded", AGAINST[0]),
        _factor(source, last, "unpadded", AGAINST[1]),
        [rungs.kept_words(last["retention"])],
    )
    return dict(zip(HEADS, cells, strict=True)) | {"version": version}


def short(cpu: str) -> str:
    """Return the name of a processor without marks and the word that says what it is: it goes into a narrow cell."""
    return re.sub(r"\((?:R|TM)\)| (?:Processor|CPU)\b", "", cpu)


def instructions(source: Source) -> str:
    """Name the integer instructions that a run's eight bits used; '' where its chapter 5 does not tell."""
    try:
        return source.fact("05_quantization", "int8")["instructions"]
    except Missing:
        return ""


def steps_of(source: Source) -> list[dict[str, Any]]:
    """Return what each technique brought on a run: technique, factor, machine."""
    stack = source.stack()
    steps = factors.factors(source.side.ladder, [name for name in stack["rung"] if name != rungs.UNPADDED])
    machine = machine_of(source)
    found = factors.factor_by_technique(steps)
    return [{"technique": technique, "factor": factor, "machine": machine} for technique, factor in found.items()]


def machine_of(source: Source) -> str:
    """Name a run's machine, with its integer instructions, which tell most about it here."""
    cpu, by = short(source.by_name["baseline"]["machine"]["cpu"]), instructions(source)
    return f"{cpu}: {by}" if by else cpu


def caption(runs: Sequence[dict[str, Any]]) -> str:
    """Say below the figure what its marks are."""
    return f"{len(runs)} runs; each factor is of two rungs that one machine timed in the same rounds"


def _factor(source: Source, last: pd.Series, kind: str, against: str) -> list[str]:
    """Write the measured factor, and below it its range; of a run that measured none, the product of its steps."""
    headline = headline_told.of_records(source.side.records)
    if not headline:
        return [times(last[f"speedup_vs_{kind}"]), MULTIPLIED]
    factor = headline["against"][against]
    return [times(factor["factor"]), f"{times(factor['low'])} to {times(factor['high'])}"]


def _table(runs: Sequence[dict[str, Any]]) -> str:
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    lines = ["".join(f"<td>{'<br>'.join(map(html.escape, run[head]))}</td>" for head in HEADS) for run in runs]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table>"
    return f'<div class="wide-table words">{table}</div>'


def _versions(runs: Sequence[dict[str, Any]]) -> str:
    older, unknown = (sum(run["version"] == one for run in runs) for one in (sources.OLDER, sources.UNKNOWN))
    told = ["None of these runs is of an older version."]
    if older:
        told = [
            f"{older} of these {len(runs)} runs are of an older version: since then a chapter, or something that it "
            "uses, has changed, so a step of one name may have been made in another way."
        ]
    if unknown:
        told.append(
            "*Version unknown* stands where the data of a run are not here, for they are part of what would tell."
        )
    return " ".join(told)


def _notes(kept: Sequence[Source]) -> str:
    """Return what was noted of the kept runs, each note once."""
    names: dict[str, list[str]] = {}
    for source in kept:
        if note := source.about.get("note", "").rstrip("."):
            names.setdefault(note, []).append(source.about["name"])
    lines = [f"  - {', '.join(dict.fromkeys(those))}: {note}." for note, those in names.items()]
    return "\n".join(["What was noted of the kept runs:", *lines]) if lines else "Nothing was noted of the kept runs."
