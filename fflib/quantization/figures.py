"""The figures of quantisation: what one scale costs, where activations are clipped, and what int8 saves.

As everywhere, functions take plain numbers and return a matplotlib Figure. Accuracies, intervals and errors are
fractions of 1. (Longer than 200 lines: the chapter has seven figures, each with a layout of its own.)
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.colors import to_rgb

from fflib.engine.gemm import VARIANTS
from fflib.plotting import (
    ABOVE,
    BLACK,
    BLUE,
    GREEN,
    GREY,
    HALO,
    ORANGE,
    PALE,
    PURPLE,
    SMALL,
    VERMILION,
    Row,
    percent,
    put_caption,
    span,
    styled,
)

CODES = 127  # the largest integer code; the smallest is its negative
ORIGINAL = "fp32"
KINDS = {"fp32": (BLUE, "o"), "int8": (VERMILION, "s")}
UNUSED, SHADE = "0.87", "0.93"  # greys
FAR = 4  # times the highest rate: a limit beyond it is not drawn
Arrays = Mapping[str, np.ndarray]
Rates = tuple[str, Sequence[int], Sequence[float], Sequence[float]]  # shape, tokens, fp32 and int8 rates


def _ticks(low: float, high: float) -> list[float]:
    return [tick for tick in ticker.MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]


def _done(figure: plt.Figure, title: str, caption: str) -> plt.Figure:
    """Put the title of all panels above them, and the caption below; the figure is then complete."""
    figure.suptitle(title, **ABOVE)
    put_caption(figure, caption)
    return figure


@styled
def weight_scales(weights: Arrays, caption: str = "", steps: int = CODES) -> plt.Figure:
    """Draw the largest absolute weight of each output column [inputs, outputs], in a panel a matrix.

    ``steps`` is the largest code of a weight.
    """
    figure, panels = plt.subplots(1, len(weights), figsize=(8.4, 3.7), squeeze=False)
    for panel, (name, matrix) in zip(panels[0], weights.items(), strict=True):
        columns = np.sort(np.abs(matrix).max(axis=0))[::-1]
        count, top, median = len(columns), columns[0] or 1.0, np.median(columns)
        edges, middle = np.arange(count + 1) + 0.5, (count + 1) / 2
        panel.stairs(np.full(count, top), edges, fill=True, color=UNUSED)
        panel.stairs(columns, edges, fill=True, color=BLUE, gid="columns")
        panel.axhline(top, color=VERMILION, gid="tensor")
        words = f"the median column uses\n{steps * median / top:.0f} of {steps} steps"
        tie = {"arrowstyle": "-", "lw": 1.2, "shrinkB": 0}
        panel.annotate(words, (middle, median), (middle, 1.08 * top), ha="center", va="bottom", arrowprops=tie)
        panel.plot(middle, median, "o", color=BLACK, mec="white", gid="median")
        panel.set(xlabel="output columns,\nlargest first", xlim=edges[[0, -1]], ylim=(0, 1.3 * top))
        panel.xaxis.set(ticks=np.unique(np.rint(np.linspace(1, count, 3))), major_formatter="{x:,g}")
        panel.yaxis.set(ticks=_ticks(0, top), major_formatter="{x:g}")
        panel.set_title(textwrap.fill(name, 80 // len(weights)), **SMALL)
        panel.grid(False)
        panel.spines["left"].set_bounds(0, top)
    # The steps of all panels stand at the same heights, so that one axis, beside the last, serves all.
    right = panel.secondary_yaxis("right", functions=(lambda y: y * steps / top, lambda y: y * top / steps))
    right.set(yticks=np.linspace(0, steps, 5).round(), ylabel="integer steps")
    right.spines["right"].set_bounds(0, steps)
    panels[0][0].set_ylabel("largest absolute weight of a column")
    title = "One scale for a matrix is set by its largest weight (red line); grey: steps left unused"
    return _done(figure, title, caption)


@styled
def weight_codes(
    per_tensor: np.ndarray, per_column: np.ndarray, caption: str = "", *, error_tensor: float, error_column: float
) -> plt.Figure:
    """Draw which codes a matrix gets by one scale, and by one per column; errors: shares of the weights' variance."""
    figure, panels = plt.subplots(2, 1, figsize=(8.4, 4.4), sharex=True, sharey=True)
    rows = (("one scale", per_tensor, error_tensor), ("a scale per column", per_column, error_column))
    for panel, (name, codes, error), color in zip(panels, rows, (ORANGE, BLUE), strict=True):
        codes = np.ravel(codes).astype(int)  # a difference of two int8 codes overflows
        shares = np.bincount(codes + CODES, minlength=2 * CODES + 1) / np.size(codes)
        panel.stairs(shares, np.arange(-CODES, CODES + 2) - 0.5, fill=True, color=color, gid="codes")
        low, high = np.quantile(codes, (0.005, 0.995), method="nearest")
        panel.axvspan(low - 0.5, high + 0.5, color=SHADE, zorder=0, gid="middle")
        panel.set_title(f"{name}: mean squared error {percent(error)} of the weights' variance", **SMALL)
        panel.set_title(f"99% of them: {high - low + 1} codes (grey)", loc="right", **SMALL)
        panel.set(ylabel="share of\nthe weights", xlim=(-CODES - 1, CODES + 1))
        panel.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        panel.grid(False)
    panels[1].set(xlabel="integer code of a weight", xticks=[-CODES, -96, -64, -32, 0, 32, 64, 96, CODES])
    title = "The codes of one matrix, with one scale and with many"
    if 0 < error_column < error_tensor:
        title = f"With a scale per column the squared error is {span(error_tensor / error_column)} times smaller"
    return _done(figure, title, caption)


@styled
def activations(samples: np.ndarray, clips: Mapping[str, float], caption: str = "", name: str = "") -> plt.Figure:
    """Draw how large the inputs of a product are, and the thresholds beyond which each method clips them."""
    values, height = np.abs(np.ravel(samples)), 3.3 + 0.3 * len(clips)
    end = max(values.max(), *clips.values()) or 1.0
    figure, axes = plt.subplots(figsize=(8.4, height))
    counts, edges = np.histogram(values, 120, (0, end))
    axes.stairs(counts, edges, fill=True, color=PALE, gid="values")
    # Labels stand above the histogram, a row each. The smallest threshold has the highest row, so none meets a line.
    rows = 0.47 * len(clips) / height
    axes.set(xlim=(0, 1.2 * end), yscale="log", ylim=(0.7, 0.7 * (1.3 * counts.max() / 0.7) ** (1 / (1 - rows))))
    axes.set_yticks([10**power for power in range(len(str(counts.max())))])
    axes.minorticks_off()
    colors = dict(zip(clips, (VERMILION, GREEN, PURPLE, ORANGE, BLUE), strict=False))
    place = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "gid": "label"}
    for i, (method, clip) in enumerate(sorted(clips.items(), key=lambda item: item[1])):
        beyond, top, ink = np.mean(values > clip), 1 - rows * i / len(clips), np.array(to_rgb(colors[method])) * 0.6
        axes.axvline(clip, ymax=top, color=colors[method], gid="clip")
        words = f"{method}: {clip:.3g}\n{percent(beyond) if beyond else 'none'} beyond"
        axes.annotate(words, (clip, top), (4, 0), va="top", color=ink, fontsize=9, linespacing=1.1, **place)
    axes.set(xlabel="absolute value of an activation", ylabel="count (log scale)")
    return _done(figure, "Where each method clips the activations" + f": {name}" * bool(name), caption)


@styled
def recipes(rows: Sequence[Row], caption: str = "") -> plt.Figure:
    """Draw over its time how often each recipe agrees with fp32, the recipe of that name, in a panel a model.

    ``rows`` hold model, recipe, ms, agreement, its interval low and high, default, and served: whether it keeps labels
    enough; the others are drawn hollow, and no claim is made of them.
    """
    models: dict[str, list[Row]] = {}
    for row in rows:
        models.setdefault(row["model"], []).append(row)
    names = [name for name in dict.fromkeys(row["recipe"] for row in rows) if name != ORIGINAL]
    numbers = {ORIGINAL: ORIGINAL} | {name: str(i) for i, name in enumerate(names, 1)}
    figure, panels = plt.subplots(len(models), 1, figsize=(8.4, 1.4 + 1.9 * len(models)), squeeze=False)
    key = [textwrap.fill(f"{numbers[name]}  {name}", 24, subsequent_indent="     ") for name in names]
    blanks = [plt.Line2D([], [], linestyle="") for _ in key]
    figure.legend(blanks, key, loc="outside right upper", handlelength=0, handletextpad=0, labelspacing=0.7)
    ends = {model: (min(row["ms"] for row in own), max(row["ms"] for row in own)) for model, own in models.items()}
    half = 1.35 * max(high / low for low, high in ends.values()) ** 0.5  # an inch is the same factor in each panel
    for panel, (model, own) in zip(panels[:, 0], models.items(), strict=True):
        for row in sorted(own, key=lambda row: (row["default"], row["recipe"] == ORIGINAL)):  # the default on top
            _recipe(panel, row)
        middle, (bottom, top) = math.prod(ends[model]) ** 0.5, panel.get_ylim()
        panel.set(xscale="log", xlim=(middle / half, middle * half), ylim=(bottom, top + 0.25 * (top - bottom)))
        subs = (1, 1.5, 2, 3, 5, 7) if half < 8 else (1, 2, 5)
        panel.xaxis.set(major_locator=ticker.LogLocator(subs=subs), major_formatter="{x:,g}")
        panel.yaxis.set(ticks=_ticks(bottom, min(top, 1)), major_formatter=lambda share, _: f"{100 * share:g}%")
        panel.minorticks_off()
        panel.set_title(model, **SMALL)
    panels[-1, 0].set_xlabel("time per request (ms, log scale)")
    figure.supylabel(f"labels that agree with {ORIGINAL}\n(bars: interval)", fontsize=10)
    pairs = [(a, b) for own in models.values() for a in own if a["recipe"] == ORIGINAL for b in own if b["default"]]
    gains = [a["ms"] / b["ms"] for a, b in pairs if a is not b and b["served"]]
    hollow = "; hollow: not served" * any(not row["served"] for row in rows)
    claim = f"The default recipe (ringed{hollow}) is {span(*gains)} times as fast as {ORIGINAL}" if gains else ""
    title = claim or f"What each recipe keeps, and what it takes (ringed: the default{hollow})"
    _done(figure, textwrap.fill(title, 70), caption)  # the key stands beside it
    figure.draw_without_rendering()  # the layout must stand before labels are placed
    for panel, own in zip(panels[:, 0], models.values(), strict=True):
        _number(panel, sorted(own, key=lambda row: row["ms"]), numbers)
    return figure


def _recipe(panel: plt.Axes, row: Row) -> None:
    """Draw the mark and the interval of one recipe; the original's level is a dashed line, the default has a ring."""
    y, is_original = row["agreement"], row["recipe"] == ORIGINAL
    color = BLACK if is_original else VERMILION if row["default"] else BLUE
    if is_original:
        panel.axhline(y, color=BLACK, linestyle="--", lw=1, gid="level")
    panel.plot([row["ms"]] * 2, [row["low"], row["high"]], color=color, lw=1.4, gid="interval")
    look = {"mec": "white"} if row["served"] else {"mfc": "white", "mec": color, "mew": 1.6}
    panel.plot(row["ms"], y, "o", color=color, ms=7.5, gid="point", **look)
    if row["default"]:
        panel.plot(row["ms"], y, "o", ms=16, mfc="none", mec=BLACK, mew=1.6, gid="ring")


def _number(panel: plt.Axes, rows: Sequence[Row], numbers: Mapping[str, str]) -> None:
    """Write the numbers of a panel's recipes in a row at its top, in the order of their times, each tied to its bar."""
    words, box = [numbers[row["recipe"]] for row in rows], panel.get_window_extent()
    widths = np.array([6 * len(word) + 8 for word in words]) * panel.figure.dpi / 72
    places = np.cumsum(widths) - widths / 2  # side by side; `free` is how far each is to go from there
    wish = panel.transData.transform([(row["ms"], 0) for row in rows])[:, 0] - places
    count = range(len(rows))  # the nearest places that keep the order: isotonic regression, by its min-max formula
    free = [max(min(wish[j : k + 1].mean() for k in count[i:]) for j in count[: i + 1]) for i in count]
    at = (np.clip(free, box.x0, max(box.x0, box.x1 - widths.sum())) + places - box.x0) / box.width
    tie = {"arrowstyle": "-", "color": GREY, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    look = {"textcoords": "axes fraction", "ha": "center", "va": "top", "arrowprops": tie, "gid": "label"}
    for row, word, x in zip(rows, words, at, strict=True):
        weight = "bold" if row["default"] else "normal"
        panel.annotate(word, (row["ms"], row["high"]), (x, 1), weight=weight, fontsize=9.5, zorder=1.5, **look)


@styled
def product_rates(rows: Sequence[Rates], limit: float, caption: str = "") -> plt.Figure:
    """Draw the rates of fp32 and int8 products over the tokens; dashed: ``limit`` times the best fp32 rate of all.

    A limit that is `FAR` above every rate would flatten the rates: then it is told, and not drawn.
    """
    high, columns = (1, len(rows)) if len(rows) < 4 else (2, 2)
    figure, panels = plt.subplots(high, columns, figsize=(8.4, 1 + 2.7 * high), sharey=True, squeeze=False)
    most = limit * max(rate for _, _, fp32, _ in rows for rate in fp32)
    top = max(rate for *_, fp32, int8 in rows for rate in (*fp32, *int8))
    is_near = most <= FAR * top
    for panel, (shape, tokens, *pair) in zip(panels.flat, rows, strict=True):
        sides = ("top", "bottom") if pair[1][-1] >= pair[0][-1] else ("bottom", "top")  # names turn from each other
        for rates, side, (name, (color, marker)) in zip(pair, sides, KINDS.items(), strict=True):
            panel.plot(tokens, rates, color=color, marker=marker, gid=name)
            look = {"color": color, "weight": "bold", "va": side, "gid": "label"}
            panel.annotate(name, (tokens[-1], rates[-1]), (6, 0), textcoords="offset points", **look)
        if is_near:
            panel.axhline(most, color=BLACK, linestyle="--", lw=1.2, gid="limit")
        room, ticks = (tokens[-1] / tokens[0]) ** (0.07 * columns) * 1.15, tokens[:: -(-len(tokens) * columns // 14)]
        panel.set_xscale("log", base=2)
        panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        panel.minorticks_off()
        panel.set(xlabel="tokens", xlim=(tokens[0] / room**0.3, tokens[-1] * room))
        panel.set_title(shape, **SMALL)
    for panel in panels[:, 0]:
        panel.yaxis.set(label_text="billions of operations a second", major_formatter="{x:,g}")
    first, place = panels[0, 0], {"textcoords": "offset points", "fontsize": 8.5, "zorder": 1.5, "gid": "told"}
    words = f"{limit:g} times the best fp32 rate"
    if is_near:
        place |= {"xycoords": first.get_yaxis_transform(), "va": "bottom", "bbox": {"color": "white", "pad": 1}}
        first.annotate(f"{words}:\nthe most by instruction count", (0, most), (4, 4), **place)
        first.set_ylim(0, max(1.2 * most, 1.06 * top))
    else:
        told = f"the most by instruction count,\n{words},\nis far above: {most:,.0f}"
        first.annotate(told, (0, 1), (4, -2), xycoords="axes fraction", va="top", **place, **HALO)
        first.set_ylim(0, 1.45 * top)
    gains = [b / a for _, _, fp32, int8 in rows for a, b in zip(fp32, int8, strict=True)]
    return _done(figure, f"int8 products run at {span(*gains)} times the rate of fp32", caption)


@styled
def packing(rows: Sequence[Row], caption: str = "") -> plt.Figure:
    """Draw rows of `gemm.packing`, with a "name": products with one factor constant, and with both computed."""
    figure, panels = plt.subplots(len(rows), 1, figsize=(8.4, 1 + 1.5 * len(rows)), squeeze=False)
    gains: dict[str, list[float]] = {"constant": [], "both computed": []}
    for panel, row in zip(panels[:, 0], rows, strict=True):
        for y, variant in zip((0, 1, 2.4, 3.4), VARIANTS, strict=True):
            (kind, factors), time = variant.split(", "), row[f"{variant}, us"]
            panel.barh(y, time, 0.85, color=KINDS[kind][0], alpha=1 if factors == "constant" else 0.6, gid="time")
            words = (f" {time:,.0f}" if time >= 100 else f" {time:.3g}") + " \N{MICRO SIGN}s"
            if kind == "int8":
                gains[factors].append(row[f"fp32, {factors}, us"] / time)
                words += f", {span(gains[factors][-1])} times as fast"
            panel.text(time, y, words, va="center", fontsize=9)
        panel.set_yticks((0, 1, 2.4, 3.4), [variant.replace(", c", ", one factor c") for variant in VARIANTS])
        panel.set(xlim=(0, 1.45 * max(row[f"{variant}, us"] for variant in VARIANTS)), ylim=(3.95, -0.55))
        panel.xaxis.set_major_formatter("{x:,g}")
        panel.set_title(row["name"], **SMALL)
        panel.grid(False)
    panels[-1, 0].set_xlabel("time of one product (\N{MICRO SIGN}s" + "; each on its own scale" * (len(rows) > 1) + ")")
    title = "int8 is {} times as fast as fp32 with a constant factor,\n{} times where both are computed"
    return _done(figure, title.format(*(span(*values) for values in gains.values())), caption)


@styled
def batch_mates(changes: Arrays, flips: Mapping[str, tuple[int, int]], caption: str = "") -> plt.Figure:
    """Draw how far the other texts of a batch change a logit of each request at most, and how many labels (k, n)."""
    figure, axes = plt.subplots(figsize=(8.4, 1.3 + 0.62 * len(changes)))
    every = np.concatenate([np.ravel(values) for values in changes.values()])
    powers, zeros = np.log10(every[every > 0] if every.any() else [1.0]), not every.all()
    low, high = math.floor(powers.min()), max(math.ceil(powers.max()), math.floor(powers.min()) + 1)
    floor, step = 10.0 ** (low - 1), 1 + (high - low) // 8
    ticks = {10.0**k: f"$10^{{{k}}}$" for k in range(high, low - (step == 1), -step)}
    if zeros:  # they have no place on a log axis: in a band of their own, a cloud, as they would all be at one point
        axes.axvspan(floor / 3, floor * 3, color=SHADE, zorder=0)
        ticks[floor] = "no\nchange"
    for i, (name, values) in enumerate(changes.items()):
        across, up = np.random.default_rng(0).uniform(-0.3, 0.3, (2, len(values)))
        look = {"ms": 3.5, "alpha": 0.35} if len(values) > 200 else {"ms": 6, "alpha": 0.7}
        dots = np.where(values, values, floor * 10**across)
        axes.plot(dots, i + up, "o", color=BLUE, mec="none", gid="requests", **look)
        axes.plot([np.median(values) or floor] * 2, [i - 0.38, i + 0.38], color=BLACK, lw=2.4, gid="median")
        words, ink = "{:,} of {:,}\nlabels change".format(*flips[name]), VERMILION if flips[name][0] else GREY
        axes.text(1.02, i, words, transform=axes.get_yaxis_transform(), va="center", color=ink, gid="flips")
    axes.set(xscale="log", xlim=(floor / 3 if zeros else 10.0**low / 1.5, 10.0**high * 1.5))
    axes.set_xticks([*ticks], [*ticks.values()])
    axes.minorticks_off()
    axes.set_yticks(range(len(changes)), [textwrap.fill(name, 27) for name in changes])
    axes.set_ylim(len(changes) - 0.45, -0.55)
    axes.set_xlabel("largest change of a logit of a request (log scale; bar: median)")
    count = sum(flips[name][0] > 0 for name in changes)
    of = f"labels under {count} of {len(changes)} recipe" + "s" * (len(changes) > 1)
    return _done(figure, f"The other texts of a batch change {of if count else 'no label'}", caption)
