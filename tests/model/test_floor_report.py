"""What floors say about a teacher, of answers whose scores are known."""

import dataclasses

import numpy as np
import pytest

from fflib.data import metrics, registry
from fflib.data.metrics import Gold
from fflib.model import floor_report
from fflib.model.floors import Floor

TASK = registry.get_task("docs")
N = 400
LABELS = np.arange(N) % 2


def answering(share, seed=0):
    """Logits that are right for that share of the labels."""
    right = np.random.default_rng(seed).permutation(N) < share * N
    return np.eye(2)[np.where(right, LABELS, 1 - LABELS)]


def found(teacher, words=0.7, labels=LABELS, task=TASK):
    gold = Gold(labels)
    fitted = {
        "one answer for all": Floor("always no", 0.5, 0.0, lambda texts: None),
        "words": Floor("trees", words, 1.5, lambda texts: None),
    }
    test = {"one answer for all": answering(0.5, 1), "words": answering(words, 2), "teacher": answering(teacher, 3)}
    dev = {"words": answering(words, 4), "teacher": answering(teacher, 5)}
    return floor_report.fact(task, fitted, {"test": test, "dev": dev}, {"dev": gold, "test": gold}, 300)


def test_the_difference_to_the_best_floor_is_paired_and_decides_on_dev():
    facts = found(0.9)
    assert facts["best"] == "words" and facts["teacher_is_clear"]
    assert facts["teacher_above_best"]["points"] == pytest.approx(20)
    expected = metrics.difference_interval(TASK, answering(0.9, 3), answering(0.7, 2), Gold(LABELS), resamples=300)
    assert list(facts["teacher_above_best"].values()) == pytest.approx([100 * value for value in expected])
    assert facts["dev"] == {"best": 0.7, "teacher": pytest.approx(0.9), "largest_class": 0.5}
    assert [row["test"] for row in facts["rows"]] == pytest.approx([0.5, 0.7])


@pytest.mark.parametrize(("teacher", "clear"), [(0.9, True), (0.71, False), (0.5, False)])
def test_a_teacher_is_clear_where_the_whole_interval_is_above_zero(teacher, clear):
    facts = found(teacher)
    assert facts["teacher_is_clear"] == clear == (facts["teacher_above_best_on_dev"]["low"] > 0)
    said = floor_report.verdict(facts, TASK)
    assert ("not clearly above" in said) == ("`n_train`" in said) == (not clear)
    assert "paired" in said and "*words*" in said


def test_skewed_classes_are_told_with_the_parameter():
    labels = (np.arange(N) % 10 == 0).astype(int)
    own = dataclasses.replace(TASK, name="mine")
    facts = found(0.9, labels=labels, task=own)
    said = floor_report.verdict(facts, own, "params/mine.yaml")
    assert "One class is 90% of dev" in said and "`metric: matthews` into params/mine.yaml" in said
    assert "another metric" in floor_report.skew(facts, TASK)
    by_matthews = dataclasses.replace(own, metrics=("matthews",))
    assert not floor_report.skew(facts, by_matthews), "that metric shows them"
    assert not floor_report.skew(found(0.9), own), "both classes are as frequent"


def test_the_table_ends_with_the_teacher():
    rows = floor_report.table(found(0.9), metrics.Scored(0.9, 0.87, 0.93), "MiniLM")
    assert [row["score on test"] for row in rows] == ["50.0%", "70.0%", "90.0%"]
    assert rows[1][""].endswith("the best on dev") and rows[-1]["how"] == "MiniLM"


def test_a_file_is_a_description_and_a_name_is_none():
    assert floor_report.description_of("params/mine.yaml") == "params/mine.yaml"
    assert floor_report.description_of("docs") == ""
