"""Figures for a wall: no small letter, the same bytes each day, and names that do not lie upon each other."""

from __future__ import annotations

import itertools
import re

import matplotlib
import pytest

from fflib.talk import figures

BARS = [
    {
        "name": f"way {i}",
        "value": 10.0 / (i + 1),
        "kind": kind,
        "words": f"{i} words",
        "low": 1.0,
        "high": 11.0 / (i + 1),
    }
    for i, kind in enumerate(figures.COLOR_BY_KIND)
]
STEPS = [{"technique": "less", "factor": 5.0, "total": 5.0}, {"technique": "worse", "factor": 0.8, "total": 4.0}]
POINTS = [
    {
        "name": f"point {i}",
        "x": 100.0 + 3 * i,
        "y": 70 + i % 2,
        "kind": "good",
        "refused": i == 2,
        "low": 69,
        "high": 73,
    }
    for i in range(5)
]
LINES = {
    name: [{"x": x, "y": y + x / 9, "low": y, "high": y + 9} for x in (25, 50)] for name, y in (("a", 60), ("b", 61))
}
DRAWN = {
    "bars": lambda: figures.bars(BARS, "ms", log=True, one="the start"),
    "waterfall": lambda: figures.waterfall(STEPS, 4.2, "4.2x", "the start"),
    "points": lambda: figures.points(POINTS, "speed", "accuracy", log=True, lines=[{"y": 70, "name": "asked"}]),
    "lines": lambda: figures.lines(LINES, "kept", "accuracy"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_no_letter_is_smaller_than_twenty_pixels(name):
    found = figures.svg(DRAWN[name]())
    sizes = {float(size) for size in re.findall(r"font(?:-size)?: (?:\w+ )*([\d.]+)px", found)}
    assert sizes and 4 / 3 * min(sizes) >= 20, "in units of 1/72 inch, where CSS has 96 pixels"
    assert re.search(r'width="(\d+)', found)[1] and float(re.search(r'width="([\d.]+)', found)[1]) * 4 / 3 <= 1200


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_the_same_text_each_time_and_leaves_the_style_as_it_was(name):
    before = dict(matplotlib.rcParams)
    assert figures.svg(DRAWN[name]()) == figures.svg(DRAWN[name]())
    assert dict(matplotlib.rcParams) == before


def test_names_of_points_do_not_lie_upon_each_other():
    figure = DRAWN["points"]()
    figure.draw_without_rendering()
    names = [text for text in figure.axes[0].texts if text.get_text().startswith("point")]
    boxes = [matplotlib.text.Text.get_window_extent(text) for text in names]
    assert len(names) == len(POINTS)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
