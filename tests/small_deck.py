"""An executed talk as papermill leaves it, made up: three slides of which one is long and one has a demo each."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from fflib.book import vendor
from fflib.files import write_json
from fflib.talk import browser, deck, figures, recording

KEY = "of this code"
SOURCE = "run small, 2 cores, 2026-11-30"
ROWS = [{"name": "one", "value": 2.0, "kind": "base", "words": "2 ms"}]
ROWS += [{"name": "two", "value": 1.0, "kind": "best", "words": "1 ms"}]


def slide(words, *, seconds="600 s", html="", svg="", long=False):
    """Return the two cells of a slide."""
    outputs = [new_output("display_data", {"text/markdown": words})]
    outputs += [new_output("display_data", {"image/svg+xml": svg})] if svg else []
    outputs += [new_output("display_data", {"text/html": html, "text/plain": "HTML"})] if html else []
    tags = ["hide-input", *(["long"] if long else [])]
    metadata = {"slideshow": {"slide_type": "slide"}, "tags": tags}
    notes = new_markdown_cell(f"{seconds}\n\n**Say.** Something.", metadata={"slideshow": {"slide_type": "notes"}})
    return [new_code_cell("slides.show()", metadata=metadata, outputs=outputs), notes]


def demo(name, **options):
    html = f'<div class="demo" data-demo="{name}">in the deck</div>'
    return slide(f"## Live: {name}", html=html, **options)


def cells():
    figure = figures.svg(figures.bars(ROWS, "ms"))
    skipped = new_code_cell("import fflib", metadata={"slideshow": {"slide_type": "skip"}})
    found = [skipped, *slide("# The talk", seconds="540 s", svg=figure)]
    found += slide("## Only when there is time\n\nwith $x$ & <b>more</b>", seconds="1200 s", svg=figure, long=True)
    for name in recording.NAMES:
        found += demo(name, seconds="220 s")
    return found


def write(folder: Path, some_cells) -> None:
    """Write the executed talk, its record and its recordings into a run's folder."""
    notebook = new_notebook(cells=some_cells)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / "talk.ipynb")
    record = {"chapter": "talk", "key": "k", "written": "2026-11-30T00:00:00+00:00"}
    record |= {"parameters": {}, "machine": {}, "facts": {"source": SOURCE}, "rungs": []}
    write_json(folder / "results" / "talk.json", record)
    for name in recording.NAMES:
        write_recording(folder, name)


def write_recording(folder: Path, name: str, code: str = KEY) -> None:
    made = {"machine": "A processor", "date": "2026-11-30 00:00 UTC", "code": code, "seconds": 1.0, "events": []}
    path = folder / recording.FOLDER / f"{name}.js"
    path.parent.mkdir(exist_ok=True)
    path.write_text(recording.script(name, made))


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """A run's folder with an executed talk; no file of npm and no browser is needed to make a deck of it."""
    stand_in = tmp_path / "npm.js"
    stand_in.write_text("/* of npm */")
    monkeypatch.setattr(vendor, "file", lambda package, path: stand_in)
    monkeypatch.setattr(browser, "found", lambda: "")
    monkeypatch.setattr(recording, "code_key", lambda folder: KEY)
    write(tmp_path / "small", cells())
    return tmp_path / "small"


def page(folder: Path) -> str:
    return (folder / deck.FOLDER / "index.html").read_text(encoding="utf-8")
