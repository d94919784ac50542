"""What is kept and told of a headline, beside a ladder made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_ladder import LADDER, ROWS, STACK, rung

from fflib.runs import ladder as rungs
from fflib.story import factors, headline_told
from fflib.story.factors import AGAINST
from fflib.story.headline import Factor, Headline
from fflib.story.headline_told import MOVES

LAST = "int8 dynamic"
PADDED, UNPADDED, TEACHER = "reference padded", "reference unpadded", factors.TEACHER
STARTS = (PADDED, UNPADDED, "reference, ONNX Runtime", TEACHER, "teacher, ONNX Runtime")
BY_NAME = dict(zip(AGAINST, STARTS, strict=True))
PRODUCTS = factors.speedups(LADDER, LAST, best_fp32=1.6, teacher_fp32=1.5)  # 120, 40, 25, 6, 4


def found(*middles, half=0.05):
    rounds = {s: Factor.of(m * np.array([1 - half, 1, 1 + half])) for s, m in zip(STARTS, middles, strict=True)}
    per_s = dict(zip(STARTS, (2.5, 5.0, 9.0, 30.0, 50.0), strict=True))
    return Headline(rounds, per_s, 2.5 * middles[0], 3)


MEASURED = found(150.0, 50.0, 30.0, 8.0, 5.0)
TOLD = headline_told.fact(MEASURED, LAST, BY_NAME, PRODUCTS)


def test_the_last_rung_takes_the_measured_factors_and_no_other_rung_does():
    changed = headline_told.in_ladder(LADDER, TOLD)
    last = changed["rung"] == LAST
    assert changed.loc[last, ["speedup_vs_padded", "speedup_vs_unpadded"]].values.tolist() == [[150.0, 50.0]]
    assert changed[~last].equals(LADDER[~last])
    others = [column for column in LADDER if not column.startswith("speedup_vs")]
    assert changed[others].equals(LADDER[others]), "the step stays that of its chapter"
    assert LADDER.loc[last, "speedup_vs_padded"].item() == pytest.approx(120), "the ladder given is as it was"
    steps = factors.factors(changed, STACK)
    assert steps[-1]["total"] == pytest.approx(120), "the steps multiply to their product, whatever is measured"


def test_a_rung_tried_on_top_of_the_headline_moves_with_it():
    ladder = rungs.ladder([*ROWS, rung("instances", LAST, 2 * 180.0)])
    changed = headline_told.in_ladder(ladder, TOLD).set_index("rung")
    assert ladder.set_index("rung").loc["instances", "speedup_vs_padded"] == pytest.approx(240)
    assert changed.loc["instances", "speedup_vs_padded"] == pytest.approx(2 * 150)
    assert changed.loc["instances", "speedup_vs_unpadded"] == pytest.approx(2 * 50)
    others = [name for name in ladder["rung"] if name not in (LAST, "instances")]
    assert changed.loc[others].equals(ladder.set_index("rung").loc[others])


def test_without_a_headline_the_product_stays_and_is_called_so():
    assert headline_told.in_ladder(LADDER, None).equals(LADDER)
    assert "products of steps" in headline_told.sentence(None)
    records = [{"facts": {"speedups": {}}}, {"facts": {"headline": TOLD}}]
    assert headline_told.of_records(records[:1]) is None and headline_told.of_records(records) is TOLD


def test_it_is_told_with_its_interval_beside_the_product():
    told = headline_told.sentence(TOLD)
    assert "**150x (142x to 158x)**" in told and "**50x (47.5x to 52.5x)**" in told and "in 3 rounds" in told
    assert "multiply to 120x and 40x" in told
    rows = headline_told.rows(TOLD)
    assert [row["against"] for row in rows] == list(AGAINST)
    assert [row["product of the steps"] for row in rows] == ["120x", "40x", "25x", "6x", "4x"]


def test_what_was_timed_again_accounts_for_all_that_lies_between():
    """The distilled student's ground made 30 a second again, after 40; the ends 2.5 after 2, and 375 after 180."""
    rows = headline_told.timed_again(ROWS, STACK, MEASURED)
    assert [row["rung"] for row in rows] == [PADDED, TEACHER, LAST]
    assert [row["timed again"] for row in rows] == ["for the headline", "beside distilled student", "for the headline"]
    assert [row[MOVES] for row in rows] == pytest.approx([2 / 2.5, 30 / 40, 375 / 180])
    assert math.prod(row[MOVES] for row in rows) == pytest.approx(150 / 120)


def test_a_product_outside_the_range_is_told_for_every_start_and_its_own_noise_too():
    rows = headline_told.timed_again(ROWS, STACK, MEASURED)
    told = headline_told.explanation(TOLD, rows)
    assert "5 of 5 starting points" in told and f"{AGAINST[0]}, 1.25; " in told and f"{AGAINST[3]}, 1.33; " in told
    assert "own noise" in told and "Most of it" not in told and "more than their noise" not in told
    assert "1 raise it and 2 lower it, together by 1.25" in told
    assert f"largest single move is *{LAST}*, timed again for the headline: 2.08" in told


def test_the_largest_miss_is_told_where_the_padded_reference_has_none():
    told = headline_told.fact(found(120.0, 40.0, 25.0, 6.0, 5.0), LAST, BY_NAME, PRODUCTS)
    words = headline_told.explanation(told, headline_told.timed_again(ROWS, STACK, MEASURED))
    assert f"1 of 5 starting points. What was measured there, over the product: {AGAINST[4]}, 1.25." in words


def test_products_within_every_range_cannot_be_told_apart():
    wide = headline_told.fact(found(150.0, 50.0, 30.0, 8.0, 5.0, half=0.3), LAST, BY_NAME, PRODUCTS)
    words = headline_told.explanation(wide, headline_told.timed_again(ROWS, STACK, MEASURED))
    assert words.startswith("For every starting point") and "cannot tell the two apart" in words
