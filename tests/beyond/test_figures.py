"""The figures of chapter 8: every row is drawn where it belongs, and the words say what the numbers do."""

from __future__ import annotations

import numpy as np
import pytest
from drawing import checked, parts, texts

from fflib.beyond import figures

ROWS = [
    {"first": first, "factor": factor, "without_luck": kept, "agreement": kept - 0.05}
    for first in (32, 64)
    for factor, kept in [(3.0, 0.93), (1.5, 0.99)]
]
PARTS = {"products of tokens and weights": 2.0, "attention": 0.5, "the call": 0.1, "other": 0.0}


def test_cascades_have_a_line_a_reading_and_a_ring_around_the_chosen():
    figure = checked(figures.cascades(ROWS, ROWS[1], 0.98, 0.9, "here"))
    assert [line.get_xdata().tolist() for line in parts(figure, "reading")[:2]] == [[1.5, 3.0]] * 2
    assert [line.get_ydata()[0] for line in parts(figure, "chosen")] == [0.99, pytest.approx(0.94)]
    assert "the ring is what dev chooses; dashed: what has to be kept" in texts(figure)
    none = checked(figures.cascades(ROWS, None, 0.98, 0.9))
    assert not parts(none, "chosen") and "nothing keeps" in texts(none)


@pytest.mark.parametrize(("whole", "says"), [(2.7, "the parts add up"), (5.0, "do not add up")])
def test_the_budget_shows_what_is_left(whole, says):
    closes = abs(2.6 / whole - 1) <= 0.1
    figure = checked(figures.budget({"parts_ms": PARTS, "whole_ms": whole, "sum_ms": 2.6, "closes": closes}, "here"))
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == pytest.approx([2.0, 0.5, 0.1, whole - 2.6]) and says in texts(figure)
    assert "time goes to: products of tokens and weights" in texts(figure), "what is not explained is no part"


def test_the_frontier_holds_every_kind_of_point_and_leaves_out_what_keeps_little():
    points = [
        {"rung": "teacher", "factor": 4.0, "retention": 1.0},
        {"rung": "instances", "factor": 400.0, "retention": 0.97},
        {"rung": "system: cascade", "factor": 700.0, "retention": 0.96},
        {"rung": "floor: words", "factor": 900.0, "retention": 0.3},
    ]
    paper = [{"rung": "x", "factor": 200.0, "retention": 0.98}]
    figure = checked(figures.frontiers(points, paper, 0.96, "here"))
    drawn = {c.get_gid(): np.asarray(c.get_offsets()).tolist() for c in figure.axes[0].collections}
    assert drawn == {
        "model": [[1.0, 4.0], [0.97, 400.0]], "system": [[0.96, 700.0]], "paper": [[0.98, 200.0]]
    }  # fmt: skip
    (steps,) = parts(figure, "frontier")
    assert 700.0 in steps.get_ydata() and "96.0% on test (dashed): system: cascade, 700x" in texts(figure)
    assert "nothing that was measured" in texts(checked(figures.frontiers([], [], 0.98)))
