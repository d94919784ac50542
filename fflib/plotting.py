"""The one style of all figures: colours, marks, and how titles, captions, names and numbers are put on a page.

The figures themselves stand with their technique, in ``fflib/<folder>/figures.py``: each function there takes plain
numbers and returns a matplotlib Figure, one figure with one message; nothing is measured or read.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox, ScaledTranslation, Transform

STYLE = Path(__file__).with_name("book.mplstyle")
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = matplotlib.color_sequences["okabe_ito"]
LINES = ((BLUE, "o"), (VERMILION, "s"), (GREEN, "^"), (PURPLE, "D"), (ORANGE, "v"), (SKY, "P"))
GREY, PALE = "0.45", "#9fc6e0"

Row = Mapping[str, Any]
Point = Mapping[str, Any]  # of a scatter: name, x, accuracy, low, high, chosen
DARK = "#a34300"  # vermilion that can be read
PLAIN = "0.72"  # the grey of a bar that is there to be compared with
SHADE = "0.93"  # the grey of a lane behind a row
WIDE = 86  # characters of a title
CENTRED = {"va": "center", "ha": "center"}
ABOVE = {"x": 0.01, "ha": "left", "weight": "bold", "fontsize": 11}  # where a title of all panels stands
ABOVE_AXES = {"loc": "lower left", "bbox_to_anchor": (-0.01, 1), "columnspacing": 1.6}  # a legend
BESIDE = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 8.5, "gid": "words"}
SMALL = {"fontsize": 9.5, "weight": "normal"}  # the title of one panel
HALO = {"path_effects": [withStroke(linewidth=2.5, foreground="white")]}  # words below which lines may pass
PER_INCH = 17.5  # characters of a caption
FOLD = textwrap.TextWrapper(27, break_on_hyphens=False).fill


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the book's style and close the figure, so that a notebook shows it once, where it is returned."""

    @wraps(draw)
    def wrapper(*arguments: Any, **options: Any) -> Figure:
        with plt.style.context(STYLE):
            try:
                return draw(*arguments, **options)
            finally:
                plt.close()  # the newest, that is this one

    return wrapper


def put_caption(figure: Figure, caption: str) -> None:
    """Write below a figure, small and grey, where its numbers come from; a line longer than the figure is folded."""
    if caption:
        width = int(PER_INCH * figure.get_figwidth())
        lines = (textwrap.fill(line, width, break_on_hyphens=False) for line in caption.split("\n"))
        figure.supxlabel("\n".join(lines), fontsize=7.5, color=GREY, x=0.01, ha="left")


def fold(words: str, width: int) -> str:
    """Break words into as few lines as ``width`` characters allow, of about the same length."""
    words, count = words.replace(" ms", "\N{NO-BREAK SPACE}ms"), len(textwrap.wrap(words, width))
    folds = (textwrap.wrap(words, narrow) for narrow in range(max(1, len(words) // max(1, count)), width))
    return "\n".join(next((lines for lines in folds if len(lines) <= count), textwrap.wrap(words, width)))


def finish(figure: plt.Figure, title: str, caption: str) -> plt.Figure:
    """Put the title above all panels, in as many lines as it takes, and the caption below."""
    figure.suptitle(fold(title[:1].upper() + title[1:], WIDE), **ABOVE)
    put_caption(figure, caption)
    return figure


def number(value: float) -> str:
    """Write a number with the three digits that count: 0.0123, 4.57, 89.4, 1,235."""
    return f"{value:,.0f}" if value >= 100 else np.format_float_positional(float(f"{value:.3g}"), trim="-")


NUMBER = ticker.FuncFormatter(lambda value, _: number(value))


def times(factor: float) -> str:
    """Write a factor with the three digits that count: 0.713x, 2.46x, 479x."""
    return number(factor) + "x"


TIMES = ticker.FuncFormatter(lambda value, _: times(value))


def span(*factors: float) -> str:
    """Write the smallest and the largest of some factors, such as 0.94, 2.3 or 48, or the one if they look the same."""
    ends = [f"{x:.2g}" if x < 1 else f"{x:.1f}" if x < 9.95 else f"{x:,.0f}" for x in (min(factors), max(factors))]
    return " to ".join(dict.fromkeys(ends))


def percent(share: float) -> str:
    """Write a share with two digits that count, however small: 0.35 is "35%", 0.000123 is "0.012%"."""
    return np.format_float_positional(float(f"{100 * share:.2g}"), trim="-") + "%"


def by_model(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Gather rows under their model, in the order of its first row."""
    models: dict[str, list[Row]] = {}
    for row in rows:
        models.setdefault(row["model"], []).append(row)
    return models


def make_room(axes: plt.Axes, inches: float) -> None:
    """Let the x axis of bars, about ``inches`` long, start at 0 and leave room for the words beside each bar."""
    widths = [0.12 + plt.Text.get_window_extent(text).width / axes.figure.dpi for text in axes.texts]
    parts = [(text.xy[0], width) for text, width in zip(axes.texts, widths, strict=True)]
    axes.set_xlim(0, max(end / (1 - min(width / inches, 0.8)) for end, width in parts))
    axes.xaxis.set(major_locator=ticker.MaxNLocator(max(4, int(inches)), steps=[1, 2, 5, 10]), major_formatter=NUMBER)
    axes.grid(False)


def put_name(axes: plt.Axes, point: Point, look: tuple, marks: Sequence[Bbox], taken: Sequence[Bbox]) -> list[Bbox]:
    """Write a point's name at the cheapest place: near, inside, off marks and taken places; return what it takes."""
    name, xy, (color, _, beside) = FOLD(point["name"]), (point["x"], point["accuracy"]), look
    unit, at = axes.figure.dpi / 72, beside.transform(xy)
    ink, weight = [0.6 * part for part in to_rgb(color)], "bold" if point["chosen"] else "normal"
    font = {"color": ink, "weight": weight, "fontsize": 9.5, "gid": "label", **CENTRED, **HALO}
    probe = axes.text(0, 0, name, **font)
    size = np.array(probe.get_window_extent().size) + np.array([6, 1]) * unit
    probe.remove()
    best, right = (math.inf,), (0, 0.3, -0.3, 0.6, -0.6, 0.9, -0.9, 1.2, -1.2)
    for r in (12 if point["chosen"] else 8, 16, 26, 40, 58, 80, 110):
        for angle in (*right, *(np.pi - side for side in right)):
            shift = np.array([math.cos(angle), math.sin(angle)]) * (r * unit + size / 2)
            box = Bbox([at + shift - size / 2, at + shift + size / 2])
            dots = [Bbox([at + shift * part - 1, at + shift * part + 1]) for part in np.arange(0.25, 1, 0.1) if r > 20]
            outside = not (axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max))
            crossed = sum(5 * dot.count_overlaps(marks) + 100 * (dot.count_overlaps(taken) > 0) for dot in dots)
            price = r + 60 * box.count_overlaps(marks) + 900 * (box.count_overlaps(taken) + outside) + crossed
            best = min(best, (price, shift, [box, *dots]), key=lambda place: place[0])
    tie = {"arrowstyle": "-", "color": GREY, "lw": 0.7, "shrinkA": 0, "shrinkB": 4} if len(best[2]) > 1 else None
    axes.annotate(name, xy, best[1] / unit, xycoords=beside, textcoords="offset points", arrowprops=tie, **font)
    return best[2]


def aside(axes: plt.Axes, i: int, count: int) -> Transform:
    """Return the place of data in the i-th of ``count`` routes: a little to the side, so that equal points show."""
    return axes.transData + ScaledTranslation((i - (count - 1) / 2) * 5 / 72, 0, axes.figure.dpi_scale_trans)


def put_head(axes: plt.Axes, title: str, ylabel: str) -> None:
    """Put the title and the legend above the axes, where no data are; the y axis shows per cent."""
    entries = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    axes.set_title(title, pad=12 + 16 * math.ceil(len(entries) / 2))
    axes.legend(entries.values(), entries, loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2)
    axes.minorticks_off()
    axes.yaxis.set(label_text=ylabel, major_formatter=ticker.PercentFormatter(1))
