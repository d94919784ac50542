"""What a chapter left, read whatever code and machine it came from; `results.read` takes only what is current here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fflib.files import InputError, shown

RECORD = {"chapter": str, "key": str, "written": str, "parameters": dict, "machine": dict, "facts": dict, "rungs": list}


def read(path: Path) -> dict[str, Any]:
    """Read the record of one chapter. InputError: it is missing, damaged, or of another form."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
    if not isinstance(record, dict) or not all(isinstance(record.get(key), kind) for key, kind in RECORD.items()):
        raise damaged(path, f"it needs {', '.join(RECORD)}")
    return record


def readable(folder: Path, pattern: str = "results/[0-9][0-9]_*.json") -> dict[Path, dict[str, Any]]:
    """Read all records in ``folder`` that can be read, by their paths; what is damaged counts as missing."""
    found = {}
    for path in sorted(folder.glob(pattern)):
        try:
            found[path] = read(path)
        except InputError:
            continue
    return found


def missing(records: Sequence[Mapping[str, Any]], chapters: Sequence[str]) -> list[str]:
    """Name those of ``chapters``, given in the order in which they run, that have no record or one that is outdated.

    Outdated is a record that was written before that of an earlier chapter, and all that comes after a missing one.
    """
    written = {record["chapter"]: record["written"] for record in records}
    for i, chapter in enumerate(chapters):
        if chapter not in written or any(written[chapter] < written[earlier] for earlier in chapters[:i]):
            return list(chapters[i:])
    return []


def damaged(path: Path, why: object) -> InputError:
    """Return the error for a file of a run that cannot be read."""
    return InputError(f"{shown(path)} is damaged ({' '.join(str(why).split())}); copy it again or run the book again")
