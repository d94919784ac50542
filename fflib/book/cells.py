"""A chapter's cells as the rendered book shows them: links that lead somewhere, folds, figures, no empty box."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import nbformat
from nbformat import NotebookNode

from fflib.book import bibliography, fold, glossary, numbered
from fflib.runs import params

INTRODUCTION = "00_introduction"
# Cells whose code is behind a toggle, with what the toggle says: they matter to the sweep, not to the story.
SELDOM, INJECTED = "seldom-changed-parameters", "injected-parameters"
TOGGLES = {SELDOM: "Parameters that are seldom changed", INJECTED: "Parameters of this run"}
ANSWER = {"code_prompt_show": "Answer", "code_prompt_hide": "Answer"}
# A cell that does nothing else: what it shows is all there is to see.
SHOWS_ALONE = re.compile(r"display\.source\([^()]*\)|bench\.save\(\)")
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?:\./)?(?P<chapter>\d\d_\w+|live_demo)\.(?:ipynb|py)(?P<anchor>#[^)\s]*)?\)")
STOPPED = """```{error}
This chapter stopped with an error: <a href="#papermill-error-cell">see the cell</a>.
What comes after that cell was not run.
```"""


@dataclass(frozen=True)
class Links:
    """Where links lead: to the pages of the chapters that were run, to the glossary, to the bibliography."""

    pages: Mapping[str, str]  # chapter: page
    key_by_address: Mapping[str, str] = field(default_factory=dict)  # see `bibliography.keys`
    words: Mapping[str, glossary.Entry] = field(default_factory=dict)

    @classmethod
    def of(cls, pages: Mapping[str, str]) -> Links:
        """Return those of a book with these pages. InputError: bibliography or glossary cannot be read."""
        return cls(pages, bibliography.keys(), glossary.entries())

    def resolved(self, markdown: str, in_glossary: bool = False) -> str:
        """Return a text with its links resolved; a chapter that was not run leaves its name only."""
        text = LINK.sub(self._to_chapter, markdown)
        text = bibliography.cited(text, self.key_by_address)
        return glossary.with_meanings(text, self.words, in_glossary)

    def _to_chapter(self, match: re.Match[str]) -> str:
        page = self.pages.get(match["chapter"])
        return f"[{match['text']}]({page}.ipynb{match['anchor'] or ''})" if page else match["text"]


def prepared(notebook: NotebookNode, chapter: str, links: Links) -> NotebookNode:
    """Return a chapter as its page shows it; the notebook itself stays as it is."""
    page = deepcopy(notebook)
    cells = [part for cell in page.cells for part in _parameters_apart(cell)]
    page.cells = numbered.figures([cell for cell in cells if _is_shown(cell, chapter)], chapter)
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = links.resolved(cell.source)
        if cell.cell_type == "code":  # a sentence that has nothing to say would show as the name of its Python object
            cell.outputs = [each for each in cell.outputs if each.get("data", {}).get("text/markdown", "-").strip()]
        for output in cell.get("outputs", []):
            if "text/markdown" in output.get("data", {}):
                output.data["text/markdown"] = links.resolved(output.data["text/markdown"])
        _fold(cell)
    _soften_error_banner(page)
    return page


def _is_shown(cell: NotebookNode, chapter: str) -> bool:
    """Whether there is anything to see: folded code that shows nothing is machinery, and so are home's parameters."""
    if cell.cell_type != "code" or fold.is_answer(cell):
        return True
    tags = cell.metadata.get("tags", [])
    if chapter == INTRODUCTION and {*tags} & {"parameters", *TOGGLES}:
        return False
    shows = any(output.get("name") != "stderr" for output in cell.outputs)  # the page leaves stderr out
    return bool(cell.source.strip()) and (shows or "hide-input" not in tags)


def _fold(cell: NotebookNode) -> None:
    tags, settings = set(cell.metadata.get("tags", [])), cell.metadata.setdefault("mystnb", {})
    if SHOWS_ALONE.fullmatch(cell.source.strip()):  # a toggle above code that is shown would show how it is shown
        cell.metadata["tags"] = sorted(tags | {"remove-input"})
    for tag in tags & TOGGLES.keys():
        cell.metadata["tags"] = sorted(tags | {"hide-input"})
        settings |= {"code_prompt_show": TOGGLES[tag], "code_prompt_hide": TOGGLES[tag]}
    if fold.is_answer(cell):  # code and output, behind one button
        cell.metadata["tags"] = sorted(tags | {"hide-cell"})
        settings |= ANSWER


def _parameters_apart(cell: NotebookNode) -> list[NotebookNode]:
    """Split a parameters cell in two: the few that a reader turns, and below them, to be hidden, the rest."""
    top, marker, rest = cell.source.partition(params.SELDOM_CHANGED)
    if "parameters" not in cell.metadata.get("tags", []) or not marker:
        return [cell]
    cell.source = top.strip()
    hidden = nbformat.v4.new_code_cell(rest.strip(), metadata={"tags": [SELDOM]})
    return [cell, hidden]


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


def cites(notebooks: Iterable[NotebookNode]) -> bool:
    """Whether any page cites a work."""
    texts = (text for notebook in notebooks for cell in notebook.cells for text in _texts(cell))
    return any("{cite:p}`" in text for text in texts)


def _texts(cell: NotebookNode) -> list[str]:
    outputs = [output.get("data", {}).get("text/markdown", "") for output in cell.get("outputs", [])]
    return [cell.source if cell.cell_type == "markdown" else "", *outputs]
