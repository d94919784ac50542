"""Any table with any text, written by csv, pandas and json, comes back as it was or is refused with its line."""

from __future__ import annotations

import csv
import io
import json
import re
import string
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fflib.data.readers import Form, read_records
from fflib.files import InputError

PLACE = re.compile(r"line \d+|is a |bytes of 0|without a mark")
AWKWARD = [
    '"',
    '""',
    "'",
    ",",
    ";",
    "\t",
    "|",
    "\r",
    "\n",
    "\r\n",
    "\\",
    "\\N",
    " ",
    "\x0c",
    "\u2028",
    "\x85",
    "\ufeff",
]
texts = st.lists(st.one_of(st.sampled_from(AWKWARD), st.text(max_size=6), st.sampled_from(["a", "Über", "1"]))).map(
    "".join
)
rows = st.lists(st.tuples(texts, st.sampled_from(["up", "down", "1", ""])), min_size=1, max_size=6)
names = st.sampled_from([("body", "mood"), ("mood", "body"), ("body, or text", "mood;"), ('a "b"', "mood")])
many = settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def same_or_refused(path: Path, columns: tuple[str, ...], expected: list[tuple[str, ...]], may_refuse: bool) -> None:
    try:
        found = [tuple(record.values()) for _, record in read_records(path, Form(columns))]
    except InputError as error:
        assert PLACE.search(str(error)) and "\n" not in str(error), error
        assert may_refuse, error
        return
    assert found == expected


def whole(text: str) -> bool:
    """Whether UTF-8 can hold it."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


@many
@given(rows.filter(lambda made: all(whole(text) for text, _ in made)), names, st.sampled_from(["excel", "excel-tab"]),
       st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["\n", "\r\n"]))  # fmt: skip
@example([('"', "up"), ('a"', "down")], ("body", "mood"), "excel", csv.QUOTE_MINIMAL, "\n")
def test_csv(tmp_path, made, columns, dialect, quoting, end):
    path, file = tmp_path / "mine.csv", io.StringIO(newline="")
    writer = csv.writer(file, dialect, quoting=quoting, lineterminator=end)
    writer.writerow(columns)
    writer.writerows(made)
    path.write_bytes(file.getvalue().encode())
    # Before Python 3.13 csv leaves a carriage return alone without quotes, where lines end otherwise.
    lone = end == "\n" and quoting == csv.QUOTE_MINIMAL and any("\r" in text for text, _ in made)
    zeros = any("\0" in text for text, _ in made)
    same_or_refused(path, columns, made, may_refuse=lone or zeros)


@many
@given(rows.filter(lambda made: all(whole(text) for text, _ in made)), st.sampled_from([",", ";", "\t", "|"]),
       st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))  # fmt: skip
def test_pandas(tmp_path, made, separator, encoding):
    path = tmp_path / "mine.csv"
    pd.DataFrame(made, columns=["body", "mood"]).to_csv(path, index=False, sep=separator, encoding=encoding)
    strange = any("\r" in text or "\0" in text for text, _ in made)
    same_or_refused(path, ("body", "mood"), made, may_refuse=strange)


@many
@given(st.lists(st.tuples(st.text(st.characters(), max_size=9), texts), min_size=1, max_size=5), st.booleans())
def test_json(tmp_path, made, as_ascii):
    path = tmp_path / "mine.jsonl"
    content = "".join(json.dumps({"body": a, "mood": b}, ensure_ascii=as_ascii) + "\n" for a, b in made)
    halved = not all(whole(a) and whole(b) for a, b in made)
    if halved and not as_ascii:
        return  # nobody can write it
    path.write_text(content, encoding="utf-8", newline="")
    same_or_refused(path, ("body", "mood"), made, may_refuse=halved)


@many
@given(st.text(string.printable + "é\u2028\0", max_size=60).map(str.encode) | st.binary(max_size=60))
def test_whatever_stands_in_a_file_ends_in_records_or_in_a_sentence(tmp_path, content):
    for name in ("mine.csv", "mine.tsv", "mine.jsonl"):
        (tmp_path / name).write_bytes(content)
        try:
            assert all(isinstance(record, dict) for _, record in read_records(tmp_path / name, Form(("a", "b"))))
        except InputError as error:
            assert str(error).strip() and "mine." in str(error)
