"""The figures of the chapter on the graphics card: what its limits allow and what was measured; what a batch buys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from fflib.plotting import ABOVE_AXES, BLUE, GREY, LINES, NUMBER, PLAIN, finish, number, styled
from fflib.story.figure_parts import log_axis


@styled
def ladder(rows: Sequence[Mapping[str, Any]], caption: str = "") -> Figure:
    """Draw a bar a way, as fast as it was measured, on a paler one as long as the device's limits allow.

    ``rows`` are those of `ways.prediction_rows`, with what was measured.
    """
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.42 * len(rows)))
    places = np.arange(len(rows))
    allowed, measured = ([row[f"{name}, requests/s"] for row in rows] for name in ("at most", "measured"))
    axes.barh(places, allowed, color=PLAIN, height=0.72, label="what the limits allow at most")
    axes.barh(places, measured, color=BLUE, height=0.42, label="measured")
    for place, value in zip(places, measured, strict=True):
        axes.text(value, place, f" {number(value)}", va="center", fontsize=8.5, color="black")
    log_axis(axes, [0.6 * min(measured), *allowed, *measured])  # a bar has to begin somewhere
    axes.set(yticks=places, xlabel="requests per second (log scale)")
    axes.set_yticklabels([_name(row) for row in rows], fontsize=8.5)
    axes.invert_yaxis()
    axes.legend(ncols=2, **ABOVE_AXES)
    return finish(figure, "Each way beside what the device's limits allow it", caption)


def _name(row: Mapping[str, Any]) -> str:
    """Return a way with its precision, which some ways have in their name."""
    return row["way"] if row["way"].endswith(row["in"]) else f"{row['way']}\n{row['in']}"


@styled
def batches(per_s: Mapping[str, Mapping[int, float]], processor_per_s: float, caption: str = "") -> Figure:
    """Draw requests per second over the requests in a batch, a line a precision; dashed: the processor, one by one."""
    figure, axes = plt.subplots(figsize=(7, 3.6))
    for (name, points), (color, mark) in zip(per_s.items(), LINES, strict=False):
        axes.plot(list(points), list(points.values()), color=color, marker=mark, label=name)
    axes.axhline(processor_per_s, color=GREY, linestyle="--", label="the processor beside it, one by one")
    axes.set(xscale="log", xlabel="requests in a batch", ylabel="requests per second")
    axes.set_ylim(0, 1.1 * max([processor_per_s, *(value for points in per_s.values() for value in points.values())]))
    axes.set_xticks(sorted({batch for points in per_s.values() for batch in points}))
    axes.xaxis.set_major_formatter(NUMBER)
    axes.yaxis.set_major_formatter(NUMBER)
    axes.minorticks_off()
    axes.legend(fontsize=8.5)
    ahead = {batch: value > processor_per_s for points in per_s.values() for batch, value in points.items()}
    last_behind = max((batch for batch in ahead if not ahead[batch]), default=0)
    first = min((batch for batch in ahead if batch > last_behind), default=None)
    which = f"Batches of {first} and more are" if first else "No batch is"
    return finish(figure, f"{which} ahead of the processor, one by one", caption)
