"""The figure of the tables: how many times as fast each task became, against what, and what was kept.

As everywhere, the function takes plain numbers and returns a matplotlib Figure; None is what was not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import pyplot as plt
from matplotlib import ticker

from fflib.files import InputError
from fflib.plotting import (
    ABOVE_AXES,
    BLACK,
    BLUE,
    DARK,
    GREEN,
    GREY,
    TIMES,
    VERMILION,
    Row,
    finish,
    fold,
    number,
    styled,
    times,
)

# What a run's last rung is compared with: column, marker, colour, words of the key.
YARDSTICKS = {
    "speedup_vs_teacher": ("o", BLUE, "its own teacher, unpadded"),
    "speedup_vs_unpadded": ("s", GREEN, "the reference, unpadded"),
    "speedup_vs_padded": ("D", GREY, "the reference, padded"),
}
PAPER = {"marker": "d", "color": VERMILION, "mfc": "white", "mew": 1.5, "ms": 8, "lw": 0}
LANE = 0.27  # the paper's marks stand so much below a task's own, in rows
PALE = 0.35  # how opaque a run in smoke size is drawn
PADDED = "against a padded reference the same reads"
SMALL = {"fontsize": 8.5, "va": "center"}


@styled
def by_task(rows: Sequence[Row], papers: Mapping[str, Sequence[float]], caption: str = "") -> plt.Figure:
    """Draw each run's speed-up by three yardsticks, the paper's below it, and the accuracy kept beside it.

    ``rows`` hold label, task, retention (a fraction of the teacher's score), smoke (the size that means nothing, drawn
    pale), guesses (so that what is kept means nothing), unclear (there is no teacher to keep anything of) and the
    columns of `YARDSTICKS`. ``papers`` maps tasks to the speed-ups of the paper's CPU-only systems.
    """
    known = [row[column] for row in rows for column in YARDSTICKS if row.get(column)]
    if not known:
        raise InputError("no run of the figure has a speed-up; let one run finish first")
    figure, axes = plt.subplots(figsize=(8.4, 1.7 + 0.56 * len(rows)))
    everything = [*known, *(value for row in rows for value in papers.get(row["task"], ()))]
    axes.set(xscale="log", xlim=(min(everything) / 1.9, max(everything) * 1.9), ylim=(len(rows) - 0.35, -0.55))
    for y, row in enumerate(rows):
        _task(axes, y, row)
        _papers(axes, y, papers.get(row["task"], ()))
        if row.get("retention"):
            kept = f"{100 * row['retention']:.0f}%" + "\nof a guess" * row["guesses"]
            look = {"ha": "center", "alpha": PALE if row["smoke"] else 1, "gid": "kept"}
            look |= {"color": GREY} if row["guesses"] else {"weight": "bold"}
            axes.annotate(kept, (1, y), (34, 0), axes.get_yaxis_transform(), "offset points", **SMALL | look)
        elif row.get("unclear"):
            look = {"ha": "center", "color": GREY, "gid": "no teacher"}
            axes.annotate("no\nteacher", (1, y), (34, 0), axes.get_yaxis_transform(), "offset points", **SMALL | look)
    head = {"ha": "center", "va": "bottom", "fontsize": 9}
    axes.annotate("accuracy\nkept", (1, 1), (34, 4), "axes fraction", "offset points", **head)
    axes.set_yticks(range(len(rows)), [fold(row["label"], 24) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set(major_locator=ticker.LogLocator(subs=(1, 2, 5)), minor_locator=ticker.NullLocator())
    axes.xaxis.set_major_formatter(TIMES)
    axes.grid(False, axis="y")
    axes.set_xlabel("times as fast, in requests per second (log scale), as ...")
    _key(axes, any(papers.get(row["task"]) for row in rows))
    return finish(figure, _claim(rows), caption)


def _task(axes: plt.Axes, y: int, row: Row) -> None:
    """Draw the marks of one run on a line, the factor of the outer ones beside them and of the inner one above."""
    marks = sorted((row[column], look) for column, look in YARDSTICKS.items() if row.get(column))
    if not marks:
        return
    alpha = PALE if row["smoke"] else 1
    axes.plot([marks[0][0], marks[-1][0]], [y, y], color=BLACK, lw=1.1, alpha=alpha, zorder=1.5, gid="span")
    places = [((-8, 0), "right", "center"), ((0, 7), "center", "bottom"), ((8, 0), "left", "center")]
    places = {1: places[2:], 2: places[::2]}.get(len(marks), places)
    for (factor, (marker, color, _)), (offset, ha, va) in zip(marks, places, strict=True):
        axes.plot(factor, y, marker, color=color, ms=7.5, alpha=alpha, gid="mark")
        look = {"color": color, "ha": ha, "va": va, "alpha": alpha, "fontsize": 8.5, "gid": "factor"}
        axes.annotate(times(factor), (factor, y), offset, textcoords="offset points", **look)


def _papers(axes: plt.Axes, y: int, factors: Sequence[float]) -> None:
    for factor in factors:
        axes.plot(factor, y + LANE, gid="paper", **PAPER)
    if factors:
        words = ", ".join(times(factor) for factor in sorted(factors))
        look = {"color": DARK, "gid": "paper's factor"}
        axes.annotate(words, (max(factors), y + LANE), (8, 0), textcoords="offset points", **SMALL | look)


def _key(axes: plt.Axes, with_paper: bool) -> None:
    handles = [plt.Line2D([], [], marker=m, color=color, ms=7.5, lw=0) for m, color, _ in YARDSTICKS.values()]
    words = [words for *_, words in YARDSTICKS.values()]
    if with_paper:
        handles, words = [*handles, plt.Line2D([], [], **PAPER)], [*words, "paper, CPU only: the organisers' BERT"]
    axes.legend(handles, words, ncols=2, handletextpad=0.3, **ABOVE_AXES)


def _claim(rows: Sequence[Row]) -> str:
    """Say between what the speed-ups lie by the strictest and the loosest yardstick, and how much accuracy is kept."""
    whole = [row for row in rows if row.get("retention") and all(row.get(column) for column in YARDSTICKS)]
    counted = [row for row in whole if not row["smoke"] and not row["guesses"]]
    if not counted:
        return "How many times as fast each task became" + ("; its accuracy means nothing" if whole else "")
    own, padded = (_between([row[f"speedup_vs_{start}"] for row in counted], "x") for start in ("teacher", "padded"))
    kept = _between([100 * row["retention"] for row in counted], "%")
    one = len(counted) == 1
    who, teachers = ("1 task is", "its own teacher") if one else (f"{len(counted)} tasks are", "their own teachers")
    return f"{who} served {own} as fast as by {teachers}, with {kept} of the accuracy; {PADDED} {padded}"


def _between(values: Sequence[float], unit: str) -> str:
    low, high = (number(float(f"{value:.3g}")) + unit for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
