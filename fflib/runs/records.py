"""What a chapter left for the chapters after it, in ``results/<chapter>.json``: rungs, facts, and what they came from.

The file is written last and atomically; that it exists is the only mark of "done". `current` takes only what this code
and this machine would measure again; `read_file` reads whatever code and machine a record came from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fflib.files import InputError, resolve, shown
from fflib.model import digests
from fflib.runs import nodes

SCHEMA_VERSION = 1
MODELS = ("teacher", "student", "pruned")  # facts that name the folder of a model
IS_CHAPTER = re.compile(r"\d\d_[a-z]+(_[a-z]+)*")  # what its file is called; that of a copy mostly has more to it
RECORD = {"chapter": str, "key": str, "written": str, "parameters": dict, "machine": dict, "facts": dict, "rungs": list}


def path_of(folder: str | Path, chapter: str) -> Path:
    """Return where the record of a chapter is, in a run's folder."""
    return resolve(folder) / "results" / f"{chapter}.json"


def current(folder: str | Path, chapter: str) -> dict[str, Any]:
    """Return what a chapter saved.

    Raises:
        InputError: the chapter has not run, its file is damaged, or it came of other code, data, packages or hardware.
    """
    from fflib.runs import provenance  # only now: it asks PyTorch about the machine, and that takes seconds to import

    path = path_of(folder, chapter)
    if not path.exists():
        raise InputError(
            f"{path.name} is not in {path.parent}; run chapter {chapter} first, or the whole book (make book)"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it and run again") from error
    if record.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"{path.name} has another schema than this code writes; delete it and run again")
    card = [nodes.card_for(record)] if nodes.on_cluster() else []
    if record["key"] != provenance.chapter_key(chapter, record["parameters"], *card):
        raise InputError(
            f"{chapter} was measured with other code, data, packages or hardware than now; run the book again"
        )
    return record


def set_aside(folder: Path, chapter: str, key: str) -> bool:
    """Rename a chapter's result to ``.old``, so that it is made anew, and say whether it was.

    It stays if it has ``key`` and the models that it left are whole.
    """
    path = path_of(folder, chapter)
    if not is_stale(folder, chapter, key):
        return False
    path.replace(path.with_suffix(".json.old"))
    return True


def is_stale(folder: str | Path, chapter: str, key: str) -> bool:
    """Whether there is a result that is not the one of ``key``, or is damaged, or left a model that is."""
    path = path_of(folder, chapter)
    if not path.exists():
        return False
    try:
        return read_file(path)["key"] != key or bool(damage(folder, chapter))
    except InputError:
        return True


def damage(folder: str | Path, chapter: str) -> str:
    """Say what is wrong with a model that a chapter left, '' where nothing is, or where there is no record of it."""
    try:
        facts = read_file(path_of(folder, chapter))["facts"]
    except InputError:
        return ""
    folders = [facts[name].get("folder") for name in MODELS if isinstance(facts.get(name), dict)]
    return next(filter(None, (digests.damage(resolve(each)) for each in folders if each)), "")


def all_current(folder: str | Path, before: str = "99") -> list[dict[str, Any]]:
    """Return the records of chapters 01 up to ``before``, each as `current` does; InputError: they saw unlike data."""
    paths = sorted((resolve(folder) / "results").glob("*.json"))
    names = [path.stem for path in paths if "01" < path.stem < before and not is_copy(path)]
    records = [current(folder, name) for name in names]
    fingerprints = [record["facts"]["data_fingerprint"] for record in records if "data_fingerprint" in record["facts"]]
    if any(fingerprint != fingerprints[0] for fingerprint in fingerprints):
        raise InputError("the chapters of this run saw different data; run the book again")
    return records


def is_copy(path: Path) -> bool:
    """Say whether a file beside the records is a copy of one, as in folders that are shared between machines."""
    try:
        return not IS_CHAPTER.fullmatch(_name(path)) or read_file(path)["chapter"] != _name(path)
    except InputError:  # whatever it is, it is damaged
        return False


def _name(path: Path) -> str:
    return path.name.removesuffix(".old").removesuffix(".json")


def read_file(path: Path) -> dict[str, Any]:
    """Read the record of one chapter. InputError: it is missing, damaged, or of another form."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
    if not isinstance(record, dict) or not all(isinstance(record.get(key), kind) for key, kind in RECORD.items()):
        raise damaged(path, f"it needs {', '.join(RECORD)}")
    return record


def teacher_is_clear(baseline_facts: Mapping[str, Any]) -> bool:
    """Say by the facts of chapter 1 whether the teacher is clearly above the floors; older records had no floors."""
    return baseline_facts.get("teacher_is_clear", True)


def readable(folder: Path, pattern: str = "results/[0-9][0-9]_*.json") -> dict[Path, dict[str, Any]]:
    """Read all records in ``folder`` that can be read, by their paths; what is damaged counts as missing.

    So does a copy beside a record ("01_baseline (1).json").
    """
    found = {}
    for path in sorted(folder.glob(pattern)):
        try:
            record = read_file(path)
        except InputError:
            continue
        if record["chapter"] == _name(path):
            found[path] = record
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
