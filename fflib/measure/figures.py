"""The figures of chapters 1 and 2: where the time of a request goes, where the padding is, what batches buy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from fflib.measure.operators import OPERATORS, OTHER, PRODUCTS, group_operators
from fflib.plotting import BLUE, GREEN, LINES, ORANGE, SKY, VERMILION, YELLOW, finish, put_caption, styled


@styled
def anatomy(profiles: Mapping[str, Mapping[str, float]], caption: str = "") -> Figure:
    """Draw where the time of a request goes: a bar a model, the operators of ``operator_profile`` (ms) by kind."""
    grouped = {name: group_operators(profile) for name, profile in profiles.items()}
    figure, axes = plt.subplots(figsize=(8, 1.3 + 0.62 * len(grouped)))
    colors = (BLUE, VERMILION, GREEN, YELLOW, ORANGE, SKY, "0.75")
    left = np.zeros(len(grouped))
    for kind, color in zip([*OPERATORS, OTHER], colors, strict=True):
        shares = np.array([groups[kind] / sum(groups.values()) for groups in grouped.values()])
        axes.barh(range(len(grouped)), shares, left=left, color=color, edgecolor="white", label=kind, height=0.6)
        for i, share in enumerate(shares):
            if share > 0.055:
                ink = "white" if color in (BLUE, VERMILION, GREEN) else "black"
                axes.text(left[i] + share / 2, i, f"{share:.0%}", ha="center", va="center", fontsize=8, color=ink)
        left += shares
    totals = [f"{name}\n{sum(groups.values()):.0f} ms" for name, groups in grouped.items()]
    axes.set(yticks=range(len(grouped)), xlabel="share of the time of one request", xlim=(0, 1))
    axes.set_yticklabels(totals)
    axes.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1))
    axes.invert_yaxis()
    axes.grid(False)
    products = min(groups[PRODUCTS] / sum(groups.values()) for groups in grouped.values())
    axes.set_title(
        "Matrix products take most of the time" if products > 0.5 else "Where the time of a request goes", pad=30
    )
    axes.legend(ncols=7, loc="lower left", bbox_to_anchor=(-0.15, 1.0), fontsize=8, columnspacing=0.9, handlelength=1)
    put_caption(figure, caption)
    return figure


@styled
def padding(lengths: np.ndarray, rectangles: Mapping[str, np.ndarray], caption: str = "") -> Figure:
    """Draw the tokens computed over the length histogram: real ones below, padding on top, one panel a way of batching.

    ``rectangles`` maps a panel's name to the padded length of every example [n].
    """
    figure, axes = plt.subplots(1, len(rectangles), figsize=(8.4, 3.4), sharey=True, sharex=True)
    bins = np.arange(0, lengths.max() + 33, 32)
    centres = (bins[:-1] + bins[1:]) / 2
    real = np.histogram(lengths, bins, weights=lengths)[0] / 1e3
    for panel, (name, padded) in zip(np.atleast_1d(axes), rectangles.items(), strict=True):
        waste = np.histogram(lengths, bins, weights=padded - lengths)[0] / 1e3
        panel.bar(centres, real, width=28, color=BLUE)
        panel.bar(centres, waste, width=28, bottom=real, color=ORANGE, hatch="///", edgecolor="white", linewidth=0)
        panel.set_title(f"{name}\n{1 - lengths.sum() / padded.sum():.0%} is padding", fontsize=10)
        panel.set_xlabel("length of the request (tokens)")
    first = np.atleast_1d(axes)[0]
    first.set_ylabel("tokens computed (thousands)")
    first.annotate("padding", (0.62, 0.72), xycoords="axes fraction", color=ORANGE, weight="bold")
    first.annotate("real tokens", (0.62, 0.62), xycoords="axes fraction", color=BLUE, weight="bold")
    return finish(figure, "What the model computes, by the length of the request", caption)


@styled
def curves(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    xlabel: str,
    ylabel: str,
    title: str,
    log_x: bool = False,
    log_y: bool = False,
    caption: str = "",
) -> Figure:
    """Draw lines with markers, labelled at their ends: {panel: {line: (x, y)}}."""
    figure, axes = plt.subplots(1, len(panels), figsize=(8.4, 3.6), squeeze=False)
    for panel, (name, lines) in zip(axes[0], panels.items(), strict=True):
        for (label, (x, y)), (color, marker) in zip(lines.items(), LINES, strict=False):
            panel.plot(x, y, color=color, marker=marker, label=label)
        panel.set_xlabel(xlabel)
        if log_x:
            panel.set_xscale("log", base=2)
            ticks = sorted({value for x, _ in lines.values() for value in x})
            panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            panel.minorticks_off()
        if log_y:
            panel.set_yscale("log")
            panel.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter("{x:g}")
            panel.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        else:
            panel.set_ylim(0, 1.08 * max(value for _, y in lines.values() for value in y))
        if len(panels) > 1:
            panel.set_title(name, fontsize=10, weight="normal")
        panel.legend(fontsize=8)
    axes[0][0].set_ylabel(ylabel)
    figure.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=11)
    put_caption(figure, caption)
    return figure
