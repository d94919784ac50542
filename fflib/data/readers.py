"""Records from files: tables and JSON lines, with the file and the line in every error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fflib.data.tables import Form, Placed, read_table
from fflib.data.task import shows
from fflib.data.text_files import read_text
from fflib.files import InputError

__all__ = ["Form", "Placed", "is_blank", "is_nothing", "read_json_lines", "read_records"]

ENDS = re.compile(r"\r*\n|\r")  # of lines; JSON spells a carriage return within a text otherwise
KINDS = (".csv", ".tsv", ".jsonl", ".ndjson")
CURES = {
    ".json": "write one object on each line, as pandas does with lines=True, and call it .jsonl",
    **dict.fromkeys((".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".tgz"), "unpack it"),
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), "save its table as CSV, UTF-8"),
    **dict.fromkeys((".txt", ".tab", ".dat"), "if it is a table, call it .csv or .tsv"),
}


def read_records(path: Path, form: Form | None = None) -> Iterable[Placed]:
    """Return the records of a table or of JSON lines. InputError: names the file and the line that cannot be read."""
    if path.suffix.lower() not in KINDS:
        cure = CURES.get(path.suffix.lower(), "save it as one of these")
        raise InputError(f"{path.name} is none of {', '.join(KINDS)}; {cure}")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    if not path.is_file():
        raise InputError(f"there is no file {path}; correct the path (a relative one starts at the project's root)")
    form = form or Form()
    if path.suffix.lower() in (".csv", ".tsv"):
        return read_table(path, form)
    return read_json_lines(path, form.encoding, "write one object on each line, as pandas does with lines=True")


def read_json_lines(
    path: Path, encoding: str | None = None, remedy: str = "mend the file or fetch it again"
) -> Iterator[Placed]:
    """Yield the objects of a file with one on each line. InputError: names the file and the line that is none."""
    for number, line in enumerate(ENDS.split(read_text(path, encoding)), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            record = json.loads(line.lstrip("\ufeff"), object_pairs_hook=_each_once)  # of a marked file that was added
        except (ValueError, RecursionError) as error:
            raise InputError(f"{place}: not JSON ({error}); {remedy}") from error
        if not isinstance(record, dict):
            raise InputError(f"{place}: {type(record).__name__} instead of an object; {remedy}")
        if "\\ud" in line.lower():
            _check_whole_characters(place, record)
        yield place, record


def is_blank(record: Mapping[str, Any]) -> bool:
    """Say whether a record has nothing in any column with a name, as the rows that a spreadsheet has at its end."""
    return bool(record) and all(is_nothing(value) for name, value in record.items() if name.strip())


def is_nothing(value: Any) -> bool:
    """Say whether a value stands for an empty cell: none, no number, or a text in which nothing shows."""
    if isinstance(value, str):
        return not shows(value)
    return value is None or (isinstance(value, float) and math.isnan(value))


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object; of two equal names JSON's reader would keep the last without a word."""
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return record


def _check_whole_characters(place: str, record: dict[str, Any]) -> None:
    """Refuse half of a surrogate pair, which JSON can spell: it is no character, and no tokenizer reads it."""
    for name, value in record.items():
        try:
            json.dumps([name, value], ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            raise InputError(
                f"{place}: {ascii(name)} has {half}, half of a character (a text that was cut within one?); take it out"
            ) from error
