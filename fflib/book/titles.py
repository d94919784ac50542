"""What a figure tells of itself beside its picture: its name, its title, and where the title ends.

The rendered book makes the caption of it and leaves the title out of the picture; JupyterLab shows the figure as drawn.
"""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text

PAD = 0.1  # inches that matplotlib leaves around a figure that is cut to what is drawn


def tell(figure: Figure, name: str) -> None:
    """Let a figure, laid out already, leave its name and title in the metadata of the output that shows it."""
    told: dict[str, Any] = {"name": name}
    of_panels = [text for axes in figure.axes if (text := axes.get_title(loc="left") or axes.get_title())]
    titles = [figure.get_suptitle()] if figure.get_suptitle() else of_panels
    if titles:
        told["title"] = "; ".join(" ".join(title.split()) for title in titles)
    if len(titles) == 1:  # those of several panels stand between them, and stay
        told["title_ends"] = _end_of(titles[0], figure)
    # IPython asks for this beside the picture, and keeps the second part as the output's metadata.
    figure._repr_mimebundle_ = lambda include=None, exclude=None: ({}, told)  # type: ignore[attr-defined]


def _end_of(title: str, figure: Figure) -> float:
    """Return at what share of the picture's height, from its top, the title ends."""
    drawn = next(text for text in figure.findobj(Text) if text.get_text() == title)
    picture = figure.get_tightbbox()  # in inches
    from_top = picture.y1 + PAD - drawn.get_window_extent().y0 / figure.dpi
    return round(float(from_top / (picture.height + 2 * PAD)), 4)
