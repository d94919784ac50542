"""The figure of a training: its loss, and its score on dev."""

from __future__ import annotations

from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from fflib.plotting import BLUE, GREY, VERMILION, finish, styled


@styled
def training(history: Any, chance: float, begun: Any = None, caption: str = "") -> Figure:
    """Draw the loss and the dev score over the steps; ``chance`` is the score of guessing, ``begun`` a short training
    beside a long one."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.2))
    drawn = {"": (history, VERMILION)}
    if begun is not None:
        drawn = {"comes with the book": (history, BLUE), "trained here": (begun, VERMILION)}
    for name, (each, color) in drawn.items():
        for axes, points, marker in ((left, each.loss, None), (right, each.dev_score, "s")):
            if points:
                axes.plot(*zip(*points, strict=True), color=color, marker=marker, label=name)
    if begun is not None:
        left.legend()
    left.set(title="Training loss", xlabel="step", ylabel="cross-entropy")
    right.axhline(chance, color=GREY, linestyle="--")
    right.annotate("guessing", (0.98, chance), xycoords=("axes fraction", "data"), va="bottom", ha="right", color=GREY)
    right.set(title="Score on dev", xlabel="step", ylabel="accuracy")
    right.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1))
    return finish(figure, "How the teacher learned", caption)
