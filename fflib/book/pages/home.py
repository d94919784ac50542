"""The first page of the rendered book: result and figure first, no code, and the pages that a reader may want next."""

from __future__ import annotations

import nbformat
from nbformat import NotebookNode

IMAGES = ("image/png", "image/svg+xml")
NO_CODE = "remove-input"


def make_ready(notebook: NotebookNode, links: str) -> None:
    """Leave of the introduction's code cells what they show, and put ``links`` (Markdown) below its first figure.

    A cell that shows nothing is dropped: its parameters and imports matter to whoever runs it, and that is JupyterLab.
    """
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type != "code" or cell.get("outputs")]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata["tags"] = sorted({*cell.metadata.get("tags", []), NO_CODE} - {"hide-input"})
    if links:
        notebook.cells.insert(_below_first_figure(notebook), nbformat.v4.new_markdown_cell(links))


def _below_first_figure(notebook: NotebookNode) -> int:
    """Return where the links go: below the first figure, else below the first cell, which holds the title."""
    for i, cell in enumerate(notebook.cells):
        if any(kind in output.get("data", {}) for output in cell.get("outputs", []) for kind in IMAGES):
            return i + 1
    return 1
