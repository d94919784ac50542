"""A data set of the reader's own: what a few lines of YAML say about a file, and every way in which it can be wrong."""

import csv
import json
from collections import Counter

import pytest

from fflib.data import custom, text_lengths
from fflib.data.registry import get_task
from fflib.data.splits import load_split
from fflib.files import ROOT, InputError
from fflib.runs import param_files, params, provenance

ROWS = [
    {"title": f"Note {i}", "body": f"It was {('bright', 'dull')[i % 2]} on day {i}.", "mood": str(i % 2)}
    for i in range(200)
]


def write_csv(path, rows=ROWS, encoding="utf-8", **options):
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), **options)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def describe(tmp_path):
    """Write a description, by default of a good CSV file, and return its path; None takes a line out."""

    def make(rows=ROWS, **changes):
        lines = {"file": str(write_csv(tmp_path / "mine.csv", rows)), "text": ["title", "body"], "label": "mood"}
        lines |= changes
        path = tmp_path / "mine.yaml"
        path.write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in lines.items() if v is not None))
        return str(path)

    return make


def texts_of(path):
    return {name: load_split(path, name) for name in ("train", "dev", "test")}


def test_a_file_and_two_column_names_make_a_task(describe):
    task = get_task(describe())
    assert (task.name, task.text_fields, task.labels, task.metrics) == (
        "mine",
        ("title", "body"),
        ("0", "1"),
        ("accuracy",),
    )
    splits = texts_of(describe())
    assert sum(map(len, splits.values())) == 200 and splits["test"].task == "mine"
    assert 15 <= len(splits["test"]) <= 45 and 8 <= len(splits["dev"]) <= 35
    seen = Counter(text for split in splits.values() for text in split.texts)
    assert set(seen.values()) == {1} and all(text[1].split()[2] in ("bright", "dull") for text in seen)
    right = splits["train"].texts[0][1].split()[2]
    assert splits["train"].labels[0] == ("bright", "dull").index(right)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_every_kind_of_file_gives_the_same(describe, tmp_path, kind):
    path = tmp_path / f"other.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row | {"mood": int(row["mood"])}) + "\n" for row in ROWS))
    else:
        write_csv(path, delimiter="\t" if kind == "tsv" else ",", quoting=csv.QUOTE_ALL)
    expected = load_split(describe(), "train").fingerprint
    assert load_split(describe(file=str(path)), "train").fingerprint == expected


def test_one_column_of_text_and_labels_in_the_order_that_is_given(describe):
    path = describe(text="body", labels=[1, 0], max_length=64, metric="macro F1")
    task = get_task(path)
    assert (task.text_fields, task.labels, task.max_length, task.metrics) == (("body",), ("1", "0"), 64, ("macro F1",))
    split = load_split(path, "train")
    assert all((("dull" in text[0]) == (label == 0)) for text, label in zip(split.texts, split.labels, strict=True))


def test_the_length_holds_nearly_every_text(describe):
    assert get_task(describe()).max_length == 16
    long = [row | {"body": row["body"] + " and so on" * 40} for row in ROWS]
    assert get_task(describe(long)).max_length == 256
    endless = [row | {"body": row["body"] + " and so on" * 400} for row in ROWS]
    assert get_task(describe(endless)).max_length == 512


def test_equal_rows_and_rows_of_one_author_stay_together(describe):
    twice = texts_of(describe([*ROWS, *ROWS]))
    owners = {text: name for name, split in twice.items() for text in split.texts}
    assert all(owners[text] == name for name, split in twice.items() for text in split.texts)
    authored = texts_of(
        describe(
            [row | {"author": f"author {i % 20}", "body": row["body"] + f" ({i % 20})"} for i, row in enumerate(ROWS)],
            apart_by="author",
        )
    )
    authors = [{text[1].split("(")[1] for text in split.texts} for split in authored.values()]
    assert not authors[0] & authors[1] and not authors[0] & authors[2] and not authors[1] & authors[2]


def test_a_test_file_is_the_test_split_and_copies_are_told(describe, tmp_path, capfd):
    other = [row | {"title": f"New {row['title']}"} for row in ROWS[:30]] + ROWS[:2]
    path = describe(test_file=str(write_csv(tmp_path / "test.csv", other)))
    splits = texts_of(path)
    assert len(splits["test"]) == 32 and len(splits["train"]) + len(splits["dev"]) == 200
    told = capfd.readouterr().err
    assert (
        told.count("warning") == 1
        and "2 rows of test.csv stand in mine.csv too, the first at test.csv, line 32" in told
    )


def test_a_mark_at_the_start_of_the_file_and_line_breaks_in_texts_do_no_harm(describe, tmp_path):
    rows = [row | {"body": "Two\nlines, " + row["body"]} for row in ROWS]
    path = write_csv(tmp_path / "marked.csv", rows, encoding="utf-8-sig")
    assert load_split(describe(file=str(path)), "train").texts[0][1].startswith("Two\nlines, ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"text": ["title", "boddy"]},
            r"mine\.csv, line 1: there is no column 'boddy'; the columns are title, body",
        ),
        ({"label": "moood"}, "there is no column 'moood'"),
        ({"label": None}, "does not say which column holds the label; add a line 'label: COLUMN'"),
        ({"text": ["a", "b", "c"]}, "name one column, or two"),
        ({"file": None}, "needs 'file: PATH' or 'hub: OWNER/NAME', one of the two"),
        ({"hub": "some/set"}, "one of the two"),
        ({"file": None, "hub": "some/set"}, "on the hub, so list its labels"),
        ({"file": "nowhere/mine.csv"}, r"there is no file .*nowhere/mine\.csv; correct the path"),
        ({"file": "mine.xlsx"}, r"mine\.xlsx is none of \.csv, \.tsv, \.jsonl"),
        ({"labels": ["0", "1", "2"]}, "no row of mine.csv has the mood '2'; correct 'labels'"),
        ({"labels": ["0", "0"]}, "list at least two different ones"),
        ({"labels": ["0"]}, "list at least two different ones"),
        ({"labels": [True, False]}, "has the mood 'true'; correct 'labels': its values are '0', '1'"),
        ({"file": None, "hub": "some/set", "labels": ["a", "b"], "test_file": "b.csv"}, "brings its own test split"),
        ({"file": ["a.csv"]}, r"file is \['a.csv'\]; give one text"),
        ({"label": ["mood"]}, r"label is \['mood'\]; give one text"),
        ({"apart_by": ["a", "b"]}, "apart_by is .*; give one text"),
        ({"label": 3}, "label is 3; give one text, in quotes if it looks like a number"),
        ({"text": [0, 1]}, r"text is \[0, 1\]; name one column, or two .*, numbers in quotes"),
        ({"metric": ["accuracy", "macro F1"]}, "metric is .*; give one text"),
        ({"metric": "f1"}, "there is no metric 'f1'; there are accuracy"),
        ({"max_length": 1024}, "max_length is 1024; give a number of tokens from 16 to 512"),
        ({"max_length": "128"}, "max_length is '128'"),
    ],
)
def test_a_description_that_does_not_fit_is_told_so(describe, changes, message):
    with pytest.raises(InputError, match=message):
        get_task(describe(**changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mood": "1"}, "every mood is '1'; two classes are needed"),
        ({"body": "  "}, "line 2: mine: column 'body' is '  ', but it must hold some text"),
        ({"body": "word " * 1_000_000}, "line 2: a text of 5,000,000 characters; cut it to 100,000, or leave it out"),
        ({"mood": ""}, "200 rows have no mood|every mood is ''"),
    ],
)
def test_rows_nothing_can_be_learnt_from_are_refused(describe, change, message):
    changed = ROWS[:1] if "body" in change else ROWS
    with pytest.raises(InputError, match=message):
        get_task(describe([*(row | change for row in changed), *ROWS[len(changed) :]]))


def test_some_rows_without_a_label_are_counted(describe):
    with pytest.raises(InputError, match="23 rows have no mood; label them or take them out"):
        get_task(describe([row | {"mood": "" if i % 9 == 0 else row["mood"]} for i, row in enumerate(ROWS)]))
    for i in range(20):  # whatever split it comes to
        with pytest.raises(InputError, match="1 rows have no mood; label them or take them out"):
            get_task(describe([*ROWS, {"title": f"Odd {i}", "body": "It hailed.", "mood": ""}]))


def test_a_label_that_is_nothing_is_no_class(describe, tmp_path):
    rows = [row | {"mood": None if i % 9 == 0 else row["mood"]} for i, row in enumerate(ROWS)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match="23 rows have no mood"):
        get_task(describe(file=str(tmp_path / "mine.jsonl")))


def test_what_no_two_splits_may_share_is_not_shared_with_a_test_file(describe, tmp_path):
    by = [row | {"author": f"author {i}"} for i, row in enumerate(ROWS)]
    apart = [ROWS[i] | {"title": f"New {i}", "author": f"other {i}"} for i in range(6)]
    fields = {"apart_by": "author", "test_file": str(write_csv(tmp_path / "test.csv", apart))}
    assert len(load_split(describe(by, **fields), "test")) == 6
    fields["test_file"] = str(write_csv(tmp_path / "other.csv", [*apart, apart[0] | {"author": "author 7"}]))
    with pytest.raises(InputError, match=r"other\.csv, line 8: author='author 7' stands in mine\.csv too"):
        get_task(describe(by, **fields))


def test_labels_that_training_never_saw_are_refused(describe, tmp_path):
    test_file = str(write_csv(tmp_path / "test.csv", [ROWS[0], ROWS[1] | {"mood": "7"}]))
    with pytest.raises(InputError, match=r"test\.csv, line 3: mood='7' is not among the labels of training, '0', '1'"):
        get_task(describe(test_file=test_file))
    with pytest.raises(InputError, match="only one row has the mood 'rare'; label more of it, or take it out"):
        get_task(describe([*ROWS, {"title": "Odd", "body": "It hailed.", "mood": "rare"}]))


def test_a_number_for_every_row_is_no_class(describe):
    with pytest.raises(InputError, match="title has 200 different values; is it the column of the classes"):
        get_task(describe(text="body", label="title"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("title,body,mood\nÜber,b,1\n".encode("latin-1"), "not UTF-8 text .line 2.; save it again"),
        (b"title,body,mood\na,b\n", "line 2: not as many columns as the first line"),
        (b"title,body,mood\na,b,c,d\n", "line 2: not as many columns"),
        (b'title,body,mood\na,"b,1\n', "not CSV"),
        (b"title,body,mood\n", "has no rows"),
        (b"", "has no rows"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(describe, tmp_path, content, message):
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        get_task(describe(file=str(tmp_path / "bad.csv")))


def test_a_run_needs_nothing_but_the_description(describe, tmp_path, monkeypatch):
    for folder in ("size", "hardware"):
        (tmp_path / folder).symlink_to(param_files.PARAMS / folder)
    monkeypatch.setattr(param_files, "PARAMS", tmp_path)
    path = describe()
    run = params.load_run("mine", "smoke")
    assert (run.hardware, run.size, run.values["task"]) == ("cpu", "smoke", path)
    assert run.chapter_values("01_baseline")["teacher"] == params.declared("01_baseline")["teacher"].default
    key = provenance.chapter_key("01_baseline", run.chapter_values("01_baseline"))
    describe([*ROWS, ROWS[0] | {"title": "One more"}])
    assert provenance.chapter_key("01_baseline", run.chapter_values("01_baseline")) != key
    describe(epochs=0, smoke={"n_dev": 7})
    values = params.load_run("mine", "smoke").values
    assert (values["epochs"], values["n_dev"]) == (0, 7), "what the reader's own file says wins over the size's"
    describe(file=None)
    with pytest.raises(InputError, match="'text' describes data of your own: add a line 'file: ...' or 'hub: "):
        params.load_run("mine", "smoke")
    describe(lable="mood")
    with pytest.raises(InputError, match="no chapter has a parameter 'lable'; did you mean 'label'"):
        params.load_run("mine", "smoke")


def test_a_task_of_one_s_own_has_its_own_source(describe):
    with pytest.raises(InputError, match="its file in params/ names the data, so data_source must be 'auto'"):
        load_split(describe(), "train", "hub")
    assert custom.is_description("params/mine.yaml") and not custom.is_description("BoolQ")


def test_lengths_are_counted_by_the_teacher_that_chapter_1_takes_by_default():
    assert f'teacher: str = "{text_lengths.TEACHER}"' in (ROOT / "notebooks" / "01_baseline.py").read_text()
