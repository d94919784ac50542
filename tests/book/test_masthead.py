"""The line below a title, and what can be taken along from a page."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from fflib.book import masthead
from fflib.files import InputError
from fflib.runs import times

CHAPTER = "03_distillation"


def page() -> nbformat.NotebookNode:
    table = new_output("display_data", {"text/markdown": "| a | b |\n|:--|--:|\n" + "| word word | word |\n" * 300})
    folded = new_code_cell("x = 1\n" * 500, outputs=[table], metadata={"tags": ["hide-input"]})
    return new_notebook(cells=[new_markdown_cell("# Title\n\nText."), new_markdown_cell("word " * 600), folded])


def test_prose_and_seen_code_take_time_tables_and_folded_code_do_not() -> None:
    told = page()
    assert masthead.minutes_to_read(told) == 3
    told.cells.append(new_code_cell("x = 1\n" * 30))
    assert masthead.minutes_to_read(told) == 5
    assert masthead.minutes_to_read(new_notebook()) == 1


def record(folder: Path, **seconds: float) -> None:
    (folder / "results").mkdir(exist_ok=True)
    told = {"chapter": CHAPTER, "key": "", "written": "", "parameters": {}, "machine": {}, "facts": {}, "rungs": []}
    (folder / "results" / f"{CHAPTER}.json").write_text(json.dumps(told | {"seconds_by_kind": seconds}))


def test_the_first_run_counts_what_the_next_finds_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "KEPT", tmp_path)
    assert masthead.time_to_run(tmp_path, [CHAPTER]) == []
    record(tmp_path, start=60, training=480, prediction=60, timing=60)
    assert masthead.time_to_run(tmp_path, [CHAPTER]) == [
        "about 11 min to run, about 2 min when its models are in the cache"
    ]
    record(tmp_path, start=60, timing=60)
    assert masthead.time_to_run(tmp_path, [CHAPTER]) == ["about 2 min to run"]
    kept = {tmp_path.name: {"seconds": {CHAPTER: {"start": 60, "training": 540}}}}
    (tmp_path / times.TABLE).write_text(json.dumps(kept))
    told = ["about 10 min to run, about 1 min when its models are in the cache"]
    assert masthead.time_to_run(tmp_path, [CHAPTER, "04_pruning"]) == [], "of one chapter nothing is known"
    record(tmp_path, start=60, timing=60)
    whole = masthead.time_to_run(tmp_path, [CHAPTER, CHAPTER])
    assert whole == ["about 20 min to run the whole book, about 2 min when its models are in the cache"]
    assert masthead.time_to_run(tmp_path, [CHAPTER]) == told, "this run had them in the cache"


def test_the_line_stands_below_the_title(tmp_path: Path) -> None:
    told = page()
    masthead.with_line(told, masthead.line(told, CHAPTER, tmp_path, "https://a.org/issues?x=1&y"))
    title, line = told.cells[0].source.split("\n\n")[:2]
    assert title == "# Title" and line.startswith('<p class="masthead">3 min to read')
    assert 'href="https://a.org/issues?x=1&amp;y">report a problem' in line and f'download="{CHAPTER}.py"' in line
    assert "report a problem" not in masthead.line(told, CHAPTER, tmp_path)


def test_where_problems_are_reported_is_a_setting(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    assert masthead.issues_address(project) == "", "an installed package has none"
    project.write_text("[project]\nname = 'x'\n")
    assert masthead.issues_address(project) == ""
    project.write_text("[project.urls]\nIssues = 'https://a.org/issues'\n")
    assert masthead.issues_address(project) == "https://a.org/issues"
    project.write_text("[project.urls]\nIssues = 'mine'\n")
    with pytest.raises(InputError, match="no address"):
        masthead.issues_address(project)


def test_what_can_be_taken_along_tells_nothing_of_the_machine(tmp_path: Path) -> None:
    shown = new_output("stream", name="stdout", text="/home/me/run/a.txt")
    injected = new_code_cell("run_dir = '/home/me/run'", metadata={"tags": ["injected-parameters"]})
    cell = new_code_cell("print()", outputs=[shown], metadata={"papermill": {"start_time": "now"}, "tags": ["x"]})
    notebook = new_notebook(cells=[injected, cell], metadata={"papermill": {"output_path": "/home/me/run/a.ipynb"}})
    masthead.write_downloads({"01_a": notebook}, lambda text: text.replace("/home/me/run", "<folder>"), tmp_path / "d")
    everything = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "d").iterdir()}
    assert set(everything) == {"01_a.ipynb", "01_a.py", "glossary.md"}
    assert not any("/home" in text or "papermill" in text for text in everything.values())
    assert "print()" in everything["01_a.py"] and "run_dir" not in everything["01_a.py"]
    assert notebook.metadata.papermill, "the run's own notebook stays as it is"
