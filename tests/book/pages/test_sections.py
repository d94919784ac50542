"""Links from a page lead to the section whose cell leaves the fact."""

import pytest
from small_pages import book

from fflib.book.pages import sections

CELLS = [
    {"cell_type": "markdown", "source": "# 5 · Quantisation"},
    {"cell_type": "markdown", "source": "## 5.1 Idea\n\n```text\n# no heading\n```"},
    {"cell_type": "code", "source": 'bench.facts["packing"] = rows'},
    {"cell_type": "markdown", "source": "Text.\n\n### 5.2 What *it* cost, and `why`"},
    {"cell_type": "code", "source": 'x = bench.facts["packing"]\nbench.table(rows, keep="recipes")'},
    {"cell_type": "code", "source": 'bench.facts["best"], bench.facts["drift"] = 1, 2'},
]


@pytest.mark.parametrize(
    ("fact", "heading"),
    [
        ("packing", "5.1 Idea"),
        ("recipes", "5.2 What it cost, and why"),
        ("best", "5.2 What it cost, and why"),
        ("none", ""),
    ],
)
def test_the_section_is_the_heading_above_the_cell_that_leaves_the_fact(fact, heading):
    assert sections.section(CELLS, fact) == heading


def test_a_link_names_its_section_and_one_to_a_chapter_that_is_not_there_is_words():
    made = book({}, chapters={"05_quantization": CELLS})
    there = sections.link(made, "05_quantization", "recipes")
    assert there == "[5.2 What it cost, and why](05_quantization.ipynb#52-what-it-cost-and-why)"
    assert sections.link(made, "05_quantization", "none") == "[chapter 5](05_quantization.ipynb)"
    assert sections.link(made, "06_runtime", "recipes") == "chapter 6"
