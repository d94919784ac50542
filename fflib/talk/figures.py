"""Figures for a wall: few marks, and no letter below twenty pixels where the slide is 1280 wide.

They show what the chapters' figures show, from the same records; those are made for a page that is read from near.
Each takes plain rows and returns a Figure; `svg` writes it with its letters as text, in the deck's own typeface.
(Longer than 200 lines: four drawings and the place of names in them.)
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from fflib.plotting import BLUE, DARK, GREEN, GREY, NUMBER, PALE, PLAIN, TIMES, VERMILION, fold, styled, times

Row = Mapping[str, Any]
Side = tuple[float, float, str, str]  # where a name stands beside its point: x, y in points, ha, va
SIZE = (12.4, 4.1)  # inches of 96 CSS pixels
LEAST = 15.5  # points: 20.7 CSS pixels
NORMAL, LARGE = 17.0, 19.0  # points
COLOR_BY_KIND = {"plain": PLAIN, "base": GREY, "good": BLUE, "best": GREEN, "bad": VERMILION, "pale": PALE}
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 2}  # behind words that a line may cross
FONTS = {name: NORMAL for name in ("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize")}
FONTS |= {"legend.fontsize": NORMAL, "svg.fonttype": "none", "svg.hashsalt": "fflib"}


def svg(figure: Figure) -> str:
    """Return a figure as SVG: the same text for the same figure, on every day."""
    with matplotlib.rc_context(FONTS):
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]


def _axes(height: float = SIZE[1]) -> tuple[Figure, plt.Axes]:
    plt.rcParams.update(FONTS)  # inside `styled`, which restores them
    return plt.subplots(figsize=(SIZE[0], height))


@styled
def bars(rows: Sequence[Row], xlabel: str, *, log: bool = False, one: str = "", height: float = SIZE[1]) -> Figure:
    """Draw a horizontal bar a row, the first on top.

    Args:
        rows: name, value, kind (a key of `COLOR_BY_KIND`), words (what stands beside the bar); low and high may be
            there: the ends of an interval.
        log: the axis is logarithmic.
        one: what stands at the line at 1; '': no line.
    """
    figure, axes = _axes(height)
    values = [row["value"] for row in rows]
    places = range(len(rows))
    axes.barh(places, values, color=[COLOR_BY_KIND[row["kind"]] for row in rows], height=0.68)
    for place, row in zip(places, rows, strict=True):
        end = row["value"]
        if "low" in row:
            axes.plot([row["low"], row["high"]], [place, place], color="black", linewidth=2.2)
            end = row["high"]
        weight = "bold" if row["kind"] in ("good", "best") else "normal"
        ink = DARK if row["kind"] == "bad" else "black"
        words = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "weight": weight, "color": ink}
        axes.annotate(row["words"], (end, place), fontsize=NORMAL, bbox=PAPER, **words)
    axes.set_yticks(places, [fold(row["name"], 34) for row in rows], fontsize=NORMAL)
    axes.invert_yaxis()
    _scale(axes, values, log)
    if one:
        axes.axvline(1, color="black", linewidth=1.4, linestyle="--", zorder=1.5)
        above = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "bottom", "annotation_clip": False}
        axes.annotate(one, (1, 1.01), fontsize=LEAST, color=GREY, **above)
    axes.set_xlabel(xlabel, fontsize=LEAST, color=GREY)
    axes.tick_params(axis="y", length=0)
    axes.grid(False)
    return figure


def _scale(axes: plt.Axes, values: Sequence[float], log: bool) -> None:
    """Leave room beside the longest bar for its words."""
    if log:
        low = min(values) * 0.6
        axes.set_xscale("log")
        axes.set_xlim(low, max(values) * (max(values) / low) ** 0.45)
    else:
        axes.set_xlim(0, max(values) * 1.38)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(NUMBER)
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())


@styled
def waterfall(steps: Sequence[Row], total: float, measured_words: str, start: str) -> Figure:
    """Draw the steps of the ladder on a logarithmic axis, each from where the one before ended.

    Args:
        steps: technique, factor, total, as `factors.factors` returns them.
        total: the measured factor of the end over the start.
        measured_words: the same with its interval.
        start: the name of where it starts.
    """
    figure, axes = _axes(4.9)
    names = [start, *(step["technique"] for step in steps), "measured side by side"]
    left, place = 1.0, 0
    axes.plot([1], [0], marker="D", markersize=11, color=GREY)
    for place, step in enumerate(steps, 1):
        color = BLUE if step["factor"] >= 1 else VERMILION
        axes.barh(place, step["total"] - left, left=left, color=color, height=0.66)
        end = max(left, step["total"])
        axes.annotate(
            times(step["factor"]), (end, place), xytext=(8, 0), textcoords="offset points", va="center", fontsize=NORMAL
        )
        axes.plot([step["total"]] * 2, [place, place + 1], color=GREY, linewidth=1.2)
        left = step["total"]
    axes.barh(place + 1, total - 1, left=1.0, color=GREEN, height=0.66)
    bold = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "fontsize": LARGE, "weight": "bold"}
    axes.annotate(measured_words, (max(total, 1.0), place + 1), **bold)
    axes.set_yticks(range(len(names)), names, fontsize=NORMAL)
    axes.invert_yaxis()
    axes.set_xscale("log")
    top = max([total, *(step["total"] for step in steps)])
    axes.set_xlim(0.9, max(top, 2.0) ** 1.42)
    axes.xaxis.set_major_formatter(TIMES)
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel(f"times as many answers a second as the {start}", fontsize=LEAST, color=GREY)
    axes.tick_params(axis="y", length=0)
    axes.grid(False)
    return figure


@styled
def points(rows: Sequence[Row], xlabel: str, ylabel: str, *, log: bool = False, lines: Sequence[Row] = ()) -> Figure:
    """Draw points with names; a cross is one that was refused.

    Args:
        rows: name ('' for none), x, y, kind (a key of `COLOR_BY_KIND`), refused; low and high may be there, of y.
        lines: horizontal lines: y and name.
    """
    figure, axes = _axes(4.9)
    for row in rows:
        color = COLOR_BY_KIND[row["kind"]]
        if "low" in row:
            axes.plot([row["x"]] * 2, [row["low"], row["high"]], color=color, linewidth=2, alpha=0.6)
        axes.plot([row["x"]], [row["y"]], marker="X" if row["refused"] else "o", markersize=13, color=color)
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(NUMBER)
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    else:
        axes.xaxis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.margins(x=0.16, y=0.14)
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g} %"))
    for line in lines:
        axes.axhline(line["y"], color=GREY, linewidth=1.4, linestyle="--")
        beside = {"xytext": (6, 5), "textcoords": "offset points", "fontsize": LEAST, "color": GREY}
        axes.annotate(line["name"], (0, line["y"]), xycoords=("axes fraction", "data"), **beside)
    axes.set_xlabel(xlabel, fontsize=LEAST, color=GREY)
    axes.set_ylabel(ylabel, fontsize=LEAST, color=GREY)
    _put_names(figure, axes, [row for row in rows if row["name"]], rows)
    return figure


def _put_names(figure: Figure, axes: plt.Axes, rows: Sequence[Row], marks: Sequence[Row]) -> None:
    """Write each name where it meets no other name, no point and no interval of ``marks``, near its point."""
    figure.draw_without_rendering()
    names: list[Bbox] = []
    renderer = figure.canvas.get_renderer()
    unit = figure.dpi / 72
    dots, intervals = ([_around(axes, row, unit, whole) for row in marks] for whole in (False, True))
    for row in rows:
        places = []
        for distance in (14, 24, 36, 50, 70, 90):
            for side in _sides(distance):
                text = _name(axes, row, side)
                text.update_positions(renderer)
                box = plt.Text.get_window_extent(text, renderer)  # without its tie
                text.remove()
                outside = not (axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max))
                met = 9 * box.count_overlaps(names) + 4 * box.count_overlaps(dots) + box.count_overlaps(intervals)
                places.append((met + 9 * outside + distance / 60, side, box))
        _, side, box = min(places, key=lambda place: place[0])
        _name(axes, row, side)
        names.append(box)


def _around(axes: plt.Axes, row: Row, unit: float, whole: bool) -> Bbox:
    """Return what a point covers, in pixels, with the ``whole`` of its interval or without."""
    ends = (row.get("low", row["y"]), row.get("high", row["y"])) if whole else (row["y"], row["y"])
    (x, low), (_, high) = (axes.transData.transform((row["x"], end)) for end in ends)
    room = 2 if whole else 9
    return Bbox([[x - room * unit, low - room * unit], [x + room * unit, high + room * unit]])


def _name(axes: plt.Axes, row: Row, side: Side) -> plt.Annotation:
    x, y, ha, va = side
    is_far = max(abs(x), abs(y)) > 20
    tie = {"arrowstyle": "-", "color": GREY, "lw": 1, "shrinkA": 0, "shrinkB": 6} if is_far else None
    look = {"ha": ha, "va": va, "fontsize": LEAST, "color": DARK if row["refused"] else "black", "arrowprops": tie}
    return axes.annotate(row["name"], (row["x"], row["y"]), xytext=(x, y), textcoords="offset points", **look)


def _sides(distance: float) -> list[Side]:
    aslant = 0.7 * distance
    return [
        (distance, 0, "left", "center"),
        (0, distance, "center", "bottom"),
        (0, -distance, "center", "top"),
        (-distance, 0, "right", "center"),
        (aslant, aslant, "left", "bottom"),
        (aslant, -aslant, "left", "top"),
        (-aslant, aslant, "right", "bottom"),
        (-aslant, -aslant, "right", "top"),
    ]


@styled
def lines(series: Mapping[str, Sequence[Row]], xlabel: str, ylabel: str) -> Figure:
    """Draw lines with intervals, named at their ends: rows of x, y, low, high (y in per cent)."""
    figure, axes = _axes()
    colors = (BLUE, VERMILION, GREY, GREEN)
    ends = []
    for (name, rows), color in zip(series.items(), colors, strict=False):
        x, y = [row["x"] for row in rows], [row["y"] for row in rows]
        axes.plot(x, y, color=color, marker="o", markersize=11, linewidth=3)
        axes.fill_between(x, [row["low"] for row in rows], [row["high"] for row in rows], color=color, alpha=0.13)
        ends.append([y[-1], x[-1], name, color])
    axes.margins(x=0.05, y=0.1)
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g} %"))
    low, high = axes.get_ylim()
    ends.sort()
    for below, above in zip(ends, ends[1:], strict=False):  # names that would lie upon each other are moved apart
        above.append(max(above[0], (below[4] if len(below) > 4 else below[0]) + 0.1 * (high - low)))
    for y, x, name, color, *moved in ends:
        bold = {"xytext": (16, 0), "textcoords": "offset points", "va": "center", "weight": "bold", "color": color}
        axes.annotate(name, (x, moved[0] if moved else y), fontsize=NORMAL, annotation_clip=False, **bold)
    axes.set_xlim(axes.get_xlim()[0], axes.get_xlim()[1] + 0.35 * (axes.get_xlim()[1] - axes.get_xlim()[0]))
    ticks = sorted({row["x"] for rows in series.values() for row in rows})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlabel(xlabel, fontsize=LEAST, color=GREY)
    axes.set_ylabel(ylabel, fontsize=LEAST, color=GREY)
    return figure
