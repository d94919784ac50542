"""What links of a rendered book lead nowhere; nothing is fetched."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

WELL_FORMED = re.compile(r"https?://[\w-]+(\.[\w-]+)+(:\d+)?(/\S*)?(\?\S*)?")
HERE = re.compile(r"https?://(localhost|127\.0\.0\.1)\b")  # a server of the reader's own


class _Page(HTMLParser):
    """The anchors of a page, and what it links to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.anchors |= {told[name] for name in ("id", "name") if told.get(name)}
        self.links += [told[name] for name in ("href", "src") if told.get(name)]


def broken(book: Path) -> list[str]:
    """Return "page: link" for every link to a file or anchor that is not there, and every address that is none.

    What themes keep in ``_static`` is no page.
    """
    pages = {
        path.resolve(): _Page(path.read_text(encoding="utf-8"))
        for path in sorted(book.rglob("*.html"))
        if "_static" not in path.parts
    }
    found = [(path, link) for path, page in pages.items() for link in page.links if not _holds(link, path, pages)]
    return [f"{path.relative_to(book.resolve())}: {link}" for path, link in found]


def _holds(link: str, path: Path, pages: dict[Path, _Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme in ("http", "https"):
        return bool(WELL_FORMED.fullmatch(link.partition("#")[0]) or HERE.match(link))
    if parts.scheme or link == "#":  # what a script does, or data
        return parts.scheme in ("data", "mailto", "javascript", "")
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return False
    return not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].anchors
