"""Retention: cases counted by hand, its interval against theory and simulation, the rule, and what is said of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fflib.data import metrics, retention
from fflib.data.metrics import Gold, Metric
from fflib.data.registry import get_task
from fflib.data.retention import ABOVE, BELOW, HELD, MISSED, Retention
from fflib.data.task import Task

DOCS = get_task("docs")
THREE = Task("weather", ("text",), "sky", ("sun", "rain", "snow"), ("macro F1",), 64, "What is the sky like?")


def said(right, labels) -> np.ndarray:
    """Logits of two classes that are right where ``right`` says so."""
    return np.eye(2)[np.where(right, labels, 1 - np.asarray(labels))]


def kept(model_right, teacher_right, resamples=1000, seed=0, **gold) -> Retention:
    labels = np.arange(len(model_right)) % 2
    logits = [said(right, labels) for right in (model_right, teacher_right)]
    return retention.retention(DOCS, *logits, Gold(labels, **gold), resamples, seed)


def drawn(n, rng, if_right=0.93, if_wrong=0.15):
    """Whether model and teacher are right, n times: the model keeps 96.75 % of the teacher's 80 %."""
    teacher = rng.random(n) < 0.8
    return rng.random(n) < np.where(teacher, if_right, if_wrong), teacher


def test_what_is_kept_and_what_tells_both_apart_by_hand():
    model = [True] * 6 + [False] * 2 + [True, False]
    teacher = [True] * 8 + [False, False]
    found = kept(model, teacher)
    assert found.value == pytest.approx(7 / 8) and (found.n, found.lost, found.won) == (10, 2, 1)
    assert found.low < 7 / 8 < found.high and found.is_known
    assert replace(kept(teacher, teacher), guessed=0.0) == Retention(1.0, 1.0, 1.0, 10, 0, 0, guessed=0.0)


def test_with_one_pair_apart_every_draw_is_known():
    """Of four examples one is lost: a draw with it k times keeps 1 - k / 4, with binomial chances (McNemar, exact)."""
    found = kept([True, True, True, False], [True] * 4, resamples=20_000)
    chances = np.cumsum([math.comb(4, k) * 0.25**k * 0.75 ** (4 - k) for k in range(5)])
    most = int(np.searchsorted(chances, 0.975))  # so often it is drawn at the upper end
    assert (found.low, found.high) == (1 - most / 4, 1.0) and found.value == 0.75


def test_the_width_is_that_of_the_discordant_pairs():
    """The docstring's case: 75 % of 3,000 and 200 pairs apart are a standard error of sqrt(200) / 2,250."""
    teacher = np.arange(3000) < 2250
    model = teacher.copy()
    model[:100], model[-100:] = False, True
    found = kept(model, teacher)
    assert found.value == 1 and (found.lost, found.won) == (100, 100)
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(200) / 2250, rel=0.1)
    worse = model & (np.arange(3000) >= 200)
    found = kept(worse, teacher)
    exact = math.sqrt(((worse - found.value * teacher) ** 2).sum()) / 2250
    assert found.high - found.low == pytest.approx(2 * 1.96 * exact, rel=0.1)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng, truth = np.random.default_rng(0), 0.8 * 0.93 / 0.8 + 0.2 * 0.15 / 0.8
    found = [kept(*drawn(400, rng), resamples=200, seed=i) for i in range(200)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.90 <= covered <= 0.985
    assert np.mean([one.value for one in found]) == pytest.approx(truth, abs=0.005)


def test_paired_it_is_much_narrower_than_unpaired():
    model, teacher = drawn(2000, np.random.default_rng(1))
    found, labels = kept(model, teacher), np.arange(2000) % 2
    scores = [
        metrics.paired_scores(DOCS, said(right, labels), said(right, labels), Gold(labels), seed)[:, 0]
        for seed, right in enumerate((model, teacher))
    ]
    low, high = np.quantile(scores[0] / scores[1], [0.025, 0.975])
    assert found.high - found.low < 0.75 * (high - low)


def test_questions_are_drawn_whole():
    model, teacher = drawn(150, np.random.default_rng(2))
    alone = kept(model, teacher)
    together = kept(np.repeat(model, 6), np.repeat(teacher, 6), questions=np.repeat(np.arange(150), 6))
    assert together.value == pytest.approx(alone.value) and together.n == 900
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.15)
    apart = kept(np.repeat(model, 6), np.repeat(teacher, 6))
    assert apart.high - apart.low < 0.6 * (together.high - together.low)


def test_any_metric_is_kept_a_share_of():
    labels = np.array([0, 1, 2] * 40)
    teacher, model = np.eye(3)[labels], np.eye(3)[np.where(np.arange(120) < 20, 0, labels)]
    found = retention.retention(THREE, model, teacher, Gold(labels))
    assert found.value == pytest.approx(metrics.score(THREE, model, Gold(labels))) and found.low < found.value < 1


def matthews(sums):
    """Of two classes, from the counts of the four cells."""
    tn, fp, fn, tp = sums
    below = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return (tp * tn - fp * fn) / below if below else 0.0


def test_a_metric_that_can_be_negative_leaves_nothing_to_keep_of_a_teacher_below_zero(monkeypatch):
    tally = Metric(lambda logits, gold: np.eye(4)[2 * gold.labels + logits.argmax(1)], matthews)
    monkeypatch.setitem(metrics.METRICS, "Matthews", tally)
    task, labels = replace(DOCS, metrics=("Matthews",)), np.arange(60) % 2
    good, bad = said(np.arange(60) > 10, labels), said(np.arange(60) < 10, labels)
    found = retention.retention(task, good, said(np.arange(60) > 4, labels), Gold(labels))
    assert 0.5 < found.low < found.value < 1
    assert not retention.retention(task, good, bad, Gold(labels)).is_known


def test_of_a_teacher_that_scores_nothing_nothing_is_lost():
    found = kept([True] * 3 + [False], [False] * 4)
    assert not found.is_known and found.holds(0.98) and found.verdict(0.98) == found.words == ""
    fact = found.fact(0.98)
    assert fact["value"] is fact["low"] is fact["high"] is None and fact["n"] == 4 and fact["won"] == 3
    assert retention.certificate(fact) == retention.certificate(None) == retention.missed(fact) == ""
    assert "no rule to ask" in retention.budget("student", found, 0.0, 0.98)


def test_draws_in_which_the_teacher_scores_nothing_are_left_out():
    found = kept([True, False, False], [True, False, False], resamples=500)
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_the_rule_is_asked_of_the_value_and_exactly_enough_is_enough():
    teacher = np.ones(50, bool)
    assert kept(np.arange(50) != 0, teacher).holds(0.98)
    assert not kept(np.arange(50) > 1, teacher).holds(0.98)
    assert Retention(0.99, 0.9, 1.1, 600, 30, 24).holds(0.98), "the lower end need not keep it"
    assert not Retention(1.06, 0.86, 1.3, 600, 60, 66).holds(0.98), "dev cannot tell it from a loss of a tenth"
    assert Retention(1.06, 0.86, 1.3, 199, 20, 22).holds(0.98), "so few are for trying"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.98, 1.01, HELD), (0.985, 0.99, HELD), (0.97, 1.0, ABOVE), (0.95, 0.98, BELOW), (0.9, 0.979, MISSED)],
)
def test_the_verdict_of_test_is_that_of_the_interval(low, high, verdict):
    found = Retention((low + high) / 2, low, high, 100, 3, 1)
    assert found.verdict(0.98) == found.fact(0.98)["verdict"] == verdict
    words = retention.certificate(found.fact(0.98))
    assert f"**{verdict}**" in words and f"{low:.1%} to {high:.1%}" in words and "100 examples" in words
    headline = retention.missed(found.fact(0.98))
    assert ("below the rule" in headline and "not 98.0%" in headline) if verdict == MISSED else headline == ""


def test_the_search_stops_at_the_first_that_holds_or_tries_all():
    asked = []

    def holds(way):
        asked.append(way)
        return way >= 3

    assert retention.until_one_holds([1, 2, 3, 4], holds) == asked == [1, 2, 3]
    assert retention.until_one_holds([1, 4, 2], holds, every=True) == asked[3:] == [1, 4, 2]
    assert retention.until_one_holds([1, 2], holds) == [1, 2] and retention.until_one_holds([], holds) == []


def test_what_is_left_of_the_budget_is_in_points_of_the_score():
    found = Retention(0.99, 0.97, 1.01, 100, 3, 1)
    words = retention.budget("student", found, 0.8, 0.98)
    assert "the student keeps 99.0% (97.0% to 101.0%) of the teacher's 80.0%" in words and "**0.8 points** may" in words
    assert "1.6 points below the rule already" in retention.budget("student", found, 0.8, 1.01)


def test_what_guessing_would_keep_is_told_beside_what_the_model_keeps():
    """Of ten answers, seven of one class, a constant answer has seven; the teacher has eight."""
    labels = np.array([0] * 7 + [1] * 3)
    teacher = said(np.arange(10) < 8, labels)
    found = retention.retention(DOCS, teacher, teacher, Gold(labels))
    assert found.guessed == pytest.approx(7 / 8)
    assert "The best single answer to all of them would keep 87.5%." in retention.certificate(found.fact(0.98))


def test_a_record_of_older_code_gets_the_verdict_of_its_numbers():
    old = {"value": 0.96, "low": 0.94, "high": 0.99, "n": 9, "lost": 1, "won": 0, "min_retention": 0.98}
    words = retention.certificate(old | {"verdict": "held within the interval"})
    assert f"**{BELOW}**" in words and "single answer" not in words
