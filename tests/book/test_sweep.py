"""A sweep: what its file may say, how far it is and how long it takes, and that a failed run stops no other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fflib.book import execute, sweep
from fflib.book.execute import ChapterFailed
from fflib.files import ROOT, InputError
from fflib.runs import param_files, params, provenance, records, sweep_plan, times

MACHINE = {"cpu": "A Processor", "cores_available": 2}
ELSEWHERE = {"cpu": "Another one", "cores_available": 2}
ORDER = [*params.chapters()[1:], params.chapters()[0]]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Parameters and outputs of the test's own, with the runs a, b and c and a sweep over a and b."""
    for folder in ("size", "hardware"):
        shutil.copytree(param_files.PARAMS / folder, tmp_path / "params" / folder)
    for name in "abc":
        (tmp_path / "params" / f"{name}.yaml").write_text("task: docs\n")
    monkeypatch.setattr(param_files, "PARAMS", tmp_path / "params")
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(times, "KEPT", tmp_path / "kept")
    say(tmp_path, "both", runs=["a", "b"])
    return tmp_path


def say(home: Path, name: str, **lines) -> None:
    (home / "params" / "sweeps").mkdir(exist_ok=True)
    (home / "params" / "sweeps" / f"{name}.yaml").write_text(yaml.safe_dump(lines))


def record(folder: Path, chapter: str, seconds=60.0, at=None, machine=MACHINE, size="standard", suffix="") -> Path:
    """Write what a chapter leaves; ``at`` is the minute it ended, by default its place in the order of chapters."""
    minute = ORDER.index(chapter) if at is None else at
    content = {
        "schema_version": 1, "chapter": chapter, "key": "k", "written": f"2026-11-20T10:{minute:02}:00+00:00",
        "seconds": seconds, "parameters": {"size": size, "task": "docs"}, "machine": dict(machine), "facts": {},
        "rungs": [],
    }  # fmt: skip
    path = folder / "results" / f"{chapter}.json{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def whole(folder: Path, **options) -> Path:
    for chapter in ORDER:
        record(folder, chapter, **options)
    return folder


# What its file may say


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "params" / "sweeps").glob("*.yaml")])
@pytest.mark.parametrize("size", ["", "smoke", "full"])
def test_every_sweep_is_sound_in_every_size(name, size):
    loaded = sweep_plan.load(name, size)
    assert loaded.runs and {run.size for run in loaded.runs} == {size or "standard"}


def test_superglue_has_six_tasks_and_names_no_task_twice():
    tasks = [run.values["task"] for run in sweep_plan.load("superglue").runs]
    assert sorted(tasks) == ["BoolQ", "CB", "COPA", "MultiRC", "RTE", "WiC"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ({"runs": ["a", "nope"]}, "there is no run 'nope' in params/; there are a, b, c"),
        ({"runs": []}, "must name its runs"),
        ({}, "must name its runs"),
        ({"runs": "a b"}, "must name its runs"),
        ({"runs": ["a", 7]}, "must name its runs"),
        ({"runs": ["a", "b", "a"]}, "names the run 'a' twice"),
        ({"runs": ["a"], "size": "smoke"}, "has a line 'size', but it may hold description and runs only"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_sentence(home, lines, says):
    say(home, "mine", **lines)
    with pytest.raises(InputError, match=says) as told:
        sweep_plan.load("mine")
    assert "\n" not in str(told.value)


def test_what_does_not_exist_or_fit_a_run_is_refused(home):
    with pytest.raises(InputError, match="there is no sweep 'nope' in params/; there are both"):
        sweep_plan.load("nope")
    with pytest.raises(InputError, match="there is no size 'huge'"):
        sweep_plan.load("both", "huge")
    with pytest.raises(InputError, match="did you mean 'learning_rate'"):
        sweep_plan.load("both", overrides=["learning_rte=1.0e-4"])
    say(home, "c", runs=["a"])
    with pytest.raises(InputError, match="both named 'c'"):
        sweep_plan.load("c")


def test_size_and_overrides_go_to_each_run_and_the_closing_chapter_knows_their_folders(home):
    loaded = sweep_plan.load("both", "smoke", "", ["n_train=17"])
    assert [(run.name, run.size) for run in loaded.runs] == [("a", "smoke"), ("b", "smoke")]
    assert {run.values["n_train"] for run in loaded.runs} == {17}
    values = loaded.closing.chapter_values(params.TABLES)
    assert values["runs"] == ["a-smoke", "b-smoke"] and values["run"] == "both" and values["size"] == "smoke"
    assert Path(values["run_dir"]).name == "both-smoke"
    usual = sweep_plan.load("both")
    assert usual.closing.folder.name == "both" and usual.closing.values["runs"] == ["a", "b"]


# How far it is


def test_a_chapter_is_lacking_where_it_is_missing_damaged_or_older_than_one_before_it(home):
    folder = home / "outputs" / "a"
    assert sweep_plan.lacking(folder) == ORDER and ORDER[-1] == "00_introduction"
    whole(folder)
    assert sweep_plan.lacking(folder) == [] and sweep_plan.unfinished(folder) == ""
    record(folder, "02_batching", at=50)
    assert sweep_plan.lacking(folder) == ORDER[2:]
    whole(folder)
    (folder / "results" / "05_quantization.json").write_text("{")
    assert sweep_plan.lacking(folder) == ORDER[4:]
    assert sweep_plan.unfinished(folder) == "05_quantization has not run yet"


def test_a_failure_is_told_until_the_run_is_whole(home):
    folder = home / "outputs" / "a"
    sweep_plan.note_failure(folder, "01_baseline", "01_baseline failed: no such model")
    assert sweep_plan.unfinished(folder) == sweep_plan.failure(folder) == "01_baseline failed: no such model"
    whole(folder)
    assert sweep_plan.unfinished(folder) == "", "make book may have mended it meanwhile"
    (folder / "results" / "05_quantization.json").unlink()
    assert sweep_plan.unfinished(folder) == "05_quantization has not run yet", "what failed once has run since"
    sweep_plan.note_failure(folder, "05_quantization", "another chapter is running")
    assert sweep_plan.unfinished(folder) == "another chapter is running"
    sweep_plan.forget_failure(folder)
    sweep_plan.forget_failure(folder)
    assert sweep_plan.failure(folder) == ""
    (folder / sweep_plan.FAILED).write_text("")
    assert sweep_plan.failure(folder) == ""


def test_missing_names_what_comes_after_a_gap():
    done = [{"chapter": "a", "written": "1"}, {"chapter": "c", "written": "3"}]
    assert records.missing(done, ["a", "c"]) == [] and records.missing(done, ["a", "b", "c"]) == ["b", "c"]
    assert records.missing([], []) == []


# How long it takes


def test_the_time_left_is_what_the_chapters_took_before(home):
    """Run a took 60 s a chapter; b has its first two chapters and is as long."""
    a, b = whole(home / "outputs" / "a"), home / "outputs" / "b"
    for chapter in ORDER[:2]:
        record(b, chapter)
    assert sweep_plan.seconds_left(sweep_plan.load("both"), MACHINE) == 60 * (len(ORDER) - 2)
    record(a, ORDER[-1], seconds=5)
    assert sweep_plan.seconds_left(sweep_plan.load("both"), MACHINE) == 60 * (len(ORDER) - 3) + 5


def test_a_runs_own_times_count_before_the_sweeps_and_those_before_others(home):
    outputs = home / "outputs"
    whole(outputs / "c", seconds=1000)  # of no sweep
    loaded = sweep_plan.load("both")
    assert sweep_plan.seconds_left(loaded, MACHINE) == 2 * 1000 * len(ORDER)
    whole(outputs / "a", seconds=60)
    assert sweep_plan.seconds_left(loaded, MACHINE) == 60 * len(ORDER)
    for chapter in ORDER:  # set aside, since something changed
        record(outputs / "b", chapter, seconds=7, suffix=".old")
    assert sweep_plan.seconds_left(loaded, MACHINE) == 7 * len(ORDER)


def test_several_times_count_with_their_median(home):
    say(home, "three", runs=["a", "b", "c"])
    for name, seconds in (("a", 10), ("b", 30)):
        whole(home / "outputs" / name, seconds=seconds)
    assert sweep_plan.seconds_left(sweep_plan.load("three"), MACHINE) == 20 * len(ORDER)


@pytest.mark.parametrize("other", [{"machine": ELSEWHERE}, {"size": "smoke"}, {"seconds": None}])
def test_times_of_another_machine_or_size_tell_nothing(home, other):
    whole(home / "outputs" / "a")
    whole(home / "outputs" / "c", **other)
    (home / "outputs" / "a" / "results" / "09_story.json").unlink()  # never timed in this size and on this machine
    assert sweep_plan.seconds_left(sweep_plan.load("both"), MACHINE) is None
    assert times.told(None) == ""


def test_a_run_that_failed_is_not_waited_for(home):
    whole(home / "outputs" / "a")
    sweep_plan.note_failure(home / "outputs" / "b", "01_baseline", "01_baseline failed: no such model")
    assert sweep_plan.seconds_left(sweep_plan.load("both"), MACHINE) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, ""), (20, "less than a minute left"), (61, "about 1 min left"), (5400, "about 90 min left"),
     (7200, "about 2 h 0 min left"), (13500, "about 3 h 45 min left")],
)  # fmt: skip
def test_the_time_left_in_words(seconds, words):
    assert times.told(seconds) == words


# Runs that begin after another


def after(home: Path, name: str, other: object) -> None:
    (home / "params" / f"{name}.yaml").write_text(yaml.safe_dump({"task": "docs", "after": other}))


def test_a_run_takes_the_teacher_of_the_one_it_begins_after_in_its_own_size(home):
    after(home, "b", "a")
    run = params.load_run("b", "smoke", overrides=["n_train=17"])
    assert run.before.folder.name == "a-smoke" and run.before.values["n_train"] != 17
    assert run.values["teacher"] == str(home / "outputs" / "a-smoke" / "models" / "teacher-0")
    assert params.load_run("b", overrides=["teacher=of/mine"]).values["teacher"] == "of/mine"
    assert [each.name for each in params.before([run, params.load_run("c")])] == ["a"]
    assert params.before([run, params.load_run("a", "smoke")]) == [], "it is among them, and runs whole"


@pytest.mark.parametrize("other", [7, ["a"]])
def test_what_a_run_begins_after_is_a_name(home, other):
    after(home, "b", other)
    with pytest.raises(InputError, match="after is .*; give one text"):
        params.load_run("b")


@pytest.mark.parametrize("other", ["c", "b"])
def test_a_run_begins_after_none_that_begins_after_it(home, other):
    after(home, "c", "b")
    after(home, "b", other)
    with pytest.raises(InputError, match="b begins after .*; name a run that does not begin after it in turn"):
        params.load_run("b")


def test_runs_that_begin_after_each_other_begin_in_their_turn(home):
    after(home, "b", "a")
    after(home, "c", "b")
    last = params.load_run("c", "smoke", overrides=["seeds=[3]"])
    assert [each.folder.name for each in params.before([last])] == ["a-smoke", "b-smoke"]
    assert [each.folder.name for each in params.before([last, params.load_run("b", "smoke")])] == ["a-smoke"]
    assert last.values["teacher"].endswith("b-smoke/models/teacher-0"), "overrides are not for the runs before"


def test_in_a_sweep_a_run_begins_after_the_sweeps_own(home):
    """With its overrides: else what the sweep has just made would count as outdated when the next run looks at it."""
    after(home, "b", "a")
    after(home, "c", "b")
    say(home, "late", runs=["c", "b", "a"])
    c, b, a = sweep_plan.load("late", overrides=["seeds=[3]"]).runs
    assert (c.before, b.before, a.before) == (b, a, None) and not params.before([c, b, a])
    assert c.values["teacher"].endswith("b/models/teacher-3")
    set_by_hand = sweep_plan.load("late", overrides=["teacher=of/mine"]).runs
    assert {(run.values["teacher"], run.before) for run in set_by_hand} == {("of/mine", None)}


def test_tables_older_than_a_run_or_of_other_code_are_made_again(home, monkeypatch):
    """Snakemake forgets what it made where its own notes are deleted, and never knew what it did not make."""
    keys = {params.TABLES: "k"}
    monkeypatch.setattr(provenance, "chapter_key", lambda chapter, values: keys.get(chapter, "k"))
    for name in "ab":
        whole(home / "outputs" / name)
    tables = home / "outputs" / "both" / "results" / f"{params.TABLES}.json"
    for at, key, kept in ((59, "k", True), (0, "k", False), (59, "of newer code", False)):
        record(home / "outputs" / "both", params.TABLES, at=at)
        keys[params.TABLES] = key
        assert sweep.main(["check", "--sweep", "both"]) == 0 and tables.exists() == kept
    keys[params.TABLES] = "k"
    record(home / "outputs" / "both", params.TABLES, at=59)
    (home / "outputs" / "a" / "results" / f"{ORDER[3]}.json").unlink()
    assert sweep.main(["check", "--sweep", "both"]) == 0 and not tables.exists(), "a run is not whole any more"


def test_what_began_after_an_older_teacher_is_set_aside_and_counted(home, monkeypatch, capsys):
    """Before snakemake finds it out: if the new teacher fails, the old row must not stay in the tables."""
    monkeypatch.setattr(provenance, "chapter_key", lambda chapter, values: "k")
    after(home, "c", "a")
    say(home, "late", runs=["c"])
    record(home / "outputs" / "a", params.BASELINE, at=0)
    whole(home / "outputs" / "c")
    assert execute.check(params.load_run("c")) == [], "its own is the newer one"
    record(home / "outputs" / "a", params.BASELINE, at=30)
    assert sweep.main(["check", "--sweep", "late"]) == 0
    assert f"late: 1 runs, {len(ORDER)} of {1 + len(ORDER)} chapters to run" in capsys.readouterr().err
    record(home / "outputs" / "c", params.BASELINE, at=40)
    (home / "outputs" / "a" / "results" / "01_baseline.json").unlink()
    assert execute.check(params.load_run("c")) == ["01_baseline"], "nobody knows what it began with"


def test_the_run_before_counts_with_its_one_chapter(home, monkeypatch, capsys):
    monkeypatch.setattr(provenance, "chapter_key", lambda chapter, values: "k")
    after(home, "c", "a")
    say(home, "late", runs=["b", "c"])
    sweep_plan.note_failure(home / "outputs" / "a", params.BASELINE, "01_baseline failed: no room")
    assert sweep.main(["show", "--sweep", "late"]) == 1
    assert "error: a: 01_baseline failed: no room\n" in capsys.readouterr().err
    assert sweep.main(["check", "--sweep", "late"]) == 0
    assert capsys.readouterr().err == f"late: 2 runs, {1 + 2 * len(ORDER)} of {1 + 2 * len(ORDER)} chapters to run\n"
    record(home / "outputs" / "a", params.BASELINE).write_text('{"key": "of other code"}')
    assert execute.check(params.load_run("c")) == ["a 01_baseline"]
    record(home / "outputs" / "a", params.BASELINE)
    assert (params.load_run("c"), "01_baseline") == sweep_plan.wanted(sweep_plan.load("late"))[len(ORDER)]


# Its steps


def play(monkeypatch, does) -> None:
    monkeypatch.setattr(execute, "run_chapter", does)


def test_a_chapter_is_one_line_with_the_time_it_took_and_the_time_left(home, monkeypatch, capsys):
    whole(home / "outputs" / "a", seconds=120)
    play(monkeypatch, lambda run, chapter, ahead: record(run.folder, chapter))
    assert sweep.main(["chapter", "01_baseline", "--run", "b", "--sweep", "both"]) == 0
    left = len(ORDER) - 1  # b is twice as fast as a, which took 2 minutes a chapter, as far as one can tell
    assert capsys.readouterr().err == f"b 01_baseline: done in 0 s, about {left} min left\n"
    shutil.rmtree(home / "outputs" / "a")
    assert sweep.main(["chapter", "02_batching", "--run", "b", "--sweep", "both"]) == 0
    assert capsys.readouterr().err == "b 02_batching: done in 0 s\n", "nothing is known, so nothing is said"


@pytest.mark.parametrize(
    ("error", "code"),
    [(ChapterFailed("02_batching failed: KeyError: 'x' (see a.ipynb)", 1), 1), (InputError("no room"), 2)],
)
def test_a_failure_is_kept_and_told_at_the_end(home, monkeypatch, capsys, error, code):
    def fails(run, chapter, ahead):
        raise error

    play(monkeypatch, fails)
    whole(home / "outputs" / "b")
    record(home / "outputs" / "a", "01_baseline")
    assert sweep.main(["chapter", "02_batching", "--run", "a", "--sweep", "both"]) == code
    assert capsys.readouterr().err == f"error: a: {error}\n"
    record(home / "outputs" / "both", params.TABLES, at=0)
    (home / "outputs" / "both" / "tables.md").write_text("| the | tables |\n")
    assert sweep.main(["show", "--sweep", "both"]) == 1
    told = capsys.readouterr()
    assert told.err == f"error: a: {error}\n" and told.out.startswith("| the | tables |") and "tables.csv" in told.out
    play(monkeypatch, lambda run, chapter, ahead: record(run.folder, chapter))
    assert sweep.main(["chapter", "02_batching", "--run", "a", "--sweep", "both"]) == 0
    assert not sweep_plan.failure(home / "outputs" / "a"), "it ran: what stopped it once is forgotten"


def test_where_the_run_before_failed_those_after_it_say_so(home, monkeypatch, capsys):
    def fails(run, chapter, ahead):
        raise InputError("no room")

    play(monkeypatch, fails)
    after(home, "c", "a")
    after(home, "d", "c")
    say(home, "late", runs=["b", "d"])
    whole(home / "outputs" / "b")
    assert sweep.main(["chapter", "01_baseline", "--run", "a", "--sweep", "late"]) == 2
    assert sweep_plan.unfinished(home / "outputs" / "d") == "a, which it begins after, failed: no room"
    assert sweep_plan.seconds_left(sweep_plan.load("late"), MACHINE) == 0, "it is not waited for"


def test_a_later_chapter_that_fails_stops_no_run_after_it(home, monkeypatch, capsys):
    def fails(run, chapter, ahead):
        raise InputError("no room")

    play(monkeypatch, fails)
    after(home, "c", "b")
    say(home, "late", runs=["b", "c"])
    assert sweep.main(["chapter", "02_batching", "--run", "b", "--sweep", "late"]) == 2
    assert sweep_plan.unfinished(home / "outputs" / "c") == "01_baseline has not run yet"


def test_what_is_interrupted_says_nothing_and_is_no_failure(home, monkeypatch, capsys):
    def stopped(run, chapter, ahead):
        raise ChapterFailed("01_baseline was interrupted; run again to go on from here", execute.EXIT_INTERRUPTED)

    play(monkeypatch, stopped)
    assert sweep.main(["chapter", "01_baseline", "--run", "a", "--sweep", "both"]) == execute.EXIT_INTERRUPTED
    assert not capsys.readouterr().err and not sweep_plan.failure(home / "outputs" / "a")


def test_a_whole_sweep_ends_well_and_one_without_tables_does_not(home, capsys):
    for name in "ab":
        whole(home / "outputs" / name)
    (home / "outputs" / "both").mkdir()
    (home / "outputs" / "both" / "tables.md").write_text("| the | tables |\n")
    assert sweep.main(["show", "--sweep", "both"]) == 1
    told = capsys.readouterr()
    assert told.err == "error: both: 10_tables has not run yet\n" and not told.out, "old tables are not shown"
    record(home / "outputs" / "both", params.TABLES, at=0)
    assert sweep.main(["show", "--sweep", "both"]) == 0
    assert not capsys.readouterr().err


def test_check_sets_aside_what_is_outdated_and_says_how_much_there_is_to_do(home, monkeypatch, capsys):
    monkeypatch.setattr(provenance, "chapter_key", lambda chapter, values: "k")
    whole(home / "outputs" / "a")
    record(home / "outputs" / "b", "01_baseline").write_text('{"key": "of other code"}')
    sweep_plan.note_failure(home / "outputs" / "b", "01_baseline", "01_baseline failed: no such model")
    assert sweep.main(["check", "--sweep", "both"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "b: run again, for what they depend on has changed: 01_baseline",
        f"both: 2 runs, {len(ORDER)} of {2 * len(ORDER)} chapters to run",
    ]
    assert (home / "outputs" / "b" / "results" / "01_baseline.json.old").exists()
    assert not sweep_plan.failure(home / "outputs" / "b")


def test_a_run_that_is_not_of_the_sweep_is_named(home, capsys):
    assert sweep.main(["chapter", "01_baseline", "--run", "c", "--sweep", "both"]) == 2
    assert capsys.readouterr().err == "error: the sweep both has no run 'c'; its runs are a, b\n"


@pytest.mark.parametrize("arguments", [["check", "--sweep", "nope"], ["show", "--sweep", ""]])
def test_a_slip_is_one_sentence(home, capsys, arguments):
    assert sweep.main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: there is no sweep ")


# Snakemake over all runs, with chapters that take no time

FAKE = '''"""Chapters and books that take no time: each appends a line to order.txt and writes its result."""
import argparse, json, os, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("what"), parser.add_argument("chapter", nargs="?")
for name in ("run", "sweep", "size", "hardware", "set", "book"):
    parser.add_argument("--" + name, default="")
chosen = parser.parse_args()
if chosen.chapter:
    folder = chosen.sweep if chosen.chapter == "10_tables" else chosen.run
    path = pathlib.Path(os.environ["FFLIB_OUTPUTS"]) / folder / "results" / (chosen.chapter + ".json")
    line = folder + " " + chosen.chapter
else:
    path, line = pathlib.Path(chosen.what) / "book" / "index.html", pathlib.Path(chosen.what).name + " book"
with open("order.txt", "a") as order:
    order.write(line + "\\n")
if line == pathlib.Path("fails.txt").read_text().strip():
    sys.exit(1)
path.parent.mkdir(parents=True, exist_ok=True)
minute = len(open("order.txt").readlines())
record = dict.fromkeys(("parameters", "machine", "facts"), {}) | {"rungs": [], "key": ""}
path.write_text(json.dumps(record | {"chapter": chosen.chapter, "written": "%06d" % minute}))
'''
KEYS = """chapter_key = lambda chapter, values: chapter + str(values)\npage_key = lambda: 'page'\n"""  # with no torch
CHAPTERS = [*ORDER, "book"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project whose chapters are fakes, with a sweep over the runs a and b."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("fflib", "params", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb", "sweeps"))
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("execute", "sweep", "render"):
        (folder / "fflib" / "book" / f"{name}.py").write_text(FAKE)
    (folder / "fflib" / "runs" / "provenance.py").write_text(KEYS)
    for name in "ab":
        (folder / "params" / f"{name}.yaml").write_text("task: docs\n")
    say(folder, "two", runs=["a", "b"])
    return folder


def snakemake(folder: Path, *options: str, fails: str = "", **config: str) -> tuple[int, list[str]]:
    """Run snakemake as the Makefile does, with one step that fails; return its status and what ran, in order."""
    (folder / "fails.txt").write_text(fails)
    (folder / "order.txt").write_text("")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--nolock", "--rerun-incomplete", "--rerun-triggers"]
    command += ["mtime", "params", "input", "--quiet", "all", "--keep-going", "--config"]
    command += [f"{name}={value}" for name, value in config.items()]
    environment = os.environ | {"FFLIB_OUTPUTS": "outputs", "XDG_CACHE_HOME": str(folder / ".cache"), "PYTHONPATH": ""}
    command += ["--", *options] if options else []
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, timeout=300)
    assert "Error" not in done.stderr.replace("Error 1", ""), done.stderr[-2000:]
    return done.returncode, (folder / "order.txt").read_text().splitlines()


def steps(run: str, chapters=CHAPTERS) -> list[str]:
    return [f"{run} {chapter}" for chapter in chapters]


def test_a_failed_run_stops_no_other_and_a_rerun_does_what_is_missing(copy):
    code, ran = snakemake(copy, fails="a 03_distillation", sweep="two")
    assert code != 0 and ran == [*steps("a", CHAPTERS[:3]), *steps("b")], "run after run"
    assert snakemake(copy, "tables", sweep="two") == (0, ["two 10_tables", "two book"])
    assert snakemake(copy, "tables", sweep="two") == (0, []), "nothing changed, so the tables stand"
    assert snakemake(copy, sweep="two") == (0, steps("a", CHAPTERS[2:]))
    assert snakemake(copy, "tables", sweep="two")[1] == ["two 10_tables", "two book"], "a is whole by now"


def test_a_run_of_a_sweep_is_the_run_that_make_book_knows(copy):
    """What the sweep has done is done for `make book`, too, and the other way round; no book of a run has tables."""
    snakemake(copy, sweep="two")
    assert snakemake(copy, run="b") == (0, [])
    (copy / "outputs" / "b" / "results" / "06_runtime.json").unlink()
    assert snakemake(copy, run="b") == (0, steps("b", CHAPTERS[5:]))
    assert snakemake(copy, sweep="two") == (0, [])


def test_what_a_run_begins_after_is_made_first_and_no_more_of_it(copy):
    (copy / "params" / "c.yaml").write_text("task: docs\nafter: d\n")
    (copy / "params" / "d.yaml").write_text("task: docs\n")
    assert snakemake(copy, run="c", set="n_train=17") == (0, ["d 01_baseline", *steps("c")])
    assert snakemake(copy, run="c", set="n_train=17") == (0, [])
    assert snakemake(copy, run="d") == (0, steps("d", CHAPTERS[1:])), "its own book goes on from there"
    (copy / "outputs" / "d" / "results" / "01_baseline.json").unlink()
    assert snakemake(copy, run="c", set="n_train=17")[1] == ["d 01_baseline", *steps("c")], "another teacher, all anew"


def test_each_run_of_a_line_is_made_as_far_as_the_next_needs_it(copy):
    (copy / "params" / "c.yaml").write_text("task: docs\nafter: d\n")
    (copy / "params" / "d.yaml").write_text("task: docs\nafter: e\n")
    (copy / "params" / "e.yaml").write_text("task: docs\n")
    assert snakemake(copy, run="c") == (0, ["e 01_baseline", "d 01_baseline", *steps("c")])
    (copy / "params" / "sweeps" / "line.yaml").write_text("runs: [c, d]\n")
    assert snakemake(copy, sweep="line") == (0, [*steps("d", CHAPTERS[1:])])
