"""Reference sweeps: the tables and each run's numbers, without notebooks, texts or paths; whole or not there."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from small_runs import CHAPTERS, be_current, files_of, make_run, picture, png, splits

from fflib.book import readme, reference, reference_sweep
from fflib.files import InputError, write_json
from fflib.runs import params
from fflib.runs.params import Run
from fflib.runs.sweep_plan import Sweep

TASKS = {"rte-small": "RTE", "cb-small": "CB"}
TEXT = "**Accuracy by task**\n\n| task |\n|:-----|\n| RTE  |\n\n- Energy is an estimate.\n"


@pytest.fixture(autouse=True)
def _current(monkeypatch):
    be_current(monkeypatch)


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    """Two runs that are whole, and the tables over them."""
    outputs = tmp_path / "outputs"
    runs = [
        Run(name, "cpu", "smoke", make_run(outputs / name, task, name), {"task": task}) for name, task in TASKS.items()
    ]
    closing = Run("both", "cpu", "smoke", outputs / "both", {})
    rows = [{"task": task, "run": name, "status": "ok"} for name, task in TASKS.items()]
    rows += [{"task": "WiC", "run": "", "status": "no run"}]
    say_tables(closing.folder, rows)
    (closing.folder / "figures").mkdir()
    (closing.folder / "figures" / "tables.png").write_bytes(png(picture()))
    (closing.folder / "tables.md").write_text(TEXT)
    (closing.folder / "tables.csv").write_text("task,run\nRTE,rte-small\nCB,cb-small\n")
    return Sweep("both", runs, closing)


def say_tables(folder: Path, rows: list[dict[str, str]]) -> None:
    record = {"schema_version": 1, "chapter": params.TABLES, "key": "now", "written": "2026-01-09T00:00:00+00:00"}
    record |= {"parameters": {}, "facts": {"rows": rows}, "machine": {}, "rungs": []}
    write_json(folder / "results" / f"{params.TABLES}.json", record)


def splits_of(run: Run):
    return splits(run.values["task"])


def keep(sweep: Sweep, kept: Path) -> Path:
    return reference_sweep.keep(sweep, splits_of, "On a subset.", kept)


def test_it_holds_the_tables_and_of_each_run_the_numbers(sweep, tmp_path):
    folder = keep(sweep, tmp_path / "kept")
    own = ["about.json", "ladder.csv", "ladder.md", *(f"results/{name}.json" for name in CHAPTERS)]
    wanted = ["sweep.json", "tables.csv", "tables.md", "figures/tables.png"]
    assert sorted(files_of(folder)) == sorted(wanted + [f"{run}/{path}" for run in TASKS for path in own])
    assert len((folder / "figures" / "tables.png").read_bytes()) < len(png(picture()))
    about = json.loads((folder / "rte-small" / "about.json").read_text())
    assert about["task"] == "RTE" and about["note"] == "On a subset." and about["machine"]["cpu"]


def test_read_gives_what_was_kept(sweep, tmp_path):
    kept = tmp_path / "kept"
    keep(sweep, kept)
    got = reference_sweep.read("both", kept)
    assert got.text == TEXT and list(got.rows["run"]) == list(TASKS) and reference_sweep.names(kept) == ["both"]
    assert got.about["seconds"] == dict.fromkeys(TASKS, round(1.5 * len(CHAPTERS))) and got.about["size"] == "smoke"
    assert reference.names(kept) == [], "it is no run"
    assert reference.read("rte-small", kept / "both").about["task"] == "RTE", "but holds some"


def test_no_text_of_any_of_its_tasks_gets_out(sweep, tmp_path):
    path = sweep.runs[1].folder / "results" / "03_distillation.json"
    record = json.loads(path.read_text())
    record["facts"]["example"] = "The grey heron waits among tall reeds until the pike"
    write_json(path, record)
    with pytest.raises(InputError, match="holds text of the data"):
        keep(sweep, tmp_path / "kept")
    assert not (tmp_path / "kept" / "both").exists()


def test_a_sweep_that_is_not_whole_is_not_kept(sweep, tmp_path):
    rows = [{"task": "RTE", "run": "rte-small", "status": "failed: no such model"}]
    say_tables(sweep.closing.folder, rows)
    with pytest.raises(InputError, match="the tables of both lack a run; make them again"):
        keep(sweep, tmp_path / "kept")
    (sweep.runs[0].folder / "results" / f"{CHAPTERS[2]}.json").unlink()
    with pytest.raises(InputError, match=f"{CHAPTERS[2]}.json is not in"):
        keep(sweep, tmp_path / "kept")
    shutil.rmtree(sweep.closing.folder)
    with pytest.raises(InputError, match=f"{params.TABLES}.json is not in"):
        keep(sweep, tmp_path / "kept")


def test_tables_older_than_a_run_are_not_kept(sweep, tmp_path):
    path = sweep.runs[0].folder / "results" / f"{CHAPTERS[-1]}.json"
    write_json(path, json.loads(path.read_text()) | {"written": "2026-01-09T00:00:01+00:00"})
    with pytest.raises(InputError, match="the tables of both lack a run; make them again"):
        keep(sweep, tmp_path / "kept")


def test_the_chapter_that_runs_begin_after_is_counted_too(sweep, tmp_path):
    first = Run("first", "cpu", "smoke", make_run(tmp_path / "outputs" / "first"), {"task": "docs"})
    later = Sweep("both", [dataclasses.replace(run, before=first) for run in sweep.runs], sweep.closing)
    about = json.loads((keep(later, tmp_path / "kept") / "sweep.json").read_text())
    assert about["runs"] == list(TASKS) and about["seconds"]["first"] == round(1.5)


@pytest.mark.parametrize("spoilt", ["sweep.json", "tables.csv", "tables.md"])
def test_a_damaged_one_is_named(sweep, tmp_path, spoilt):
    kept = tmp_path / "kept"
    (keep(sweep, kept) / spoilt).unlink()
    with pytest.raises(InputError, match="the reference sweep 'both' is missing or damaged"):
        reference_sweep.read("both", kept)


def test_readme_shows_the_tables_below_the_ladders(sweep, tmp_path):
    kept, page = tmp_path / "kept", tmp_path / "README.md"
    reference.keep(make_run(tmp_path / "outputs" / "docs-cpu"), "docs-cpu", splits(), folder=kept)
    keep(sweep, kept)
    page.write_text(f"{readme.HEADLINE_BEGIN}\n{readme.HEADLINE_END}\n{readme.BEGIN}\n{readme.END}\nafter\n")
    readme.write(page, kept)
    text = page.read_text()
    assert TEXT.strip() in text and "both/figures/tables.png" in text and "On a subset." in text
    assert readme.is_current(page, kept) and text.index("docs-cpu") < text.index("both/figures")


def test_the_command_keeps_what_the_sweeps_file_names(sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reference_sweep.sweep_plan, "load", lambda *_: sweep)
    monkeypatch.setattr(reference_sweep.splits, "load_split", lambda task, name, source, limit: by_name(task)[name])
    monkeypatch.setattr(Run, "chapter_values", lambda run, _: {"task": run.values["task"], "data_source": "auto"})
    monkeypatch.setattr(reference, "REFERENCES", tmp_path / "kept")
    assert reference_sweep.main(["--sweep", "both", "--note", "On a subset."]) == 0
    assert "kept: " in capsys.readouterr().out and reference_sweep.names(tmp_path / "kept") == ["both"]


def by_name(task: str):
    return {split.name: split for split in splits(task)}
