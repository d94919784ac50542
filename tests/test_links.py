"""The link checker finds what is broken, and nothing else; and the links of the sources are well-formed."""

from __future__ import annotations

import re
from pathlib import Path

import jupytext
import links
import pytest

from fflib.book.reference import REFERENCES
from fflib.files import ROOT
from fflib.runs import params

GOOD = ("b.html", "b.html#here", "#top", "a%20b.txt", "https://a.org/x(y)?z=1#w", "http://127.0.0.1:8888", "#")
BAD = ("c.html", "b.html#there", "#nowhere", "https://nowhere", "https:/a.org", "htp://a.org", "https://a .org")
CHAPTER_LINK = re.compile(r"\]\((?:\./)?(\d\d_\w+|talk|glossary)\.(ipynb|py|md)(?:#[^)]*)?\)")


@pytest.fixture
def book(tmp_path: Path) -> Path:
    (tmp_path / "b.html").write_text('<h1 id="here">b</h1>')
    (tmp_path / "a b.txt").write_text("")
    return tmp_path


@pytest.mark.parametrize("link", GOOD)
def test_what_leads_somewhere_is_no_finding(book: Path, link: str) -> None:
    (book / "a.html").write_text(f'<p id="top"><a href="{link}">x</a></p>')
    assert links.broken(book) == []


@pytest.mark.parametrize("link", BAD)
def test_what_leads_nowhere_is_found(book: Path, link: str) -> None:
    (book / "a.html").write_text(f'<p id="top"><a href="{link}">x</a></p>')
    assert links.broken(book) == [f"a.html: {link}"]


@pytest.mark.parametrize("path", sorted(params.NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_links_between_notebooks_name_files_that_are_there(path: Path) -> None:
    for cell in jupytext.read(path).cells:
        if cell.cell_type == "markdown":
            for name, kind in CHAPTER_LINK.findall(cell.source):
                assert (params.NOTEBOOKS / f"{name}.{kind}").is_file(), f"{path.name} links to {name}.{kind}"


def test_files_that_the_readme_links_to_are_there() -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:|#", link):
            assert (ROOT / link.partition("#")[0]).exists(), link


@pytest.mark.parametrize("folder", sorted(REFERENCES.glob("*/about.json")), ids=lambda path: path.parent.name)
def test_kept_notebooks_link_to_files_beside_them(folder: Path) -> None:
    for path in folder.parent.glob("*.ipynb"):
        for name, kind in CHAPTER_LINK.findall(path.read_text(encoding="utf-8")):
            if name == "glossary":
                assert (folder.parent / f"{name}.{kind}").is_file(), f"{path.name} links to {name}.{kind}"
