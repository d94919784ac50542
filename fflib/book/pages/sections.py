"""Links from a page into the chapters: to the section in which a number was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fflib.book.numbered import last_heading

if TYPE_CHECKING:
    from fflib.book.pages.sources import Book


def link(book: Book, chapter: str, fact: str = "") -> str:
    """Return a link to the section of a chapter whose cell leaves ``fact``, else to the chapter, else its name only."""
    cells = book.chapters.get(chapter)
    if not cells:
        return f"chapter {int(chapter[:2])}"
    heading = section(cells, fact) if fact else ""
    if not heading:
        return f"[chapter {int(chapter[:2])}]({chapter}.ipynb)"
    return f"[{heading}]({chapter}.ipynb#{_slug(heading)})"


def section(cells: Sequence[Mapping[str, Any]], fact: str) -> str:
    """Return the heading above the cell that leaves ``fact``, by whichever of the bench's two ways; '': none does."""
    leaves = re.compile(rf"""facts\["{re.escape(fact)}"\]\s*(?:=|,)|keep="{re.escape(fact)}\"""")
    heading = ""
    for cell in cells:
        if cell["cell_type"] == "markdown":
            heading = last_heading(cell["source"]) or heading
        elif leaves.search(cell["source"]):
            return heading
    return ""


def _slug(heading: str) -> str:
    from myst_parser.slugs import github_slugify  # as Sphinx names the anchor

    return github_slugify(heading)
