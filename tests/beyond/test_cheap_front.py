"""A cheap front: it learns from labels and from soft answers, and answers alone only what it may."""

from __future__ import annotations

import little_superglue
import numpy as np
import pytest

from fflib.beyond import cheap_front
from fflib.data import splits
from fflib.data.metrics import Gold
from fflib.data.retention import Retention
from fflib.data.task import Task
from fflib.model import checkpoints
from fflib.model.text_means import TextMeans

THINGS = np.array(little_superglue.THINGS)


def task(fields):
    return Task("made up", tuple(f"text{i}" for i in range(fields)), "label", (0, 1), ("accuracy",), 64, "Which?")


def telling(n, fields, seed=0):
    """Texts that hold the word of their class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    rows = [tuple(f"{' '.join(rng.choice(THINGS, 3))} word{label}" for _ in range(fields)) for label in labels]
    return splits.text_split("made up", "x", rows, Gold(labels))


@pytest.fixture
def means(tmp_path):
    folder = little_superglue.save_teacher(tmp_path / "tiny")
    return TextMeans(checkpoints.load_classifier(str(folder), 2), checkpoints.load_tokenizer(folder))


@pytest.mark.parametrize("fields", [1, 2])
def test_words_are_learnt_from_labels_and_from_a_teacher_who_knows_better(fields, means):
    train, test = telling(60, fields), telling(40, fields, seed=1)
    turned = np.where(train.labels[:, None] == [1, 0], 2.0, -2.0)  # the teacher says the opposite of the labels
    fronts = cheap_front.fit(task(fields), train, turned, means)
    names = (cheap_front.WORDS, cheap_front.STATIC), (cheap_front.LABELS, cheap_front.TEACHER)
    assert [*fronts] == [(reads, taught) for reads in names[0] for taught in names[1]]
    by_labels = fronts[cheap_front.WORDS, cheap_front.LABELS](test)
    assert (by_labels.argmax(1) == test.labels).mean() > 0.9
    assert (fronts[cheap_front.WORDS, cheap_front.TEACHER](test).argmax(1) == 1 - test.labels).mean() > 0.9
    for front in fronts.values():
        assert np.exp(front(test)).sum(1) == pytest.approx(1)


def test_soft_answers_are_learnt_as_soft(means):
    train = telling(60, 1)
    unsure = np.tile([0.0, np.log(3)], (60, 1))  # a quarter and three quarters, whatever the text
    front = cheap_front.fit(task(1), train, unsure, means)[cheap_front.WORDS, cheap_front.TEACHER]
    assert np.exp(front(telling(10, 1, seed=2)))[:, 1] == pytest.approx(0.75, abs=0.02)


def test_one_class_alone_can_be_learnt(means):
    train = telling(40, 1).take(range(0, 40, 2))
    fronts = cheap_front.fit(task(1), train, np.tile([9.0, -9.0], (20, 1)), means)
    assert all((front(telling(10, 1)).argmax(1) == 0).all() for front in fronts.values())


def keeps(doubt):
    """Say what share is right, with an interval that reaches so far below it."""

    def share(logits):
        value = float((logits.argmax(1) == 1).mean())
        return Retention(value, value - doubt, value, len(logits), 0, 0)

    return share


def test_the_surest_texts_are_answered_as_long_as_both_demands_are_kept():
    labels = np.ones(100, int)
    served = np.tile([0.0, 1.0], (100, 1))
    sure = np.arange(100) / 100
    front = np.stack([np.zeros(100), np.where(np.arange(100) < 40, -sure, 1 + sure)], 1)  # the unsure 40 are wrong
    found = cheap_front.most_answered(front, served, Gold(labels), keeps(0), 0.98, 0.95)
    assert found["share"] == pytest.approx(0.6, abs=0.05) and found["retention"] >= 0.98
    hopeless = cheap_front.most_answered(-front, served, Gold(labels), keeps(0), 0.98, 0.98)
    assert hopeless is None
    unsure = np.repeat(front, 2, 0), np.repeat(served, 2, 0), Gold(np.ones(200, int))
    assert cheap_front.most_answered(*unsure, keeps(0), 0.98, 0.95)
    assert cheap_front.most_answered(*unsure, keeps(0.2), 0.98, 0.95) is None, "dev cannot tell"
