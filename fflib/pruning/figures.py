"""The figures of pruning: what each part is worth, what its removal saves, and which pruned models are worth having.

As everywhere, functions take plain numbers and return a matplotlib Figure. Accuracies, intervals and shares are
fractions of 1, times are in ms. (Longer than 200 lines: the chapter has seven figures, each with a layout of its own.)
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, cycle, pairwise, zip_longest

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.transforms import Bbox

from fflib.plotting import (
    ABOVE,
    BLACK,
    BLUE,
    CENTRED,
    GREY,
    LINES,
    ORANGE,
    VERMILION,
    Point,
    aside,
    put_caption,
    put_head,
    put_name,
    styled,
)

MS = "time per request (ms, log scale)"
GONE = "0.87"  # the grey of what is not there
TICKS = (1, 1.5, 2, 3, 5, 7)  # on a log axis that is less than a few decades long
Floats, Points = Sequence[float], Sequence[Point]  # of a point: name, x, accuracy, low, high, kind, retrained, chosen
Lines = Mapping[str, Sequence[tuple[float, float, float | None, float | None]]]  # x, accuracy, and low, high if known
Level = tuple[float, str, str]  # value, line style, words
Units = tuple[int, int]  # heads, neurons


@styled
def importance_map(heads: Sequence[Floats], neurons: Sequence[Floats], caption: str = "") -> plt.Figure:
    """Draw the importance of the heads and of the neurons of each layer; layers may have fewer than others, or none."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.2 + 0.1 * len(heads)))
    # The row that is added and cut off again gives the grid a column even where no layer has heads.
    grid = np.array([*zip_longest(*heads, [np.nan], fillvalue=np.nan)], dtype=float).T[:-1]
    edges = [np.arange(size + 1) + 0.5 for size in grid.shape[::-1]]
    top = max(chain(*heads), default=0) or 1
    cells = left.pcolormesh(*edges, grid, cmap="Blues", vmin=0, vmax=top, edgecolor="white", lw=1)
    figure.colorbar(cells, ax=left, label="estimated change of the loss")
    left.set(facecolor=GONE, xlabel="head" + " (grey: no such head)" * bool(np.isnan(grid).any()), ylabel="layer")
    left.locator_params(nbins=12, integer=True, min_n_ticks=1)
    left.grid(False)
    for i, layer in enumerate(neurons):
        values = -np.sort([-value if value > 0 else np.nan for value in layer])  # zeros have no place on a log axis
        look = {"color": plt.cm.viridis(0.88 * i / max(1, len(neurons) - 1)), "linestyle": ("-", "--", ":")[i % 3]}
        right.plot(
            np.arange(1, len(values) + 1), values, label=f"layer {i + 1}" + " (none)" * (not len(values)), **look
        )
    right.set(yscale="log", ylabel="estimated change\nof the loss (log scale)")
    right.set_xlabel("neurons of a layer, most important first")
    right.legend(fontsize=8, loc="lower left", ncols=1 + (len(neurons) > 6), handlelength=2.6)
    for panel, parts, what in ((left, heads, "heads"), (right, neurons, "neurons")):
        panel.set_title(_half([*chain(*parts)], what), fontsize=10, weight="normal")
    figure.suptitle("Importance: by how much the loss would change without each part", **ABOVE)
    put_caption(figure, caption)
    return figure


def _half(values: Floats, what: str) -> str:
    """Say how many of the parts, the most important first, make up half of the total."""
    sums = np.cumsum(np.sort(values)[::-1])
    count = np.searchsorted(sums, sums[-1] / 2) + 1 if len(sums) else 0
    return f"{count:,} of {len(sums):,} {what} carry half of the total"


@styled
def controls(lines: Lines, unpruned: float, chance: float, kept_label: str, caption: str = "") -> plt.Figure:
    """Draw dev accuracy over the share of units kept, a line for each way to choose them; all end in the unpruned."""
    levels = ((unpruned, "--", "unpruned"), (chance, ":", "guessing"))
    whole = (1.0, unpruned, None, None)
    to_whole = {way: [*points, *[whole] * all(x < 1 for x, *_ in points)] for way, points in lines.items()}
    title = "Accuracy that is left, by how the kept heads and neurons were chosen"
    return _lines(to_whole, levels, kept_label, title, "accuracy on dev", caption)


@styled
def elastic(lines: Lines, unpruned: float, xlabel: str = "share of the width kept", caption: str = "") -> plt.Figure:
    """Draw the accuracy of each part of one elastic set of weights over the width kept, a line for each depth."""
    levels = [(unpruned, "--", "unpruned")]
    return _lines(lines, levels, xlabel, "One set of weights, many sizes", "accuracy on dev", caption)


def _lines(lines: Lines, levels: Sequence[Level], xlabel: str, title: str, ylabel: str, caption: str) -> plt.Figure:
    """Draw accuracies with their intervals over a share, and the levels they are to be compared with."""
    figure, axes = plt.subplots(figsize=(8.4, 4.4))
    for i, ((name, points), (color, marker)) in enumerate(zip(lines.items(), cycle(LINES), strict=False)):
        x, accuracy, low, high = np.array(sorted(points, key=lambda point: point[0]), dtype=float).reshape(-1, 4).T
        beside = aside(axes, i, len(lines))
        axes.vlines(x, low, high, color, lw=1.4, transform=beside)
        for y in (accuracy, low, high):
            axes.update_datalim(np.column_stack([x, y]))
        axes.plot(x, accuracy, marker=marker, color=color, label=name, transform=beside)
    _levels(axes, levels)
    axes.set_xlabel(xlabel + "; lines drawn slightly apart" * (len(lines) > 1))
    axes.xaxis.set_major_formatter(ticker.PercentFormatter(1))
    put_head(axes, title, f"{ylabel} (bars: 95 % interval)")
    put_caption(figure, caption)
    return figure


def _levels(axes: plt.Axes, levels: Sequence[Level]) -> None:
    """Draw one or two horizontal lines; their words beyond the right edge turn away from each other."""
    sides = ("center",) if len(levels) == 1 else ("top", "bottom")
    for (value, style, words), side in zip(sorted(levels), sides, strict=True):
        axes.axhline(value, color=BLACK, linestyle=style, lw=1.2, gid="level")
        axes.text(1.01, value, textwrap.fill(words, 16), transform=axes.get_yaxis_transform(), va=side)


@styled
def flop_and_time(curves: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], caption: str = "") -> plt.Figure:
    """Draw the cost of half a layer over the units it keeps: {panel: {"operations" or "time": [(units, share)]}}."""
    figure, panels = plt.subplots(1, len(curves), figsize=(8.4, 3.7), squeeze=False, sharey=True)
    for panel, (what, series) in zip(panels[0], curves.items(), strict=True):
        operations, time = (np.reshape(sorted(series[name]), (-1, 2)).T for name in ("operations", "time"))
        panel.plot(*operations, color=GREY, lw=1.2, label="operations")
        panel.plot(*time, color=VERMILION, marker="s", label="time, measured")
        panel.set(xlabel=f"{what} kept in one layer", ylim=(0, None))
        panel.xaxis.set_major_locator(ticker.MaxNLocator(8, integer=True, steps=[1, 2, 2.5, 3, 4, 5, 10]))
    panels[0][0].yaxis.set(label_text="share of the full half layer", major_formatter=ticker.PercentFormatter(1))
    panels[0][0].legend(loc="lower right")
    figure.suptitle("Operations fall in a straight line. Does time?", **ABOVE)
    put_caption(figure, caption)
    return figure


def pareto_front(points: Points) -> list[int]:
    """Return the indices, fastest first, of the points than which none is better in ``x`` or accuracy and no worse."""
    keys = [(point["x"], -point["accuracy"]) for point in points]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return [i for i in order if not any(x <= keys[i][0] and y <= keys[i][1] and (x, y) != keys[i] for x, y in keys)]


@styled
def pareto(
    points: Points, unpruned: Point, floor: float | None, caption: str = "", *, floor_label: str = "", xlabel: str = MS
) -> plt.Figure:
    """Draw accuracy over time: a mark by ``kind``, hollow unless ``retrained``, the ``chosen`` ringed.

    A step line is the front of all points and the unpruned model; it and the chosen are named, others if there is room.
    """
    points = _told_apart(points)
    figure, axes = plt.subplots(figsize=(8.4, 5 + 0.05 * len(points)))
    axes.axhspan(unpruned["low"], unpruned["high"], color=BLUE, alpha=0.1, lw=0)
    axes.axhline(unpruned["accuracy"], color=BLUE, lw=1)
    if floor is not None:
        _levels(axes, [(floor, "--", floor_label)])
    kinds = list(dict.fromkeys(point["kind"] for point in points))
    looks = {kind: (*LINES[1 + i % (len(LINES) - 1)], axes.transData) for i, kind in enumerate(kinds)}
    for point in sorted(points, key=lambda point: (kinds.index(point["kind"]), not point["retrained"])):
        x, y, (color, marker, _) = point["x"], point["accuracy"], looks[point["kind"]]
        fill = {"mfc": color, "mec": "white"} if point["retrained"] else {"mfc": "white", "mec": color, "mew": 1.6}
        axes.plot([x, x], [point["low"], point["high"]], color=color, lw=1.4, gid="interval")
        axes.plot(x, y, marker, color=color, ms=8.5, label=point["kind"], gid="point", **fill)
        if point["chosen"]:
            axes.plot(x, y, "o", ms=19, mfc="none", mec=BLACK, mew=1.8, gid="ring")
    name, times = f"{unpruned['name']} (interval shaded)", [point["x"] for point in (*points, unpruned)]
    axes.plot(times[-1], unpruned["accuracy"], "*", color=BLUE, ms=15, label=name)
    room = 2.2 if any(len(point["name"]) > 20 for point in points) else 1.5  # for the names of the fastest
    axes.set(xscale="log", xlim=(min(times) / room, max(times) * 1.5), xlabel=xlabel)
    axes.xaxis.set(major_locator=ticker.LogLocator(subs=TICKS), major_formatter="{x:,g}")
    taken, busy_lines, front = [], list(axes.lines), pareto_front([*points, unpruned])
    best = np.array([[point["x"], point["accuracy"]] for point in (*points, unpruned)])[front]
    steps = np.column_stack([[*np.repeat(best[:, 0], 2)[1:], axes.get_xlim()[1]], np.repeat(best[:, 1], 2)])
    axes.plot(*steps.T, color="0.7", lw=2.6, zorder=1, label="Pareto front: none is faster and better", gid="front")
    words = "ring: chosen" + "; hollow: tuned only" * any(not point["retrained"] for point in points)
    axes.plot([], [], "o", mfc="white", mec=BLACK, mew=1.6, ms=10, label=words)
    put_head(axes, "Accuracy of each pruned model over its time", "accuracy on test (bars: 95 % interval)")
    put_caption(figure, caption)
    figure.draw_without_rendering()  # the layout must stand before labels are measured
    busy = [line.get_window_extent().padded(5 * (line.get_gid() == "point")) for line in busy_lines]
    busy += [Bbox(ends).padded(2) for ends in pairwise(axes.transData.transform(steps))]
    needed = {*front, *(i for i, point in enumerate(points) if point["chosen"])}
    for i in sorted(range(len(points)), key=lambda i: (i not in needed, times[i])):
        places = put_name(axes, points[i], looks[points[i]["kind"]], busy, taken)
        if i in needed or (len(places) == 1 and not places[0].count_overlaps(busy + taken)):
            taken += places
        else:
            axes.texts[-1].remove()
    return figure


def _told_apart(points: Points) -> list[Point]:
    """Say beside a name that two points have, since a shape is there with and without retraining, which one it is."""
    names = Counter(point["name"] for point in points)
    how = {False: "tuned only", True: "retrained"}
    own = [f"{point['name']}, {how[point['retrained']]}" * (names[point["name"]] > 1) for point in points]
    return [{**point, "name": name or point["name"]} for point, name in zip(points, own, strict=True)]


@styled
def shapes(kept: Mapping[str, Sequence[Units | None]], full: Sequence[Units], caption: str = "") -> plt.Figure:
    """Draw what each model keeps of the heads and neurons of each layer, a panel a model; None: the layer is gone."""
    columns = min(4, len(kept))
    rows, height = math.ceil(len(kept) / columns), 0.8 + 0.4 * len(full)
    figure, panels = plt.subplots(rows, columns, figsize=(8.4, 0.6 + rows * height), squeeze=False, sharey=True)
    for panel in panels.flat[len(kept) :]:
        panel.set_visible(False)
    for panel, (name, layers) in zip(panels.flat, kept.items(), strict=False):
        for i, (left, whole) in enumerate(zip(layers, full, strict=True)):
            if left is None:
                panel.barh(i, 1, 0.8, color="none", edgecolor=GREY, linestyle=":", gid="removed")
                panel.text(0.5, i, "removed", color=GREY, **CENTRED)
            for up, color, count, of in zip((0.2, -0.2), (BLUE, ORANGE), left or (), whole, strict=False):
                panel.barh(i + up, 1, 0.36, color=GONE)
                panel.barh(i + up, count / max(1, of), 0.36, color=color, gid="kept")
                panel.text(1.04, i + up - 0.02, f"{count:,}", va="center", fontsize=8)
        panel.set_title(textwrap.fill(name, 80 // columns), fontsize=10, weight="normal")
        panel.tick_params(length=0, grid_alpha=0)
        panel.set(xlim=(0, 1.32), xlabel="share kept", ylim=(-0.6, len(full) - 0.4))
        panel.set_xticks((0, 0.5, 1), ("0%", "50%", "100%"))
    names = [name for i in range(len(full)) for name in (f"layer {i + 1}  heads", "neurons")]
    panels[0][0].set_yticks([i + up for i in range(len(full)) for up in (0.2, -0.2)], names)
    figure.suptitle("What each shape keeps of each layer (grey: removed; number: units kept)", **ABOVE)
    put_caption(figure, caption)
    return figure


@styled
def predicted(points: Sequence[tuple[str, float, float]], caption: str = "") -> plt.Figure:
    """Draw measured over predicted times, (name, predicted, measured) in ms; those off by over 10% are named."""
    figure, axes = plt.subplots(figsize=(6.2, 6))
    times = [time for _, *pair in points for time in pair]
    ends = np.geomspace(min(times) / 1.8, max(times) * 1.8, 60)
    axes.fill_between(ends, 0.9 * ends, 1.1 * ends, color="0.92", label="within 10% of the prediction")
    axes.plot(ends, ends, color=BLACK, lw=1, label="measured as predicted")
    off, taken = [point for point in points if abs(point[2] / point[1] - 1) > 0.1], []
    for point in points:
        axes.plot(*point[1:], "o", color=VERMILION if point in off else BLUE, mec="white", ms=8, gid="point")
    axes.set(xscale="log", yscale="log", xlim=ends[[0, -1]], ylim=ends[[0, -1]], aspect="equal")
    axes.set(xlabel="predicted time (ms, log scale)", ylabel="measured time (ms, log scale)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set(major_locator=ticker.LogLocator(subs=TICKS), major_formatter="{x:,g}")
    axes.minorticks_off()
    axes.legend(loc="upper left")
    axes.set_title(f"{len(points) - len(off)} of {len(points)} measured times are within 10% of the prediction")
    put_caption(figure, caption)
    figure.draw_without_rendering()
    busy = [artist.get_window_extent().padded(5) for artist in (*axes.lines[1:], axes.get_legend())]
    busy += [Bbox([xy, xy]).padded(4) for xy in axes.transData.transform(np.column_stack([ends, ends]))]
    for name, guess, time in sorted(off, key=lambda point: point[1]):
        error = f"{time / guess - 1:+.0%}".replace("-", "\N{MINUS SIGN}")
        named = {"name": f"{name} ({error})", "x": guess, "accuracy": time, "chosen": False}
        taken += put_name(axes, named, (VERMILION, "o", axes.transData), busy, taken)
    return figure
