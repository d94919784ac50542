"""Citations made of links, and what the bibliography refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from fflib.book import bibliography
from fflib.files import InputError

ENTRY = "@article{%s,\n author = {A, B and C, D},\n title = {T},\n year = {2020},\n url = {%s},\n}\n"
ADDRESS = "https://arxiv.org/abs/1909.10351"
KEYS = {"arxiv.org/abs/1909.10351": "jiao2020"}


def written(folder: Path, text: str) -> Path:
    path = folder / "references.bib"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "address",
    [ADDRESS, "http://www.arxiv.org/abs/1909.10351v3", "https://arxiv.org/pdf/1909.10351v1.pdf", f"{ADDRESS}#section"],
)
def test_ways_to_write_one_address_are_one_work(address: str) -> None:
    assert bibliography.plain(address) == "arxiv.org/abs/1909.10351"


def test_a_link_to_a_work_gets_its_number_and_stays_a_link() -> None:
    text = f"By [Jiao et al., eq. 8]({ADDRESS}), see [there](https://a.org/b)."
    expected = f"By [Jiao et al., eq. 8]({ADDRESS}) {{cite:p}}`jiao2020`, see [there](https://a.org/b)."
    assert bibliography.cited(text, KEYS) == expected
    broken_line = f"[Jiao\net al.]({ADDRESS})"
    assert bibliography.cited(broken_line, KEYS).endswith("{cite:p}`jiao2020`")


def test_code_and_pictures_are_no_citations() -> None:
    for text in (f"`[a]({ADDRESS})`", f"```text\n[a]({ADDRESS})\n```", f"![a]({ADDRESS})"):
        assert bibliography.cited(text, KEYS) == text
    assert bibliography.links(f"`[a]({ADDRESS})` [b](https://b.org/c)") == ["https://b.org/c"]


def test_entries_are_read_with_their_fields(tmp_path: Path) -> None:
    path = written(tmp_path, ENTRY % ("one", ADDRESS))
    (entry,) = bibliography.entries(path).values()
    assert entry["author"] == "A, B and C, D" and entry["title"] == "T" and entry["year"] == "2020"
    assert bibliography.keys(path) == {"arxiv.org/abs/1909.10351": "one"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("@article{a, title = {T}", "cannot be read as BibTeX"),
        (ENTRY.replace("year", "month") % ("a", ADDRESS), "the entry a has no year"),
        (ENTRY % ("a", ADDRESS) + ENTRY % ("b", f"{ADDRESS}v2"), "a and b have one address"),
        (ENTRY % ("a", ADDRESS) + ENTRY % ("a", "https://a.org/b"), "repeated"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told) as error:
        bibliography.keys(written(tmp_path, text))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="cannot be read"):
        bibliography.keys(tmp_path / "missing.bib")
