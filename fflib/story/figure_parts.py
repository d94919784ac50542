"""What the figures of the story share: rows with gaps, and a logarithmic axis with room for words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import ticker

from fflib.files import InputError
from fflib.plotting import NUMBER, Row

SPEED = "throughput_per_s"


def known(row: Row, *keys: str) -> bool:
    """Say whether a row has a number under each of ``keys``."""
    return not np.isnan(np.array([row.get(key) for key in keys], dtype=float)).any()


def measured(rows: Sequence[Row], *keys: str) -> list[Row]:
    """Keep the rows that are `known`; InputError: there are none."""
    kept = [row for row in rows if known(row, *keys)]
    if not kept:
        raise InputError(f"no row of the figure has a number for {' and '.join(keys)}; measure one first")
    return kept


def log_axis(axes: plt.Axes, values: Sequence[float], inches: float = 5) -> None:
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
