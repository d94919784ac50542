"""SuperGLUE's metrics on cases counted by hand, against scikit-learn, and with ties; intervals against theory."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from fflib.data.metrics import (
    METRICS,
    Gold,
    answers,
    chance,
    difference_interval,
    kept,
    parts,
    score,
    score_interval,
    scored,
)
from fflib.data.registry import get_task
from fflib.data.task import Task
from fflib.files import InputError

THREE = Task("weather", ("text",), "sky", ("sun", "rain", "snow"), ("accuracy",), 64, "What is the sky like?")
LOGITS = np.array([[3.0, 1, 2], [0, 5, 1], [0, 1, 9], [4, 3, 2]])


def yes(*scores) -> np.ndarray:
    """Logits of [no, yes] whose difference is the score."""
    return np.stack([np.zeros(len(scores)), np.array(scores, float)], 1)


def test_score_is_accuracy_for_any_number_of_classes():
    labels = np.array([0, 1, 2, 1])
    assert score(THREE, LOGITS, Gold(labels)) == accuracy_score(labels, LOGITS.argmax(1)) == 0.75


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_is_that_of_scikit_learn_also_where_a_class_is_missing(seed):
    rng = np.random.default_rng(seed)
    task, labels, logits = get_task("CB"), rng.integers(3, size=12), rng.normal(size=(12, 3))
    if seed == 4:  # nobody says or is "neutral": it does not count
        labels, logits[:, 2] = np.minimum(labels, 1), -9
    got = parts(task, logits, Gold(labels))
    assert got["macro F1"] == pytest.approx(f1_score(labels, logits.argmax(1), average="macro"))
    assert score(task, logits, Gold(labels)) == pytest.approx((got["macro F1"] + got["accuracy"]) / 2)


@pytest.mark.parametrize(("seed", "classes"), [(0, 2), (1, 2), (2, 5)])
def test_matthews_is_that_of_scikit_learn_and_nothing_for_one_answer(seed, classes):
    rng = np.random.default_rng(seed)
    names = tuple(f"class {i}" for i in range(classes))
    task = Task("skewed", ("text",), "label", names, ("matthews",), 64, "Which?")
    labels = (rng.random(200) < 0.2) * rng.integers(1, classes, size=200)
    logits = rng.normal(size=(200, classes)) + np.eye(classes)[labels]
    assert score(task, logits, Gold(labels)) == pytest.approx(matthews_corrcoef(labels, logits.argmax(1)))
    assert score(task, np.eye(classes)[1 - labels.clip(max=1)], Gold(labels)) < 0, "worse than no answer at all"
    assert chance(task, Gold(labels)) == 0, "always the same answer tells nothing, however often it is right"


def test_multirc_by_hand():
    # Two questions: of three answers all are right; of two, one is missed.
    gold = Gold(np.array([1, 0, 1, 1, 0]), np.array([7, 7, 7, 3, 3]))
    logits = yes(2, -1, 1, -3, -1)
    got = parts(get_task("MultiRC"), logits, gold)
    assert got == {"F1 of the answers": pytest.approx(2 * 2 / (2 + 3)), "exact match": 0.5}
    assert got["F1 of the answers"] == pytest.approx(f1_score(gold.labels, logits.argmax(1)))
    assert score(get_task("MultiRC"), logits, gold) == pytest.approx((0.8 + 0.5) / 2)
    assert parts(get_task("MultiRC"), yes(-1, -1, -1, -1, -1), gold)["F1 of the answers"] == 0


def test_a_choice_compares_scores_and_does_not_ask_for_yes():
    gold = Gold(np.array([0, 1, 1, 0, 0, 1]), np.array([0, 0, 1, 1, 2, 2]), one_right=True)
    task = get_task("COPA")
    assert score(task, yes(-5, -4, 3, 2, 1, 2), gold) == 1  # no, no | yes, yes | yes, yes: yet the likelier is right
    assert score(task, yes(-4, -5, 3, 2, 2, 1), gold) == pytest.approx(1 / 3)


def test_of_answers_that_compete_it_is_kept_which_is_the_likelier():
    gold = Gold(np.array([0, 1, 1, 0, 1]), np.array([0, 0, 1, 1, 2]), one_right=True)
    original = yes(-5, -4, 3, 2, 1)
    assert answers(original, gold).tolist() == [0, 1, 1, 0, 1]  # by themselves: no, no, yes, yes; the last stands alone
    assert kept(yes(1, 2, -2, -3, 1), original, gold) == 1  # every score is on the other side, no choice is another
    assert kept(yes(-4, -5, 3, 2, -1), original, gold) == pytest.approx(2 / 5)
    assert kept(yes(-4, -5, 3, 2, 1), original, replace(gold, one_right=False)) == 1


def test_of_equal_scores_the_first_answer_is_given():
    gold = Gold(np.array([0, 1, 1, 0, 0, 1]), np.array([0, 0, 1, 1, 2, 2]))
    assert score(get_task("COPA"), yes(0, 0, 0, 0, 0, 0), gold) == pytest.approx(1 / 3)
    assert chance(get_task("COPA"), gold) == pytest.approx(1 / 3)


def test_record_by_hand_with_questions_that_lie_apart():
    gold = Gold(np.array([1, 0, 0, 0, 1]), np.array([4, 2, 4, 2, 2]), np.array([1, 0.5, 0.2, 0, 1.0]))
    got = parts(get_task("ReCoRD"), yes(1, 3, 0, 1, 2), gold)  # question 4: its first; question 2: half right
    assert got == {"F1 of the choice": 0.75, "accuracy of the choice": 0.5}


def test_what_is_always_said_scores_the_share_of_the_most_frequent_class():
    assert chance(THREE, Gold(np.array([0, 1, 1, 2]))) == 0.5
    labels = np.array([0, 1, 1, 2])
    expected = (0.5 + f1_score(labels, np.ones(4), average="macro")) / 2
    assert chance(get_task("CB"), Gold(labels)) == pytest.approx(expected)


def test_gold_can_be_taken_by_index():
    gold = Gold(np.array([1, 0, 1]), np.array([5, 5, 2]), np.array([0.1, 0.2, 0.3]), one_right=True)
    taken = gold.take([2, 0])
    assert taken.labels.tolist() == [1, 1] and taken.questions.tolist() == [2, 5] and taken.one_right
    assert taken.overlap.tolist() == [0.3, 0.1] and gold.numbered().tolist() == [1, 1, 0]
    assert Gold(np.array([1, 0])).take([1]).questions is None


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.zeros((4, 2)), r"shape \[4, 2\], but \[4, 3\]"),
        (np.zeros((3, 3)), r"shape \[3, 3\], but \[4, 3\]"),
        (np.full((4, 3), np.nan), "NaN"),
    ],
)
def test_logits_that_cannot_be_scored_are_refused(logits, message):
    with pytest.raises(InputError, match=message):
        score(THREE, logits, Gold(np.zeros(4, int)))


def test_nothing_to_score_and_an_unknown_metric_are_refused():
    with pytest.raises(InputError, match="n > 0"):
        score(THREE, np.zeros((0, 3)), Gold(np.zeros(0, int)))
    with pytest.raises(InputError, match="unknown metric 'vibes'"):
        score(replace(THREE, metrics=("vibes",)), np.zeros((1, 3)), Gold(np.zeros(1, int)))


def test_every_task_has_metrics_that_exist():
    for name in ("docs", "BoolQ", "CB", "COPA", "MultiRC", "ReCoRD", "RTE", "WiC"):
        assert set(get_task(name).metrics) <= set(METRICS)


def test_the_interval_is_that_of_a_binomial_and_can_be_repeated():
    gold, logits = Gold(np.zeros(1000, int)), np.zeros((1000, 3))
    logits[:200, 1] = 1  # 80 % right: a standard error of 0.0126
    low, high = score_interval(THREE, logits, gold)
    assert (low, high) == score_interval(THREE, logits, gold)
    assert low == pytest.approx(0.8 - 1.96 * 0.01265, abs=0.004)
    assert high == pytest.approx(0.8 + 1.96 * 0.01265, abs=0.004)
    narrow = score_interval(THREE, logits, gold, confidence=0.5)
    assert low < narrow[0] < 0.8 < narrow[1] < high


def test_questions_are_drawn_whole():
    """With five equal answers to a question there is as much chance in 500 answers as in 100 of them."""
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(100) < 0.8, 5)
    logits, labels = yes(*np.where(right, 1, -1)), np.ones(500, int)
    together = score_interval(replace(get_task("docs")), logits, Gold(labels, np.repeat(np.arange(100), 5)))
    alone = score_interval(get_task("docs"), logits[::5], Gold(labels[::5]))
    assert np.subtract(*together) == pytest.approx(np.subtract(*alone), rel=0.15)


def test_a_paired_difference_is_narrower_than_two_intervals_and_zero_for_equal_models():
    task, rng = get_task("docs"), np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    good = np.eye(2)[np.where(rng.random(400) < 0.85, labels, 1 - labels)]
    worse = good.copy()
    worse[:20] = np.eye(2)[1 - labels[:20]]  # wrong on twenty more at most
    lost = (good[:20].argmax(1) == labels[:20]).sum()
    difference, low, high = difference_interval(task, good, worse, Gold(labels))
    assert difference == pytest.approx(lost / 400)
    # Of n independent examples of which k differ, the difference has the standard error sqrt(k) / n.
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(lost) / 400, rel=0.2) and low < difference < high
    assert difference_interval(task, good, good, Gold(labels)) == (0, 0, 0)


def test_scored_is_the_score_with_its_interval():
    labels = np.array([0, 1] * 50)
    logits = np.eye(2)[np.where(np.arange(100) < 80, labels, 1 - labels)]
    task, gold = get_task("docs"), Gold(labels)
    assert scored(task, logits, gold, 200) == (0.8, *score_interval(task, logits, gold, resamples=200))
