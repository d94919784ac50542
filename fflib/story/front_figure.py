"""The figure of accuracy against speed, with the front of rungs that no other beats.

Functions take plain numbers and return a matplotlib Figure. Accuracies are fractions of 1. A number that is None or NaN
was not measured: what needs it is left out; where nothing is left to draw, InputError is raised.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.transforms import Bbox

from fflib.plotting import (
    ABOVE_AXES,
    BLACK,
    BLUE,
    GREY,
    NUMBER,
    VERMILION,
    Row,
    finish,
    number,
    put_name,
    styled,
    times,
)
from fflib.runs.ladder import BELOW
from fflib.story.figure_parts import SPEED, known, log_axis, measured
from fflib.story.front import pareto

CROSS = "X"  # the mark of a rung below the rule


@styled
def accuracy_against_speed(
    rows: Sequence[Row], teacher: float, caption: str = "", *, min_retention: float, teacher_is_clear: bool = True
) -> plt.Figure:
    """Draw the accuracy of each rung over its throughput, and the Pareto front, as FastFormers' figure 3 does.

    ``rows``, in the order of the ladder, hold rung, throughput_per_s, accuracy, accuracy_low, accuracy_high and
    on_the_way; alternatives to the rungs on the way are hollow, and named where they are on the front. One that is
    ``below`` the rule is a cross. ``teacher`` is the teacher's accuracy, of which the rule asks for ``min_retention``;
    of one that is not clear of the floors no share is told as kept.
    """
    rows = measured(rows, SPEED, "accuracy")
    best = set(pareto(rows))
    figure, axes = plt.subplots(figsize=(8.4, 5.4))
    for row in sorted(rows, key=lambda row: row["on_the_way"]):
        x, y, color = row[SPEED], 100 * row["accuracy"], BLUE if row["on_the_way"] else GREY
        if known(row, "accuracy_low", "accuracy_high"):
            ends = 100 * row["accuracy_low"], 100 * row["accuracy_high"]
            axes.plot([x, x], ends, color=color, lw=0.9, alpha=0.45, zorder=1.5, gid="interval")
        fill = color if row["on_the_way"] else "white"
        below = row.get("below", False)
        axes.plot(x, y, CROSS if below else "o", mfc=fill, mec=color, mew=1.3, ms=8.5 if below else 7.5, gid="rung")
    for share, style, side in ((1, {"lw": 1.4}, "bottom"), (min_retention, {"lw": 0.8}, "top")):
        axes.axhline(100 * share * teacher, color=BLACK, linestyle="--", zorder=1.4, gid="level", **style)
        words = f"the teacher:\n{number(100 * teacher)}%" if share == 1 else f"{number(100 * share)}% of\nthe teacher"
        place = {"transform": axes.get_yaxis_transform(), "fontsize": 9, "linespacing": 1.05, "va": side}
        axes.text(1.01, 100 * share * teacher, words, **place)
    log_axis(axes, [row[SPEED] for row in rows])
    front = _front(axes, [row for row in rows if row["rung"] in best])
    axes.set(
        xlabel="requests per second, by the ladder's factors (log scale)", ylabel="accuracy (%; thin lines: interval)"
    )
    axes.yaxis.set_major_formatter(NUMBER)
    look = {"marker": "o", "ms": 7.5, "lw": 0}
    keys = [plt.Line2D([], [], color=BLUE, **look), plt.Line2D([], [], mfc="white", mec=GREY, mew=1.3, **look), front]
    words = ["on the way", "alternative", "front: no other beats it (bold)"]
    if any(row.get("below", False) for row in rows):
        keys.append(plt.Line2D([], [], mfc="white", mec=GREY, mew=1.3, **look | {"marker": CROSS, "ms": 8.5}))
        words.append(BELOW)
    # Two columns: the layout narrows the axes until their legend ends where the key of the rungs begins.
    axes.legend(keys, words, ncols=2, handletextpad=0.4, **ABOVE_AXES | {"columnspacing": 1})
    finish(figure, _keeps(rows, teacher if teacher_is_clear else 0), caption)
    _number_rungs(axes, rows, best, front)
    return figure


def _front(axes: plt.Axes, rows: Sequence[Row]) -> plt.Line2D:
    """Draw the most accuracy that can be had at each speed, up to the edges of the axes; these stay where they are."""
    points = sorted((row[SPEED], 100 * row["accuracy"]) for row in rows)
    speeds, accuracies = zip(*points, strict=True)
    x = np.repeat([axes.get_xlim()[0], *speeds], 2)[1:]
    y = np.repeat([*accuracies, axes.get_ylim()[0]], 2)[:-1]
    (line,) = axes.plot(x, y, color=VERMILION, lw=1.5, zorder=1.6, scalex=False, scaley=False, gid="front")
    return line


def _number_rungs(axes: plt.Axes, rows: Sequence[Row], best: set[str], front: plt.Line2D) -> None:
    """Number the rungs on the front (bold) and on the way, near their points, and put the key to the right."""
    named = {row["rung"]: row for row in rows if row["rung"] in best or row["on_the_way"]}
    key = [textwrap.fill(f"{i}  {rung}", 22, subsequent_indent="     ") for i, rung in enumerate(named, 1)]
    blanks = [plt.Line2D([], [], linestyle="") for _ in key]
    look = {"handlelength": 0, "handletextpad": 0, "labelspacing": 0.6, "fontsize": 9}
    legend = axes.figure.legend(blanks, key, loc="outside right center", **look)
    for text, rung in zip(legend.get_texts(), named, strict=True):
        text.set(weight="bold" if rung in best else "normal", gid="key")
    axes.figure.get_layout_engine().execute(axes.figure)  # the layout must stand before labels are placed
    marks, taken = [line.get_window_extent() for line in axes.lines if line.get_gid() in ("rung", "level")], []
    for ends in pairwise(axes.transData.transform(front.get_xydata())):
        marks.append(Bbox([np.min(ends, axis=0), np.max(ends, axis=0)]).padded(1))
    for i, (rung, row) in enumerate(named.items(), 1):
        point = {"name": str(i), "x": row[SPEED], "accuracy": 100 * row["accuracy"], "chosen": rung in best}
        taken += put_name(axes, point, (BLUE if row["on_the_way"] else GREY, "o", axes.transData), marks, taken)


def _keeps(rows: Sequence[Row], teacher: float) -> str:
    """Say how much faster the last rung on the way is than the first, and how much of the teacher it keeps."""
    way = [row for row in rows if row["on_the_way"]]
    if len(way) < 2 or not teacher:  # of no score, and of an unclear teacher's, no share is kept
        return "How accurate each rung is, and how fast"
    first, last = way[0], way[-1]
    gain, kept = times(last[SPEED] / first[SPEED]), number(100 * last["accuracy"] / teacher)
    return f"From {first['rung']} to {last['rung']}: {gain} as fast, with {kept}% of the teacher's accuracy"
