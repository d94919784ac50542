"""The figures of chapter 8: what a cascade keeps for how little work, the budget of a request, and the frontier.

Functions take plain numbers and return a matplotlib Figure. Shares are fractions of 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.figure import Figure

from fflib.beyond import frontier
from fflib.data.retention import ROUNDING
from fflib.plotting import (
    BESIDE,
    BLACK,
    BLUE,
    GREY,
    LINES,
    PLAIN,
    TIMES,
    VERMILION,
    Row,
    finish,
    make_room,
    number,
    percent,
    styled,
    times,
)


@styled
def cascades(
    rows: Sequence[Row], chosen: Row | None, min_retention: float, min_agreement: float, caption: str = ""
) -> Figure:
    """Draw what cascades keep over how little they compute, on dev: of the teacher's score, and of the labels.

    ``rows`` are those of `thresholds.grid`; the ``chosen`` one has a ring. Dashed: what has to be kept.
    """
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.6), sharex=True)
    sides = (
        ("without_luck", min_retention, "kept of the teacher's score,\nwithout luck"),
        ("agreement", min_agreement, "kept of the labels\nthat the whole text gets"),
    )
    for panel, (key, least, words) in zip(panels, sides, strict=True):
        for i, first in enumerate(dict.fromkeys(row["first"] for row in rows)):
            color, marker = LINES[i % len(LINES)]
            own = sorted((row for row in rows if row["first"] == first), key=lambda row: row["factor"])
            places = [row["factor"] for row in own], [row[key] for row in own]
            panel.plot(*places, color=color, marker=marker, ms=4, lw=1.2, label=f"first {first} tokens", gid="reading")
        panel.axhline(least, color=VERMILION, lw=1, ls="--", gid="least")
        if chosen:
            panel.plot(chosen["factor"], chosen[key], "o", ms=13, mfc="none", mec=BLACK, mew=1.4, gid="chosen")
        panel.set(xlabel="times fewer operations", ylabel=words)
        panel.xaxis.set_major_formatter(TIMES)
        panel.yaxis.set_major_formatter(ticker.PercentFormatter(1, decimals=1))
    panels[0].legend(fontsize=8)
    what = "the ring is what dev chooses" if chosen else "nothing keeps enough and saves work"
    title = f"What less reading keeps, on dev: {what}; dashed: what has to be kept"
    return finish(figure, title, caption)


@styled
def budget(found: Mapping[str, Any], caption: str = "") -> Figure:
    """Draw the parts of a batch's time as bars, of `request_budget.budget`, with their share of the whole."""
    rows = [(name, ms) for name, ms in found["parts_ms"].items() if ms > 0]
    left = max(0.0, found["whole_ms"] - found["sum_ms"])
    rows += [("not explained", left)] if left else []
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.42 * len(rows)))
    for y, (name, ms) in enumerate(rows):
        axes.barh(y, ms, 0.66, color=PLAIN if name == "not explained" else BLUE, gid="bar")
        axes.annotate(f"{number(ms)} ms, {percent(ms / found['whole_ms'])}", (ms, y), **BESIDE)
    make_room(axes, 5.5)
    axes.set(yticks=range(len(rows)), xlabel="time in one batch as it is served (ms)")
    axes.set_yticklabels([name for name, _ in rows])
    axes.invert_yaxis()
    most = max(found["parts_ms"].items(), key=lambda part: part[1])
    verdict = "the parts add up" if found["closes"] else "the parts do not add up to the whole"
    return finish(
        figure, f"{percent(most[1] / found['whole_ms'])} of a batch's time goes to: {most[0]}; {verdict}", caption
    )


@styled
def frontiers(
    points: Sequence[frontier.Point],
    paper: Sequence[frontier.Point],
    rule: float,
    caption: str = "",
    least: float = 0.5,
) -> Figure:
    """Draw speed over what is kept of the teacher: models, systems, floors and the paper's rows, with their frontier.

    Points that keep less than ``least`` are left out. The title names the fastest that keeps the ``rule``.
    """
    figure, axes = plt.subplots(figsize=(8.4, 4.4))
    looks = {"model": (BLUE, "o"), "system": (VERMILION, "D"), "floor": (GREY, "s")}
    shown = [point for point in points if point["retention"] >= least]
    for kind, (color, marker) in looks.items():
        own = [point for point in shown if frontier.kind(point["rung"]) == kind]
        if own:
            label = {"model": "the model alone", "system": "a system", "floor": "a floor"}[kind]
            _scatter(axes, own, label, color=color, marker=marker, s=34, gid=kind)
    if paper:
        _scatter(axes, paper, "FastFormers, Table 3 (its machine)", color=BLACK, marker="+", s=44, gid="paper")
    best = frontier.steps(shown)
    if best:
        x, y = ([point[key] for point in best] for key in ("retention", "factor"))
        axes.step([*x, x[-1]], [*y, y[-1]], where="pre", color=PLAIN, lw=1.4, zorder=1, gid="frontier")
    axes.set(yscale="log", xlabel="kept of the teacher's score, on test", ylabel="times as fast as padded (log scale)")
    axes.xaxis.set_major_formatter(ticker.PercentFormatter(1))
    axes.yaxis.set_major_formatter(TIMES)
    if shown or paper:
        axes.legend(fontsize=8, loc="lower left")
    axes.axvline(rule, color=VERMILION, lw=1, ls="--", gid="rule")
    able = [point for point in shown if point["retention"] >= rule - ROUNDING]
    fastest = max(able, key=lambda point: point["factor"], default=None)
    words = f"{fastest['rung']}, {times(fastest['factor'])}" if fastest else "nothing that was measured"
    return finish(figure, f"The fastest that keeps {rule:.1%} on test (dashed): {words}", caption)


def _scatter(axes: plt.Axes, points: Sequence[frontier.Point], label: str, **look: Any) -> None:
    x, y = (np.array([point[key] for point in points], float) for key in ("retention", "factor"))
    axes.scatter(x, y, label=label, zorder=3, **look)
