"""The figure of the full stack without one technique at a time.

Functions take plain numbers and return a matplotlib Figure. Accuracies are fractions of 1. A number that is None or NaN
was not measured: what needs it is left out; where nothing is left to draw, InputError is raised.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import pyplot as plt

from fflib.plotting import (
    ABOVE_AXES,
    BLACK,
    BLUE,
    PLAIN,
    TIMES,
    VERMILION,
    Row,
    finish,
    fold,
    styled,
    times,
)
from fflib.story.figure_parts import known, log_axis, measured

HEADS = {34: "in the\nfull stack", 90: "when\nadded", 148: "accuracy\n(points)"}  # points beside the axes: column


@styled
def leave_one_out(rows: Sequence[Row], caption: str = "") -> plt.Figure:
    """Draw how many times as fast the full stack is as the stack without one technique, the largest first.

    ``rows`` hold technique, factor, its interval low and high, added (the factor when the ladder took the technique
    up) and points (the accuracy without it less that of the full stack, in percentage points); served is False where
    the stack without it keeps too few labels to be served.
    """
    rows = sorted(measured(rows, "factor"), key=lambda row: -row["factor"])
    figure, axes = plt.subplots(figsize=(8.4, 2 + 0.4 * len(rows)))
    for i, row in enumerate(rows):
        axes.barh(i, row["factor"] - 1, 0.6, left=1, color=BLUE if _helps(row) else PLAIN, gid="bar")
        if known(row, "low", "high"):
            axes.plot([row["low"], row["high"]], [i, i], color=BLACK, lw=1.6, marker="|", ms=6, gid="interval")
        if known(row, "added"):
            axes.plot(row["added"], i, "D", color=VERMILION, mfc="white", mew=1.7, ms=7, gid="added")
        added = times(row["added"]) if known(row, "added") else ""
        points = f"{round(row['points'], 1) + 0.0:+.1f}".replace("-", "\N{MINUS SIGN}") if known(row, "points") else ""
        _beside(axes, (times(row["factor"]), added, points), i)
    for at, words in HEADS.items():
        axes.annotate(words, (1, 1), (at, 4), "axes fraction", "offset points", ha="center", va="bottom", fontsize=9)
    axes.axvline(1, color=BLACK, lw=1.2)
    axes.set_yticks(range(len(rows)), [fold(_name(row), 26) for row in rows])
    axes.set(
        ylim=(len(rows) - 0.5, -0.5),
        xlabel="times as fast with the technique as without it\n(log scale; line: range of the rounds)",
    )
    log_axis(axes, [1, *(row[key] for row in rows for key in ("factor", "low", "high", "added") if known(row, key))])
    axes.xaxis.set_major_formatter(TIMES)
    axes.grid(False)
    keys = [plt.Rectangle((0, 0), 1, 1, color=BLUE), plt.Rectangle((0, 0), 1, 1, color=PLAIN)]
    keys.append(plt.Line2D([], [], color=VERMILION, marker="D", mfc="white", mew=1.7, ms=7, lw=0))
    words = ["in the full stack", "no clear gain", "when added"]
    above = ABOVE_AXES | {"bbox_to_anchor": (-0.09, 1), "borderaxespad": 3}  # the heads of the columns
    axes.legend(keys, words, ncols=3, **above)
    return finish(figure, _needs(rows), caption)


def _name(row: Row) -> str:
    return row["technique"] + " (not served: too few labels stay)" * (not row.get("served", True))


def _beside(axes: plt.Axes, cells: Sequence[str], y: int) -> None:
    """Write the numbers of one technique in the columns at the right."""
    for at, cell, weight in zip(HEADS, cells, ("bold", "normal", "normal"), strict=True):
        look = {"ha": "center", "va": "center", "weight": weight, "fontsize": 9, "gid": "cell"}
        axes.annotate(cell, (1, y), (at, 0), axes.get_yaxis_transform(), "offset points", **look)


def _helps(row: Row) -> bool:
    """Say whether the stack is clearly faster with the technique: by its interval, or where it has none, at all."""
    return row["low" if known(row, "low") else "factor"] > 1


def _needs(rows: Sequence[Row]) -> str:
    """Say which technique the stack could least do without, and how many were worth something else when added."""
    most = next((row for row in rows if _helps(row)), None)
    claim = "The full stack is not clearly faster for any of its techniques"
    if most:
        claim = f"The full stack could least do without: {most['technique']} ({times(most['factor'])})"
    comparable = [row for row in rows if known(row, "low", "high", "added")]
    moved = sum(not row["low"] <= row["added"] <= row["high"] for row in comparable)
    order = f"; the order matters: {moved} of {len(comparable)} brought more or less when added"
    return claim + order * bool(moved)
