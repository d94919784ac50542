"""Thresholds: what a cascade keeps and computes, counted by hand, and which one is taken."""

from __future__ import annotations

import numpy as np
import pytest

from fflib.beyond import thresholds
from fflib.beyond.thresholds import Confidence, Readings
from fflib.data.metrics import Gold
from fflib.data.retention import Retention

LABELS = np.array([1, 1, 1, 1])


def logits(*margins):
    """Class 1 by these margins."""
    return np.array([[0.0, margin] for margin in margins])


def seen():
    """Four texts; the first reading errs on the second, and knows little about it; the last is not cut."""
    return Readings(logits(3, 3, 3, 3), {4: logits(2, -0.1, 0.5, 3)}, np.array([10, 10, 10, 4]), Gold(LABELS))


def kept(answers):
    share = float((answers.argmax(1) == 1).mean())
    return Retention(share, share, share, len(answers), 0, 0)


def cost(length):
    return length


def test_a_row_is_what_can_be_counted_by_hand():
    row = thresholds.row(seen(), 4, 0.3, kept, cost)
    assert row["sent"] == 0.25 and row["agreement"] == 1 and row["retention"] == 1
    assert row["retention_low"] == row["retention_high"] == 1
    assert row["factor"] == pytest.approx(34 / (4 * 4 + 10))
    alone = thresholds.row(seen(), 4, -np.inf, kept, cost)
    assert alone["sent"] == 0 and alone["retention"] == alone["agreement"] == 0.75
    assert alone["factor"] == pytest.approx(34 / 16)
    everything = thresholds.row(seen(), 4, np.inf, kept, cost)
    assert everything["sent"] == 0.75 and everything["factor"] < 1, "what is not cut is not read twice"


def test_right_answers_that_the_whole_text_does_not_give_are_luck():
    lucky = Readings(logits(3, -3, -3, 3), {4: logits(3, 3, -3, -3)}, np.array([10, 10, 10, 10]), Gold(LABELS))
    row = thresholds.row(lucky, 4, -np.inf, kept, cost)
    assert row["retention"] == 0.5, "one is won and one is lost"
    assert row["without_luck"] == row["without_luck_low"] == 0.25, "only the loss counts"
    assert thresholds.fit([row | {"n": 400}], 0.5, 0.5) is None, "the model alone keeps 0.5, the cascade less"
    assert np.isnan(thresholds.row(lucky, 4, -np.inf, None, cost)["without_luck"])


def test_the_grid_has_the_shares_that_were_asked_for():
    rows = thresholds.grid(seen(), [0.5, 0.0], kept, cost)
    assert [row["sent"] for row in rows] == [0.0, 0.25] and rows[0]["threshold"] == -np.inf
    short = Readings(logits(1, 1), {9: logits(1, 1)}, np.array([3, 4]), Gold(LABELS[:2]))
    (only,) = thresholds.grid(short, [0.0, 0.5], kept, cost)
    assert only["sent"] == 0 and only["factor"] == 1, "nothing is cut"


def row(retention, agreement, factor, sent=0.5, low=None, n=400):
    of_rule = {"without_luck": retention, "without_luck_low": retention if low is None else low, "n": n}
    return of_rule | {"agreement": agreement, "factor": factor, "sent": sent}


def test_the_cheapest_that_keeps_both_is_taken_and_none_where_none_does():
    lucky = row(1.02, 0.90, 3.0)  # better than the whole by luck
    rows = [lucky, row(0.98, 0.95, 2.0), row(0.99, 0.99, 1.5), row(0.90, 0.99, 4.0)]
    assert thresholds.fit(rows, 0.98, 0.95)["factor"] == 2.0
    assert thresholds.fit(rows, 0.985, 0.95)["factor"] == 1.5
    assert thresholds.fit(rows, 1.0, 0.95) is None
    assert thresholds.fit([row(0.99, 0.99, 0.95)], 0.98, 0.95) is None, "it is slower than the model alone"
    unknown = [row(float("nan"), 1.0, 1.0)]
    assert thresholds.fit(unknown, 0.98, 0.95) is unknown[0], "of a teacher that scores nothing, nothing is lost"


def test_a_row_of_which_dev_cannot_tell_is_not_taken():
    lucky = row(1.06, 0.99, 3.0, low=0.86)
    assert thresholds.fit([lucky, row(0.99, 0.99, 1.5, low=0.96)], 0.98, 0.95)["factor"] == 1.5
    assert thresholds.fit([row(1.06, 0.99, 3.0, low=0.86, n=100)], 0.98, 0.95), "so few examples are for trying"


def test_of_rows_that_cost_about_the_same_the_one_that_sends_the_fewest_on_is_taken():
    rows = [row(1.0, 1.0, 2.0, sent=0.4), row(1.0, 1.0, 1.85, sent=0.2), row(1.0, 1.0, 1.7, sent=0.1)]
    assert thresholds.fit(rows, 0.98, 0.95) is rows[1]
    assert thresholds.fit(rows[::2], 0.98, 0.95) is rows[0]


def test_the_frontier_has_each_cascade_once():
    rows = [{"first": 4, "threshold": t, "retention": r, "factor": f} for t, r, f in [(0, 0.9, 3), (1, 0.99, 2)]]
    assert thresholds.frontier(rows, [0.9, 0.95, 0.99, 1.0]) == rows
    assert thresholds.frontier(rows, [1.0]) == []


def test_confidence_is_the_share_that_agrees_at_that_margin():
    rng = np.random.default_rng(0)
    margins = rng.uniform(0, 4, 20_000)
    right = 1 / (1 + np.exp(-margins))
    told = Confidence(margins, rng.random(20_000) < right)
    np.testing.assert_allclose(told(np.array([0.5, 2.0, 3.5])), 1 / (1 + np.exp([-0.5, -2.0, -3.5])), atol=0.02)
    assert Confidence(margins, np.ones(20_000, bool))(margins[:2]).tolist() == [1, 1]
    assert Confidence(np.array([]), np.array([], bool))(np.array([1.0])).tolist() == [1]


def test_what_is_read_again_agrees_for_certain():
    told = Confidence(np.array([1.0, 1.0]), np.array([False, False]))
    assert told.agreement(seen(), 4, np.inf) == 1
    assert told.agreement(seen(), 4, 0.3) == pytest.approx(0.5), "two of four are cut, and not read again"


def test_each_third_of_the_lengths_is_told_apart():
    longer = Readings(logits(*[1] * 6), {4: logits(*[1] * 6)}, np.array([12, 2, 3, 7, 8, 11]), Gold(np.ones(6, int)))
    chosen = {"first": 4, "threshold": 2.0}
    asked = []

    def kept_of(answers, which):
        asked.append(sorted(which.tolist()))
        return kept(answers)

    rows = thresholds.by_length(longer, chosen, kept_of, cost)
    assert asked == [[1, 2], [1, 2], [3, 4], [3, 4], [0, 5], [0, 5]], "as counted, and without luck"
    assert [row["sent"] for row in rows] == [0, 1, 1]
    assert [row["mean tokens"] for row in rows] == [2.5, 7.5, 11.5]


def test_what_is_timed_has_names_of_its_own():
    rows = thresholds.grid(seen(), [0.0, 0.5], kept, cost)
    timed = thresholds.to_time(rows, rows[1], [0.75])
    assert [*timed] == [thresholds.CASCADE, thresholds.ALL_HARD, "first 4 alone"]
    assert timed[thresholds.CASCADE] is rows[1] and timed[thresholds.ALL_HARD]["threshold"] == np.inf
    assert rows[1]["threshold"] < np.inf, "the chosen row is as it was"


def test_confidence_is_fitted_on_what_is_cut():
    told = Confidence.of(seen(), 4)
    assert told(np.array([2.0]))[0] > told(np.array([0.1]))[0]


def test_facts_hold_no_number_without_end():
    facts = {"a": [{"b": -np.inf, "c": 1}, {"b": float("nan")}], "d": (0.5, True, None, "x", np.float64("inf"))}
    assert thresholds.finite(facts) == {"a": [{"b": None, "c": 1}, {"b": None}], "d": [0.5, True, None, "x", None]}


def test_two_ways_that_send_on_about_as_many_are_both_timed():
    row = {"first": 16, "sent": 0.121, "threshold": 1.0, "retention": 0.99, "factor": 2.0}
    like = row | {"sent": 0.119, "threshold": 0.9, "retention": 0.97, "factor": 3.0}
    names = [*thresholds.to_time([row, like], row | {"threshold": 2.0}, [0.96, 0.98])][2:]
    assert len(names) == 2 and names[0] == "first 16, 12% again" and "threshold" in names[1]
