"""The figure of a training: its loss, and its score on dev."""

from __future__ import annotations

from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from fflib.plotting import BLUE, GREY, VERMILION, put_caption, styled


@styled
def training(history: Any, chance: float, caption: str = "") -> Figure:
    """Draw the training loss and the dev score over the steps; ``chance`` is the score of guessing."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 2.9))
    if history.loss:
        left.plot(*zip(*history.loss, strict=True), color=BLUE)
    left.set(title="Training loss", xlabel="step", ylabel="cross-entropy")
    right.plot(*zip(*history.dev_score, strict=True), color=VERMILION, marker="s")
    right.axhline(chance, color=GREY, linestyle="--")
    right.annotate("guessing", (0.02, chance), xycoords=("axes fraction", "data"), va="bottom", color=GREY)
    right.set(title="Score on dev", xlabel="step", ylabel="accuracy")
    right.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1))
    put_caption(figure, caption)
    return figure
