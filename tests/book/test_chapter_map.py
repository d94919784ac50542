import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fflib.book import chapter_map
from fflib.runs import params, times


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Two chapters, of which the first was run."""
    sources, run = tmp_path / "notebooks", tmp_path / "a"
    (run / "results").mkdir(parents=True)
    sources.mkdir()
    monkeypatch.setattr(params, "NOTEBOOKS", sources)
    monkeypatch.setattr(times, "KEPT", tmp_path / "none")
    prose = new_markdown_cell("# 1 · Made up: a title\n\n" + "word " * 1000)
    folded = new_code_cell("x = 1\n" * 400, metadata={"tags": ["hide-input"]})
    for name in ("00_introduction", "01_made_up", "02_not_run"):
        (sources / f"{name}.py").write_text("")
        nbformat.write(new_notebook(cells=[prose, folded]), sources / f"{name}.ipynb")
    nbformat.write(new_notebook(cells=[prose, new_code_cell("x = 1\n" * 15)]), run / "01_made_up.ipynb")
    record = {"chapter": "01_made_up", "key": "", "written": ""} | {
        "parameters": {},
        "machine": {},
        "facts": {},
        "rungs": [],
    }
    record |= {"seconds_by_kind": {"training": 600.0, "timing": 240.0}}
    (run / "results" / "01_made_up.json").write_text(json.dumps(record))
    return run


def test_the_map_says_how_long_each_chapter_takes_and_links_to_those_that_were_run(home):
    done, undone, total = chapter_map.rows(home)
    assert done == {
        "chapter": "[1 · Made up: a title](01_made_up.ipynb)",
        chapter_map.READ: "6 min",  # a thousand words and fifteen lines of code
        chapter_map.FIRST: times.about(840),
        chapter_map.AGAIN: times.about(240),  # the model is in the cache then
    }
    assert undone == {"chapter": "1 · Made up: a title", chapter_map.READ: "5 min"} | dict.fromkeys(
        (chapter_map.FIRST, chapter_map.AGAIN), ""
    )
    assert total == {"chapter": "**all**", chapter_map.READ: "11 min"} | {
        chapter_map.FIRST: times.about(840),
        chapter_map.AGAIN: times.about(240),
    }
