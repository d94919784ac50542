"""The figures of the graphs of chapter 6: what each variant takes, and in which operators the time goes.

As everywhere, functions take plain numbers and return a matplotlib Figure. Times are in ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib import pyplot as plt

from fflib.measure.operators import OTHER, group_operators
from fflib.plotting import (
    ABOVE_AXES,
    BESIDE,
    BLACK,
    BLUE,
    DARK,
    GREY,
    LINES,
    PLAIN,
    SMALL,
    VERMILION,
    Row,
    by_model,
    finish,
    fold,
    make_room,
    number,
    span,
    styled,
)

# The operators of ONNX Runtime's profiler, by what they do; whatever is not named here is "other".
OPERATORS = {
    "int8 products": ("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulInteger", "QAttention", "QLinearMatMul"),
    "quantising": ("DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear"),
    "fp32 products": ("MatMul", "Gemm", "FusedMatMul", "FusedGemm"),
    "attention": ("Attention", "MultiHeadAttention", "Softmax"),
    "LayerNorm": ("LayerNormalization", "SkipLayerNormalization", "EmbedLayerNormalization"),
    "activation": ("Gelu", "BiasGelu", "FastGelu", "QuickGelu", "Erf", "Tanh", "Relu"),
    "moving data": (
        "Transpose", "Reshape", "Concat", "Slice", "Gather", "Split", "Squeeze", "Unsqueeze", "Expand", "Flatten",
    ),
}  # fmt: skip
# What the default is weighed against, the faster of the two forms of the paper's recipe; see `fusions.PAPERS`.
PAPERS = PAPER, TOLD = "the paper's recipe", "the paper's, heads told"


@styled
def graph_variants(rows: Sequence[Row], caption: str = "") -> plt.Figure:
    """Draw the time of each variant of a graph with its interval, in a panel a model.

    ``rows`` hold model, variant, ms, low, high, off (largest difference of a logit), kept (it may be served) and
    default. The default is coloured; variants that keep too few labels are hatched.
    """
    models, variants = by_model(rows), list(dict.fromkeys(row["variant"] for row in rows))
    size = (8.4, 1.6 + 0.4 * len(variants))
    figure, panels = plt.subplots(1, len(models), figsize=size, squeeze=False, sharey=True)
    for panel, (model, own) in zip(panels[0], models.items(), strict=True):
        for row in own:
            _variant(panel, variants.index(row["variant"]), row)
        for y in {*range(len(variants))} - {variants.index(row["variant"]) for row in own}:
            panel.annotate("not measured", (0, y), color=GREY, **BESIDE)
        make_room(panel, 6 / len(models))
        panel.set_ylim(len(variants) - 0.4, -0.6)
        panel.set_xlabel("time per request (ms)\n(line: interval" + "; scales differ" * (len(models) > 1) + ")")
        panel.set_title(fold(model, 84 // len(models)), **SMALL)
    panels[0, 0].set_yticks(range(len(variants)), [fold(variant, 24) for variant in variants])
    return finish(figure, _verdict(models), caption)


def _variant(panel: plt.Axes, y: int, row: Row) -> None:
    """Draw the bar and the interval of one variant; beside it its time, and how far off it is if it is not served."""
    fill = {"color": BLUE if row["default"] else PLAIN}
    if not row["kept"]:
        fill = {"color": "white", "edgecolor": VERMILION, "hatch": "////"}
    panel.barh(y, row["ms"], 0.66, gid="bar", **fill)
    panel.plot([row["low"], row["high"]], [y, y], color=BLACK, lw=1.6, marker="|", ms=5, gid="interval")
    words = f"{number(row['ms'])} ms" + f", not served:\nlogits off by {number(row['off'])}" * (not row["kept"])
    look = {"weight": "bold" if row["default"] else "normal", "color": BLACK if row["kept"] else DARK, **BESIDE}
    panel.annotate(words, (max(row["high"], row["ms"]), y), linespacing=1.0, **look)


def _verdict(models: Mapping[str, Sequence[Row]]) -> str:
    """Say whether a default keeps too few labels, whether another is clearly faster, or what the paper's takes."""
    pairs = [(own, row) for own in models.values() for row in own if row["default"]]
    hatched = "hatched: timed, not served" * any(not row["kept"] for own in models.values() for row in own)
    if not pairs:
        return "What each variant of the graph takes" + f" ({hatched})" * bool(hatched)
    key, of = f"; {hatched}" * bool(hatched) + ")", f" of {len(pairs)} models"
    if wrong := sum(not row["kept"] for _, row in pairs):
        return "The default keeps too few labels" + f" for {wrong}{of}" * (len(pairs) > 1) + f" (bold{key}"
    gains = {}  # of the fastest graph that may be served, where its interval is clear of the default's
    for i, (own, default) in enumerate(pairs):
        for row in own:
            if row["kept"] and row["high"] < default["low"]:
                gains[i] = max(gains.get(i, 0), default["ms"] / row["ms"])
    if not gains:
        claim = _against_the_paper(pairs) or "No graph that may be served is clearly faster than the default"
        return f"{claim} (blue{key}"
    claim = f"Another graph that may be served is {span(*gains.values())} times as fast as the default"
    return claim + f" for {len(gains)}{of}" * (len(pairs) > 1) + f" (blue{key}"


def _against_the_paper(pairs: Sequence[tuple[Sequence[Row], Row]]) -> str:
    """Say how many times as fast as the better form of the paper's recipe each default is.

    Nothing where one is not clearly faster.
    """
    gains = {}
    for own, default in pairs:
        forms = [row for row in own if row["variant"] in PAPERS]
        paper = min(forms, key=lambda row: row["ms"], default=default)
        if default["high"] >= paper["low"]:
            return ""
        gains[default["model"]] = span(paper["ms"] / default["ms"])
    is_one_model = len({model.rpartition(", ")[0] for model in gains}) == 1  # "student, fp32" and "student, int8"
    names = [model.rpartition(", ")[2] if is_one_model else model for model in gains]
    first, *others = gains.values()
    claims = [f"{first} times as fast as the paper's", *(f"{gain} times" for gain in others)]
    if others:
        claims = [f"{claim} for {name}" for claim, name in zip(claims, names, strict=True)]
    return "This book's graph is " + " and ".join(filter(None, (", ".join(claims[:-1]), claims[-1])))


@styled
def operators(profiles: Mapping[str, Mapping[str, float]], caption: str = "") -> plt.Figure:
    """Draw where the time of one request goes in each graph: its ONNX operators (ms) by kind, on one axis."""
    grouped = {name: group_operators(profile, OPERATORS) for name, profile in profiles.items()}
    most = {kind: max(groups[kind] for groups in grouped.values()) for kind in (*OPERATORS, OTHER)}
    kinds = sorted((kind for kind in most if most[kind]), key=lambda kind: (kind == OTHER, -most[kind]))
    figure, axes = plt.subplots(figsize=(8.4, 1.8 + (0.16 + 0.21 * len(grouped)) * len(kinds)))
    high = 0.8 / len(grouped)
    for i, ((name, groups), (color, _)) in enumerate(zip(grouped.items(), cycle(LINES), strict=False)):
        y, times = np.arange(len(kinds)) - 0.4 + high * (i + 0.5), [groups[kind] for kind in kinds]
        axes.barh(y, times, 0.94 * high, color=color, label=f"{name}: {number(sum(times))} ms in all", gid="bar")
        for up, time in zip(y, times, strict=True):
            axes.annotate(number(time) if time else "none", (time, up), **BESIDE)
    make_room(axes, 7)
    axes.set(ylim=(len(kinds) - 0.5, -0.5), xlabel="time in one request (ms)")
    axes.set_yticks(range(len(kinds)), kinds)
    axes.tick_params(axis="y", length=0)
    axes.legend(ncols=1 + (len(grouped) == 2), **ABOVE_AXES)
    return finish(figure, _saving(grouped), caption)


def _saving(grouped: Mapping[str, Mapping[str, float]]) -> str:
    """Say by how much the fastest graph is ahead of the slowest, and which kind of operator brings the most of it."""
    totals = {name: sum(groups.values()) for name, groups in grouped.items()}
    slow, fast = max(totals, key=totals.__getitem__), min(totals, key=totals.__getitem__)
    if totals[slow] == totals[fast]:
        kind = max(grouped[fast], key=grouped[fast].__getitem__)
        return f"The largest part of the time goes to: {kind}, {grouped[fast][kind] / totals[fast]:.0%}"
    saved = {kind: grouped[slow][kind] - grouped[fast][kind] for kind in grouped[slow]}
    best = max(saved, key=saved.__getitem__)
    of = f"{number(totals[slow] - totals[fast])} ms less than {slow}"
    return f"{fast} takes {of}; it saves the most on: {best}, {number(saved[best])} ms"
