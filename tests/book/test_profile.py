"""Where the seconds of a book went, by new records and by old ones."""

from __future__ import annotations

import json

import pytest

from fflib.book import profile
from fflib.files import write_json
from fflib.runs import params, times


def record(folder, chapter, seconds, by_kind=None):
    content = {"chapter": chapter, "key": "k", "written": "1", "seconds": seconds, "facts": {}, "rungs": []}
    content |= {"parameters": {"size": "smoke"}, "machine": {"cpu": "A Processor", "cores_available": 2, "ram_gb": 8}}
    write_json(folder / "results" / f"{chapter}.json", content | ({"seconds_by_kind": by_kind} if by_kind else {}))


def cell(kind, source, seconds=None):
    return {"cell_type": kind, "source": source, "metadata": {"papermill": {"duration": seconds}} if seconds else {}}


@pytest.fixture
def folder(tmp_path):
    """Three chapters: with kinds, with an executed notebook, and with a number alone."""
    record(tmp_path / "a", "01_baseline", 40.0, {"start": 9.0, "training": 20.0, "rest": 11.0})
    record(tmp_path / "a", "02_batching", 52.0)
    record(tmp_path / "a", "03_distillation", 30.0)
    cells = [
        cell("code", ["import numpy\n", "bench = Bench.open('02_batching', globals())"], 5.0),
        cell("markdown", "## 2.1 Measure"),
        cell("code", "race = bench.compare(ways)", 41.5),
        cell("code", "bench.save()", 8.5),
    ]
    notebook = {"metadata": {"papermill": {"duration": 58.0}}, "cells": cells}
    (tmp_path / "a" / "02_batching.ipynb").write_text(json.dumps(notebook))
    (tmp_path / "a" / "03_distillation.ipynb").write_text(json.dumps({"metadata": {}, "cells": [cell("code", "1")]}))
    return tmp_path / "a"


def test_each_chapter_counts_by_what_it_left(folder):
    """The second: 58 seconds in all, 41.5 and 8.5 of them after the bench was opened."""
    found = profile.by_chapter(folder)
    assert found["01_baseline"] == {"start": 9.0, "training": 20.0, "rest": 11.0}
    assert found["02_batching"] == {"start": 8.0, "not told apart": 50.0}
    assert found["03_distillation"] == {"not told apart": 30.0}


def test_the_table_has_the_kinds_there_are_and_sums(folder):
    (folder / "book").mkdir()
    (folder / "book" / times.SECONDS).write_text("4.0\n")
    rows = [
        [part.strip() for part in line.split("|")[1:-1]]
        for line in profile.table(profile.by_chapter(folder)).splitlines()
    ]
    assert rows[0] == ["", "start", "training", "rendering", "rest", "not told apart", "all"]
    assert rows[2] == ["01_baseline", "9", "20", "", "11", "", "40"]
    assert rows[5] == ["book", "", "", "4", "", "", "4"]
    assert rows[6] == ["all", "17", "20", "4", "11", "80", "132"]


def test_the_slowest_cells_stand_with_their_section(folder):
    lines = profile.slowest(folder, 2).splitlines()
    assert [[part.strip() for part in line.split("|")[1:-1]] for line in lines[2:]] == [
        ["02_batching", "2.1 Measure", "race = bench.compare(ways)", "42"],
        ["02_batching", "2.1 Measure", "bench.save()", "8"],
    ]
    (folder / "02_batching.ipynb").write_text("{")
    assert profile.slowest(folder, 2) == "" and profile.by_chapter(folder)["02_batching"] == {"not told apart": 52.0}


def test_the_seconds_of_a_whole_book_are_kept_for_estimates(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(times, "KEPT", tmp_path / "kept")
    folder.rename(tmp_path / "docs-cpu-smoke")
    command = ["--run", "docs-cpu", "--size", "smoke", "--keep"]
    assert profile.main(command) == 2 and "lacks 00_introduction; run the whole book" in capsys.readouterr().err
    for i, chapter in enumerate(params.chapters()):
        record(tmp_path / "docs-cpu-smoke", chapter, 1.0, {"start": 10.0, "rest": float(i)})
    write_json(tmp_path / "kept" / times.TABLE, {"another": {}})
    assert profile.main(command) == 0
    kept = times.table(tmp_path / "kept")
    assert kept["another"] == {} and kept["docs-cpu-smoke"]["machine"] == {"cpu": "A Processor", "cores_available": 2}
    del kept["another"]
    write_json(tmp_path / "kept" / times.TABLE, kept)
    (tmp_path / "docs-cpu-smoke").rename(tmp_path / "elsewhere")
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path / "none"))
    run = params.load_run("docs-cpu", "smoke")
    found = times.estimates(
        [(run, chapter) for chapter in params.chapters()], {"cpu": "A Processor", "cores_available": 2}
    )
    assert [guess and guess.seconds for guess in found] == [10.0 + i for i in range(len(params.chapters()))]


def test_a_run_that_is_not_there_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(times, "KEPT", tmp_path / "kept")
    assert profile.main(["--run", "docs-cpu"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_kept_run_is_shown_where_none_was_made_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    assert profile.main(["--run", "docs-cpu"]) == 0
    assert "outputs/reference/docs-cpu" in capsys.readouterr().out
