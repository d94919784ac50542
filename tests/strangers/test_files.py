"""Files as people have them: read as they look to those who made them, or refused with file, line and way out."""

from __future__ import annotations

import csv
import json
from collections import Counter

import pandas as pd
import pytest

from fflib.data import custom, text_lengths
from fflib.data.readers import Form, read_json_lines, read_records
from fflib.data.registry import get_task
from fflib.data.splits import load_split
from fflib.files import InputError
from fflib.runs import param_files, params

ROWS = [{"body": f"It was {('bright', 'dull')[i % 2]} on day {i}.", "mood": ("up", "down")[i % 2]} for i in range(60)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def describe(tmp_path):
    """Write a description of a file of ``name`` with ``content``, or of none, and return its path."""

    def make(content=None, name="mine.csv", **lines):
        if content is not None:
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        lines = {"file": str(tmp_path / name), "text": "body", "label": "mood"} | lines
        path = tmp_path / "mine.yaml"
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in lines.items() if value is not None))
        return str(path)

    return make


def table(rows=ROWS, separator=",", end="\n"):
    """A table without quotes."""
    return "".join(separator.join(map(str, row)) + end for row in [[*rows[0]], *(row.values() for row in rows)])


def lines_of(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def texts_of(path):
    return sorted(text for split in ("train", "dev", "test") for text in load_split(path, split).texts)


EXPECTED = sorted((row["body"],) for row in ROWS)


# ---- separators, ends of lines, encodings ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mine.csv", "mine.tsv"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_with_another_separator_is_read(describe, name, separator, end):
    assert texts_of(describe(table(separator=separator, end=end), name)) == EXPECTED


def test_the_columns_tell_the_separator_where_two_would_do(describe):
    rows = [{"body, as written": row["body"], "mood": row["mood"]} for row in ROWS]
    assert texts_of(describe(table(rows, ";"), text="body, as written")) == EXPECTED


def test_the_line_that_spreadsheets_write_for_each_other_names_the_separator(describe):
    assert texts_of(describe("sep=|\r\n" + table(separator="|"))) == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_marked_encodings_are_read(describe, encoding, kind):
    rows = [row | {"body": f"Über {row['body']} 😀"} for row in ROWS]
    content = (table(rows) if kind == "csv" else lines_of(rows)).encode(encoding)
    assert texts_of(describe(content, f"mine.{kind}")) == sorted((row["body"],) for row in rows)


def test_an_encoding_without_a_mark_is_asked_for_and_read_when_named(describe):
    rows = [row | {"body": f"Über {row['body']} €"} for row in ROWS]
    with pytest.raises(InputError, match=r"not UTF-8 text \(line 2\).*'encoding: cp1252'"):
        get_task(describe(table(rows).encode("cp1252")))
    assert texts_of(describe(table(rows).encode("cp1252"), encoding="cp1252")) == sorted((r["body"],) for r in rows)
    with pytest.raises(InputError, match="UTF-16 without a mark.*'encoding: utf-16-le'"):
        get_task(describe(table(rows).encode("utf-16-le")))
    assert len(texts_of(describe(table(rows).encode("utf-16-le"), encoding="utf-16-le"))) == 60


@pytest.mark.parametrize(
    ("encoding", "message"),
    [("cp1252", "is UTF-8 text, so 'encoding: cp1252' would garble it"), ("martian", "no encoding 'martian'")],
)
def test_a_wrong_encoding_is_not_obeyed(describe, encoding, message):
    with pytest.raises(InputError, match=message):
        get_task(describe(table([row | {"body": f"Über {row['body']}"} for row in ROWS]), encoding=encoding))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"PK\x03\x04", "spreadsheet"),
        (b"\x1f\x8b", "unpack it"),
        (b"PAR1", "parquet"),
        (b"\xd0\xcf\x11\xe0", "old spr"),
    ],
)
def test_what_is_no_text_is_told_what_it_is(describe, start, message):
    with pytest.raises(InputError, match=message):
        get_task(describe(start + bytes(range(256))))


# ---- what ends a line, and what does not -----------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_a_character_that_python_takes_for_a_line_end_is_part_of_a_text(describe, tmp_path, character, quoting):
    rows = [row | {"body": f"Page{character}{row['body']}"} for row in ROWS]
    path = describe()
    pd.DataFrame(rows).to_csv(tmp_path / "mine.csv", index=False, quoting=quoting)
    assert texts_of(path) == sorted((row["body"],) for row in rows)


def test_a_carriage_return_outside_quotes_is_named(describe):
    with pytest.raises(
        InputError, match=r"mine\.csv, line 3: a carriage return alone ends it, .* put texts with one in"
    ):
        get_task(describe(table([ROWS[0], {"body": "one\rtwo", "mood": "up"}, *ROWS])))


def test_the_line_is_that_where_a_row_of_several_begins(describe):
    rows = [{"body": '"Two\nlines"', "mood": "up"}, {"body": "a, b", "mood": "up"}]
    with pytest.raises(InputError, match=r"mine\.csv, line 4: not as many columns as the first line \(3 instead of 2"):
        get_task(describe(table([*rows, *ROWS])))


# ---- quotation marks -------------------------------------------------------------------------------------------------

STRAY = [
    {"body": '"Hello she said', "mood": "up"},
    {"body": "nothing", "mood": "down"},
    {"body": 'that was "it"', "mood": "up"},
]


@pytest.mark.parametrize("separator", ["\t", ","])
def test_rows_that_a_stray_quotation_mark_would_join_are_refused_and_read_when_told(describe, separator):
    rows = [*STRAY[:2], {"body": 'he said so"', "mood": "up"}, *ROWS]
    content, name = table(rows, separator), "mine.tsv" if separator == "\t" else "mine.csv"
    with pytest.raises(InputError, match=f"{name}, lines 2 to 4: quotation marks make one text of lines .*quotes: fal"):
        get_task(describe(content, name))
    assert texts_of(describe(content, name, quotes=False)) == sorted((row["body"],) for row in rows)


def test_a_quotation_mark_that_never_closes_is_named_where_it_opens(describe):
    with pytest.raises(InputError, match=r"line 2: .* say 'quotes: false'"):
        get_task(describe(table([*STRAY, *ROWS])))
    with pytest.raises(InputError, match=r"line 62: .* opens there and never closes"):
        get_task(describe(table([*ROWS, *STRAY[:2]])))


def test_a_text_of_two_lines_stays_one(describe, tmp_path):
    rows = [row | {"body": f"Hello, you\n{row['body']}, and so on"} for row in ROWS]
    path = describe()
    pd.DataFrame(rows).to_csv(tmp_path / "mine.csv", index=False)
    assert texts_of(path) == sorted((row["body"],) for row in rows)


# ---- columns ---------------------------------------------------------------------------------------------------------


def test_two_columns_of_one_name_are_refused(describe):
    doubled = "body,mood,mood\n" + "".join(f"{row['body']},{row['mood']},x\n" for row in ROWS)
    with pytest.raises(InputError, match=r"mine\.csv: two columns are named 'mood'; rename one"):
        get_task(describe(doubled))
    with pytest.raises(InputError, match=r"mine\.jsonl, line 1: not JSON \('mood' stands there twice\)"):
        get_task(describe('{"body": "a", "mood": "up", "mood": "down"}\n', "mine.jsonl"))


def test_columns_without_a_name_are_no_harm(describe):
    assert texts_of(describe("body,mood,,\n" + "".join(f"{r['body']},{r['mood']},,\n" for r in ROWS))) == EXPECTED


def test_a_column_that_is_missing_by_a_space_is_shown_with_it(describe):
    rows = [{"body ": row["body"], "mood": row["mood"]} for row in ROWS]
    with pytest.raises(InputError, match="there is no column 'body'; the columns are 'body ', mood"):
        get_task(describe(table(rows)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"text": "mood"}, "'mood' is named as text and as label"), ({"text": ["body", "body"]}, "names 'body' twice")],
)
def test_a_column_is_named_once(describe, changes, message):
    with pytest.raises(InputError, match=message):
        get_task(describe(table(), **changes))


# ---- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", ["\\ud83d", "\\uDC00 and on"])
def test_half_of_a_surrogate_pair_is_refused_with_its_line(describe, half):
    content = lines_of(ROWS) + f'{{"body": "cut {half}", "mood": "up"}}\n'
    with pytest.raises(InputError, match=r"mine\.jsonl, line 61: 'body' has \\ud.*half of a character"):
        get_task(describe(content, "mine.jsonl"))


def test_a_whole_surrogate_pair_is_a_character(describe):
    rows = [row | {"body": f"{row['body']} 😀"} for row in ROWS]
    assert "\\ud83d" in lines_of(rows)
    assert texts_of(describe(lines_of(rows), "mine.jsonl")) == sorted((row["body"],) for row in rows)


def test_a_list_of_objects_is_told_to_be_lines(describe):
    with pytest.raises(InputError, match="list instead of an object; write one object on each line"):
        get_task(describe(json.dumps(ROWS), "mine.jsonl"))


# ---- labels ----------------------------------------------------------------------------------------------------------


def labelled(*labels):
    return [row | {"mood": labels[i % len(labels)]} for i, row in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((1, 0), ("0", "1")),
        ((1.0, 0.0), ("0", "1")),
        ((1, 0, 1.0, 0.0), ("0", "1")),
        ((0.5, 1.5), ("0.5", "1.5")),
        ((True, False), ("false", "true")),
        (("true", False, True), ("false", "true")),
        (("Ä ", "b"), ("b", "Ä")),
    ],
)
def test_labels_of_every_type_mean_what_is_seen(describe, labels, expected):
    assert get_task(describe(lines_of(labelled(*labels)), "mine.jsonl")).labels == expected


@pytest.mark.parametrize(
    ("listed", "labels"),
    [
        ("[no, yes]", ("no", "yes")),
        ("[false, true]", (False, True)),
        ("[False, True]", (False, True)),
        ("[0, 1]", (0.0, 1)),
        ("[0.0, 1.0]", (0, 1.0)),
        ("[01, 010]", ("01", "010")),
        ("[2020-01-01, 12:30]", ("2020-01-01", "12:30")),
        ("[NA, EU]", ("NA", "EU")),
        ("[Up, up]", ("Up", "up")),
    ],
)
def test_labels_that_are_listed_are_the_very_ones(describe, listed, labels):
    path = describe(lines_of(labelled(*labels)), "mine.jsonl")
    with open(path, "a") as file:
        file.write(f"labels: {listed}\n")
    assert get_task(path).labels == tuple(listed.strip("[]").split(", "))
    assert Counter(load_split(path, "train").labels.tolist()).keys() == {0, 1}


@pytest.mark.parametrize("nothing", ["nan", "NaN", "NULL", "None", "N/A", "\\N", "#N/A", "\u200b"])
def test_a_sign_for_nothing_becomes_no_class_in_silence(describe, nothing):
    with pytest.raises(InputError, match=r"mine\.csv: 20 rows have the mood .* mostly means that there is none; take "):
        get_task(describe(table(labelled("up", "down", nothing))))


@pytest.mark.parametrize("missing", [None, float("nan"), "", "  "])
def test_rows_without_a_label_are_counted(describe, missing):
    with pytest.raises(InputError, match=r"mine\.jsonl: 20 rows have no mood; label them or take them out"):
        get_task(describe(lines_of(labelled("up", "down", missing)), "mine.jsonl"))


@pytest.mark.parametrize(
    "alike",
    [("up", "Up"), ("up", "up\u200b"), ("caf\u00e9", "cafe\u0301"), ("1", "1.0"), ("1", "01"), ("a b", "a\xa0b")],
)
def test_labels_that_look_alike_are_not_two_classes_in_silence(describe, alike):
    with pytest.raises(InputError, match=r"mine\.csv: the mood .* rows\) look alike; write them alike, or list both"):
        get_task(describe(table(labelled("down", *alike))))


@pytest.mark.parametrize("value", [["up"], {"is": "up"}, float("inf")])
def test_what_is_no_class_is_refused_with_its_line(describe, value):
    with pytest.raises(InputError, match=r"mine\.jsonl, line 61: mine: mood: .* is no class"):
        get_task(describe(lines_of([*ROWS, ROWS[0] | {"mood": value}]), "mine.jsonl"))


def test_a_message_about_labels_lists_those_of_the_file(describe):
    with pytest.raises(InputError, match=r"no row of mine\.csv has the mood 'joy'.* its values are 'down', 'up'"):
        get_task(describe(table(), labels=["joy", "up"]))
    message = r"mine\.csv, line 62: mood='odd' is not among 'labels', as in 2 rows; .* 'down', 'odd', 'up'"
    with pytest.raises(InputError, match=message):
        get_task(
            describe(table([*ROWS, *[{"body": f"b {i}", "mood": "odd"} for i in range(2)]]), labels=["down", "up"])
        )


def test_texts_that_are_signs_for_nothing_are_told(describe, capfd):
    get_task(describe(table([{"body": "NaN", "mood": "up"}, *ROWS, {"body": "null", "mood": "up"}])))
    assert (
        "in 2 rows of mine.csv the body is a sign for nothing, the first at mine.csv, line 2" in capfd.readouterr().err
    )


# ---- lengths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "length"),
    [("a house by the sea " * 5, 32), ("我喜欢这本书" * 5, 64), ("9" * 50, 64), ("to and fro " * 25, 128)],
)
def test_lengths_are_those_of_the_tokenizer(describe, text, length):
    rows = [row | {"body": f"{text} {i}"} for i, row in enumerate(ROWS)]
    assert get_task(describe(table(rows))).max_length == length


def test_a_length_is_counted_once(describe, monkeypatch):
    path = describe(table())
    length = get_task(path).max_length
    custom._described.cache_clear()
    monkeypatch.setattr(text_lengths, "_counted", None)
    assert get_task(path).max_length == length


def test_the_tokenizer_is_that_of_the_teacher(describe):
    assert params.declared("01_baseline")["teacher"].default == text_lengths.TEACHER
    with pytest.raises(InputError, match="nobody/nothing"):
        get_task(describe(table(), teacher="nobody/nothing"))


# ---- files in params/ ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "mine.yaml is empty"),
        (b"# only a comment\n", "mine.yaml is empty"),
        ("description: Größe\n".encode("cp1252"), r"mine\.yaml: not UTF-8 text \(line 1\); save it again"),
        (b"epochs: 1\nepochs: 2\n", "mine.yaml is not valid YAML: 'epochs' stands there twice"),
        (b"description: 2020-13-45\n", "mine.yaml is not valid YAML"),
        (b"- a\n- b\n", "mine.yaml must hold lines of the form 'name: value'"),
        (b"1: 2\n", "mine.yaml must hold lines of the form 'name: value'"),
        (None, r"mine\.yaml cannot be read \(Is a directory\)"),
    ],
)
def test_a_file_in_params_that_says_nothing_is_refused(tmp_path, monkeypatch, content, message):
    for folder in ("size", "hardware"):
        (tmp_path / folder).symlink_to(param_files.PARAMS / folder)
    monkeypatch.setattr(param_files, "PARAMS", tmp_path)
    (tmp_path / "mine.yaml").mkdir() if content is None else (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        params.load_run("mine", "smoke")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_in_params_may_have_a_mark(tmp_path, monkeypatch, encoding):
    for folder in ("size", "hardware"):
        (tmp_path / folder).symlink_to(param_files.PARAMS / folder)
    monkeypatch.setattr(param_files, "PARAMS", tmp_path)
    (tmp_path / "mine.yaml").write_bytes("description: Größe\nepochs: 2\n".encode(encoding))
    assert params.load_run("mine", "smoke").values["epochs"] == 2


# ---- the readers alone -----------------------------------------------------------------------------------------------


def test_a_zero_inside_a_text_stays(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("body,mood\n" + "a\0b,up\n" + "word,down\n" * 30)
    assert next(iter(read_records(path, Form(("body", "mood")))))[1] == {"body": "a\0b", "mood": "up"}


def test_json_that_is_too_deep_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text("[" * 100_000 + "\n")
    with pytest.raises(InputError, match="line 1: not JSON"):
        list(read_json_lines(tmp_path / "a.jsonl"))
