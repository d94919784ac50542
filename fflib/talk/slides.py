"""What a cell of the talk's notebook shows: words, a figure as SVG, the place of a live demo."""

from __future__ import annotations

from collections.abc import Mapping

from IPython.display import HTML, SVG, Markdown, display
from matplotlib.figure import Figure

from fflib.plotting import times
from fflib.talk import figures
from fflib.talk.evidence import Evidence

DEMOS = ("race", "typing", "ladder")
NOT_TAKEN = "this run did without"


def show(*parts: str | Figure | HTML) -> None:
    """Show the parts of a slide from top to bottom: Markdown, figures, and what `demo` returns."""
    for part in parts:
        if isinstance(part, Figure):
            display(SVG(figures.svg(part)))
        else:
            display(Markdown(part) if isinstance(part, str) else part)


def demo(name: str) -> HTML:
    """Return the place of a live demo, one of `DEMOS`; the deck fills it, a notebook says where it runs."""
    return HTML(f'<div class="demo" data-demo="{name}">This one runs in the deck: make talk</div>')


def large(words_by_number: Mapping[str, str]) -> HTML:
    """Return numbers that are read from afar, each with what it is; HTML in the words stays HTML."""
    rows = "".join(f"<dt>{value}</dt><dd>{words}</dd>" for value, words in words_by_number.items())
    return HTML(f'<dl class="large">{rows}</dl>')


def brought(evidence: Evidence, *techniques: str) -> str:
    """Write what techniques brought together when they were added, as "1.84x"; `NOT_TAKEN` where none was."""
    factors = [factor for technique in techniques if (factor := evidence.step(technique)) is not None]
    product = 1.0
    for factor in factors:
        product *= factor
    return times(product) if factors else NOT_TAKEN
