from __future__ import annotations

import math

import numpy as np
import pytest
from drawing import checked, parts, texts, title_of, words
from matplotlib import pyplot as plt
from matplotlib.colors import same_color
from measured_ladder import LADDER

from fflib.files import InputError
from fflib.plotting import BLUE, VERMILION, number
from fflib.runs import ladder as ladders
from fflib.runs.ladder import Rung
from fflib.story import figures as drawn

NAN = math.nan
LONG = "a rung with a name that goes on for longer than anyone would like"


def rung(name, throughput, accuracy=None):
    return vars(Rung(name, "", "m", "e", "fp32", "none", 1, 2, throughput_per_s=throughput, accuracy=accuracy))


def test_the_ladder_shows_each_measured_rung_and_its_speed_up():
    table = ladders.ladder([rung("reference padded", 2.0), rung("teacher", 30.0, 0.9), rung("broken", None)])
    shown = texts(drawn.ladder(table, ["teacher"], "caption"))
    assert "15.0x" in shown and "90.0%" in shown and "broken" not in shown and "caption" in shown


def test_the_measured_rung_is_called_so_and_a_line_goes_to_its_product():
    made = [rung("reference padded", 2.0), rung("teacher", 30.0, 0.9) | {"stacks_on": "reference padded"}]
    made.append(rung("instances", 90.0) | {"stacks_on": "teacher"})
    table = ladders.ladder(made)
    table.loc[2, "speedup_vs_padded"] = 60.0  # the steps multiply to 45
    figure = drawn.ladder(table, ["teacher", "instances"], "", "instances")
    (line,) = parts(figure, "product", plt.Line2D)
    assert list(line.get_xdata()) == pytest.approx([60, 45])
    shown = texts(figure)
    assert "60.0x measured" in shown and "15.0x measured" not in shown and "steps multiplied" in shown
    assert "measured" not in texts(drawn.ladder(table, ["teacher", "instances"]))


MEASURED = {"factor": 150.0, "low": 140.0, "high": 160.0, "product": 90.16}


def test_the_headline_stands_below_the_steps_and_in_the_title():
    rows = steps(1, 4.6, 28, 0.7)
    figure = checked(drawn.waterfall(rows, "caption", MEASURED))
    assert title_of(figure) == "150x the padded reference, measured; the 3 steps multiply to 90.2x (red: slower)"
    (interval,), (middle,) = parts(figure, "interval", plt.Line2D), parts(figure, "measured", plt.Line2D)
    assert list(interval.get_xdata()) == [140, 160] and list(middle.get_xdata()) == [150]
    assert parts(figure, "in all", plt.Text)[0].get_text() == "150x the padded reference"
    assert len(parts(figure, "bar", plt.Rectangle)) == len(rows), "the product's own bars stay as they are"
    assert figure.axes[0].get_xlim()[1] > 160


def test_a_rung_below_the_rule_is_hatched_and_says_so():
    rungs = [
        rung("reference padded", 2.0),
        rung("teacher", 30.0, 0.9),
        rung("too small", 90.0, 0.6) | {"keeps_rule": "no"},
    ]
    figure = checked(drawn.ladder(ladders.ladder(rungs), ["teacher"], "caption"))
    assert [bool(bar.get_hatch()) for bar in figure.axes[0].patches] == [False, False, True]
    assert "accuracy 60.0%, below the rule" in texts(figure) and texts(figure).count("below the rule") == 1


def test_the_words_beside_the_longest_bar_of_the_ladder_stand_within_its_axes():
    rungs = [rung("reference padded", 2.0), rung(LONG, 600.0, 0.7) | {"keeps_rule": "no"}]
    figure = checked(drawn.ladder(ladders.ladder(rungs), [], "caption"))
    ends = [plt.Text.get_window_extent(text).x1 for text in parts(figure, "words", plt.Text)]
    assert len(ends) == 2 and max(ends) < figure.axes[0].bbox.x1


def step(rung, factor, total, what="what the step does"):
    return {"rung": rung, "what": what, "factor": factor, "total": total}


def steps(*factors, ground=1.0):
    totals = ground * np.cumprod(factors)
    return [step(f"rung {i}", *pair) for i, pair in enumerate(zip(factors, totals, strict=True))]


SPEEDS = [row[1] for row in LADDER]
FALLS = {
    "whole": [
        step(row[0], b / a, b / SPEEDS[0], "what the step does, in more words than fit in a line of it")
        for row, a, b in zip(LADDER, [SPEEDS[0], *SPEEDS], SPEEDS, strict=False)
    ],
    "slower last": steps(1, 5.6, 3.22, 0.713),
    "one": steps(2.46),
    "all slower": steps(0.5, 0.25),
    "long": [step(LONG, 12345.6, 12345.6, f"{LONG}, {LONG}")],
}


@pytest.mark.parametrize("rows", FALLS.values(), ids=FALLS)
def test_each_step_goes_from_the_total_before_to_the_total_after(rows):
    figure = checked(drawn.waterfall(rows, "caption"))
    bars = parts(figure, "bar", plt.Rectangle)
    assert len(bars) == len(rows) and "caption" in texts(figure)
    before = rows[0]["total"] / rows[0]["factor"]
    for bar, row in zip(bars, rows, strict=True):
        assert [bar.get_x(), bar.get_x() + bar.get_width()] == pytest.approx([before, row["total"]])
        assert same_color(bar.get_facecolor(), VERMILION if row["factor"] < 1 else BLUE)
        before = row["total"]
    for gid, key in (("rung", "rung"), ("what", "what")):
        assert words(figure, gid) == [" ".join(row[key].split()) for row in rows]
    assert words(figure, "words") == [f"{number(row['factor'])}x" for row in rows]
    (whole,) = parts(figure, "in all", plt.Text)
    assert whole.get_text() == f"{number(rows[-1]['total'])}x the padded reference" and whole.get_fontsize() > 15
    assert ("red" in title_of(figure)) == any(row["factor"] < 1 for row in rows)
    low, high = figure.axes[0].get_xlim()
    assert all(
        plt.Text.get_window_extent(text).x1 < figure.axes[0].bbox.x1 for text in parts(figure, "words", plt.Text)
    )
    assert low < min(bar.get_x() for bar in bars) and high > max(row["total"] for row in rows)
    assert figure.axes[0].get_xscale() == "log"


def test_the_title_of_the_steps_names_the_largest_that_was_measured():
    title = "90.2x the padded reference in 3 steps, the largest: rung 2, 28x (red: slower)"
    assert title_of(drawn.waterfall(steps(1, 4.6, 28, 0.7))) == title
    assert title_of(drawn.waterfall(steps(1, 2.46))) == "2.46x the padded reference in 1 step"
    rows = [step("x", None, 1), *steps(2, 3), step("y", 9, NAN)]
    figure = checked(drawn.waterfall(rows))
    assert words(figure, "rung") == ["rung 0", "rung 1"] and title_of(figure).startswith("6x the padded reference in 2")
    for start, bar in zip((1, 2), parts(figure, "bar", plt.Rectangle), strict=True):
        assert bar.get_x() == pytest.approx(start)


def latency(rung, p50_ms, p95_ms, times):
    return {"rung": rung, "p50_ms": p50_ms, "p95_ms": p95_ms, "times": times}


LATENCIES = {
    "whole": [latency(rung, p50, p95, 852.2 / p50) for rung, _, _, p50, p95 in LADDER],
    "gaps": [
        latency("a", 100, None, 1),
        latency("b", None, 7, 2),
        latency("c", 20, NAN, NAN),
        latency("d", 10, 20, 10),
    ],
    "one": [latency("a", 0.0123, 0.02, 1)],
    "narrow": [latency("a", 10, 11, 123456), latency("b", 11, 12, 0.5)],
    "wide": [latency("a", 1e5, 2e5, 1), latency("b", 0.01, 0.02, 1e7)],
}


@pytest.mark.parametrize("rows", LATENCIES.values(), ids=LATENCIES)
def test_the_median_is_a_dot_and_the_95th_percentile_the_end_of_its_line(rows):
    figure = checked(drawn.latency_ladder(rows, "caption"))
    (axes,) = figure.axes
    rows = [row for row in rows if row["p50_ms"] is not None]
    known = [(i, row) for i, row in enumerate(rows) if row["p95_ms"] and not math.isnan(row["p95_ms"])]
    assert [label.get_text() for label in axes.get_yticklabels()] == [row["rung"] for row in rows]
    dots = [(line.get_xdata()[0], line.get_ydata()[0]) for line in parts(figure, "p50")]
    assert dots == [(row["p50_ms"], i) for i, row in enumerate(rows)]
    lines = [(list(line.get_xdata()), line.get_ydata()[0]) for line in parts(figure, "to p95")]
    assert lines == [([row["p50_ms"], row["p95_ms"]], i) for i, row in known]
    assert words(figure, "words") == [f"{number(row['times'])}x" for row in rows if row["times"] == row["times"]]
    assert all(plt.Text.get_window_extent(text).x1 < axes.bbox.x1 for text in parts(figure, "words", plt.Text))
    assert axes.get_xscale() == "log" and len(axes.get_xticks()) > 1 and "caption" in texts(figure)


def test_the_title_of_the_latencies_is_counted_from_the_first_rung():
    falls = "The median latency falls 311x, from 852 ms (reference padded) to 2.74 ms (instances)"
    assert title_of(drawn.latency_ladder(LATENCIES["whole"])) == falls
    rises = title_of(drawn.latency_ladder([latency("a", 3, 5, 1), latency("b", 4, 5, 0.75)]))
    assert rises == "No rung has a lower median latency than a: 3 ms"


def limit(name, speed, kind="limit"):
    return {"limit": name, "throughput_per_s": speed, "kind": kind}


def test_each_limit_tells_what_share_of_it_is_reached():
    rows = [limit("int8 products alone", 2100), limit("instances", 630, "measured"), limit(LONG, 1050)]
    figure = checked(drawn.limits([*rows, limit("memory", None), limit("tokenizer", 600)], "caption"))
    names = ["instances", "tokenizer", LONG, "int8 products alone"]
    assert [" ".join(label.get_text().split()) for label in figure.axes[0].get_yticklabels()] == names
    assert words(figure, "words") == ["630", "600: 105% of it", "1,050: 60% of it", "2,100: 30% of it"]
    assert [bar.get_width() for bar in parts(figure, "bar", plt.Rectangle)] == [630, 600, 1050, 2100]
    blue = [same_color(bar.get_facecolor(), BLUE) for bar in parts(figure, "bar", plt.Rectangle)]
    assert blue == [True, False, False, False] and figure.axes[0].get_xlim()[0] == 0
    assert title_of(figure) == "Instances reaches 105% of the nearest limit, tokenizer" and "caption" in texts(figure)


def test_no_share_is_claimed_where_one_side_is_missing():
    for rows in ([limit("a", 5)], [limit("a", 5, "measured")], [limit("a", 5), limit("b", None, "measured")]):
        figure = checked(drawn.limits(rows))
        assert words(figure, "words") == ["5"] and title_of(figure) == "How many requests can be answered per second"


EMPTY = {
    "factor and total": drawn.waterfall,
    "p50_ms": drawn.latency_ladder,
    "throughput_per_s": drawn.limits,
}


@pytest.mark.parametrize("keys, draw", EMPTY.items(), ids=EMPTY)
def test_a_figure_of_nothing_says_what_is_missing(keys, draw):
    for rows in ([], [dict.fromkeys(("factor", "throughput_per_s", "p50_ms"), NAN) | {"kind": "limit"}]):
        with pytest.raises(InputError, match=f"number for {keys};"):
            draw(rows)
    assert not plt.get_fignums()
