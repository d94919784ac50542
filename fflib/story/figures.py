"""The figures of the ladder: what each rung buys, step by step and one request at a time, and where the limit lies.

Functions take plain numbers and return a matplotlib Figure. Accuracies are fractions of 1. A number that is None or NaN
was not measured: what needs it is left out; where nothing is left to draw, InputError is raised.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from fflib.plotting import (
    BESIDE,
    BLACK,
    BLUE,
    DARK,
    GREY,
    HALO,
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
    styled,
    times,
)
from fflib.runs.ladder import BELOW
from fflib.story.figure_parts import SPEED, known, log_axis, measured


@styled
def ladder(table: pd.DataFrame, stack: Sequence[str], caption: str = "", measured_rung: str = "") -> Figure:
    """Draw a bar per measured rung: its speed-up over the padded reference on a log axis, its accuracy beside it.

    Rungs that are not in ``stack``, the alternatives to those that are, are drawn pale; those below the rule hatched.
    The factor of the rung ``measured_rung`` was measured against the reference, those of the others are products of
    steps: a line goes to where its own steps lead.
    """
    rows = table[table["speedup_vs_padded"].notna()].reset_index(drop=True)
    names = [fold(name, 32) for name in rows["rung"]]
    inches = max(0.36, 0.1 + 0.16 * max(name.count("\n") + 1 for name in names))  # of a rung
    figure, axes = plt.subplots(figsize=(8, 1.3 + inches * len(rows)))
    color_of = {name: GREY if name.startswith("reference") else BLUE for name in rows["rung"]}
    colors = [color if name in stack or color == GREY else PALE for name, color in color_of.items()]
    below = rows["keeps_rule"] == "no"
    bars = axes.barh(rows.index, rows["speedup_vs_padded"], color=colors, height=0.62)
    for bar, is_below in zip(bars, below, strict=True):
        bar.set(hatch="////" if is_below else None, edgecolor="white", linewidth=0)
    for i, row in rows.iterrows():
        accuracy = "" if pd.isna(row["accuracy"]) else f"  accuracy {row['accuracy']:.1%}"
        accuracy += f", {BELOW}" if below[i] else ""
        end, note = row["speedup_vs_padded"], ""
        if row["rung"] == measured_rung:
            one_below = rows.loc[rows["rung"] == row["stacks_on"], "speedup_vs_padded"].item()
            product, note = one_below * row["speedup_step"], " measured"
            axes.plot([row["speedup_vs_padded"], product], [i, i], color=BLACK, lw=1, marker="|", ms=8, gid="product")
            end = max(end, product)
        axes.annotate(f"{row['speedup_vs_padded']:.1f}x{note}{accuracy}", (end, i), **BESIDE)
    unit = "times the throughput of the padded reference (log scale)"
    if measured_rung:
        unit += f"\nsteps multiplied; {measured_rung}: measured, with a line to the product of its steps"
    axes.set(xlabel=unit, ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(rows.index, names)
    widest = max(plt.Text.get_window_extent(name).width for name in axes.get_yticklabels()) / figure.dpi
    log_axis(axes, rows["speedup_vs_padded"], inches=figure.get_figwidth() - widest - 0.4)
    axes.xaxis.set_major_formatter(TIMES)
    axes.grid(axis="y", visible=False)  # it would run through the words beside the bars
    pale = "\n(pale: alternatives, floors and systems)" if PALE in colors else ""
    axes.set_title(f"Each rung against the padded reference{pale}")
    put_caption(figure, caption)
    return figure


@styled
def waterfall(rows: Sequence[Row], caption: str = "", against: Row | None = None) -> plt.Figure:
    """Draw what each step multiplies the throughput by: a bar from the total before it to that after it.

    ``rows``, from the ground up, hold rung, what (the step does), factor and total (against the padded reference);
    the padded reference itself has a factor of 1. ``against`` holds factor, low and high of the last rung, measured
    beside the padded reference; without it the product of the steps is all there is to tell.
    """
    rows = measured(rows, "factor", "total")
    starts, ends = [row["total"] / row["factor"] for row in rows], [row["total"] for row in rows]
    notes = [(fold(row["rung"], 42), fold(row["what"], 42)) for row in rows]
    inches = 0.34 + 0.13 * max("".join(note).count("\n") for note in notes)  # of a step
    bottom = len(rows) + bool(against)
    figure, axes = plt.subplots(figsize=(8.4, 1.1 + inches * (bottom + 1.4)))
    figure.get_layout_engine().set(w_pad=0.1)  # the words on the left reach exactly to where the layout ends
    beside = BESIDE | {"xycoords": axes.get_yaxis_transform(), "ha": "right"}
    for i, (row, (name, note), start, end) in enumerate(zip(rows, notes, starts, ends, strict=True)):
        slower = row["factor"] < 1
        axes.barh(i, end - start, 0.62, left=start, color=VERMILION if slower else BLUE, gid="bar")
        axes.plot([end, end], [i - 0.31, i + 0.69], color=BLACK, lw=0.9, gid="total")
        ink = {"color": DARK if slower else BLACK, "weight": "bold"}
        axes.annotate(times(row["factor"]), (max(start, end), i), **BESIDE | ink)
        axes.annotate(name, (0, i), **beside | {"xytext": (-6, -1), "va": "bottom", "gid": "rung"})
        axes.annotate(note, (0, i), **beside | {"xytext": (-6, -1), "va": "top", "gid": "what", "color": GREY})
    ranges = []
    if against:
        ranges = [against[key] for key in ("low", "factor", "high")]
        axes.plot([ranges[0], ranges[2]], [len(rows)] * 2, color=BLACK, lw=1.6, marker="|", ms=7, gid="interval")
        axes.plot(against["factor"], len(rows), "D", color=VERMILION, ms=7, gid="measured")
        axes.annotate(times(against["factor"]), (ranges[2], len(rows)), **BESIDE | {"weight": "bold", "gid": "end"})
        for words, side, ink in (("measured side by side", "bottom", BLACK), ("the headline", "top", GREY)):
            axes.annotate(words, (0, len(rows)), **beside | {"xytext": (-6, -1), "va": side, "color": ink})
    log_axis(axes, [*starts, *ends, *ranges], inches=4.5)
    words = f"{times(against['factor'] if against else ends[-1])} the padded reference"
    look = {"ha": "right", "va": "center", "fontsize": 17, "weight": "bold", "color": BLUE, "gid": "in all"}
    axes.text(1, bottom + 0.2, words, transform=axes.get_yaxis_transform(), **look)
    axes.set(ylim=(bottom + 0.8, -0.6), yticks=[], xlabel="times the throughput of the padded reference (log scale)")
    axes.xaxis.set_major_formatter(TIMES)
    axes.grid(False)
    steps = [row for row in rows if row["factor"] != 1]
    title = f"{words} in {len(steps)} step" + "s" * (len(steps) != 1)
    if against:
        title = f"{words}, measured; the {len(steps)} steps multiply to {times(ends[-1])}"
    elif len(steps) > 1:
        most = max(steps, key=lambda row: row["factor"])
        title += f", the largest: {most['rung']}, {times(most['factor'])}"
    title += " (red: slower)" * any(row["factor"] < 1 for row in rows)
    return finish(figure, title, caption)


@styled
def latency_ladder(rows: Sequence[Row], caption: str = "") -> plt.Figure:
    """Draw the median latency of each rung and the 95th percentile.

    ``rows`` hold rung, p50_ms, p95_ms and times, the padded reference's median over this rung's.
    """
    rows = measured(rows, "p50_ms")
    figure, axes = plt.subplots(figsize=(8.4, 1.7 + 0.27 * len(rows)))
    ends = [row["p95_ms"] if known(row, "p95_ms") else row["p50_ms"] for row in rows]
    best = min(rows, key=lambda row: row["p50_ms"])
    for i, (row, end) in enumerate(zip(rows, ends, strict=True)):
        color, weight = (VERMILION, "bold") if row is best else (BLUE, "normal")
        if known(row, "p95_ms"):
            axes.plot([row["p50_ms"], end], [i, i], color=color, lw=2, marker="|", markevery=[1], gid="to p95")
        axes.plot(row["p50_ms"], i, "o", color=color, ms=8, gid="p50")
        if known(row, "times"):
            axes.annotate(times(row["times"]), (max(row["p50_ms"], end), i), **BESIDE | HALO | {"weight": weight})
    axes.set_yticks(range(len(rows)), [row["rung"] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    log_axis(axes, [*(row["p50_ms"] for row in rows), *ends])
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
    rows = sorted(measured(rows, SPEED), key=lambda row: (row["kind"] != "measured", row[SPEED]))
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
