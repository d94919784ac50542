"""The first page of the rendered book: result and figure first, no code, and the pages that a reader may want next."""

from __future__ import annotations

import re

import nbformat
from nbformat import NotebookNode

from fflib.book import fold
from fflib.book.numbered import IMAGES

NO_CODE = "remove-input"
SECTION = re.compile(r"^## ", re.MULTILINE)


def make_ready(notebook: NotebookNode, links: str) -> None:
    """Leave of the introduction's code cells what they show, and put ``links`` (Markdown) where its first section ends.

    A cell that shows nothing is dropped: its parameters and imports matter to whoever runs it, and that is JupyterLab.
    Where there is no section below the first figure, the links are the last cell.
    """
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type != "code" or cell.get("outputs")]
    for cell in notebook.cells:
        if cell.cell_type == "code" and not fold.is_answer(cell):
            cell.metadata["tags"] = sorted({*cell.metadata.get("tags", []), NO_CODE} - {"hide-input"})
    if links:
        _insert(notebook, links)


def _insert(notebook: NotebookNode, links: str) -> None:
    """Put the links above the first section after the first figure, in the middle of its cell if need be."""
    drawn = next((i for i, cell in enumerate(notebook.cells) if _shows_figure(cell)), 0)
    for i, cell in enumerate(notebook.cells[drawn + 1 :], start=drawn + 1):
        if cell.cell_type == "markdown" and (found := SECTION.search(cell.source)):
            above, below = cell.source[: found.start()], cell.source[found.start() :]
            texts = [text.strip() for text in (above, links, below) if text.strip()]
            notebook.cells[i : i + 1] = [nbformat.v4.new_markdown_cell(text) for text in texts]
            return
    notebook.cells.append(nbformat.v4.new_markdown_cell(links))


def _shows_figure(cell: NotebookNode) -> bool:
    return any(kind in output.get("data", {}) for output in cell.get("outputs", []) for kind in IMAGES)
