"""The line below a page's title: how long it takes to read and to run, its notebook and source, where to report.

The executed notebook and its source lie beside the pages, in `DOWNLOADS`, without a folder by which this machine could
be told. The last link is there where pyproject.toml says where a problem is reported:

    [project.urls]
    Issues = "https://example.org/this-book/issues"
"""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from fflib.book import fold, glossary, redaction
from fflib.files import ROOT, InputError, shown
from fflib.runs import records, times

DOWNLOADS = "notebooks"  # in the rendered book
WORDS_A_MINUTE, SECONDS_A_LINE = 200, 4  # of prose, and of code that is seen
CACHED = ("training", "prediction", "search")  # kinds of seconds that a second run finds in the cache
DROPPED = ("papermill", "execution", "widgets")  # of metadata: they hold paths and times of this machine
TABLE = re.compile(r"^\|.*$", re.MULTILINE)  # of which a reader reads a row or two
HEADING = re.compile(r"^# .*$", re.MULTILINE)


def with_line(page: NotebookNode, line: str) -> None:
    """Put a line of HTML below the title of a page; a page without a title stays as it is."""
    for cell in page.cells:
        if cell.cell_type == "markdown" and (title := HEADING.search(cell.source)):
            cell.source = f"{cell.source[: title.end()]}\n\n{line}\n{cell.source[title.end() :]}"
            return


def line(page: NotebookNode, chapter: str, folder: Path, issues: str = "", whole: Sequence[str] = ()) -> str:
    """Return the line of a chapter's page as HTML.

    Args:
        page: the chapter as its page shows it.
        folder: of the run.
        issues: the address at which a problem is reported, '' for none.
        whole: all chapters, where the page is the first one and tells how long the whole book takes to run.
    """
    parts = [f"{minutes_to_read(page)} min to read", *time_to_run(folder, whole or [chapter])]
    parts += [_download(f"{chapter}.ipynb", "executed notebook"), _download(f"{chapter}.py", "source")]
    if issues:
        parts.append(f'<a href="{html.escape(issues, quote=True)}">report a problem</a>')
    return f'<p class="masthead">{" · ".join(parts)}</p>'


def minutes_to_read(page: NotebookNode) -> int:
    """Estimate how long a page takes to read: its prose, what its cells say, and the code that is not folded."""
    words, lines = 0, 0
    for cell in page.cells:
        tags = cell.metadata.get("tags", [])
        texts = [output.get("data", {}).get("text/markdown", "") for output in cell.get("outputs", [])]
        if cell.cell_type == "markdown":
            texts.append(cell.source)
        elif not {*tags} & {"hide-input", "remove-input", "hide-cell"}:
            lines += len(cell.source.splitlines())
        if not fold.is_answer(cell):
            words += sum(len(TABLE.sub("", text).split()) for text in texts)
    return max(1, round(words / WORDS_A_MINUTE + lines * SECONDS_A_LINE / times.MINUTE))


def time_to_run(folder: Path, chapters: Sequence[str]) -> list[str]:
    """Say how long chapters take, by `seconds_to_run`; [] where nothing tells of each."""
    known = [seconds_to_run(folder, chapter) for chapter in chapters]
    if not all(known):
        return []
    first, again = (times.about(sum(seconds)) for seconds in zip(*known, strict=True))
    what = "to run" if len(chapters) == 1 else "to run the whole book"
    return [f"{first} {what}" + (f", {again} when its models are in the cache" if again != first else "")]


def seconds_to_run(folder: Path, chapter: str) -> tuple[float, float] | None:
    """Return how long a chapter takes the first time and again, by this run's record and the kept times of this run.

    A run that found its models in the cache does not know how long they took, so the longer of both counts for the
    first time, and what the cache saves is left out for the next. None: neither tells.
    """
    own = next(iter(records.readable(folder, f"results/{chapter}.json").values()), {}).get("seconds_by_kind") or {}
    kept = times.table(times.KEPT).get(folder.name, {}).get("seconds", {}).get(chapter, {})
    longest = max(own, kept, key=lambda seconds: sum(seconds.values()))
    if not longest:
        return None
    first_s = sum(longest.values())
    return first_s, first_s - sum(longest.get(kind, 0.0) for kind in CACHED)


def _download(name: str, words: str) -> str:
    return f'<a href="{DOWNLOADS}/{name}" download="{name}">{words}</a>'


def issues_address(project: Path = ROOT / "pyproject.toml") -> str:
    """Return where readers report a problem, '' where it is not set. InputError: it is no address."""
    try:
        set_to = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {}).get("urls", {}).get("Issues", "")
    except (OSError, tomllib.TOMLDecodeError):
        return ""
    if set_to and not re.match(r"https?://\S+$", str(set_to)):
        raise InputError(f"Issues in {shown(project)} is {set_to!r} and no address; let it begin with https://")
    return str(set_to)


def write_downloads(notebooks: dict[str, NotebookNode], remove: Callable[[str], str], folder: Path) -> None:
    """Write each executed notebook and its source, by chapter, and the glossary that they link to.

    Args:
        remove: what `redaction.path_remover` returns.
    """
    import jupytext  # only now: it takes a second to import

    folder.mkdir()
    (folder / glossary.FILE.name).write_bytes(glossary.FILE.read_bytes())
    for chapter, executed in notebooks.items():
        notebook = deepcopy(executed)
        redaction.without_places(notebook, remove)
        for metadata in (notebook.metadata, *(cell.metadata for cell in notebook.cells)):
            for name in DROPPED:
                metadata.pop(name, None)
        nbformat.write(notebook, folder / f"{chapter}.ipynb")
        notebook.cells = [cell for cell in notebook.cells if not _is_of_the_run(cell)]
        (folder / f"{chapter}.py").write_text(jupytext.writes(notebook, "py:percent"), encoding="utf-8")


def _is_of_the_run(cell: NotebookNode) -> bool:
    return bool({*cell.metadata.get("tags", [])} & {"injected-parameters", "papermill-error-cell-tag"})
