"""Tables in text files, as spreadsheets, pandas and databases write them: each row with its line, or one sentence.

A line ends at a line feed or a carriage return and nowhere else: a form feed and U+2028 are characters of a text. Which
separator a table has is seen in its first line, by the columns that are looked for.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fflib.data.task import no_column
from fflib.data.text_files import read_text
from fflib.files import InputError

Placed = tuple[str, dict[str, Any]]  # where a record was found (for messages), and the record
SEPARATORS = (",", ";", "\t", "|")
NAMES = {"\t": "tab"}  # of separators that do not show
SHOWN = 100_000  # characters in which the names of the columns have to stand


@dataclass(frozen=True)
class Form:
    """How a file is written, as far as somebody said.

    Attributes:
        columns: those that are looked for.
        encoding: see `text_files.read_text`.
        quotes: whether quotation marks hold together what has separators in it; else they are plain characters.
    """

    columns: tuple[str, ...] = ()
    encoding: str | None = ""
    quotes: bool = True


def read_table(path: Path, form: Form) -> Iterator[Placed]:
    """Yield the rows of a table whose first line names the columns. InputError: names the line that is none."""
    table = _Table(path, form)
    for line, _, row in table.rows():
        yield f"{path.name}, line {line}", dict(zip(table.names, row, strict=True))


def joined_rows(path: Path, form: Form) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Yield the rows of several lines each of which would make a row by itself, were a quotation mark just a character.

    So does a stray mark at the start of one text and at the end of a later one: all between them would be one text. A
    caller that knows more of the table can tell: (the place, each line as a row).
    """
    table = _Table(path, form)
    for line, last, _ in table.rows():
        apart = [text.rstrip("\r\n").split(table.separator) for text in table.lines[line - 1 : last]]
        if last > line and all(len(cells) == len(table.names) for cells in apart):
            rows = [dict(zip(table.names, cells, strict=True)) for cells in apart]
            yield f"{path.name}, lines {line} to {last}", rows


class _Table:
    def __init__(self, path: Path, form: Form) -> None:
        csv.field_size_limit(sys.maxsize)  # a long text is told of by its line, not by the reader
        self.path, self.form = path, form
        text = read_text(path, form.encoding)
        told = re.match(r'"?sep=(.)"?\1*[\r\n]', text, re.IGNORECASE)  # by a spreadsheet, to others of its kind
        self.skipped = 1 if told else 0
        self.lines = list(io.StringIO(text, newline=""))
        self.spaced, self.begins = False, True
        self.separator = told[1] if told else self._separator(text[:SHOWN].lstrip())
        line, self.end, self.names = self._first()
        if self._is_spaced():  # "a, b": the space belongs to the separator, and quotation marks follow it
            self.spaced = True
            line, self.end, self.names = self._first()
        self.ends_alone = self.end > 0 and self._ends_alone(self.end)
        self.width = 0  # of the first row: of the names, or with separators at the end that hold nothing
        named = [name for name in self.names if name.strip() and (name in form.columns or not form.columns)]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise InputError(f"{path.name}: two columns are named {twice[0]!r}; rename one of them")
        if self.names and (lacking := [name for name in form.columns if name not in self.names]):
            raise InputError(f"{path.name}, line {line}: {no_column(lacking[0], self.names)}")

    def _first(self) -> tuple[int, int, list[str]]:
        """Return the names of the columns with their lines, the first in which something stands."""
        return next((each for each in self._every_row() if "".join(each[2]).strip()), (0, 0, []))

    def _is_spaced(self) -> bool:
        """Say whether a space follows each separator in the first line, and no column is looked for with its space."""
        later = self.names[1:]
        return bool(later) and all(name.startswith(" ") for name in later) and not {*later} & {*self.form.columns}

    def rows(self) -> Iterator[tuple[int, int, list[str]]]:
        """Yield (first line, last line, cells); lines with nothing in them, not even a separator, are no rows."""
        for begin, end, row in self._every_row():
            if begin <= self.end:
                continue
            is_blank = not "".join(row).strip()
            if not (is_blank and self.ends_alone):  # where lines end in "\r\r\n" half of it is a line by itself
                self._check_end(end)
            if is_blank and len(row) > 1 and len(row) != len(self.names):  # separators alone
                yield begin, end, [""] * len(self.names)
            elif len(row) > 1 or not is_blank or (row and len(self.names) == 1):
                row = self._fitted(begin, row)
                if [row[0].lstrip("\ufeff"), *row[1:]] == self.names:  # with a mark where a marked file was added
                    raise InputError(
                        f"{self.path.name}, line {begin}: the names of the columns stand there again, as where files "
                        "were put together; take that line out"
                    )
                yield begin, end, row

    def _every_row(self) -> Iterator[tuple[int, int, list[str]]]:
        """Yield the rows as they stand there, the names of the columns first."""
        cells = self._cells(self._unmarked(self.lines[self.skipped :]))
        begin = self.skipped + 1
        try:
            for row in cells:
                end = self.skipped + cells.line_num
                yield begin, end, row
                begin, self.begins = end + 1, True
        except csv.Error as error:
            place = f"{self.path.name}, line {begin}"
            raise InputError(f"{place}: not CSV ({error}); {self._about_quotes(error)}") from error

    def _unmarked(self, lines: list[str]) -> Iterator[str]:
        """Yield lines without the mark of a marked file that was added: it would hide the quotation mark behind it."""
        self.begins = True  # a row; the reader asks for as many lines as it needs for one
        for line in lines:
            begins, self.begins = self.begins, False
            yield line.lstrip("\ufeff") if begins and line.lstrip("\ufeff").startswith('"') else line

    def _cells(self, lines: Iterator[str] | io.StringIO, separator: str = "") -> Any:
        quoting = csv.QUOTE_MINIMAL if self.form.quotes else csv.QUOTE_NONE
        form = {"quoting": quoting, "strict": True, "skipinitialspace": self.spaced}
        return csv.reader(lines, delimiter=separator or self.separator, **form)

    def _separator(self, start: str) -> str:
        """Return what separates the columns: it shows all that are looked for, else it makes the most of them."""
        usual = "\t" if self.path.suffix.lower() == ".tsv" else ","
        names = {each: self._first_row(start, each) for each in (usual, *SEPARATORS)}
        for separator, row in names.items():
            if self.form.columns and {*self.form.columns} <= {*row}:
                return separator
        return max(names, key=lambda each: len(names[each]))

    def _first_row(self, start: str, separator: str) -> list[str]:
        try:
            return next(self._cells(io.StringIO(start, newline=""), separator), [])
        except csv.Error:
            return []

    def _check_end(self, line: int) -> None:
        """Refuse a row that ends as the first line does not: what ends it is mostly a character of a text."""
        if self.lines[line - 1][-1] in "\r\n" and self._ends_alone(line) != self.ends_alone:
            place = f"{self.path.name}, line {line}"
            raise InputError(
                f"{place}: a carriage return alone ends it, and not all lines; put texts with one in quotes"
            )

    def _ends_alone(self, line: int) -> bool:
        return self.lines[line - 1].endswith("\r")

    def _fitted(self, line: int, row: list[str]) -> list[str]:
        """Return a row as long as the names; where all rows or the names alone end in separators, these hold nothing.

        InputError: it is longer or shorter than the first row.
        """
        wanted, separator = len(self.names), NAMES.get(self.separator, self.separator)
        if not self.width:
            unnamed = not "".join(self.names[len(row) :]).strip()
            self.width = len(row) if unnamed and not "".join(row[wanted:]).strip() else wanted
        if len(row) == self.width and not "".join(row[wanted:]).strip():
            return (row + [""] * (wanted - len(row)))[:wanted]
        cure = f"put texts with {separator!r} in quotes, and give every column a name"
        if len(row) < self.width:
            cure = "complete it, or put a text that goes on in the next line in quotes"
        raise InputError(
            f"{self.path.name}, line {line}: not as many columns as the first line ({len(row)} instead of "
            f"{self.width}, between them {separator!r}); {cure}"
        )

    def _about_quotes(self, error: csv.Error) -> str:
        if "end of data" in str(error):
            return "a quotation mark opens there and never closes; close it, or say 'quotes: false' if it is no more"
        return "double a quotation mark inside a text, or say 'quotes: false' if all of them are plain characters"
