"""A reader's own data through the whole book: single texts and pairs, few classes and many, skewed, short, long."""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from dataclasses import replace

import little_superglue
import numpy as np
import pyarrow.parquet
import pytest
import small_book
from conftest import examples_of

from fflib import download
from fflib.data import own_splits, registry, splits
from fflib.data.metrics import Gold
from fflib.data.registry import get_task
from fflib.distillation import augmentation
from fflib.distillation.teacher import check_teacher
from fflib.files import InputError
from fflib.measure import race as races
from fflib.measure import timing
from fflib.model import reading
from fflib.runs import param_files

THINGS, NAMES = little_superglue.THINGS, little_superglue.NAMES


def single(n, classes=2, words=9, rare=0.0, seed=0, numbered=True):
    """Rows of one text; the class is the thing it begins with. ``rare``: the share of class 1, where not equal."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(n):
        label = int(i < round(rare * n)) if rare else i % classes
        count = words if isinstance(words, int) else int(rng.integers(*words))
        text = [*(THINGS[int(digit)] for digit in f"{label:02o}"), *rng.choice(NAMES, count)]
        rows.append({"body": " ".join([*text, str(i)] if numbered else text), "mood": f"class {label}"})
    return rows


def pairs(n, classes=2, **options):
    return [row | {"title": f"{NAMES[i % 8]} {i}"} for i, row in enumerate(single(n, classes, **options))]


@pytest.fixture
def own_run(tmp_path, monkeypatch):
    """Write rows as a file with its description, and return the run on a small teacher."""

    def make(rows, text="body", lines=(), **values):
        for folder in ("size", "hardware"):
            (tmp_path / folder).symlink_to(param_files.PARAMS / folder)
        monkeypatch.setattr(param_files, "PARAMS", tmp_path)
        small_book.here(tmp_path, monkeypatch)
        with (tmp_path / "mine.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0]])
            writer.writeheader()
            writer.writerows(rows)
        teacher = little_superglue.save_teacher(tmp_path / "tiny")
        said = {"file": str(tmp_path / "mine.csv"), "text": text, "label": "mood", "teacher": str(teacher)} | dict(
            lines
        )
        (tmp_path / "mine.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in said.items()))
        return small_book.load("mine", **values)

    return make


# ---- before chapter 1 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("with_test", [True, False])
def test_a_small_file_has_something_in_every_split_and_every_class_in_train(seed, with_test):
    rows = single(40, classes=4, seed=seed)
    apart, labels = [f"{row['body']} {seed}" for row in rows], [row["mood"] for row in rows]
    moved = own_splits.moved(apart, labels, with_test)
    inside = Counter(own_splits.split_of(each, with_test, moved) for each in apart)
    assert inside["dev"] >= own_splits.LEAST["dev"] and inside["test"] >= (6 if with_test else 0)
    found = {label for each, label in zip(apart, labels, strict=True) if in_train(each, with_test, moved)}
    assert found == {*labels} and inside["train"] >= 20


def in_train(apart, with_test, moved):
    return own_splits.split_of(apart, with_test, moved) == "train"


@pytest.mark.parametrize("seed", range(30))
def test_a_class_of_two_rows_is_learnt_from(seed):
    rows = single(200, seed=seed)
    apart, labels = [row["body"] for row in rows], [row["mood"] for row in rows]
    apart, labels = [*apart, f"odd {seed}", f"even {seed}"], [*labels, "rare", "rare"]
    moved = own_splits.moved(apart, labels, with_test=True)
    assert any(in_train(each, True, moved) for each in apart[-2:])


def test_a_row_that_is_added_to_a_large_file_moves_no_other():
    apart = [f"a text {i}" for i in range(400)]
    labels = [str(i % 3) for i in range(400)]
    assert own_splits.moved(apart, labels, True) == own_splits.moved(apart[:-1], labels[:-1], True) == {}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (single(35), r"mine\.csv has 35 rows, at least 36 are needed; label more, or name another 'file'"),
        (
            [*single(60), {"body": "a bell", "mood": "odd"}],
            "only one row has the mood 'odd'; label more of it, or take",
        ),
    ],
)
def test_too_few_rows_are_refused_before_anything_runs(rows, message, own_run):
    run = own_run(rows)
    with pytest.raises(InputError, match=message):
        get_task(run.values["task"])


def test_a_teacher_of_skewed_data_is_refused_with_the_metric_and_the_way_out():
    above = {"points": 2.1, "low": -1.0, "high": 5.0}
    fact = {"best": "words", "teacher_above_best_on_dev": above, "teacher_is_clear": False}
    fact |= {"dev": {"best": 0.964, "teacher": 0.985, "largest_class": 0.96}}
    own = replace(registry.DOCS, name="mine")
    with pytest.raises(InputError) as told:
        check_teacher(own, fact, "refuse", "params/mine.yaml")
    for part in ("metric: macro F1", "weak_teacher: warn", "n_train", "params/mine.yaml", "96% of dev"):
        assert part in str(told.value)


# ---- what chapter 1 tells --------------------------------------------------------------------------------------------


def read(texts, max_length=16):
    split = splits.text_split("mine", "test", [(text,) for text in texts], Gold(np.zeros(len(texts), int)))
    tokens = splits.tokenize(split, little_superglue.tokenizer(), max_length)
    return {name: tokens for name in ("train", "dev", "test")}


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["a boat was old"] * 120, ""),
        (["сегодня хорошая погода"] * 120, "100% of the tokens are unknown** to a/teacher (`[UNK]`)"),
        (["a boat река was old"] * 120, "20% of the tokens are unknown"),
        (["a boat was old " * 9] * 120, "100% of the test texts fill all 16 tokens, so most of these are cut"),
        (["a boat was old"] * 9, "With only 9 dev and 9 test examples, scores are little more than guesses"),
    ],
)
def test_what_a_model_cannot_read_is_told(texts, told, tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path))
    said = reading.words(read(texts), little_superglue.tokenizer(), 16, "a/teacher")
    assert told in said and bool(told) == bool(said)


# ---- ties, and routes that texts do not allow ------------------------------------------------------------------------


def test_a_label_between_two_equal_logits_is_told_and_no_crash():
    examples = examples_of([5] * 8)
    expected = np.tile([1.0, 1.0], (8, 1)).astype(np.float32)
    expected[:4, 0] = 2
    other = expected.copy()
    other[4:, 1] += 5e-4

    def race(answers):
        way = timing.Variant("other", lambda inputs: answers[: len(inputs["input_ids"])], [np.arange(8)])
        return races.race({"other": way}, examples, expected, rounds=2)

    assert race(other).labels_kept == "50.00% of the labels are the same, the others are ties"
    assert race(expected).labels_kept == "every label is the same"
    other[0, 1] += 2
    with pytest.raises(AssertionError, match="off by 2"):
        race(other)


def test_pairs_are_told_from_single_texts(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path))
    reader = little_superglue.tokenizer()
    for fields, are_pairs in ((("a boat",), False), (("a boat", "a lamp"), True)):
        split = splits.text_split("mine", "test", [fields] * 3, Gold(np.zeros(3, int)))
        assert augmentation.are_pairs(splits.tokenize(split, reader, 16), reader) == are_pairs


# ---- data sets on the hub --------------------------------------------------------------------------------------------


@pytest.fixture
def hub_set(tmp_path, monkeypatch):
    """Write the files of a data set as the hub converts it, and return the description of it."""

    def make(texts=None, /, **rows):
        """Write rows of a split by their moods; ``texts``: other texts than made-up ones, by split and row."""
        for split, moods in rows.items():
            path = tmp_path / "hub" / "default" / split.replace("_", "-") / "0000.parquet"
            path.parent.mkdir(parents=True)
            own = (texts or {}).get(split, {})
            table = {"body": [own.get(i, f"{split} {i}") for i in range(len(moods))], "mood": moods}
            pyarrow.parquet.write_table(pyarrow.table(table), path)
        monkeypatch.setattr(download, "fetch", lambda *_, **__: tmp_path / "hub")
        path = tmp_path / "mine.yaml"
        path.write_text("hub: someone/moods\ntext: body\nlabel: mood\nlabels: [no, yes]\n")
        return str(path)

    return make


MOODS = ["no", "yes"] * 100


def test_a_data_set_with_train_only_is_divided(hub_set):
    path = hub_set(train=MOODS)
    found = {name: splits.load_split(path, name).texts for name in splits.SPLITS}
    assert len({text for texts in found.values() for text in texts}) == sum(map(len, found.values())) == 200
    assert 18 <= len(found["test"]) <= 45 and 8 <= len(found["dev"]) <= 35


def test_a_test_split_without_labels_is_not_reported(hub_set, capfd):
    path = hub_set(train=[*MOODS, None, "-1"], test=[None, ""] * 10)
    assert all(text[0].startswith("train") for text in splits.load_split(path, "test").texts)
    assert "2 rows without a mood are left out" in capfd.readouterr().err


def test_rows_of_the_hub_without_a_text_are_left_out_and_counted(hub_set, capfd):
    texts = {3: "", 60: None, 100: " \u200b "}
    path = hub_set({"train": texts}, train=MOODS, test=MOODS[:20])
    assert len(splits.load_split(path, "train")) + len(splits.load_split(path, "dev")) == 197
    said = "someone/moods: 3 rows without text in body are left out, the first at someone/moods default/train, row 3\n"
    assert capfd.readouterr().err == 2 * said
    assert len(splits.load_split(path, "test")) == 20


def test_a_data_set_with_no_text_at_all_is_refused(hub_set):
    path = hub_set({"train": dict.fromkeys(range(200), "")}, train=MOODS)
    with pytest.raises(InputError, match="the train split is empty"):
        splits.load_split(path, "train")


def test_a_partial_conversion_is_the_data_set_and_told(hub_set, capfd):
    path = hub_set(partial_train=MOODS, validation=MOODS[:30])
    assert len(splits.load_split(path, "train")) + len(splits.load_split(path, "dev")) == 200
    assert "someone/moods: the hub has converted a part of train only" in capfd.readouterr().err
    assert len(splits.load_split(path, "test")) == 30


def test_a_split_that_is_missing_is_told_with_those_there_are(hub_set):
    with pytest.raises(InputError, match=r"no default/train/.* \(of part-1, validation\)"):
        splits.load_split(hub_set(part_1=MOODS, validation=MOODS), "train")


# ---- the whole book --------------------------------------------------------------------------------------------------

ALWAYS = {
    "40 single texts": {"rows": single(40), "threads": 2},  # of the small books only this has several
    "pairs, 50 classes": {"rows": pairs(300, 50), "text": ["title", "body"], "lines": {"metric": "macro F1"}},
}
OTHERS = {
    "skewed, by Matthews": {"rows": single(120, rare=0.04), "lines": {"metric": "matthews"}},
    "texts of one length": {"rows": single(150, 3, numbered=False)},
    "long": {"rows": single(60, words=(100, 400))},
}
SETS = ALWAYS | (OTHERS if os.environ.get("FFLIB_ALL_TASKS") else {})


@pytest.mark.parametrize("name", SETS)
def test_the_whole_book(name, own_run, monkeypatch):
    everything = {"routes_tried": ["recombined"], "n_importance": 256, "n_retrain": 64}
    said = small_book.run_book(own_run(**SETS[name], **everything), monkeypatch)
    assert not [line for page in said.values() for line in re.findall(r".*\bnan\b.*", page)]
    assert ("these are single texts" in said["03_distillation"]) == ("pairs" not in name)
    assert "serve to choose and tune" in said["04_pruning"], "the size is cut, and said"
