"""Writes these pages into the staging folder of the rendered book, and says which cannot be made, and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from fflib.book import redaction
from fflib.book.pages import cluster_page, cpu_or_gpu, did_not_work, machines, questions, sources, which_one
from fflib.book.pages.sources import Book
from fflib.files import InputError

TITLES = {  # page -> what the first page says of it
    "which_one": "**Which one do I take?** Your milliseconds, points and megabytes in, the rungs that fit out.",
    "questions": "**Questions people ask**, each answered with a number of this run.",
    "what_did_not_work": "**What did not work**: what one expects to help, and what was measured.",
    "cpu_or_gpu": "**CPU or GPU?** Load, batch and price: when each of the two is the right one.",
    "graphics_card": "**What is different on a graphics card**, and when it does not pay.",
    "other_machines": "**The same ladder on other machines**, from the runs that are kept with the book.",
    "cluster": "**On a cluster**: what to type there, and how long a sweep takes on how many nodes.",
}
SMOKE = """```{warning}
This run is of size smoke: it was made to try the code, and its numbers mean nothing. Run `make book` for one that
counts.
```"""
CAPTION = "Pages from this run"  # of the navigation
BOLD = re.compile(r"\*\*(.+?)\*\*")
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<page>\w+)\.md\)")


def write(folder: Path, staging: Path) -> list[str]:
    """Write the pages of a run's folder as Markdown, beside the chapters, and name those that could be made.

    A folder without a ladder, as that of a sweep's tables, has none, and nothing is said.
    """
    if not (folder / "ladder.csv").exists():
        return []
    try:
        book = sources.book_of(folder)
    except InputError as error:
        print(f"the book has none of the pages from its records: {error}")
        return []
    makers: Mapping[str, Callable[[Book], str]] = {
        "which_one": which_one.page_of,
        "questions": questions.page_of,
        "what_did_not_work": did_not_work.page_of,
        "cpu_or_gpu": cpu_or_gpu.page_of,
        "graphics_card": cpu_or_gpu.what_is_different,
        "other_machines": lambda book: machines.page_of(book, staging / "figures"),
        "cluster": lambda book: cluster_page.page_of(book, staging / "figures"),
    }
    texts = {name: text for name, make in makers.items() if (text := _made(name, make, book))}
    remove = redaction.path_remover(folder, [])
    for name, text in texts.items():
        linked = LINK.sub(lambda match: _link(match, texts), _with_warning(book, remove(text)))
        (staging / f"{name}.md").write_text(linked, encoding="utf-8")
    return list(texts)


def _made(name: str, make: Callable[[Book], str], book: Book) -> str:
    try:
        return make(book)
    except (InputError, LookupError) as error:  # a record of other code may lack what a page cannot do without
        print(f'the book has no page "{name}": {error}')
        return ""


def _with_warning(book: Book, text: str) -> str:
    """Say below the title that a smoke run's numbers mean nothing."""
    sizes = {record["parameters"].get("size") for record in book.here.side.records}
    title, _, rest = text.partition("\n")
    return f"{title}\n\n{SMOKE}\n{rest}" if "smoke" in sizes else text


def _link(match: re.Match[str], texts: Mapping[str, str]) -> str:
    """Keep a link to a page of this folder that is there, and only its words otherwise."""
    return match[0] if match["page"] in texts or match["page"] not in TITLES else match["text"]


def links(names: list[str]) -> str:
    """Return what the first page says of the pages; '' where there are none."""
    return "\n".join("- " + BOLD.sub(rf"[\1]({name}.md)", TITLES[name], count=1) for name in names)
