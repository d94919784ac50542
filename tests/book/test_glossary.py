"""The glossary's entries, and links that say what a word means."""

from __future__ import annotations

from pathlib import Path

import pytest

from fflib.book import glossary
from fflib.book.glossary import Entry
from fflib.files import InputError

WORDS = {"rung": Entry("rung", 'one *way* with a "speed" and a [cost](#cost).'), "cost": Entry("cost", "money.")}


def test_entries_are_read_by_their_ids(tmp_path: Path) -> None:
    path = tmp_path / "glossary.md"
    path.write_text('# Glossary\n\nWords.\n\n- <a id="p50-and-p95"></a>**p50 and p95**: two of them.\n')
    assert glossary.entries(path) == {"p50-and-p95": Entry("p50 and p95", "two of them.")}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("- **rung**: no id.", "line 3: this entry is not of the form"),
        ('- <a id="Rung"></a>**rung**: a capital.', "line 3"),
        ('- <a id="rung"></a>**rung**: a.\n- <a id="rung"></a>**rung**: b.', "line 4: this entry is there twice"),
    ],
)
def test_what_is_no_entry_is_told_with_its_line(line: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "glossary.md"
    path.write_text(f"# Glossary\n\n{line}\n")
    with pytest.raises(InputError, match=told):
        glossary.entries(path)


def test_a_link_says_the_meaning_as_plain_text() -> None:
    told = glossary.with_meanings("A [*rung*](glossary.md#rung) of a [thing](glossary.md#thing).", WORDS)
    meaning = "one way with a &quot;speed&quot; and a cost."
    assert told == f'A <a class="term" href="glossary.html#rung" title="{meaning}">*rung*</a> of a thing.'


def test_only_the_glossary_itself_may_leave_out_the_file() -> None:
    assert glossary.with_meanings("[a](#cost)", WORDS) == "[a](#cost)"
    assert 'href="glossary.html#cost"' in glossary.with_meanings("[a](#cost)", WORDS, inside=True)
    assert glossary.linked("[a](#cost) [b](./glossary.md#rung) [c](glossary.md#cost)") == {"rung", "cost"}
