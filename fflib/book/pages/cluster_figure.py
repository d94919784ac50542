"""The figure of the page "On a cluster": which share of so many nodes' time a sweep uses.

Plain numbers in, a matplotlib Figure out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import pyplot as plt
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, ScalarFormatter

from fflib.plotting import ABOVE_AXES, GREY, LINES, finish, styled

TITLE = "More nodes than runs help little: the chapters of one run come one after another"


@styled
def efficiency(
    lines: Mapping[str, Mapping[int, float]], measured: Mapping[int, float], nodes: Sequence[int], caption: str = ""
) -> plt.Figure:
    """Draw a line a sweep: by the number of nodes (log axis) the share of their time in which chapters work.

    ``measured`` are marks of a small sweep that really ran on virtual nodes; empty where none did.
    """
    figure, axes = plt.subplots(figsize=(8.4, 4.2))
    for (name, points), (color, mark) in zip(lines.items(), LINES, strict=False):
        axes.plot([*points], [*points.values()], marker=mark, ms=4, color=color, label=name, gid="simulated")
    if measured:
        options = {"ls": "", "marker": "x", "ms": 9, "mew": 2, "color": GREY, "gid": "measured"}
        axes.plot([*measured], [*measured.values()], label="measured on virtual nodes", **options)
    axes.set(xscale="log", xlabel="nodes", ylabel="share of their time in which chapters work", ylim=(0, 1.02))
    axes.xaxis.set(major_locator=FixedLocator([*nodes]), minor_locator=NullLocator(), major_formatter=ScalarFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(ncols=2, **ABOVE_AXES)
    return finish(figure, TITLE, caption)
