from __future__ import annotations

import pytest
from docutils.core import publish_doctree, publish_from_doctree

from fflib.book import heads


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("", [""]),
        ("p50 ms", ["p50 ms"]),
        ("requests/second", ["requests/second"]),
        ("vs unpadded", ["vs", "unpadded"]),
        ("two instances: requests/s", ["two instances:", "requests/s"]),
        ("share of the teacher's score", ["share of the", "teacher's score"]),
    ],
)
def test_a_long_head_is_broken_near_its_middle(words, lines):
    assert heads.lines(words) == lines
    assert " ".join(heads.lines(words)) == words


def test_only_plain_heads_of_a_page_are_broken():
    page = publish_doctree(
        "A paragraph of several words.\n\n"
        "=============  ==================  ===========\n"
        "p50 ms         measured speed-up   *two of it*\n"
        "=============  ==================  ===========\n"
        "one two three  four five six       seven\n"
        "=============  ==================  ===========\n"
    )
    heads.fold(page)
    html = publish_from_doctree(page, writer="html5").decode()
    assert "measured<br>speed-up" in html and html.count("<br>") == 1
    assert "<p>p50 ms</p>" in html and "one two three" in html and "of several words" in html
