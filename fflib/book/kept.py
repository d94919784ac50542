"""What a kept run found in a chapter, to be shown beside what this run measured; its numbers are of another day."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fflib.files import InputError
from fflib.runs import records, times


@dataclass(frozen=True)
class KeptChapter:
    """A chapter of a kept run: what it found out, and whose numbers these are.

    ``label`` stands beside whatever is shown of it: the run, its processor, the date, the commit.
    """

    facts: dict[str, Any]
    rungs: list[dict[str, Any]]
    label: str


def chapter_of(chapter: str, run: str, folder: Path = times.KEPT) -> KeptChapter | None:
    """Return what the kept run ``run`` found in a chapter; None: it is not kept, or has no such chapter.

    A chapter is known by its name without its number, which an older book may have counted otherwise. InputError: the
    run's name is none, or the record is damaged or of another schema.
    """
    if not run or Path(run).name != run:
        raise InputError(f"{run!r} names no kept run; take the name of a folder in outputs/reference, such as docs-cpu")
    name = chapter.partition("_")[2]
    found = sorted((folder / run / "results").glob(f"[0-9][0-9]_{name}.json"))
    if not found:
        return None
    record = records.read_file(found[0])
    if record.get("schema_version") != records.SCHEMA_VERSION:
        raise records.damaged(found[0], f"its schema is not {records.SCHEMA_VERSION}")
    return KeptChapter(record["facts"], record["rungs"], _label(run, record))


def _label(run: str, record: dict[str, Any]) -> str:
    machine = record["machine"]
    commit = [f"commit {machine['commit']}"] if machine.get("commit") else []
    return ", ".join([f"kept run {run}", machine.get("cpu", "an unknown processor"), record["written"][:10], *commit])
