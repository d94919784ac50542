"""The map of the book: its chapters by their titles, with the time that each takes to read and to run."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import NotebookNode

from fflib.book import masthead
from fflib.runs import params, times

READ, FIRST, AGAIN = "to read", "to run, the first time", "and again"


def rows(folder: Path) -> list[dict[str, str]]:
    """Return a row for each chapter of a run and one for all: title, and how long it takes to read and to run.

    Args:
        folder: of the run, or a kept one. The title of a chapter that was not run there is no link, for the book has
            no page of it, and how long it takes to run is empty.
    """
    listed, read, first_s, again_s = [], 0, 0.0, 0.0
    for chapter in params.chapters()[1:]:
        executed = folder / f"{chapter}.ipynb"
        page = nbformat.read(executed if executed.exists() else params.NOTEBOOKS / executed.name, as_version=4)
        minutes, known = masthead.minutes_to_read(page), masthead.seconds_to_run(folder, chapter)
        name = f"[{title(page, chapter)}]({chapter}.ipynb)" if executed.exists() else title(page, chapter)
        runs = dict(zip((FIRST, AGAIN), map(times.about, known), strict=True)) if known else {FIRST: "", AGAIN: ""}
        listed.append({"chapter": name, READ: f"{minutes} min"} | runs)
        read, first_s, again_s = read + minutes, first_s + (known or (0, 0))[0], again_s + (known or (0, 0))[1]
    total = {"chapter": "**all**", READ: f"{read} min", FIRST: times.about(first_s), AGAIN: times.about(again_s)}
    return [*listed, total]


def title(page: NotebookNode, otherwise: str) -> str:
    """Return the first heading of a notebook."""
    prose = (cell.source for cell in page.cells if cell.cell_type == "markdown")
    found = next((match for source in prose if (match := masthead.HEADING.search(source))), None)
    return found[0].removeprefix("# ").strip() if found else otherwise
