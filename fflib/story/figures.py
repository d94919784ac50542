"""The figures of the story: what the whole ladder buys, what it costs, and what each technique is worth in the end.

As everywhere, functions take plain numbers and return a matplotlib Figure. Accuracies are fractions of 1. A number
that is None or NaN was not measured: what needs it is left out; where nothing is left to draw, InputError is raised.
(Longer than 200 lines: five figures, each with a layout of its own.)
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from fflib.files import InputError
from fflib.plotting import (
    ABOVE_AXES,
    BESIDE,
    BLACK,
    BLUE,
    DARK,
    GREY,
    NUMBER,
    PALE,
    PLAIN,
    TIMES,
    VERMILION,
    Row,
    finish,
    fold,
    make_room,
    number,
    put_caption,
    put_name,
    styled,
    times,
)

SPEED = "throughput_per_s"
ENOUGH = 0.98  # of the teacher's accuracy
HEADS = {34: "in the\nfull stack", 90: "when\nadded", 148: "accuracy\n(points)"}  # points beside the axes: column


def _known(row: Row, *keys: str) -> bool:
    return not np.isnan(np.array([row.get(key) for key in keys], dtype=float)).any()


def _measured(rows: Sequence[Row], *keys: str) -> list[Row]:
    """Keep the rows that have a number under each of ``keys``."""
    kept = [row for row in rows if _known(row, *keys)]
    if not kept:
        raise InputError(f"no row of the figure has a number for {' and '.join(keys)}; measure one first")
    return kept


def _log_axis(axes: plt.Axes, values: Sequence[float], inches: float = 5) -> None:
    """Make the x axis, about ``inches`` long, logarithmic around ``values``, with room for the words beside each."""
    margin = max(1.1, (max(values) / min(values)) ** 0.04)
    low, high = min(values) / margin, max(values) * margin
    for text in (text for text in axes.texts if text.get_gid() == "words"):
        share = min((0.12 + plt.Text.get_window_extent(text).width / axes.figure.dpi) / inches, 0.8)
        high = max(high, low * (text.xy[0] / low) ** (1 / (1 - share)))
    decades = math.log10(high / low)
    locator = ticker.LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1, 3) if decades < 3.5 else (1,), numticks=8)
    axes.set(xscale="log", xlim=(low, high))
    axes.xaxis.set(major_locator=locator if decades > 0.8 else ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set(major_formatter=NUMBER, minor_locator=ticker.NullLocator())


def pareto(rows: Sequence[Row]) -> list[str]:
    """Name the rungs that no other beats, from slow to fast; those without a throughput or an accuracy are left out.

    A rung is beaten by one that is at least as fast and at least as accurate, and better in one of the two.
    """
    points = sorted((row[SPEED], row["accuracy"], row["rung"]) for row in rows if _known(row, SPEED, "accuracy"))
    return [rung for x, y, rung in points if not any(a >= x and b >= y and (a, b) != (x, y) for a, b, _ in points)]


@styled
def ladder(table: pd.DataFrame, baseline: str, stack: Sequence[str], caption: str = "") -> Figure:
    """Draw a bar per measured rung: its speed-up against ``baseline`` on a log axis, accuracy written beside it.

    Rungs that are not in ``stack``, the alternatives to those that are, are drawn pale.
    """
    rows = table[table["speedup_vs_padded"].notna()].reset_index(drop=True)
    figure, axes = plt.subplots(figsize=(8, 1 + 0.5 * len(rows)))
    color_of = {name: GREY if name.startswith("reference") else BLUE for name in rows["rung"]}
    colors = [color if name in stack or color == GREY else PALE for name, color in color_of.items()]
    axes.barh(rows.index, rows["speedup_vs_padded"], color=colors, height=0.62)
    for i, row in rows.iterrows():
        accuracy = "" if pd.isna(row["accuracy"]) else f"  accuracy {row['accuracy']:.1%}"
        axes.text(row["speedup_vs_padded"] * 1.05, i, f"{row['speedup_vs_padded']:.1f}x{accuracy}", va="center")
    axes.set(xscale="log", xlabel=f"times the throughput of the {baseline} (log scale)", yticks=rows.index)
    axes.set_yticklabels(rows["rung"])
    axes.set_xlim(min(0.8, rows["speedup_vs_padded"].min() * 0.8), rows["speedup_vs_padded"].max() * 6)
    axes.xaxis.set_major_formatter("{x:g}x")
    axes.invert_yaxis()
    pale = " (pale: alternatives)" if PALE in colors else ""
    axes.set_title(f"Each rung against the padded reference{pale}")
    put_caption(figure, caption)
    return figure


@styled
def accuracy_against_speed(rows: Sequence[Row], teacher: float, caption: str = "") -> plt.Figure:
    """Draw the accuracy of each rung over its throughput, and the Pareto front, as FastFormers' figure 3 does.

    ``rows``, in the order of the ladder, hold rung, throughput_per_s, accuracy, accuracy_low, accuracy_high and
    on_the_way; alternatives to the rungs on the way are hollow, and named where they are on the front. ``teacher`` is
    the teacher's accuracy.
    """
    rows = _measured(rows, SPEED, "accuracy")
    best = set(pareto(rows))
    figure, axes = plt.subplots(figsize=(8.4, 5.4))
    for row in sorted(rows, key=lambda row: row["on_the_way"]):
        x, y, color = row[SPEED], 100 * row["accuracy"], BLUE if row["on_the_way"] else GREY
        if _known(row, "accuracy_low", "accuracy_high"):
            ends = 100 * row["accuracy_low"], 100 * row["accuracy_high"]
            axes.plot([x, x], ends, color=color, lw=0.9, alpha=0.45, zorder=1.5, gid="interval")
        fill = color if row["on_the_way"] else "white"
        axes.plot(x, y, "o", mfc=fill, mec=color, mew=1.3, ms=7.5, gid="rung")
    for share, style, side in ((1, {"lw": 1.4}, "bottom"), (ENOUGH, {"lw": 0.8}, "top")):
        axes.axhline(100 * share * teacher, color=BLACK, linestyle="--", zorder=1.4, gid="level", **style)
        words = f"the teacher:\n{number(100 * teacher)}%" if share == 1 else f"{share:.0%} of\nthe teacher"
        place = {"transform": axes.get_yaxis_transform(), "fontsize": 9, "linespacing": 1.05, "va": side}
        axes.text(1.01, 100 * share * teacher, words, **place)
    _log_axis(axes, [row[SPEED] for row in rows])
    front = _front(axes, [row for row in rows if row["rung"] in best])
    axes.set(
        xlabel="requests per second, by the ladder's factors (log scale)", ylabel="accuracy (%; thin lines: interval)"
    )
    axes.yaxis.set_major_formatter(NUMBER)
    look = {"marker": "o", "ms": 7.5, "lw": 0}
    keys = [plt.Line2D([], [], color=BLUE, **look), plt.Line2D([], [], mfc="white", mec=GREY, mew=1.3, **look), front]
    words = ["on the way", "alternative", "front: no other beats it (bold)"]
    axes.legend(keys, words, ncols=3, handletextpad=0.4, **ABOVE_AXES | {"columnspacing": 1})
    finish(figure, _keeps(rows, teacher), caption)
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
    for text in axes.texts:
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])  # so that intervals may pass below


def _keeps(rows: Sequence[Row], teacher: float) -> str:
    """Say how much faster the last rung on the way is than the first, and how much of the teacher it keeps."""
    way = [row for row in rows if row["on_the_way"]]
    if len(way) < 2 or not teacher:  # of a score of 0, no share is kept
        return "How accurate each rung is, and how fast"
    first, last = way[0], way[-1]
    gain, kept = times(last[SPEED] / first[SPEED]), number(100 * last["accuracy"] / teacher)
    return f"From {first['rung']} to {last['rung']}: {gain} as fast, with {kept}% of the teacher's accuracy"


@styled
def waterfall(rows: Sequence[Row], caption: str = "") -> plt.Figure:
    """Draw what each step multiplies the throughput by: a bar from the total before it to that after it.

    ``rows``, from the ground up, hold rung, what (the step does), factor and total (against the padded reference);
    the padded reference itself has a factor of 1.
    """
    rows = _measured(rows, "factor", "total")
    starts, ends = [row["total"] / row["factor"] for row in rows], [row["total"] for row in rows]
    notes = [(fold(row["rung"], 42), fold(row["what"], 42)) for row in rows]
    inches = 0.34 + 0.13 * max("".join(note).count("\n") for note in notes)  # of a step
    figure, axes = plt.subplots(figsize=(8.4, 1.1 + inches * (len(rows) + 1.4)))
    beside = BESIDE | {"xycoords": axes.get_yaxis_transform(), "ha": "right"}
    for i, (row, (name, note), start, end) in enumerate(zip(rows, notes, starts, ends, strict=True)):
        slower = row["factor"] < 1
        axes.barh(i, end - start, 0.62, left=start, color=VERMILION if slower else BLUE, gid="bar")
        axes.plot([end, end], [i - 0.31, i + 0.69], color=BLACK, lw=0.9, gid="total")
        ink = {"color": DARK if slower else BLACK, "weight": "bold"}
        axes.annotate(times(row["factor"]), (max(start, end), i), **BESIDE | ink)
        axes.annotate(name, (0, i), **beside | {"xytext": (-6, -1), "va": "bottom", "gid": "rung"})
        axes.annotate(note, (0, i), **beside | {"xytext": (-6, -1), "va": "top", "gid": "what", "color": GREY})
    _log_axis(axes, [*starts, *ends], inches=4.5)
    words = f"{times(ends[-1])} the padded reference"
    look = {"ha": "right", "va": "center", "fontsize": 17, "weight": "bold", "color": BLUE, "gid": "in all"}
    axes.text(1, len(rows) + 0.2, words, transform=axes.get_yaxis_transform(), **look)
    axes.set(ylim=(len(rows) + 0.8, -0.6), yticks=[], xlabel="times the throughput of the padded reference (log scale)")
    axes.xaxis.set_major_formatter(TIMES)
    axes.grid(False)
    steps = [row for row in rows if row["factor"] != 1]
    title = f"{words} in {len(steps)} step" + "s" * (len(steps) != 1)
    if len(steps) > 1:
        most = max(steps, key=lambda row: row["factor"])
        title += f", the largest: {most['rung']}, {times(most['factor'])}"
    title += " (red: slower)" * any(row["factor"] < 1 for row in rows)
    return finish(figure, title, caption)


@styled
def leave_one_out(rows: Sequence[Row], caption: str = "") -> plt.Figure:
    """Draw how many times as fast the full stack is as the stack without one technique, the largest first.

    ``rows`` hold technique, factor, its interval low and high, added (the factor when the ladder took the technique
    up) and points (the accuracy without it less that of the full stack, in percentage points).
    """
    rows = sorted(_measured(rows, "factor"), key=lambda row: -row["factor"])
    figure, axes = plt.subplots(figsize=(8.4, 2 + 0.4 * len(rows)))
    for i, row in enumerate(rows):
        axes.barh(i, row["factor"] - 1, 0.6, left=1, color=BLUE if _helps(row) else PLAIN, gid="bar")
        if _known(row, "low", "high"):
            axes.plot([row["low"], row["high"]], [i, i], color=BLACK, lw=1.6, marker="|", ms=6, gid="interval")
        if _known(row, "added"):
            axes.plot(row["added"], i, "D", color=VERMILION, mfc="white", mew=1.7, ms=7, gid="added")
        added = times(row["added"]) if _known(row, "added") else ""
        points = f"{round(row['points'], 1) + 0.0:+.1f}".replace("-", "\N{MINUS SIGN}") if _known(row, "points") else ""
        _beside(axes, (times(row["factor"]), added, points), i)
    for at, words in HEADS.items():
        axes.annotate(words, (1, 1), (at, 4), "axes fraction", "offset points", ha="center", va="bottom", fontsize=9)
    axes.axvline(1, color=BLACK, lw=1.2)
    axes.set_yticks(range(len(rows)), [fold(row["technique"], 26) for row in rows])
    axes.set(
        ylim=(len(rows) - 0.5, -0.5),
        xlabel="times as fast with the technique as without it\n(log scale; line: range of the rounds)",
    )
    _log_axis(axes, [1, *(row[key] for row in rows for key in ("factor", "low", "high", "added") if _known(row, key))])
    axes.xaxis.set_major_formatter(TIMES)
    axes.grid(False)
    keys = [plt.Rectangle((0, 0), 1, 1, color=BLUE), plt.Rectangle((0, 0), 1, 1, color=PLAIN)]
    keys.append(plt.Line2D([], [], color=VERMILION, marker="D", mfc="white", mew=1.7, ms=7, lw=0))
    words = ["in the full stack", "no clear gain", "when added"]
    above = ABOVE_AXES | {"bbox_to_anchor": (-0.09, 1), "borderaxespad": 3}  # the heads of the columns
    axes.legend(keys, words, ncols=3, **above)
    return finish(figure, _needs(rows), caption)


def _beside(axes: plt.Axes, cells: Sequence[str], y: int) -> None:
    """Write the numbers of one technique in the columns at the right."""
    for at, cell, weight in zip(HEADS, cells, ("bold", "normal", "normal"), strict=True):
        look = {"ha": "center", "va": "center", "weight": weight, "fontsize": 9, "gid": "cell"}
        axes.annotate(cell, (1, y), (at, 0), axes.get_yaxis_transform(), "offset points", **look)


def _helps(row: Row) -> bool:
    """Say whether the stack is clearly faster with the technique: by its interval, or where it has none, at all."""
    return row["low" if _known(row, "low") else "factor"] > 1


def _needs(rows: Sequence[Row]) -> str:
    """Say which technique the stack could least do without, and how many were worth something else when added."""
    most = next((row for row in rows if _helps(row)), None)
    claim = "The full stack is not clearly faster for any of its techniques"
    if most:
        claim = f"The full stack could least do without: {most['technique']} ({times(most['factor'])})"
    known = [row for row in rows if _known(row, "low", "high", "added")]
    moved = sum(not row["low"] <= row["added"] <= row["high"] for row in known)
    order = f"; the order matters: {moved} of {len(known)} brought more or less when added"
    return claim + order * bool(moved)


@styled
def latency_ladder(rows: Sequence[Row], caption: str = "") -> plt.Figure:
    """Draw the median latency of each rung and the 95th percentile.

    ``rows`` hold rung, p50_ms, p95_ms and times, the padded reference's median over this rung's.
    """
    rows = _measured(rows, "p50_ms")
    figure, axes = plt.subplots(figsize=(8.4, 1.7 + 0.27 * len(rows)))
    ends = [row["p95_ms"] if _known(row, "p95_ms") else row["p50_ms"] for row in rows]
    best = min(rows, key=lambda row: row["p50_ms"])
    for i, (row, end) in enumerate(zip(rows, ends, strict=True)):
        color, weight = (VERMILION, "bold") if row is best else (BLUE, "normal")
        if _known(row, "p95_ms"):
            axes.plot([row["p50_ms"], end], [i, i], color=color, lw=2, marker="|", markevery=[1], gid="to p95")
        axes.plot(row["p50_ms"], i, "o", color=color, ms=8, gid="p50")
        if _known(row, "times"):
            axes.annotate(times(row["times"]), (max(row["p50_ms"], end), i), **BESIDE | {"weight": weight})
    axes.set_yticks(range(len(rows)), [row["rung"] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    _log_axis(axes, [*(row["p50_ms"] for row in rows), *ends])
    beside = "beside: the padded reference's median over this one"
    axes.set_xlabel(f"latency (ms, log scale); dot: median, line: up to the 95th percentile\n{beside}")
    first, low, high = rows[0], number(best["p50_ms"]), number(rows[0]["p50_ms"])
    title = f"No rung has a lower median latency than {first['rung']}: {high} ms"
    if best is not first:
        gain = times(first["p50_ms"] / best["p50_ms"])
        title = f"The median latency falls {gain}, from {high} ms ({first['rung']}) to {low} ms ({best['rung']})"
    return finish(figure, title, caption)


@styled
def limits(rows: Sequence[Row], caption: str = "") -> plt.Figure:
    """Draw the throughput of the measured rung and its limits, the nearest first, and what share of each it reaches.

    ``rows`` hold limit (a name), throughput_per_s and kind: "measured" or "limit".
    """
    rows = sorted(_measured(rows, SPEED), key=lambda row: (row["kind"] != "measured", row[SPEED]))
    mine = max((row for row in rows if row["kind"] == "measured"), key=lambda row: row[SPEED], default=None)
    bounds = [row for row in rows if row["kind"] != "measured"]
    figure, axes = plt.subplots(figsize=(8.4, 1.5 + 0.45 * len(rows)))
    for i, row in enumerate(rows):
        color, weight, share = (BLUE, "bold", "") if row["kind"] == "measured" else (PLAIN, "normal", _share(mine, row))
        axes.barh(i, row[SPEED], 0.66, color=color, gid="bar")
        words = number(row[SPEED]) + f": {share} of it" * bool(share)
        axes.annotate(words, (row[SPEED], i), **BESIDE | {"weight": weight})
    make_room(axes, 5)
    axes.set_yticks(range(len(rows)), [fold(row["limit"], 30) for row in rows])
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel="requests answered per second (blue: measured, grey: limits)")
    if not (mine and bounds):
        return finish(figure, "How many requests can be answered per second", caption)
    title = f"{mine['limit']} reaches {_share(mine, bounds[0])} of the nearest limit, {bounds[0]['limit']}"
    return finish(figure, title, caption)


def _share(row: Row | None, of: Row) -> str:
    return f"{number(100 * row[SPEED] / of[SPEED])}%" if row else ""
