"""What the chapter's tables show of a record's rows, against words written by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from fflib.pruning import tables

KEPT = Path(__file__).parents[2] / "outputs" / "reference"
COMPARED = {"target": "2 times", "how": "tuned only", "searched less uniform, points": 0.44}
COMPARED |= {"95 % from": -0.72, "to": 1.594, "the searched one is": "not clearly apart"}


@dataclass
class Kept:
    facts: dict
    label: str = "kept run other, a processor, 2026-11-22, commit abc"


def test_rows_get_plain_heads_and_the_digits_that_count():
    rows = [{"target": "2 times", "way": "searched", "divergence": 0.03516, "kept": "[(10, 1024), None]"}]
    assert tables.plain(rows) == [
        {
            "asked for": "2 times",
            "how the shape was found": "searched",
            "divergence (nats)": "0.0352",
            "heads/neurons by layer": "10/1,024, removed",
        }
    ]
    assert tables.shape_words([[9, 256], None]) == "9/256, removed", "as a record read from JSON has it"
    assert tables.plain([]) == []


def test_an_interval_takes_one_column():
    (row,) = tables.plain([COMPARED])
    assert row["95 % interval"] == "-0.7 to +1.6" and row["difference (points)"] == "+0.4"
    assert "to" not in row and list(row)[-1] == "the searched one is"


def test_what_was_measured_nowhere_has_no_column_and_one_missing_cell_is_empty():
    rows = [
        {"shape": "a", "dev %, retrained": float("nan"), "worst and best seed": "", "their speed-up": None, "x": 1},
        {"shape": "b", "dev %, retrained": 50.0, "worst and best seed": "", "their speed-up": None, "x": 0},
    ]
    assert tables.plain(rows) == [
        {"shape": "a", "retrained (%)": "", "x": "1"},
        {"shape": "b", "retrained (%)": "50.0", "x": "0"},
    ]
    assert tables.plain(rows, ["x", "shape"]) == [{"x": "1", "shape": "a"}, {"x": "0", "shape": "b"}]


def test_a_row_alone_stands_upright():
    row = {"words kept": "3 of 50", "MB, pruned": 57.083, "share of dev tokens kept": 0.9956, "of these fell back": 10}
    assert [list(cells.values()) for cells in tables.upright(row)] == [
        ["words kept in the vocabulary", "3 of 50"],
        ["model with all words (MB)", "57.1"],
        ["tokens of dev whose word is kept", "99.6%"],
        ["of these, answered by the model with all words", "10"],
    ]


def test_kept_comparisons_name_their_run_and_where_it_was():
    text = tables.kept_against_uniform([None, Kept({"against_uniform": [COMPARED]}), Kept({})])
    assert "| other " in text and "-0.7 to +1.6" in text
    assert text.endswith("*kept run other, a processor, 2026-11-22, commit abc*")
    assert tables.kept_against_uniform([None, Kept({})]) == ""


@pytest.mark.parametrize("is_measured", [True, False])
def test_what_was_not_measured_is_said_with_the_command_that_does(is_measured):
    kept = Kept({"elastic": {"dev": {"2 of 3 layers": [[0.5, 0.7, 0.65, 0.75]]}}})
    text = tables.kept_elastic(is_measured, [kept], "make book")
    assert "2 of 3 layers" in text and "50%" in text and "70.0%" in text and "65.0% to 75.0%" in text
    assert ("`make book`" in text) != is_measured and "No kept run" not in text
    alone = tables.kept_elastic(is_measured, [None, Kept({})], "make book")
    assert alone == "" if is_measured else "No kept run" in alone and "`make book`" in alone


def test_seconds_are_said_plainly():
    rows = tables.seconds({"the latency table, unless it was kept": 10.2, "the search": 3.0})
    assert rows[0] == {"step": "the latency table, unless this machine had measured it before", "seconds": 10.2}
    assert rows[1]["step"] == "the search"


@pytest.mark.parametrize("path", sorted(KEPT.glob("docs-cpu*/results/04_pruning.json")), ids=lambda p: p.parts[-3])
def test_every_column_of_kept_rows_has_a_head_of_its_own(path):
    facts = json.loads(path.read_text(encoding="utf-8"))["facts"]
    rows = [facts["ways"][0], facts["depth"][0], facts["against_uniform"][0], facts["flatter"][0], facts["vocabulary"]]
    rows += [facts["tuning"]["rows"][0], facts["speed"][0]]
    known = {*tables.COLUMNS, tables.LOW, tables.HIGH, "shape"}
    for row in rows:
        assert {*row} <= known
        assert len(tables.plain([row])[0]) == len([key for key in row if key != tables.HIGH and row[key] is not None])
    assert {*tables.PREDICTION, *tables.SERVING} == {*facts["speed"][0]}
