"""The book's own words: ``notebooks/glossary.md``, an entry a line, and the links that lead to it.

In a notebook the first use of a word is a link, ``[rung](glossary.md#rung)``. The rendered book says the meaning where
the pointer rests on it, and has the page "Glossary" behind it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fflib.files import InputError, shown
from fflib.runs import params

FILE = params.NOTEBOOKS / "glossary.md"
PAGE = "glossary"
ENTRY = re.compile(r'- <a id="(?P<id>[a-z0-9]+(?:-[a-z0-9]+)*)"></a>\*\*(?P<word>[^*]+)\*\*: (?P<meaning>\S.*)')
LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?:(?:\./)?glossary\.md)?#(?P<id>[^)\s]+)\)")
LINK_FROM_ELSEWHERE = re.compile(r"\[(?P<text>[^\]]+)\]\((?:\./)?glossary\.md#(?P<id>[^)\s]+)\)")


@dataclass(frozen=True)
class Entry:
    """A word and what it means, in Markdown."""

    word: str
    meaning: str


def entries(path: Path = FILE) -> dict[str, Entry]:
    """Read the entries in the order of the file, by their ids.

    InputError: the file is missing, an entry is not of the form ``- <a id="rung"></a>**rung**: meaning``, or is there
    twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{shown(path)} cannot be read ({error.strerror}); put it back from git") from error
    found: dict[str, Entry] = {}
    for number, line in enumerate(lines, start=1):
        if not line.startswith("-"):
            continue
        match = ENTRY.fullmatch(line)
        if not match or match["id"] in found:
            why = "is there twice" if match else 'is not of the form: - <a id="rung"></a>**rung**: meaning'
            raise InputError(f"{shown(path)}, line {number}: this entry {why}; mend it")
        found[match["id"]] = Entry(match["word"], match["meaning"])
    return found


def linked(markdown: str) -> set[str]:
    """Return the ids that a text outside the glossary links to."""
    return {match["id"] for match in LINK_FROM_ELSEWHERE.finditer(markdown)}


def with_meanings(markdown: str, known: Mapping[str, Entry], inside: bool = False) -> str:
    """Let links to words lead to the glossary's page and say the meaning; one to a word that is not known is text.

    Args:
        inside: the text is the glossary itself, whose links may leave out the file's name.
    """

    def link(match: re.Match[str]) -> str:
        entry = known.get(match["id"])
        if not entry:
            return match["text"]
        meaning = html.escape(_without_marks(entry.meaning), quote=True)
        return f'<a class="term" href="{PAGE}.html#{match["id"]}" title="{meaning}">{match["text"]}</a>'

    return (LINK if inside else LINK_FROM_ELSEWHERE).sub(link, markdown)


def _without_marks(markdown: str) -> str:
    return re.sub(r"[*`$]", "", re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", markdown))
