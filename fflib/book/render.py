"""The rendered book: a run's executed notebooks as one folder of HTML that works from the file system, with no network.

python -m fflib.book.render outputs/docs-cpu        writes outputs/docs-cpu/book/index.html

(Longer than 200 lines: what every page, the touchable ladder and the page to try need is prepared in one pass.)
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from nbformat import NotebookNode

from fflib.book import bibliography, cells, glossary, masthead, redaction, vendor
from fflib.book.cells import INTRODUCTION
from fflib.files import InputError, resolve, shown, swapped_in
from fflib.runs import cli, records, times

if TYPE_CHECKING:
    from fflib.book import try_it

TITLE = "Taming Transformers"
THEME = Path(__file__).with_name("theme")
SERVING, TRIAL = "07_serving", "try_it"
LADDER = "## The ladder\n"  # in the introduction


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
    executed = {path.stem: _read(path) for path in notebooks}
    with tempfile.TemporaryDirectory() as scratch, swapped_in(folder / "book") as target:
        staging = Path(scratch) / "book"
        trial = _trial(folder)
        stage(executed, folder, staging, trial)
        _sphinx(staging, target, Path(scratch) / "doctrees", folder.name)
        masthead.write_downloads(executed, redaction.path_remover(folder, []), target / masthead.DOWNLOADS)
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


def stage(executed: Mapping[str, NotebookNode], folder: Path, staging: Path, trial: try_it.Page | None = None) -> None:
    """Write the pages, made ready for Sphinx, and their figures into ``staging``; the introduction is the index.

    Args:
        executed: the notebooks by chapter.
        folder: of the run that they are of.
        trial: the page after the chapters on which the model answers.
    """
    from fflib.book.pages import home, staged  # only now: they read ladders and draw, and that takes time to import

    staging.mkdir(parents=True)
    if (folder / "figures").is_dir():
        shutil.copytree(folder / "figures", staging / "figures")
    names = {chapter: "index" if chapter == INTRODUCTION else chapter for chapter in executed}
    links, issues = cells.Links.of(names), masthead.issues_address()
    pages = {}
    for chapter, notebook in executed.items():
        page = pages[chapter] = _page(notebook, chapter, folder, links)
        whole = list(executed) if chapter == INTRODUCTION else ()
        masthead.with_line(page, masthead.line(page, chapter, folder, issues, whole))
    if trial:
        _write_text(staging / f"{TRIAL}.md", trial.text)
    back = _back_pages(staging, links, cells.cites(pages.values()))
    contents = _contents("Chapters", [page for page in names.values() if page != "index"] + [TRIAL] * bool(trial))
    further = staged.write(folder, staging)
    contents += "\n\n" + _contents(staged.CAPTION, further) if further else ""
    contents += "\n\n" + _contents("At the back", back)
    if INTRODUCTION in pages:
        home.make_ready(pages[INTRODUCTION], staged.links(further))
        pages[INTRODUCTION].cells.append(nbformat.v4.new_markdown_cell(contents))
    else:
        _write_text(staging / "index.md", f"# {TITLE}\n\n{contents}\n")
    for chapter, page in pages.items():
        nbformat.write(page, staging / f"{names[chapter]}.ipynb")


def _page(notebook: NotebookNode, chapter: str, folder: Path, links: cells.Links) -> NotebookNode:
    page = cells.prepared(notebook, chapter, links)
    redaction.without_places(page, redaction.path_remover(folder, []))
    if chapter == INTRODUCTION:
        _with_stops(page, folder)
    return page


def _back_pages(staging: Path, links: cells.Links, has_citations: bool) -> list[str]:
    """Write the pages at the back of the book and name them; without a citation there is no bibliography."""
    text = glossary.FILE.read_text(encoding="utf-8")
    _write_text(staging / f"{glossary.PAGE}.md", links.resolved(text, in_glossary=True))
    if has_citations:
        _write_text(staging / f"{bibliography.PAGE}.md", bibliography.TEXT)
    return [glossary.PAGE, *([bibliography.PAGE] if has_citations else [])]


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _with_stops(notebook: NotebookNode, folder: Path) -> None:
    """Put the ladder to touch above the ladder's table, if the run is whole; a run that is not keeps the table."""
    from fflib.book import stops  # only now: as above

    headings = [i for i, cell in enumerate(notebook.cells) if cell.source.startswith(LADDER)]
    with contextlib.suppress(InputError):
        for i in headings:
            notebook.cells.insert(i + 1, nbformat.v4.new_markdown_cell(stops.markdown(folder)))


def _contents(caption: str, pages: list[str]) -> str:
    return "\n".join(["```{toctree}", ":maxdepth: 1", f":caption: {caption}", "", *pages, "```"])


def _read(path: Path) -> NotebookNode:
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises whatever its parts raise
        raise InputError(f"{shown(path)} is no readable notebook; remove it and run the book again") from error


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
