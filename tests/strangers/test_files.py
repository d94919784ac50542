"""Files as people have them: read as they look to those who made them, or refused with file, line and way out."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter

import pandas as pd
import pytest

from fflib.data import custom, text_lengths
from fflib.data.readers import Form, read_json_lines, read_records
from fflib.data.registry import get_task
from fflib.data.splits import SPLITS, load_split
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
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_a_table_with_another_separator_is_read(describe, name, separator, end):
    assert texts_of(describe(table(separator=separator, end=end), name)) == EXPECTED


def test_the_columns_tell_the_separator_where_two_would_do(describe):
    rows = [{"body, as written": row["body"], "mood": row["mood"]} for row in ROWS]
    assert texts_of(describe(table(rows, ";"), text="body, as written")) == EXPECTED


def test_the_line_that_spreadsheets_write_for_each_other_names_the_separator(describe):
    assert texts_of(describe("sep=|\r\n" + table(separator="|"))) == EXPECTED


@pytest.mark.parametrize("start", ['"sep=;"\r\n', "sep=;;;\n", "\ufeffsep=;\n", "\n\n", "\ufeff\ufeff", "   \n"])
def test_what_stands_before_the_names_of_the_columns_is_no_row(describe, start):
    assert texts_of(describe(start + table(separator=";"))) == EXPECTED


def test_a_space_behind_each_separator_belongs_to_it(describe):
    rows = "".join(f'"{row["body"]}, yes", "{row["mood"]}"\n' for row in ROWS)
    path = describe("body, mood\n" + rows)
    assert texts_of(path) == sorted((f"{row['body']}, yes",) for row in ROWS)
    assert get_task(path).labels == ("down", "up")


@pytest.mark.parametrize("end", ["   \n", "\n\n", "\t\n", "\x1a"])
def test_an_empty_last_line_is_no_row(describe, end):
    assert texts_of(describe(table() + end)) == EXPECTED


BLANK = {
    "at the end": table() + ",\n" * 3,
    "in between": table(ROWS[:9]) + ",\n,\n,\n" + table(ROWS[9:]).partition("\n")[2],
    "wider than the table": table() + ",,,,\n" * 3,
    "with spaces": table() + " , \n" * 3,
    "with an index": ",body,mood\n"
    + "".join(f"{i},{row['body']},{row['mood']}\n" for i, row in enumerate(ROWS))
    + "60,,\n" * 3,
    "in JSON": lines_of([*ROWS, *[{"body": None, "mood": float("nan")}] * 3]),
}


@pytest.mark.parametrize("where", [*BLANK])
def test_blank_rows_are_left_out_and_counted(describe, where, capfd):
    name = "mine.jsonl" if "JSON" in where else "mine.csv"
    assert texts_of(describe(BLANK[where], name)) == EXPECTED
    line = 11 if "between" in where else 61 if "JSON" in where else 62
    assert f"3 blank rows of {name} are left out, the first at {name}, line {line}\n" in capfd.readouterr().err.replace(
        f"{describe().rpartition('/')[0]}/", ""
    )


def test_a_file_of_blank_rows_has_none(describe):
    with pytest.raises(InputError, match="mine.csv has no rows; name a file with examples"):
        get_task(describe("body,mood\n" + ",\n" * 50))


@pytest.mark.parametrize("row", [",up", '"",up', " ,up"])
def test_a_row_with_a_label_and_no_text_is_refused(describe, row):
    with pytest.raises(
        InputError, match=r"mine\.csv, line 62: mine: column 'body' is .*; write it there, or take the row"
    ):
        get_task(describe(table() + row + "\n"))


def test_a_mark_in_the_middle_where_files_were_put_together(describe):
    assert texts_of(describe(lines_of(ROWS[:9]) + "\ufeff" + lines_of(ROWS[9:]), "mine.jsonl")) == EXPECTED
    with pytest.raises(InputError, match=r"line 11: the names of the columns stand there again"):
        get_task(describe(table(ROWS[:9]) + "\ufeff" + table(ROWS[9:])))


def test_a_mark_in_the_middle_hides_no_quotation_mark(describe):
    """By symptom: one text has its quotation marks, or the row has three columns."""
    rows = [row | {"body": f"Oh, {row['body']}"} for row in ROWS]
    quoted = "".join(f'"{row["body"]}",{row["mood"]}\n' for row in rows[30:])
    path = describe(table(ROWS[:30]) + "\ufeff" + quoted, max_length=32)
    assert texts_of(path) == sorted((row["body"],) for row in [*ROWS[:30], *rows[30:]])
    inside = [row | {"body": f'"First line\n\ufeff""quoted"" {i}"'} for i, row in enumerate(ROWS)]
    assert all("\ufeff" in text for (text,) in texts_of(describe(table(inside), max_length=32))), "that is the text's"


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
    with pytest.raises(InputError, match="UTF-32 without a mark.*'encoding: utf-32-be'"):
        get_task(describe(table(rows).encode("utf-32-be")))


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (table().encode(), "utf-16", "is UTF-8 text, so 'encoding: utf-16' would garble it"),
        (table().encode("utf-16-le"), "utf-16-be", "utf-16-be has its bytes the wrong way round"),
        (table().encode() + bytes(50), None, r"line 62: the file ends there in bytes of 0, damaged"),
        (table().encode() + bytes(9000), None, r"line 62: the file ends there in bytes of 0, damaged"),
        (table()[:-40].encode(), None, r"line 60: not as many .*; complete it, or put a text that goes on"),
    ],
)
def test_bytes_that_are_not_what_is_said_are_no_empty_file(describe, content, encoding, message):
    with pytest.raises(InputError, match=message):
        get_task(describe(content, encoding=encoding))


@pytest.mark.parametrize(
    ("encoding", "message"),
    [("cp1252", "is UTF-8 text, so 'encoding: cp1252' would garble it"), ("martian", "no encoding 'martian'")],
)
def test_a_wrong_encoding_is_not_obeyed(describe, encoding, message):
    with pytest.raises(InputError, match=message):
        get_task(describe(table(beginning("Über")), encoding=encoding))


def beginning(words):
    return [row | {"body": f"{words} {row['body']}"} for row in ROWS]


@pytest.mark.parametrize(
    ("words", "encoding", "said", "message"),
    [
        ("schön für", "utf-16-le", "cp1252", r"UTF-16 without a mark\? .* say 'encoding: utf-16-le'"),
        ("schön für", "cp1252", "utf-16", "has no byte of 0, as utf-16 has in each line; 'encoding: utf-16' is not wh"),
        ("schön für", "cp1252", "utf-16-le", "'encoding: utf-16-le' is not what it has; correct that line, or save"),
        ("schön für", "utf-32-le", "utf-16-le", "utf-16-le makes characters of 0 of it; 'encoding: utf-16-le' is not"),
        ("“schön” 5 €", "cp1252", "latin-1", "line 2: iso8859-1 has a control character .* say 'encoding: cp1252'"),
        ("“dość” 5 €", "cp1250", "iso-8859-2", "line 2: iso8859-2 has a control .* say 'encoding: cp1250'"),
        ("schön für", "mac_roman", "cp1252", r"of 120 words .* 60 are none .*, the first in line 2 \('fŸr'\); 'encod"),
        (
            "Bär né",
            "cp850",
            "cp1252",
            r"60 are none that anybody writes, the first in line 2 \('B„r'\); 'encoding: cp12",
        ),
        ("Bär né", "cp1252", "cp850", r"none that anybody writes, the first in line 2 \('nÚ'\)"),
        ("Привет Мир", "cp1251", "cp1252", r"the first in line 2 \('Ïðèâåò'\)"),
        ("Привет Мир", "koi8-r", "cp1251", r"120 are none that anybody writes, the first in line 2 \('рТЙЧЕФ'\)"),
        ("Καλημέρα", "cp1253", "cp1252", r"60 are none that anybody writes"),
        ("schön für", "cp1252", "cp1251", r"the first in line 2 \('schцn'\)"),
        ("Stück für", "cp1252", "gbk", r"the first in line 2 \('St點k'\)"),
        ("我喜欢手机", "gbk", "cp1252", "60 are none that anybody writes"),
        ("był żółty mąż", "cp1250", "cp1252", r"the first in line 2 \('¿ó³ty'\)"),
    ],
)
def test_a_wrong_encoding_that_can_be_read_is_refused_by_its_words(describe, words, encoding, said, message):
    with pytest.raises(InputError, match=message):
        get_task(describe(table(beginning(words)).encode(encoding), encoding=said))


@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        ("«L’été…déjà» — c´est 15°C l'œuf ÉTÉ Ÿ 10€ ½ naïve“quoted”", "cp1252"),
        ("Äpfel ß Straße Ça va", "latin-1"),
        ("Привет Мир IT-отдел iPhone", "cp1251"),
        ("Привет Мир", "koi8-r"),
        ("Καλημέρα κόσμε ΑΒΓΔ", "cp1253"),
        ("şöyle İstanbul ığdır", "cp1254"),
        ("żółty mąż był", "iso-8859-2"),
        ("我喜欢iPhone手机和A股", "gbk"),
        ("これはiPhoneです", "shift_jis"),
        ("좋은 LG전자", "euc-kr"),
        ("Ärger", "utf-8-sig"),
        ("Ärger", "UTF8"),
    ],
)
def test_an_encoding_that_is_right_is_obeyed(describe, words, encoding):
    rows, content = beginning(words), table(beginning(words)).encode(encoding)
    path = describe(content.removeprefix(b"\xef\xbb\xbf"), encoding=encoding, max_length=64)
    assert texts_of(path) == sorted((row["body"],) for row in rows)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        (None, r"a byte in line 62 is not of UTF-8, which the rest is; mend it there"),
        ("cp1252", r"is UTF-8 text but for 1 bytes, the first in line 62, so 'encoding: cp1252' would garble the rest"),
    ],
)
def test_utf_8_with_a_broken_byte_is_no_other_encoding(describe, encoding, message):
    content = table(beginning("schön")).encode() + "naïve,up\n".encode("latin-1")
    with pytest.raises(InputError, match=message):
        get_task(describe(content, encoding=encoding))


def test_texts_that_were_garbled_before_they_were_saved_are_told(describe, capfd):
    rows = beginning("schön")
    get_task(describe(table([*rows, *(row | {"body": f"schÃ¶n {row['body']}"} for row in ROWS[:9])])))
    told = "9 rows of mine.csv are garbled, the first at mine.csv, line 62: 'schÃ¶n', which was 'schön' before"
    assert told in capfd.readouterr().err
    get_task(describe(table(beginning("«LIBERTÉ» ÉGALITÉ® São Â"))))
    assert "garbled" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"PK\x03\x04", "spreadsheet"),
        (b"\x1f\x8b", "unpack it"),
        (b"PAR1", "parquet"),
        (b"\xd0\xcf\x11\xe0", "old spr"),
        (b"BZh91AY&SY", "compressed; unpack it"),
        (b"\xfd7zXZ\0", "compressed; unpack it"),
        (b"\x28\xb5\x2f\xfd", "compressed; unpack it"),
        (b"SQLite format 3\0", "a database"),
        (b"\x80\x04\x95", "a pickle, which could run code"),
        (b"%PDF-1.7", "a PDF"),
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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("aprat_by: who", "mine.yaml has a line 'aprat_by', which counts for nothing; did you mean 'apart_by'"),
        ("Labels: [up, down]", "mine.yaml has a line 'Labels', which counts for nothing; did you mean 'labels'"),
        ("task: BoolQ", "mine.yaml names data of your own and a 'task' as well; take one of these lines out"),
    ],
)
def test_no_line_of_a_description_counts_for_nothing_in_silence(describe, line, message):
    """By symptom: authors stand in train and in test; a task is named, and another one is run."""
    path = describe(table(), max_length=32)
    with open(path, "a") as file:
        file.write(f"{line}\n")
    with pytest.raises(InputError, match=message):
        get_task(path)


def test_no_parameter_of_a_chapter_is_taken_for_a_slip():
    names = {name for chapter in params.chapters() for name in params.declared(chapter)}
    custom._check_spelling("mine.yaml", dict.fromkeys([*names, *params.RUN_KEYS, *param_files.names("size")]))


def test_two_columns_of_one_name_are_refused(describe):
    doubled = "body,mood,mood\n" + "".join(f"{row['body']},{row['mood']},x\n" for row in ROWS)
    with pytest.raises(InputError, match=r"mine\.csv: two columns are named 'mood'; rename one"):
        get_task(describe(doubled))
    with pytest.raises(InputError, match=r"mine\.jsonl, line 1: not JSON \('mood' stands there twice\)"):
        get_task(describe('{"body": "a", "mood": "up", "mood": "down"}\n', "mine.jsonl"))


@pytest.mark.parametrize(("names", "rows"), [("", ","), (",", ""), (",,", ""), ("", ",,"), (",,", ",,"), (",", ", ")])
def test_separators_at_the_end_of_each_line_are_no_columns(describe, names, rows):
    path = describe(f"body,mood{names}\n" + "".join(f"{row['body']},{row['mood']}{rows}\n" for row in ROWS))
    assert texts_of(path) == EXPECTED and get_task(path).labels == ("down", "up")


def test_a_separator_at_the_end_of_some_lines_is_one_of_a_text(describe):
    rows = [{"mood": row["mood"], "body": row["body"] + "," * (i == 7)} for i, row in enumerate(ROWS)]
    with pytest.raises(
        InputError, match=r"line 9: not as many columns .*\(3 instead of 2.*put texts with ',' in quotes"
    ):
        get_task(describe(table(rows)))


def test_two_columns_of_one_name_that_nobody_asks_for_are_no_harm(describe):
    assert texts_of(describe("body,n,mood,n\n" + "".join(f"{r['body']},1,{r['mood']},2\n" for r in ROWS))) == EXPECTED


def test_two_columns_without_brackets_are_told_how_to_be_written(describe):
    rows = [row | {"title": "A day"} for row in ROWS]
    with pytest.raises(InputError, match=r"no column 'title, body'; .*; for two columns write \[title, body\]"):
        get_task(describe(table(rows), text="title, body"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"file": "mine.json"}, "mine.json is none of .*; write one object on each line, .* and call it .jsonl"),
        ({"file": "mine.csv.gz"}, "mine.csv.gz is none of .*; unpack it"),
        ({"file": "mine.xlsx"}, "mine.xlsx is none of .*; save its table as CSV, UTF-8"),
        ({"file": "mine.txt"}, "mine.txt is none of .*; if it is a table, call it .csv or .tsv"),
        ({"file": "mine.parquet"}, "mine.parquet is none of .*; save it as one of these"),
        ({"file": "https://example.org/a.csv"}, "mine.yaml: file is an address, .*; fetch it, and name the file"),
        ({"test_file": "s3://a/b.csv"}, "mine.yaml: test_file is an address"),
    ],
)
def test_what_is_no_table_is_told_what_to_do_with_it(describe, lines, message):
    with pytest.raises(InputError, match=message):
        get_task(describe(table(), **lines))


def test_a_folder_is_no_file(describe, tmp_path):
    (tmp_path / "all.csv").mkdir()
    with pytest.raises(InputError, match=r"all\.csv is a folder; name a file in it"):
        get_task(describe(table(), file=str(tmp_path / "all.csv")))


def test_names_of_the_columns_that_come_again_are_no_class(describe):
    with pytest.raises(InputError, match=r"mine\.csv, line 62: the names of the columns stand there again"):
        get_task(describe(table() * 3))


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("My reviews,,\nbody,mood,\n", "line 1: there is no column 'body'; the columns are My reviews"),
        ("'body','mood'\n'a','up'\n", "the columns are \"'body'\", \"'mood'\""),
        ("<!DOCTYPE html>\n<html>\n", "the columns are <!DOCTYPE html>"),
        ("body^mood\n", "the columns are body^mood"),
        ("x" * 5000 + "\n", f"the columns are {'x' * 60}..."),
    ],
)
def test_a_first_line_that_names_other_columns_is_shown(describe, content, shown):
    with pytest.raises(InputError) as told:
        get_task(describe(content))
    assert shown in str(told.value) and "mine.csv, line 1" in str(told.value)


def test_columns_without_a_name_are_no_harm(describe):
    assert texts_of(describe("body,mood,,\n" + "".join(f"{r['body']},{r['mood']},,\n" for r in ROWS))) == EXPECTED


def test_a_column_that_is_missing_by_a_space_is_shown_with_it(describe):
    rows = [{"body ": row["body"], "mood": row["mood"]} for row in ROWS]
    with pytest.raises(InputError, match="there is no column 'body'; the columns are 'body ', mood"):
        get_task(describe(table(rows)))


def test_a_column_that_is_missing_by_letters_of_another_alphabet_is_spelt_out(describe):
    with pytest.raises(InputError) as told:
        get_task(describe(table(), text="b\u043edy"))
    assert "there is no column 'b\\u043edy'; the columns are 'body', mood" in str(told.value)


def test_a_column_that_is_missing_by_its_letters_is_shown_with_them(describe):
    rows = [{"gru\u0308n": row["body"], "mood": row["mood"]} for row in ROWS]
    with pytest.raises(InputError) as told:
        get_task(describe(table(rows), text="gr\u00fcn"))
    assert "the columns are 'gru\\u0308n', mood" in str(told.value)


@pytest.mark.parametrize("path", ["~nobody-of-this-name/mine.csv"])
def test_a_home_that_is_nobodys_is_told(describe, path):
    with pytest.raises(InputError, match="there is no home folder for '~nobody"):
        get_task(describe(table(), file=path))


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


@pytest.mark.parametrize("end", ["\r\n", "\r", "\r\r\n"])
def test_lines_of_json_end_as_those_of_a_table_may(describe, end):
    assert texts_of(describe(lines_of(ROWS).replace("\n", end), "mine.jsonl", max_length=32)) == EXPECTED
    with pytest.raises(InputError, match=r"mine\.jsonl, line 61: not JSON"):
        get_task(describe((lines_of(ROWS) + "{\n").replace("\n", end), "mine.jsonl"))


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


@pytest.mark.parametrize(
    "nothing", ["nan", "NaN", "NULL", "None", "N/A", "\\N", "#N/A", "\u200b", "?", "-", "#REF!", "(null)", "(blank)"]
)
def test_a_sign_for_nothing_becomes_no_class_in_silence(describe, nothing):
    with pytest.raises(InputError, match=r"mine\.csv: 20 rows have the mood .* mostly means that there is none; take "):
        get_task(describe(table(labelled("up", "down", nothing))))


def test_minus_one_beside_numbers_is_no_class_in_silence_and_may_be_listed(describe):
    rows = labelled("0", "1", "-1")
    with pytest.raises(InputError, match=r"20 rows have the mood '-1', which mostly means that there is none"):
        get_task(describe(table(rows)))
    assert get_task(describe(table(rows), labels=[-1, 0, 1])).labels == ("-1", "0", "1")
    for pair in (("-1", "1"), ("+", "-"), ("-1", "neutral")):
        assert {*get_task(describe(table(labelled(*pair)))).labels} == {*pair}


@pytest.mark.parametrize(
    "labels",
    [
        ("1-2", "1 2"),
        ("A", "A-"),
        ("resign", "re-sign"),
        ("wow", "wow!"),
        (":", "!"),
        ("1,0", "10,0"),
        ("1,000", "2,000"),
        ("0,5", "1,5"),
        ("I", "L"),
        ("A", "O"),
        ("нет", "да"),
        ("2.1", "2.10.1"),
    ],
)
def test_labels_that_only_resemble_each_other_are_classes(describe, labels):
    assert {*get_task(describe(table(labelled(*labels), ";"))).labels} == {*labels}


@pytest.mark.parametrize("missing", [None, float("nan"), "", "  "])
def test_rows_without_a_label_are_counted(describe, missing):
    with pytest.raises(InputError, match=r"mine\.jsonl: 20 rows have no mood; label them or take them out"):
        get_task(describe(lines_of(labelled("up", "down", missing)), "mine.jsonl"))


@pytest.mark.parametrize(
    "alike",
    [
        *(("up", "Up"), ("up", "up\u200b"), ("caf\u00e9", "cafe\u0301"), ("1", "1.0"), ("1", "01"), ("a b", "a\xa0b")),
        *(
            ("1", "1,0"),
            ("1000", "1,000"),
            ("1000", "1.000"),
            ("0", "O"),
            ("10", "1O"),
            ("up", "u\u0440"),
            ("up", "up."),
            ("not_up", "not up"),
            ("not-up", "Not up:"),
            ("1", "\uff11"),
        ),
    ],
)
def test_labels_that_look_alike_are_not_two_classes_in_silence(describe, alike):
    with pytest.raises(InputError, match=r"mine\.csv: the mood .* rows\) look alike; write them alike, or list both"):
        get_task(describe(table(labelled("down", *alike), ";")))


@pytest.mark.parametrize(
    "labels",
    [
        *(("True", 1, "False", 0), ("yes", "no", "y"), ("N", "no", "maybe"), ("true", "yes", "no"), ("T", "true", "x")),
        *((True, 1, False), (True, "yes", False)),
    ],
)
def test_truths_of_several_spellings_are_no_further_classes(describe, labels):
    with pytest.raises(InputError, match=r"rows\) look alike; write them alike, or list both under 'labels'"):
        get_task(describe(lines_of(labelled(*labels)), "mine.jsonl"))


@pytest.mark.parametrize("labels", [("f", "n"), ("t", "n"), ("yes", "no", "maybe"), ("true", "no"), ("1", "2", "yes")])
def test_words_that_could_be_truths_are_classes(describe, labels):
    assert {*get_task(describe(table(labelled(*labels)), max_length=32)).labels} == {*labels}


@pytest.mark.parametrize("label", ["very\nup", "very\tup", "very\u2028up", "very\rup"])
def test_a_class_of_two_lines_is_refused(describe, label):
    with pytest.raises(InputError, match=r"line 1: mine: mood: .* has a tab or the end of a line in it; write a class"):
        get_task(describe(lines_of(labelled(label, "down")), "mine.jsonl"))


def test_labels_that_look_the_same_and_are_not_are_spelt_out(describe, tmp_path):
    rows = labelled("cafe\u0301", "tea")
    with pytest.raises(InputError, match=r"has the mood 'caf\\xe9' \(there is 'cafe\\u0301'\); correct 'labels'"):
        get_task(describe(table(rows), labels=["caf\u00e9", "tea"]))
    with pytest.raises(InputError, match=r"has the mood 't\\u0435a' \(there is 'tea'\); correct 'labels'"):
        get_task(describe(table(rows), labels=["cafe\u0301", "t\u0435a"]))
    (tmp_path / "test.csv").write_text(table([row | {"mood": "caf\u00e9"} for row in NEW]))
    with pytest.raises(InputError, match=r"test\.csv, line 2: mood='caf\\xe9' \(there is 'cafe\\u0301'\) is not am"):
        get_task(describe(table(rows), test_file=str(tmp_path / "test.csv"), max_length=32))


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


def test_a_message_stays_short_whatever_stands_in_the_file(describe):
    long = [
        (lines_of([row | {"body": {"en": "x" * 9000}} for row in ROWS]), "column 'body' is {'en': 'xxx"),
        (lines_of([row | {"mood": ("x", "X")[i % 2] * 9000} for i, row in enumerate(ROWS)]), "look alike"),
        (lines_of([row | {"mood": "x" * 9000} for row in ROWS]), "two classes are needed"),
        (lines_of([row | {"mood": ["x" * 9000]} for row in ROWS]), "is no class"),
        (lines_of([row | {"mood": 10**400 + i % 2} for i, row in enumerate(ROWS)]), "look alike"),
    ]
    for content, message in long:
        with pytest.raises(InputError, match=message) as told:
            get_task(describe(content, "mine.jsonl"))
        assert len(str(told.value)) < 500


def test_texts_that_are_numbers_are_asked_about(describe, capfd):
    with pytest.raises(
        InputError, match="column 'body' is 5, .*; put it in quotes, as in \"5\", or name another column"
    ):
        get_task(describe(lines_of([{"body": 5, "mood": "up"}]), "mine.jsonl"))
    get_task(describe(table([row | {"body": f"1{i},5"} for i, row in enumerate(ROWS)], ";")))
    assert "every body of mine.csv is a number; if that is not the text, name another" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"apart_by": 0}, "apart_by is 0; give one text, in quotes if it looks like a number"),
        ({"label": 0}, "label is 0; give one text, in quotes if it looks like a number"),
        ({"text": 0}, "text is 0; name one column"),
        ({"metric": False}, "metric is False; give one text"),
        ({"encoding": 1252}, "encoding is 1252; give one text"),
        ({"max_length": 0}, "max_length is 0; give a number of tokens from 16"),
        ({"labels": []}, r"labels is \[\]; list at least two"),
        ({"labels": 0}, "labels is '0'; list at least two"),
    ],
)
def test_zero_and_no_are_values_and_not_left_out(describe, lines, message):
    with pytest.raises(InputError, match=message):
        get_task(describe(table([row | {"0": i} for i, row in enumerate(ROWS)]), **lines))


def test_seven_and_seven_point_nothing_are_one_author(describe):
    rows = [row | {"who": (i // 3, float(i // 3), f"{i // 3}.0")[i % 3]} for i, row in enumerate(ROWS)]
    path = describe(lines_of(rows), "mine.jsonl", apart_by="who", max_length=32)
    day = re.compile(r"day (\d+)")
    found = [{int(day.search(text[0])[1]) // 3 for text in load_split(path, name).texts} for name in SPLITS]
    assert sum(map(len, found)) == 20, "no author is in two of them"


@pytest.mark.parametrize("text", ["\u200b\u200b", "\x01\x02", "\ufeff", "\u2028", "\xa0"])
def test_a_text_in_which_nothing_shows_is_none(describe, text):
    with pytest.raises(
        InputError, match=r"mine\.csv, line 62: mine: column 'body' is .* must hold some text; write it"
    ):
        get_task(describe(table([*ROWS, {"body": f'"{text}"', "mood": "up"}])))


@pytest.mark.parametrize("text", ["😀", "👩‍👩‍👧", "مرحبا", "؟", "🇩🇪"])
def test_signs_alone_are_a_text(describe, text):
    rows = [row | {"body": text * (i + 1)} for i, row in enumerate(ROWS)]
    assert texts_of(describe(table(rows), max_length=64)) == sorted((row["body"],) for row in rows)


def test_equal_texts_of_two_classes_are_told(describe, capfd):
    rows = [{"body": f"text {i // 2}", "mood": ("up", "down")[i % 2]} for i in range(120)]
    get_task(describe(table(rows), max_length=32))
    told = "60 rows of mine.csv have the text of an earlier row and another mood, the first at mine.csv, line 3"
    assert told in capfd.readouterr().err


# ---- how rows are divided --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "lines", "message"),
    [
        ([{"body": "same", "mood": row["mood"]} for row in ROWS], {}, "mine.csv: 60 rows have only 1 different texts"),
        (
            [row | {"who": "x"} for row in ROWS],
            {"apart_by": "who"},
            "only 1 different values of who, and equal ones stay",
        ),
        (
            [row | {"who": i if i < 5 else ""} for i, row in enumerate(ROWS)],
            {"apart_by": "who"},
            "only 6 different values of who, .* so that train would have 2 rows; name another 'apart_by'",
        ),
        (ROWS, {"apart_by": "mood"}, "mine.yaml: apart_by names the label"),
        (ROWS, {"apart_by": "who"}, "mine.csv, line 1: there is no column 'who'"),
        (ROWS, {"metric": "accuracy of the choice"}, "there is no metric .*; there are accuracy, macro F1, matthews"),
        (ROWS, {"quotes": 0}, "quotes is 0; give true or false"),
    ],
)
def test_what_cannot_be_divided_is_refused_with_the_column(describe, rows, lines, message):
    with pytest.raises(InputError, match=message):
        get_task(describe(table(rows), max_length=32, **lines))


def test_copies_that_differ_in_what_no_model_sees_are_in_one_split(describe, tmp_path, capfd):
    """By symptom: the accuracy of test is that of texts known by heart; 27 of 60 texts stood in two splits."""
    loud = [row | {"body": f"{row['body'].upper()}\u200b  "} for row in ROWS]
    path = describe(table([*ROWS, *loud]), max_length=32)
    splits_of: dict[str, set[str]] = {}
    for name in SPLITS:
        for (text,) in load_split(path, name).texts:
            splits_of.setdefault(re.search(r"\d+", text)[0], set()).add(name)
    assert len(splits_of) == 60 and {*map(len, splits_of.values())} == {1}
    (tmp_path / "test.csv").write_text(table([*loud[:9], *NEW]))
    get_task(describe(table(), max_length=32, test_file=str(tmp_path / "test.csv")))
    assert "9 rows of test.csv stand in mine.csv too, the first at test.csv, line 2" in capfd.readouterr().err


def test_an_author_in_capitals_is_the_same_one(describe):
    rows = [row | {"who": ("Ann %d", "ann  %d ")[i % 2] % (i // 2)} for i, row in enumerate(ROWS)]
    path = describe(table(rows), apart_by="who", max_length=32)
    found = [
        {int(re.search(r"day (\d+)", text[0])[1]) // 2 for text in load_split(path, name).texts} for name in SPLITS
    ]
    assert sum(map(len, found)) == 30, "no author is in two of them"


@pytest.mark.parametrize(
    ("rows", "lines", "told"),
    [
        (
            [row | {"who": f"a{i}" if i % 2 else ""} for i, row in enumerate(ROWS * 5)],
            {"apart_by": "who"},
            "150 of 300 rows of mine.csv have the who '', so all of them are in train: dev has ",
        ),
        (
            [row | {"body": row["body"] if i % 2 else "see above"} for i, row in enumerate(ROWS * 2)],
            {},
            "60 of 120 rows of mine.csv are copies of one text, so all of them are in ",
        ),
        (
            [row | {"who": f"{row['mood']} {i // 30}"} for i, row in enumerate(ROWS)],
            {"apart_by": "who"},
            "no row of dev has the mood '",
        ),
    ],
)
def test_a_split_that_says_little_is_told(describe, rows, lines, told, capfd):
    get_task(describe(table(rows), max_length=32, **lines))
    assert told in capfd.readouterr().err


NEW = [{"body": f"new {i}", "mood": ("up", "down")[i % 2]} for i in range(20)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS, r"all rows of test\.csv stand in mine\.csv too; name a test_file of other texts"),
        (NEW[:5], r"test\.csv has 5 rows, at least 6 are needed"),
        ([{"text": "a", "mood": "up"}], r"test\.csv, line 1: there is no column 'body'; the columns are text, mood"),
        ([*NEW, {"body": "", "mood": "up"}], r"test\.csv, line 22: mine: column 'body' is ''"),
        ([*NEW, {"body": "x" * 200_000, "mood": "up"}], r"test\.csv, line 22: a text of 200,000 characters"),
        ([*NEW, {"body": "a", "mood": ""}], r"test\.csv, line 22: mood='' is not among the labels of training"),
        ([*NEW, {"body": "a", "mood": "Up"}], r"test\.csv, line 22: mood='Up' is not among the labels .*'up'; correct"),
    ],
)
def test_a_test_file_is_read_as_strictly_and_named(describe, tmp_path, rows, message):
    (tmp_path / "test.csv").write_text(table(rows))
    with pytest.raises(InputError, match=message):
        get_task(describe(table(), test_file=str(tmp_path / "test.csv"), max_length=32))


def test_a_test_file_without_a_class_of_train_is_told(describe, tmp_path, capfd):
    (tmp_path / "test.csv").write_text(table(NEW[::2]))
    get_task(describe(table(), test_file=str(tmp_path / "test.csv"), max_length=32))
    assert "no row of test.csv has the mood 'down': nothing is reported of it" in capfd.readouterr().err


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
        (b"n_train: 010\n", "'n_train' is a int, but got the str '010'; write 10"),
        (b"minutes: 1:30\n", "'minutes' is a float, but got the str '1:30'"),
        (b"n_train: 1e3\n", "'n_train' is a int, but got the str '1e3'; write 1000"),
        (b"weak_teacher: no\n", "'weak_teacher' is a str, but got the bool False; give a str, in quotes"),
        (b"seeds: [0, 0]\n", r"'seeds' is \[0, 0\]; give each value once"),
        (b"size: 1\n", "mine.yaml: size is 1; give one text"),
        (b"hardware: [cpu]\n", r"mine.yaml: hardware is \['cpu'\]; give one text"),
        (b"n_train: '3'\n", "'n_train' is a int, but got the str '3'; write 3"),
        (b"n_train: 3.0\n", "'n_train' is a int, but got the float 3.0; write 3"),
        (b"n_train: yes\n", "'n_train' is a int, but got the bool True; give a plain number"),
        (b"n_train:\n", "'n_train' is a int, but got the NoneType None; give a number"),
        (b"seeds: 0\n", r"'seeds' is a list\[int\], but got 0; write it as \[a, b\]"),
        (b"N_TRAIN: 3\n", "no chapter has a parameter 'N_TRAIN'; did you mean 'n_train'"),
        (b"temperature: .inf\n", "'temperature' is inf, but takes more than 0, a finite number"),
        (b"temperature: .nan\n", "'temperature' is nan, but takes more than 0, a finite number"),
        (b"n-train: 3\n", "no chapter has a parameter 'n-train'; did you mean 'n_train'"),
        (b"n_train:3\n", "mine.yaml must hold lines of the form 'name: value'"),
        (b"\tn_train: 3\n", "mine.yaml is not valid YAML"),
        (b"full:\n  epoch: 2\n", "no chapter has a parameter 'epoch'; did you mean 'epochs'"),
        (b"standard:\n  epochs: many\n", "'epochs' is a int, but got the str 'many'"),
        (b"standart:\n  epochs: 3\n", "no chapter has a parameter 'standart'; did you mean 'standard'"),
        (b"Smoke:\n  epochs: 3\n", "no chapter has a parameter 'Smoke'; did you mean 'smoke'"),
        (b"descripton: x\n", "no chapter has a parameter 'descripton'; did you mean 'description'"),
        (b"smoke:\n  size: full\n", "'size' is no parameter; say it behind make, as in SIZE=smoke"),
        (b"smoke:\n  after: x\n", r"'after' is no parameter; it can stand only in a run's own file, here .*mine\.yaml"),
        (b"epochs: !!int\n", r"mine\.yaml is not valid YAML: a value is not of the kind that its tag says"),
        (b"epochs: !!bool x\n", r"mine\.yaml is not valid YAML: a value is not of the kind that its tag says"),
        (
            b"description: !!timestamp x\n",
            r"mine\.yaml is not valid YAML: a value is not of the kind that its tag says",
        ),
        (b"teacher: ''\n", "parameter 'teacher' is empty; give it a value, or leave it out"),
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


def test_a_file_of_nearly_the_right_ending_is_told(tmp_path, monkeypatch):
    for folder in ("size", "hardware"):
        (tmp_path / folder).symlink_to(param_files.PARAMS / folder)
    monkeypatch.setattr(param_files, "PARAMS", tmp_path)
    (tmp_path / "mine.yml").write_text("epochs: 1\n")
    with pytest.raises(InputError, match="there is no run 'mine' in params/; call mine.yml there mine.yaml"):
        params.load_run("mine", "smoke")


def test_what_describes_data_holds_for_every_size(describe, tmp_path, monkeypatch):
    """By symptom: told to add a line 'file: ...', which stands there."""
    for folder in ("size", "hardware"):
        (tmp_path / folder).symlink_to(param_files.PARAMS / folder)
    monkeypatch.setattr(param_files, "PARAMS", tmp_path)
    describe(table(), smoke={"max_length": 64})
    with pytest.raises(InputError, match=r"'max_length' describes .*; write it in .*mine\.yaml, before all sizes"):
        params.load_run("mine")
    describe(table())
    with pytest.raises(InputError, match=r"'text' describes data .*; write it in .*mine\.yaml"):
        params.load_run("mine", overrides=["text=title"])


def test_what_a_mac_leaves_beside_a_file_is_no_run(tmp_path, monkeypatch):
    monkeypatch.setattr(param_files, "PARAMS", tmp_path)
    (tmp_path / "mine.yaml").write_text("epochs: 1\n")
    (tmp_path / "._mine.yaml").write_bytes(b"\0\5\x16\7")
    assert param_files.names("run") == ["mine"]


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
