"""What ways are predicted to take, what was measured, and the texts divided between card and processor."""

from __future__ import annotations

import numpy as np
import pytest
from drawing import checked, title_of

from fflib.card import figures, limits, ways
from fflib.card.limits import Limits
from fflib.measure.race import Race
from fflib.measure.timing import Timing, Variant
from fflib.model.encoder import EncoderConfig

CONFIG = EncoderConfig.uniform(1, 2, 8, 32, vocab_size=50)
KNOWN = Limits({"fp32": 1.0, "fp16": 4.0}, memory_gb_per_s=1e6, launch_us=0.0)
LENGTHS = np.array([4, 2, 8, 2])
PLAN = [np.array([1, 3]), np.array([0, 2])]


def test_blanks_are_counted_where_they_are_computed():
    way = Variant("", lambda inputs: inputs, PLAN)
    with_blanks, without = (ways.asked(way, LENGTHS, CONFIG, "fp32", 3, blanks) for blanks in (True, False))
    flop = [
        [limits.work(CONFIG, lengths, "fp32", 3).flop for lengths in each]
        for each in ([[2, 2], [8, 8]], [[2, 2], [4, 8]])
    ]
    assert [each.flop for each in with_blanks.work] == flop[0] and [each.flop for each in without.work] == flop[1]
    padded = ways.asked(Variant("", way.predict, PLAN, pad_to=16), LENGTHS, CONFIG, "fp32", 3)
    assert padded.work[0].flop == limits.work(CONFIG, [16, 16], "fp32", 3).flop and padded.n_requests == 4


def test_rows_set_what_was_measured_beside_what_is_allowed():
    asked = {"a": ways.asked(Variant("", lambda x: x, PLAN), LENGTHS, CONFIG, "fp32", 0)}
    allowed, limit = asked["a"].predicted(KNOWN)
    flop = sum(each.flop for each in asked["a"].work)
    assert allowed == pytest.approx(4 / (flop / 1e9)) and limit == "operations"
    took = Timing(np.full((2, 2), flop / 1e9), np.array([2, 2]))  # twice as long as allowed
    (row,) = ways.prediction_rows(asked, KNOWN, Race({"a": took}))
    assert row["share of it"] == pytest.approx(0.5) and row["limit"] == "operations"
    assert "measured, requests/s" not in ways.prediction_rows(asked, KNOWN)[0]


def test_each_batch_goes_where_it_costs_less_and_the_totals_add_up():
    """The card takes 10 ms a batch and costs 4 USD an hour, the processor 1 ms a token and 1 USD."""
    card = Timing(np.full((3, 2), 0.010), np.array([2, 2]))
    processor = Timing(np.tile(LENGTHS / 1e3, (3, 1)), np.ones(4, int))
    parts = ways.by_length(card, processor, PLAN, {ways.CARD: 4.0, ways.PROCESSOR: 1.0})
    assert [parts[name][ways.PROCESSOR].seconds for name in parts] == pytest.approx([0.004, 0.012])
    rows = ways.hybrid_rows(parts, PLAN, LENGTHS)
    assert [row["goes to the"] for row in rows] == ["processor", "processor"]
    cheap = ways.by_length(card, processor, PLAN, {ways.CARD: 1.1, ways.PROCESSOR: 1.0})
    assert [row["goes to the"] for row in ways.hybrid_rows(cheap, PLAN, LENGTHS)] == ["processor", "graphics card"]
    alone, on_card, divided = ways.total_rows(cheap, 4)
    assert (alone["ms"], on_card["ms"], divided["ms"]) == pytest.approx((16, 20, 10)), "both work at the same time"
    usd = 1e8 / 4 * (0.004 * 1.0 + 0.010 * 1.1) / 3600
    assert divided["USD for 100 million requests"] == pytest.approx(usd)
    assert divided["times as fast"] == pytest.approx(1.6)


def test_each_bar_is_as_long_as_its_number_and_a_precision_is_written_once():
    speed = {"at most, requests/s": 50.0, "measured, requests/s": 20.0}
    rows = [{"way": "sorted, batches", "in": "fp32"} | speed, {"way": "student, fp16", "in": "fp16"} | speed]
    (axes,) = checked(figures.ladder(rows, "a caption")).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sorted, batches\nfp32", "student, fp16"]
    assert [bar.get_width() for bar in axes.patches] == [50, 50, 20, 20]


@pytest.mark.parametrize(
    ("per_s", "title"),
    [
        ({1: 100.0, 16: 900.0, 64: 950.0}, "Batches of 16 and more are ahead of the processor, one by one"),
        ({1: 400.0, 16: 200.0, 64: 950.0}, "Batches of 64 and more are ahead of the processor, one by one"),
        ({1: 100.0, 16: 300.0}, "No batch is ahead of the processor, one by one"),
    ],
)
def test_the_figure_of_batches_says_from_which_on_they_are_ahead(per_s, title):
    drawn = checked(figures.batches({"student, fp16": per_s}, 300.0, "a caption"))
    assert title_of(drawn) == title and drawn.axes[0].get_ylim()[0] == 0
    assert list(drawn.axes[0].lines[0].get_ydata()) == list(per_s.values())
