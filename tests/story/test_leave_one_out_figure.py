from __future__ import annotations

import math

import pytest
from drawing import checked, parts, texts, title_of, words
from matplotlib import pyplot as plt
from matplotlib.colors import same_color

from fflib.files import InputError
from fflib.plotting import BLUE
from fflib.story import leave_one_out_figure as drawn

NAN = math.nan
LONG = "a rung with a name that goes on for longer than anyone would like"


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
    assert words(figure, "cell") == [cell for cells in CELLS.values() for cell in cells]
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
    assert not parts(figure, "interval") and not parts(figure, "added") and words(figure, "cell") == ["3x", "", ""]


def test_a_figure_of_nothing_says_what_is_missing():
    for rows in ([], [{"factor": NAN}]):
        with pytest.raises(InputError, match="number for factor;"):
            drawn.leave_one_out(rows)
    assert not plt.get_fignums()


def test_a_stack_that_keeps_too_few_labels_is_called_not_served():
    rows = [OUT[0] | {"served": True}, OUT[1] | {"served": False}, OUT[2]]
    (axes,) = checked(drawn.leave_one_out(rows)).axes
    labels = [" ".join(label.get_text().split()) for label in axes.get_yticklabels()]
    assert labels == ["no padding", "pruning (not served: too few labels stay)", "int8"]
