"""Heads of tables in two lines of about the same length, so that a column is as wide as its numbers need."""

from __future__ import annotations

from docutils import nodes

SHORT = 10  # characters of a head that stays in one line


def lines(words: str) -> list[str]:
    """Return a head in one line or two: a long one is broken at the space nearest to its middle."""
    spaces = [place for place, letter in enumerate(words) if letter == " "]
    if len(words) <= SHORT or not spaces:
        return [words]
    place = min(spaces, key=lambda place: max(place, len(words) - place - 1))
    return [words[:place], words[place + 1 :]]


def fold(document: nodes.Element) -> None:
    """Break the heads of all tables of a page; a head that is more than plain words stays as it is."""
    for head in document.findall(nodes.thead):
        for paragraph in head.findall(nodes.paragraph):
            if len(paragraph) == 1 and isinstance(paragraph[0], nodes.Text):
                first, *second = lines(paragraph.astext())
                broken = [node for line in second for node in (nodes.raw("", "<br>", format="html"), nodes.Text(line))]
                paragraph.children = []
                paragraph.extend([nodes.Text(first), *broken])
