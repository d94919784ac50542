"""The rendered book: a run's executed notebooks as one folder of HTML that works from the file system, with no network.

python -m fflib.book.render outputs/docs-cpu        writes outputs/docs-cpu/book/index.html

(Longer than 200 lines: what every page, the touchable ladder and the page to try need is prepared in one pass.)
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from nbformat import NotebookNode

from fflib.book import fold, redaction, vendor
from fflib.files import InputError, resolve, shown, swapped_in
from fflib.runs import cli, params, records, times

if TYPE_CHECKING:
    from fflib.book import try_it

TITLE = "Taming Transformers"
THEME = Path(__file__).with_name("theme")
INTRODUCTION, SERVING, TRIAL = "00_introduction", "07_serving", "try_it"
LADDER = "## The ladder\n"  # in the introduction
# Cells whose code is behind a toggle, with what the toggle says: they matter to the sweep, not to the story.
SELDOM, INJECTED = "seldom-changed-parameters", "injected-parameters"
TOGGLES = {SELDOM: "Parameters that are seldom changed", INJECTED: "Parameters of this run"}
SHOWS_SOURCE = re.compile(r"display\.source\([^()]*\)")  # a cell that does nothing else
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?:\./)?(?P<chapter>\d\d_\w+|live_demo)\.(?:ipynb|py)(?P<anchor>#[^)\s]*)?\)")
STOPPED = """```{error}
This chapter stopped with an error: <a href="#papermill-error-cell">see the cell</a>.
What comes after that cell was not run.
```"""


class RenderFailed(Exception):
    """Sphinx gave up; it has said why on stderr."""


def build(folder: str | Path) -> Path:
    """Render the executed notebooks of a run's folder and return the path of the book's first page.

    The old book stays until the new one is complete.

    Raises:
        InputError: the folder is missing or holds no executed notebook.
        RenderFailed: Sphinx could not build the book.
    """
    folder = resolve(folder)
    notebooks = chapters(folder)
    began_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch, swapped_in(folder / "book") as target:
        staging = Path(scratch) / "book"
        trial = _trial(folder)
        stage(notebooks, staging, trial)
        _sphinx(staging, target, Path(scratch) / "doctrees", folder.name)
        if trial:
            _write(trial.files, target / trial.folder)
        (target / times.SECONDS).write_text(f"{time.perf_counter() - began_s:.1f}\n")  # for the next estimate
    return folder / "book" / "index.html"


def chapters(folder: Path) -> list[Path]:
    """Return the executed notebooks of a run, in the order of the book."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {shown(folder)}; run a book first, e.g. make book RUN={folder.name}")
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise InputError(
            f"{shown(folder)} holds no executed chapter (NN_name.ipynb); run the book first with make book"
        )
    return found


def _trial(folder: Path) -> try_it.Page | None:
    """Make the page on which the run's model answers in the browser; None: there can be none, and why is said.

    A run without chapter 7, as that of a sweep's tables, lacks nothing, so nothing is said.
    """
    if not records.path_of(folder, SERVING).exists():
        return None
    why = f"fetch its front-end files with {vendor.COMMAND}"
    if all(map(vendor.there, (vendor.ONNXRUNTIME, vendor.TOKENIZERS))):
        from fflib.book import try_it  # only now: it reads the model, and that takes seconds to import

        try:
            return try_it.page_of(folder)
        except InputError as error:
            why = str(error)
    print(f'the book has no page "try it": {why}')
    return None


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def stage(notebooks: list[Path], staging: Path, trial: try_it.Page | None = None) -> None:
    """Copy the notebooks, made ready for Sphinx, and their figures into ``staging``; the introduction is the index.

    ``trial`` is the page after the chapters on which the model answers.
    """
    staging.mkdir(parents=True)
    figures = notebooks[0].parent / "figures"
    if figures.is_dir():
        shutil.copytree(figures, staging / "figures")
    remove = redaction.path_remover(notebooks[0].parent, [])
    pages = {path.stem: "index" if path.stem == INTRODUCTION else path.stem for path in notebooks}
    if trial:
        (staging / f"{TRIAL}.md").write_text(trial.text, encoding="utf-8")
    contents = _contents([page for page in pages.values() if page != "index"] + [TRIAL] * bool(trial))
    if INTRODUCTION not in pages:
        (staging / "index.md").write_text(f"# {TITLE}\n\n{contents}\n", encoding="utf-8")
    for path in notebooks:
        notebook = _prepared(_read(path), pages)
        redaction.without_places(notebook, remove)
        if path.stem == INTRODUCTION:
            _with_stops(notebook, path.parent)
            notebook.cells.append(nbformat.v4.new_markdown_cell(contents))
        nbformat.write(notebook, staging / f"{pages[path.stem]}.ipynb")


def _with_stops(notebook: NotebookNode, folder: Path) -> None:
    """Put the ladder to touch above the ladder's table, if the run is whole; a run that is not keeps the table."""
    from fflib.book import stops  # only now: as above

    headings = [i for i, cell in enumerate(notebook.cells) if cell.source.startswith(LADDER)]
    with contextlib.suppress(InputError):
        for i in headings:
            notebook.cells.insert(i + 1, nbformat.v4.new_markdown_cell(stops.markdown(folder)))


def _contents(pages: list[str]) -> str:
    return "\n".join(["```{toctree}", ":maxdepth: 1", ":caption: Chapters", "", *pages, "```"])


def _read(path: Path) -> NotebookNode:
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises whatever its parts raise
        raise InputError(f"{shown(path)} is no readable notebook; remove it and run the book again") from error


def _prepared(notebook: NotebookNode, pages: dict[str, str]) -> NotebookNode:
    """Hide most parameters, mend links between chapters, describe figures, soften the error banner."""
    heading = ""
    notebook.cells = [part for cell in notebook.cells for part in _parameters_apart(cell)]
    for cell in notebook.cells:
        tags = set(cell.metadata.get("tags", []))
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(lambda match: _link(match, pages), cell.source)
            heading = _last_heading(cell.source) or heading
        if SHOWS_SOURCE.fullmatch(cell.source.strip()):  # a toggle above code that is shown would show how it is shown
            cell.metadata["tags"] = sorted(tags | {"remove-input"})
        settings = cell.metadata.setdefault("mystnb", {})
        for tag in tags & TOGGLES.keys():
            cell.metadata["tags"] = sorted(tags | {"hide-input"})
            settings |= {"code_prompt_show": TOGGLES[tag], "code_prompt_hide": TOGGLES[tag]}
        if fold.is_answer(cell):  # code and output, behind one button
            cell.metadata["tags"] = sorted(tags | {"hide-cell"})
            settings |= {"code_prompt_show": "Answer", "code_prompt_hide": "Answer"}
        if alt := _alternative(cell, heading):
            settings["image"] = {"alt": alt}
    _soften_error_banner(notebook)
    return notebook


def _parameters_apart(cell: NotebookNode) -> list[NotebookNode]:
    """Split a parameters cell in two: the few that a reader turns, and below them, to be hidden, the rest."""
    top, marker, rest = cell.source.partition(params.SELDOM_CHANGED)
    if "parameters" not in cell.metadata.get("tags", []) or not marker:
        return [cell]
    cell.source = top.strip()
    hidden = nbformat.v4.new_code_cell(rest.strip(), metadata={"tags": [SELDOM]})
    return [cell, hidden]


def _link(match: re.Match[str], pages: dict[str, str]) -> str:
    """Point a link at the chapter's page in this book; a chapter that was not run leaves its name only."""
    page = pages.get(match["chapter"])
    return f"[{match['text']}]({page}.ipynb{match['anchor'] or ''})" if page else match["text"]


def _last_heading(source: str) -> str:
    prose = re.sub(r"^```.*?^```", "", source, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#{1,6} +(.+?) *#*$", prose, flags=re.MULTILINE)
    return re.sub(r"[*_`]", "", headings[-1]) if headings else ""


def _alternative(cell: NotebookNode, heading: str) -> str:
    """Return the text that stands for a cell's figure: what the figure brings along, else the section it is in."""
    for output in cell.get("outputs", []):
        for kind in ("image/png", "image/svg+xml"):
            if kind in output.get("data", {}):
                return output.metadata.get(kind, {}).get("alt") or output.metadata.get("alt") or f"Figure: {heading}"
    return ""


def _soften_error_banner(notebook: NotebookNode) -> None:
    """Put papermill's banner, big red HTML above the title, below the title and in the book's own style."""
    marked = [cell for cell in notebook.cells if "papermill-error-cell-tag" in cell.metadata.get("tags", [])]
    if not marked:
        return
    rest = [cell for cell in notebook.cells if cell is not marked[0]]
    marked[0].source = STOPPED
    for cell in marked[1:]:
        cell.source = '<span id="papermill-error-cell"></span>\n\n**Here the chapter stopped:**'
    notebook.cells = [*rest[:1], marked[0], *rest[1:]]


def _sphinx(staging: Path, target: Path, doctrees: Path, run: str) -> None:
    from sphinx.cmd.build import build_main

    options = ["-q", "-b", "html", "-c", str(THEME), "-d", str(doctrees), "-A", f"run={run}"]
    if build_main([*options, str(staging), str(target)]) != 0:
        raise RenderFailed("the book could not be rendered: see Sphinx's message above")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; every failure is one sentence on stderr and a non-zero status."""
    parser = argparse.ArgumentParser(prog="python -m fflib.book.render", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", help="a run's folder, e.g. outputs/docs-cpu")
    folder = parser.parse_args(arguments).folder
    try:
        return cli.ended(lambda: print(f"book: {shown(build(folder))}"))
    except RenderFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
