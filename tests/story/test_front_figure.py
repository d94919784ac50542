from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
import pytest
from drawing import checked, parts, texts, title_of, words
from matplotlib import pyplot as plt
from matplotlib.colors import same_color
from measured_ladder import LADDER, WAY, point, points

from fflib.files import InputError
from fflib.plotting import BLUE
from fflib.story import front_figure as drawn

NAN = math.nan
LONG = "a rung with a name that goes on for longer than anyone would like"
FRONT = ["pruned 25/25", "pruned for latency", "instances"]


figure_of = partial(drawn.accuracy_against_speed, min_retention=0.98)


@cache  # to place the numbers takes a second
def whole(way):
    return figure_of(points(way), 0.8813, "caption")


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
    assert words(figure, "key") == [f"{i} {row['rung']}" for i, row in enumerate(named, 1)]
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


@pytest.mark.parametrize("way", STACKS.values(), ids=STACKS)
def test_the_key_of_the_rungs_stands_right_beside_the_words_at_the_axes(way):
    figure = whole(way)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    words_end = max(plt.Text.get_window_extent(text).x1 for text in axes.texts)
    key_starts = min(plt.Text.get_window_extent(text).x0 for text in parts(figure, "key", plt.Text))
    assert 0 < key_starts - words_end < 0.4 * figure.dpi, "no empty strip"
    assert axes.get_window_extent().width > 0.5 * figure.bbox.width


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
    assert "From a to c: 0.25x as fast, with 150%" in title_of(checked(figure_of(slower, 0.5)))
    hopeless = checked(figure_of(slower, 0.0))
    assert "From" not in title_of(hopeless), "of a teacher that scores nothing, no share is kept"
    one = checked(figure_of([point("a", 8, 0.6, half=NAN)], 0.9))
    assert title_of(one) == "How accurate each rung is, and how fast" and not parts(one, "interval")
    checked(figure_of([point(LONG, 8, 0.6), point("b", 8, 0.6)], 0.9))


def test_what_is_below_the_rule_is_a_cross():
    rows = [point("a", 8, 0.9), point("b", 99, 0.8, False) | {"below": True}, point("c", 50, 0.89) | {"below": False}]
    figure = checked(figure_of(rows, 0.9, "", min_retention=0.97))
    marks = {line.get_xdata()[0]: line.get_marker() for line in parts(figure, "rung")}
    assert marks == {8: "o", 99: drawn.CROSS, 50: "o"} and "below the rule" in texts(figure)
    assert [line.get_ydata()[0] for line in parts(figure, "level")] == pytest.approx([90, 0.97 * 90])
    assert "below the rule" not in texts(checked(figure_of(rows[::2], 0.9)))


def test_a_figure_of_nothing_says_what_is_missing():
    for rows in ([], [{"throughput_per_s": NAN}]):
        with pytest.raises(InputError, match="number for throughput_per_s and accuracy;"):
            figure_of(rows, 0.9)
    assert not plt.get_fignums()


def test_of_an_unclear_teacher_no_share_is_told():
    figure = drawn.accuracy_against_speed(points(), 0.881, min_retention=0.98, teacher_is_clear=False)
    assert figure.get_suptitle() == "How accurate each rung is, and how fast"
