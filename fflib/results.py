"""What a chapter leaves for the chapters after it: rungs, facts and figures, and what they came from.

A chapter's JSON is written last and atomically; that it exists is the only mark of "done".
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Any

from IPython.display import Markdown, display
from matplotlib.figure import Figure

from fflib import hardware, params, provenance, rungs
from fflib.files import InputError, atomic_path, resolve, write_json
from fflib.rungs import Rung

SCHEMA_VERSION = 1


class Chapter:
    """A chapter at work: where it writes, the rungs and facts it gathered. `save` marks it done."""

    def __init__(self, name: str, namespace: Mapping[str, Any]) -> None:
        self.name = name
        self.values = {key: params.check_value(p, namespace[key]) for key, p in params.declared(name).items()}
        self.folder = resolve(self.values["run_dir"])
        self.rungs: list[Rung] = []
        self.facts: dict[str, Any] = {}
        # Taken before anything runs: code that is edited meanwhile must not lend its name to these results.
        self._key = provenance.chapter_key(name, self.values)
        self._start = time.perf_counter()
        self._summary: Any = None

    def show_summary(self) -> None:
        """Show the chapter's table here, on top; `save` fills it in when the numbers are there."""
        self._summary = display(Markdown("*The chapter's rungs appear here when it has run.*"), display_id=True)

    def add(self, rung: Rung) -> None:
        """Add a rung; its name must be new in this chapter."""
        if rung.rung in [known.rung for known in self.rungs]:
            raise InputError(f"chapter {self.name} has two rungs named '{rung.rung}'")
        self.rungs.append(rung)

    def save_figure(self, figure: Figure, name: str) -> Path:
        """Write ``figures/<name>.png`` for the page and ``.svg`` for slides; return the PNG's path."""
        for kind in ("svg", "png"):
            path = self.folder / "figures" / f"{name}.{kind}"
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=kind, dpi=150)
        return path

    def save(self) -> Path:
        """Write ``results/<name>.json``: the rungs, the facts, and what they came from."""
        path = self.folder / "results" / f"{self.name}.json"
        record = {
            "schema_version": SCHEMA_VERSION,
            "chapter": self.name,
            "key": self._key,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._start, 1),
            "parameters": self.values,
            "machine": hardware.card(),
            "facts": self.facts,
            "rungs": [asdict(rung) for rung in self.rungs],
        }
        write_json(path, record)
        if self._summary and self.rungs:
            self._summary.update(Markdown(rungs.ladder_markdown(rungs.ladder(self._rungs_so_far()))))
        return path

    def _rungs_so_far(self) -> list[dict[str, Any]]:
        names = sorted(path.stem for path in (self.folder / "results").glob("*.json"))
        return [rung for name in names if name <= self.name for rung in read(self.folder, name)["rungs"]]


def read(folder: str | Path, chapter: str) -> dict[str, Any]:
    """Return what a chapter saved.

    Raises:
        InputError: the chapter has not run, its file is damaged, or it came of other code, data, packages or hardware.
    """
    path = resolve(folder) / "results" / f"{chapter}.json"
    if not path.exists():
        raise InputError(
            f"{path.name} is not in {path.parent}; run chapter {chapter} first, or the whole book (make book)"
        )
    try:
        record = loads(path.read_text(encoding="utf-8"))
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it and run again") from error
    if record.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"{path.name} has another schema than this code writes; delete it and run again")
    if record["key"] != provenance.chapter_key(chapter, record["parameters"]):
        raise InputError(
            f"{chapter} was measured with other code, data, packages or hardware than now; run the book again"
        )
    return record


def set_aside(folder: Path, chapter: str, key: str) -> bool:
    """Rename a chapter's result to ``.old`` unless it has ``key``, so that it is made anew; say whether it was."""
    path = folder / "results" / f"{chapter}.json"
    try:
        current = loads(path.read_text(encoding="utf-8")).get("key") == key
    except FileNotFoundError:
        return False
    except (JSONDecodeError, UnicodeDecodeError):
        current = False
    if not current:
        path.replace(path.with_suffix(".json.old"))
    return not current


def read_all(folder: str | Path, before: str = "99") -> list[dict[str, Any]]:
    """Return the records of a run's chapters from 01 up to ``before``, each as `read` does; InputError: mixed data."""
    names = sorted(path.stem for path in (resolve(folder) / "results").glob("*.json") if "01" < path.stem < before)
    records = [read(folder, name) for name in names]
    fingerprints = [record["facts"]["data_fingerprint"] for record in records if "data_fingerprint" in record["facts"]]
    if any(fingerprint != fingerprints[0] for fingerprint in fingerprints):
        raise InputError("the chapters of this run saw different data; run the book again")
    return records
