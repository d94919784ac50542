"""Bibliography and glossary: each link has an entry, each entry is used, and each says what it has to."""

from __future__ import annotations

import re
from pathlib import Path

import jupytext
import pytest

from fflib.book import bibliography, glossary
from fflib.files import ROOT
from fflib.runs import params

NOTEBOOKS = sorted(params.NOTEBOOKS.glob("*.py"))


def prose(path: Path) -> str:
    """What a notebook says, and what its code may say."""
    return "\n".join(cell.source for cell in jupytext.read(path).cells)


def everywhere() -> str:
    """The notebooks, the pages at the back, and the code that writes pages."""
    code = (path.read_text(encoding="utf-8") for path in (ROOT / "fflib").rglob("*.py"))
    pages = (path.read_text(encoding="utf-8") for path in (ROOT / "fflib" / "book" / "template").rglob("*.md*"))
    glossary_links = glossary.FILE.read_text(encoding="utf-8").replace("](#", f"]({glossary.FILE.name}#")
    return "\n".join([*map(prose, NOTEBOOKS), *code, *pages, glossary_links])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_paper_that_a_notebook_links_to_is_in_the_bibliography(path: Path) -> None:
    known = bibliography.keys()
    lacking = [link for link in re.findall(r"https?://[^\s)\"'>]+", prose(path)) if bibliography.PAPER.match(link)]
    assert [link for link in lacking if bibliography.plain(link) not in known] == []


def test_every_entry_of_the_bibliography_is_cited() -> None:
    cited = {bibliography.plain(link) for link in bibliography.links(everywhere())}
    assert {key for address, key in bibliography.keys().items() if address not in cited} == set()


def test_every_entry_has_a_year_and_an_address_that_can_be_one() -> None:
    for key, entry in bibliography.entries().items():
        assert re.fullmatch(r"(19|20)\d\d", entry["year"]) and re.fullmatch(r"https?://[\w.-]+/\S+", entry["url"]), key


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_link_to_the_glossary_has_an_entry(path: Path) -> None:
    assert glossary.linked(prose(path)) - glossary.entries().keys() == set()


def test_every_entry_of_the_glossary_is_used_and_its_own_links_resolve() -> None:
    used, known = glossary.linked(everywhere()), glossary.entries().keys()
    assert known - used == set(), "no notebook links to these"
    inside = set(re.findall(r"\]\(#([^)]+)\)", glossary.FILE.read_text(encoding="utf-8")))
    assert inside <= known


def test_the_glossary_is_in_alphabetical_order() -> None:
    words = [entry.word.casefold() for entry in glossary.entries().values()]
    assert words == sorted(words)


def test_an_entry_of_the_glossary_is_a_sentence() -> None:
    for entry in glossary.entries().values():
        assert entry.meaning.endswith(".") and len(entry.meaning.split()) >= 4, entry.word
