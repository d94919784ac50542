"""The works that the book cites: ``notebooks/references.bib``, and citations made of the notebooks' links.

In a notebook a citation is an ordinary link, ``[Jiao et al., eq. 8](https://arxiv.org/abs/1909.10351)``. Where its
address is that of an entry the rendered book adds the entry's number, which leads to the page "Bibliography".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fflib.files import InputError, shown
from fflib.runs import params

FILE = params.NOTEBOOKS / "references.bib"
PAGE = "bibliography"
NEEDED = ("author", "title", "year", "url")
LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\\.)+)\]\((?P<address>https?://[^\s)]+)\)")
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.DOTALL | re.MULTILINE)  # what stands in code is no link
PAPER = re.compile(r"https?://(?:www\.)?(?:arxiv\.org|(?:dx\.)?doi\.org|aclanthology\.org|openreview\.net)/")
TEXT = """# Bibliography

What the chapters cite, in the order in which they do.

```{bibliography}
```
"""


def entries(path: Path = FILE) -> dict[str, dict[str, str]]:
    """Read the fields of every entry, authors joined by "and", by its key.

    InputError: the file is missing, is no BibTeX, has a key twice, or an entry lacks one of `NEEDED`.
    """
    from pybtex.database import parse_file  # only now: chapters do not cite
    from pybtex.exceptions import PybtexError

    try:
        found = parse_file(str(path), "bibtex").entries
    except (OSError, PybtexError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{shown(path)} cannot be read as BibTeX ({why}); mend it") from error
    read = {}
    for key, entry in found.items():
        people = " and ".join(map(str, entry.persons.get("author", [])))
        read[key] = {"author": people, **{name.lower(): value for name, value in entry.fields.items()}}
        if lacking := [name for name in NEEDED if not read[key].get(name)]:
            raise InputError(f"{shown(path)}: the entry {key} has no {lacking[0]}; add it")
    return read


def keys(path: Path = FILE) -> dict[str, str]:
    """Return each entry's key by its `plain` address. InputError: as `entries`, or two share an address."""
    found: dict[str, str] = {}
    for key, fields in entries(path).items():
        other = found.setdefault(plain(fields["url"]), key)
        if other != key:
            raise InputError(f"{shown(path)}: {other} and {key} have one address; keep one of them")
    return found


def plain(address: str) -> str:
    """Write an address so that equal works are equal: no scheme, no version, the abstract and not the PDF."""
    bare = re.sub(r"^https?://(?:www\.|dx\.)?", "", address).partition("#")[0].rstrip("/").lower()
    return re.sub(r"^arxiv\.org/(?:abs|pdf)/(.+?)(?:v\d+)?(?:\.pdf)?$", r"arxiv.org/abs/\1", bare)


def links(markdown: str) -> list[str]:
    """Return the addresses outside the book that a text links to, in its order; code is left out."""
    return [match["address"] for match in LINK.finditer(CODE.sub("", markdown))]


def cited(markdown: str, key_by_address: Mapping[str, str]) -> str:
    """Put the number of the entry behind every link to a work of ``key_by_address``, see `keys`."""

    def with_number(match: re.Match[str]) -> str:
        key = key_by_address.get(plain(match["address"]))
        return f"{match[0]} {{cite:p}}`{key}`" if key else match[0]

    parts = CODE.split(markdown)  # text and code in turn
    return "".join(part if i % 2 else LINK.sub(with_number, part) for i, part in enumerate(parts))
