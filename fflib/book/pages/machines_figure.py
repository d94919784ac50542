"""The figure of the page "The same ladder on other machines": what each step brought, by machine.

Plain numbers in, a matplotlib Figure out; a factor that is None or NaN was not measured, and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import NullLocator

from fflib.files import InputError
from fflib.plotting import ABOVE_AXES, GREY, LINES, SHADE, TIMES, Row, finish, styled

TITLE = "What each step brought: a mark is a run, a colour is a machine"
TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 30, 50, 100)
SPREAD = 0.26  # of a lane, half: the machines stand one below the other in it


@styled
def steps(rows: Sequence[Row], caption: str = "") -> plt.Figure:
    """Draw a factor (log axis) for each technique and run.

    ``rows`` hold technique, factor and machine; techniques stand in the order in which they come first. InputError:
    there is no factor to draw.
    """
    known = [row for row in rows if not pd.isna(row["factor"]) and row["factor"] > 0]
    if not known:
        raise InputError("no run holds a factor to draw")
    techniques = list(dict.fromkeys(row["technique"] for row in known))
    machines = list(dict.fromkeys(row["machine"] for row in known))
    figure, axes = plt.subplots(figsize=(8.4, 1.4 + 0.42 * len(techniques) + 0.25 * len(machines)))
    for y in range(0, len(techniques), 2):
        axes.axhspan(y - 0.5, y + 0.5, color=SHADE, lw=0, zorder=0)
    axes.axvline(1, color=GREY, lw=1, zorder=1)
    for i, machine in enumerate(machines):
        color, mark = LINES[i % len(LINES)]
        own = [row for row in known if row["machine"] == machine]
        aside = SPREAD * (2 * i / (len(machines) - 1) - 1) if len(machines) > 1 else 0.0
        y = [techniques.index(row["technique"]) + aside for row in own]
        axes.plot([row["factor"] for row in own], y, mark, color=color, ms=6, alpha=0.85, label=machine, gid="run")
    axes.set(xscale="log", xlabel="times as fast as the rung below", ylim=(len(techniques) - 0.5, -0.5))
    axes.set_yticks(range(len(techniques)), techniques)
    low, high = axes.get_xlim()
    axes.set_xticks([tick for tick in TICKS if low <= tick <= high])
    axes.xaxis.set(major_formatter=TIMES, minor_locator=NullLocator())
    axes.grid(False, axis="y")
    axes.legend(ncols=1, **ABOVE_AXES)
    return finish(figure, TITLE, caption)
