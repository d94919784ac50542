"""Records from files: tables and JSON lines, with the file and the line in every error."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fflib.files import InputError

Placed = tuple[str, dict[str, Any]]  # where a record was found (for messages), and the record


def read_records(path: Path) -> Iterable[Placed]:
    """Return the records of a table or of JSON lines. InputError: names the file and the line that cannot be read."""
    readers = {".csv": _read_table, ".tsv": _read_table, ".jsonl": read_json_lines, ".ndjson": read_json_lines}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path.name} is none of {', '.join(readers)}; save it as one of these")
    if not path.is_file():
        raise InputError(f"there is no file {path}; correct the path (a relative one starts at the project's root)")
    return readers[path.suffix.lower()](path)


def _read_table(path: Path) -> Iterator[Placed]:
    """Yield the rows of a CSV or TSV file whose first line names the columns."""
    csv.field_size_limit(sys.maxsize)  # a long text is told of by its line, not by the reader
    lines = read_text(path).splitlines(keepends=True)
    rows = csv.DictReader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    try:
        for row in rows:
            place = f"{path.name}, line {rows.line_num}"
            if None in row or None in row.values():
                raise InputError(f"{place}: not as many columns as the first line; put texts with commas in quotes")
            yield place, row
    except csv.Error as error:
        raise InputError(f"{path.name}, line {rows.line_num}: not CSV ({error}); mend it or save it again") from error


def read_json_lines(path: Path) -> Iterator[Placed]:
    """Yield the objects of a file with one on each line. InputError: names the file and the line that is none."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"{place}: not JSON ({error}); mend the file or fetch it again") from error
        if not isinstance(record, dict):
            raise InputError(f"{place}: {type(record).__name__} instead of an object; fetch the file again")
        yield place, record


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, with or without a mark at its start. InputError: it is not, or unreadable."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{path}: not UTF-8 text (line {line}); save it again with the encoding UTF-8") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error
