"""The same ladder on other machines: factors only, each run with its machine, its day and the age of its code."""

import re

import pytest
from small_pages import book, source

from fflib.book.pages import machines, machines_figure, sources
from fflib.files import InputError
from fflib.story.factors import AGAINST

FACTOR = {"factor": 444.3, "low": 363.9, "high": 509.9, "product": 400.0}
HEADLINE = {"09_story": {"headline": {"against": {AGAINST[0]: FACTOR, AGAINST[1]: FACTOR}, "rounds": 6}}}
INT8 = {"05_quantization": {"int8": {"instructions": "AMX"}}}


@pytest.fixture
def versions(monkeypatch):
    told = iter([sources.SAME, sources.OLDER])
    monkeypatch.setattr(sources, "version", lambda _: next(told))


def test_a_row_a_run_in_factors_with_the_age_of_its_code(tmp_path, versions):
    old = source({}, "kept", cpu="Intel(R) Core(TM) CPU (family 3)", name="old", note="A note")
    page = machines.page_of(book(HEADLINE | INT8, old), tmp_path / "figures")
    lines = re.findall(r"<tr>(<td>.*?)</tr>", page)
    assert len(lines) == 2 and (tmp_path / "figures" / "other_machines.png").stat().st_size > 10_000
    assert "444x<br>364x to 510x" in lines[0] and "this run" in lines[0] and "3 cores, eight bits by AMX" in lines[0]
    assert "2026-01-02, this version<br>commit abc1234" in lines[0]
    assert "<br>multiplied" in lines[1] and "Intel Core (family 3)" in lines[1] and "older version" in lines[1]
    assert "1 of these 2 runs are of an older version" in page and "  - old: A note." in page
    assert not re.search(r"\d\s*(ms|s|requests/s)\b", page)


def test_a_note_of_several_runs_stands_once():
    kept = [source({}, "kept", name=name, note="The same") for name in ("a", "b")]
    assert machines._notes(kept).count("The same") == 1 and "a, b: The same." in machines._notes(kept)


def test_steps_are_told_by_technique_and_multiply_to_the_factor_of_the_last_rung():
    steps = machines.steps_of(source({}))
    assert [step["technique"] for step in steps] == ["a smaller teacher", "no padding", "distillation", "instances"]
    product = 1.0
    for step in steps:
        product *= step["factor"]
    assert product == pytest.approx(180.0)


def test_without_another_run_there_is_no_page(tmp_path):
    with pytest.raises(InputError, match="no kept run"):
        machines.page_of(book({}), tmp_path)


def test_the_figure_has_a_mark_a_run_and_leaves_out_what_was_not_measured():
    told = (("a", 2.0, "x"), ("a", 0.5, "y"), ("b", None, "y"))
    rows = [{"technique": technique, "factor": factor, "machine": machine} for technique, factor, machine in told]
    axes = machines_figure.steps(rows).axes[0]
    marks = [line for line in axes.lines if line.get_gid() == "run"]
    assert [line.get_label() for line in marks] == ["x", "y"]
    assert [list(line.get_xdata()) for line in marks] == [[2.0], [0.5]]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a"]
    with pytest.raises(InputError, match="no run holds a factor"):
        machines_figure.steps(rows[2:])


def test_a_run_whose_data_are_not_here_is_told_apart_from_an_older_one():
    assert "None" in machines._versions([{"version": sources.SAME}])
    told = machines._versions([{"version": sources.OLDER}, {"version": sources.UNKNOWN}])
    assert "1 of these 2 runs are of an older version" in told and "*Version unknown*" in told
