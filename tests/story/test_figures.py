import math
from functools import cache

import numpy as np
import pytest
from drawing import checked, parts, texts
from matplotlib import pyplot as plt
from matplotlib.colors import same_color

from fflib.files import InputError
from fflib.plotting import BLUE, VERMILION
from fflib.story import figures as drawn

NAN = math.nan
LONG = "a rung with a name that goes on for longer than anyone would like"
WAY = ("teacher padded", "teacher unpadded", "best batching", "distilled student", "ONNX Runtime")
WAY += ("pruned, uniform at 2 times", "int8 dynamic", "first token", "instances")
# rung, requests per second, accuracy (%), p50 and p95 (ms): a whole ladder as it was measured once
LADDER = [
    ("reference padded", 1.1888, None, 852.2, 1127.7),
    ("reference unpadded", 3.4489, None, 268.48, 520.21),
    ("teacher padded", 6.6581, 88.13, 148.54, 161.39),
    ("teacher unpadded", 21.469, 88.13, 41.966, 73.945),
    ("best batching", 31.295, 88.13, 88.355, 110.59),
    ("distilled student", 61.187, 89.33, 44.784, 53.467),
    ("ONNX Runtime", 96.053, 89.33, 30.571, 41.378),
    ("pruned 25/25", 120.43, 89.4, 23.618, 33.72),
    ("pruned 33/50", 142.74, 88.0, 19.972, 26.609),
    ("pruned for latency", 206.2, 89.0, 13.257, 25.075),
    ("pruned, uniform at 2 times", 209.75, 87.47, 13.713, 19.779),
    ("int8 dynamic", 269.52, 87.47, 10.731, 13.16),
    ("int8 static, largest", 263.81, 87.67, 10.541, 15.912),
    ("int8 static, smoothed", 250.39, 87.67, 11.384, 14.522),
    ("int8 embeddings too", 244.46, 87.53, 11.65, 14.559),
    ("first token", 483.45, 87.73, 6.1762, 7.9812),
    ("one thread", 344.72, 87.73, 39.162, 45.338),
    ("instances", 644.23, 87.93, 2.7402, 6.1574),
]
FRONT = ["pruned 25/25", "pruned for latency", "instances"]


def said(figure, gid):
    return [" ".join(text.get_text().split()) for text in parts(figure, gid, plt.Text)]


def title_of(figure):
    return " ".join(figure.get_suptitle().split())


def point(rung, speed, accuracy, on_the_way=True, half=0.015):
    low, high = (None, None) if accuracy is None else (accuracy - half, accuracy + half)
    row = {"rung": rung, "throughput_per_s": speed, "accuracy": accuracy, "on_the_way": on_the_way}
    return row | {"accuracy_low": low, "accuracy_high": high}


def points(way=WAY):
    return [point(rung, speed, accuracy and accuracy / 100, rung in way) for rung, speed, accuracy, *_ in LADDER]


def test_the_front_is_that_of_a_ladder_known_by_hand_whatever_the_order():
    assert drawn.pareto(points()) == drawn.pareto(points()[::-1]) == FRONT
    assert drawn.pareto([]) == drawn.pareto(points()[:2]) == drawn.pareto([point("a", NAN, 0.5)]) == []
    assert drawn.pareto([point("b", 2, 0.5), point("a", 1, 0.5), point("c", 2, 0.5)]) == ["b", "c"]  # twins stay


@pytest.mark.parametrize("seed", range(30))
def test_the_front_is_the_one_by_definition(seed):
    rng = np.random.default_rng(seed)
    speeds, accuracies = rng.integers(1, 7, (2, 14))  # few values, so that there are ties
    rows = [point(f"r{i}", x, y / 10) for i, (x, y) in enumerate(zip(speeds, accuracies, strict=True))]
    expected = []
    for i in range(14):
        rivals = [j for j in range(14) if speeds[j] >= speeds[i] and accuracies[j] >= accuracies[i]]
        if not [j for j in rivals if speeds[j] > speeds[i] or accuracies[j] > accuracies[i]]:
            expected.append(i)
    front = [int(rung[1:]) for rung in drawn.pareto(rows)]
    assert sorted(front) == expected and sorted(speeds[front]) == list(speeds[front])


@cache  # to place the numbers takes a second
def whole(way):
    return drawn.accuracy_against_speed(points(way), 0.8813, "caption")


STACKS = {"nine": WAY, "all": tuple(row[0] for row in LADDER), "none": ()}


@pytest.mark.parametrize("way", STACKS.values(), ids=STACKS)
def test_rungs_stand_at_their_speed_and_accuracy_and_those_named_have_a_number(way):
    rows = points(way)
    figure = checked(whole(way))
    (axes,) = figure.axes
    shown = [row for row in rows if row["accuracy"] is not None]
    marks = {(line.get_xdata()[0], line.get_ydata()[0]): line for line in parts(figure, "rung")}
    assert len(parts(figure, "rung")) == len(parts(figure, "interval")) == len(shown) == 16
    for row in shown:
        mark = marks[row["throughput_per_s"], 100 * row["accuracy"]]
        assert same_color(mark.get_mfc(), BLUE if row["on_the_way"] else "white")
        ends = [100 * row["accuracy_low"], 100 * row["accuracy_high"]]
        assert any(
            list(line.get_ydata()) == ends and line.get_xdata()[0] == row["throughput_per_s"]
            for line in parts(figure, "interval")
        )
    named = [row for row in shown if row["on_the_way"] or row["rung"] in FRONT]
    assert said(figure, "key") == [f"{i} {row['rung']}" for i, row in enumerate(named, 1)]
    bold = [
        text.get_text().split(maxsplit=1)[1] for text in parts(figure, "key", plt.Text) if text.get_weight() == "bold"
    ]
    assert bold == FRONT
    labels = {text.get_text(): text.xy for text in parts(figure, "label", plt.Text)}
    assert labels == {str(i): (row["throughput_per_s"], 100 * row["accuracy"]) for i, row in enumerate(named, 1)}
    assert all(axes.bbox.contains(*plt.Text.get_window_extent(text).min) for text in parts(figure, "label", plt.Text))
    assert [line.get_ydata()[0] for line in parts(figure, "level")] == pytest.approx([88.13, 0.98 * 88.13])
    assert "the teacher: 88.1%" in texts(figure) and "98% of the teacher" in texts(figure)
    assert axes.get_xscale() == "log" and "caption" in texts(figure)


def test_the_front_is_a_step_line_through_its_rungs_and_the_title_is_counted_from_the_way():
    figure = whole(WAY)
    assert title_of(figure) == "From teacher padded to instances: 96.8x as fast, with 99.8% of the teacher's accuracy"
    (line,) = parts(figure, "front")
    axes = line.axes
    (left, _), (bottom, _) = axes.get_xlim(), axes.get_ylim()
    expected = [(left, 89.4), (120.43, 89.4), (120.43, 89), (206.2, 89), (206.2, 87.93), (644.23, 87.93)]
    assert line.get_xydata() == pytest.approx(np.array([*expected, (644.23, bottom)]))


def test_a_way_may_be_slow_or_of_one_rung():
    slower = [point("a", 8, 0.6), point("b", 99, 0.9, False), point("c", 2, 0.75), point("d", 500, None)]
    assert "From a to c: 0.25x as fast, with 150%" in title_of(checked(drawn.accuracy_against_speed(slower, 0.5)))
    hopeless = checked(drawn.accuracy_against_speed(slower, 0.0))
    assert "From" not in title_of(hopeless), "of a teacher that scores nothing, no share is kept"
    one = checked(drawn.accuracy_against_speed([point("a", 8, 0.6, half=NAN)], 0.9))
    assert title_of(one) == "How accurate each rung is, and how fast" and not parts(one, "interval")
    checked(drawn.accuracy_against_speed([point(LONG, 8, 0.6), point("b", 8, 0.6)], 0.9))


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
        assert said(figure, gid) == [" ".join(row[key].split()) for row in rows]
    assert said(figure, "words") == [f"{drawn.number(row['factor'])}x" for row in rows]
    (whole,) = parts(figure, "in all", plt.Text)
    assert whole.get_text() == f"{drawn.number(rows[-1]['total'])}x the padded reference" and whole.get_fontsize() > 15
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
    assert said(figure, "rung") == ["rung 0", "rung 1"] and title_of(figure).startswith("6x the padded reference in 2")
    for start, bar in zip((1, 2), parts(figure, "bar", plt.Rectangle), strict=True):
        assert bar.get_x() == pytest.approx(start)


def left_out(technique, factor, added=None, points=None, half=0.03):
    row = {"technique": technique, "kept_share": None, "factor": factor, "added": added, "points": points}
    return row | {"low": factor and factor * (1 - half), "high": factor and factor * (1 + half)}


OUT = [
    left_out("int8", 1.31, 1.44, -0.04),
    left_out("pruning", 1.6, 2.18, 1.2),
    left_out("no padding", 6.4, 3.22, -12.12),
    left_out("batching", 1.01, 1.03, 0),
    left_out("instances", 1.33, None, 0.44),
    left_out("first token only", 1.7, 1.73, NAN),
    left_out("a token budget, of no use any longer", 0.93, 1.05, 0.1),
    left_out("not tried", None, 1.2, 0.3),
]
CELLS = {
    "no padding": ["6.4x", "3.22x", "\N{MINUS SIGN}12.1"],
    "first token only": ["1.7x", "1.73x", ""],
    "pruning": ["1.6x", "2.18x", "+1.2"],
    "instances": ["1.33x", "", "+0.4"],
    "int8": ["1.31x", "1.44x", "+0.0"],
    "batching": ["1.01x", "1.03x", "+0.0"],
    "a token budget, of no use any longer": ["0.93x", "1.05x", "+0.1"],
}


def test_techniques_are_sorted_by_what_the_stack_loses_without_them():
    figure = checked(drawn.leave_one_out(OUT, "caption"))
    (axes,) = figure.axes
    assert [" ".join(label.get_text().split()) for label in axes.get_yticklabels()] == [*CELLS]
    assert said(figure, "cell") == [cell for cells in CELLS.values() for cell in cells]
    rows = sorted(OUT[:-1], key=lambda row: -row["factor"])
    for bar, line, row in zip(parts(figure, "bar", plt.Rectangle), parts(figure, "interval"), rows, strict=True):
        assert bar.get_x() == 1 and bar.get_x() + bar.get_width() == pytest.approx(row["factor"])
        assert list(line.get_xdata()) == [row["low"], row["high"]]
        assert same_color(bar.get_facecolor(), BLUE) == (row["low"] > 1)
    hollow = {line.get_ydata()[0]: line.get_xdata()[0] for line in parts(figure, "added")}
    assert hollow == {i: row["added"] for i, row in enumerate(rows) if row["added"] is not None}
    low, high = axes.get_xlim()
    assert low < 0.93 * 0.97 and high > 6.4 * 1.03 and axes.get_xscale() == "log" and "caption" in texts(figure)


def test_the_title_says_what_is_needed_most_and_whether_the_order_matters():
    title = "The full stack could least do without: no padding (6.4x)"
    moved = "; the order matters: 4 of 6 brought more or less when added"
    assert title_of(drawn.leave_one_out(OUT)) == title + moved
    assert title_of(drawn.leave_one_out([OUT[2] | {"added": 6.3}])) == title
    assert title_of(checked(drawn.leave_one_out([OUT[2] | {"low": None}]))) == title  # without an interval
    noise = [left_out("a", 1.02), left_out("b", 0.5)]
    none = "The full stack is not clearly faster for any of its techniques"
    assert title_of(checked(drawn.leave_one_out(noise))) == none
    figure = checked(drawn.leave_one_out([{"technique": LONG, "factor": 3}]))
    assert not parts(figure, "interval") and not parts(figure, "added") and said(figure, "cell") == ["3x", "", ""]


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
    assert said(figure, "words") == [f"{drawn.number(row['times'])}x" for row in rows if row["times"] == row["times"]]
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
    assert said(figure, "words") == ["630", "600: 105% of it", "1,050: 60% of it", "2,100: 30% of it"]
    assert [bar.get_width() for bar in parts(figure, "bar", plt.Rectangle)] == [630, 600, 1050, 2100]
    blue = [same_color(bar.get_facecolor(), BLUE) for bar in parts(figure, "bar", plt.Rectangle)]
    assert blue == [True, False, False, False] and figure.axes[0].get_xlim()[0] == 0
    assert title_of(figure) == "Instances reaches 105% of the nearest limit, tokenizer" and "caption" in texts(figure)


def test_no_share_is_claimed_where_one_side_is_missing():
    for rows in ([limit("a", 5)], [limit("a", 5, "measured")], [limit("a", 5), limit("b", None, "measured")]):
        figure = checked(drawn.limits(rows))
        assert said(figure, "words") == ["5"] and title_of(figure) == "How many requests can be answered per second"


EMPTY = {
    "throughput_per_s and accuracy": lambda rows: drawn.accuracy_against_speed(rows, 0.9),
    "factor and total": drawn.waterfall,
    "factor": drawn.leave_one_out,
    "p50_ms": drawn.latency_ladder,
    "throughput_per_s": drawn.limits,
}


@pytest.mark.parametrize("keys, draw", EMPTY.items(), ids=EMPTY)
def test_a_figure_of_nothing_says_what_is_missing(keys, draw):
    for rows in ([], [dict.fromkeys(("factor", "throughput_per_s", "p50_ms"), NAN) | {"kind": "limit"}]):
        with pytest.raises(InputError, match=f"number for {keys};"):
            draw(rows)
    assert not plt.get_fignums()
