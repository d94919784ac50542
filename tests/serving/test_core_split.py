"""Divisions of the cores, the best of them by a goal, and the hardware file that keeps it."""

from __future__ import annotations

import pytest
import yaml
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import export, predictors
from fflib.files import InputError
from fflib.measure import cores, timing
from fflib.runs import param_files, params, records
from fflib.serving import core_split

ROWS = [
    {"instances": 1, "threads": 2, "throughput_per_s": 200.0, "p95_ms": 9.0},
    {"instances": 2, "threads": 1, "throughput_per_s": 320.0, "p95_ms": 14.0},
    {"instances": 1, "threads": 1, "throughput_per_s": 170.0, "p95_ms": 12.0},
]


def test_divisions():
    assert core_split.divisions(1) == [(1, 1)]
    assert core_split.divisions(2) == [(1, 1), (1, 2), (2, 1)]
    assert set(core_split.divisions(6)) == {(1, 1), (1, 2), (1, 3), (1, 6), (6, 1), (3, 2), (2, 3)}
    for many in range(1, 65):
        found = core_split.divisions(many)
        assert len(set(found)) == len(found) and all(count * each <= many for count, each in found)
        assert {(many, 1), (1, many)} <= {*found}


def test_threads_that_do_not_divide_the_cores_and_what_was_asked_for_are_measured_too():
    """Of four cores three for one instance, or three instances of one: neither is even."""
    even = core_split.divisions(4)
    assert core_split.divisions(4, [(1, 3), (3, 1)]) == [*even, (1, 3), (3, 1)]
    assert core_split.divisions(4, [(1, 4), (0, 1), (2, 2)]) == even


def test_the_goal_decides():
    assert core_split.best(ROWS, "throughput") is ROWS[1] and core_split.best(ROWS, "latency") is ROWS[0]
    half_cores = {"instances": 4, "threads": 1, "throughput_per_s": 900.0, "p95_ms": 1.0, "hyper_threads": True}
    assert core_split.best([*ROWS, half_cores], "throughput") is ROWS[1]
    with pytest.raises(InputError, match="no goal 'cost'; there are throughput, latency"):
        core_split.best(ROWS, "cost")
    with pytest.raises(InputError, match="run chapter 7 first"):
        core_split.best([], "latency")


def test_what_was_asked_for_wins_if_it_was_measured():
    assert core_split.chosen(ROWS, "throughput", 0, 1) is ROWS[1]
    assert core_split.chosen(ROWS, "throughput", 1, 1) is ROWS[2]
    assert core_split.chosen(ROWS, "latency", 7, 1) is ROWS[0]


def test_the_gain_of_instances_and_what_they_lack_to_the_bound():
    rows = [row | {"kind": "thread"} for row in ROWS]
    assert core_split.gain(rows, 2) == pytest.approx(320 / 200)
    assert core_split.of_the_bound(rows, "thread") == pytest.approx(320 / (2 * 170))
    processes = [row | {"kind": "process", "throughput_per_s": 0.9 * row["throughput_per_s"]} for row in ROWS[:2]]
    processes += [ROWS[2] | {"kind": "process", "throughput_per_s": 150.0}]
    half = {"instances": 4, "threads": 1, "throughput_per_s": 900.0, "kind": "thread", "hyper_threads": True}
    assert core_split.of_the_bound([*rows, *processes, half], "process") == pytest.approx(288 / 300)
    one_core = [{"instances": 1, "threads": 1, "throughput_per_s": 5.0, "kind": "thread"}]
    assert core_split.of_the_bound(one_core, "thread") == 1 and core_split.gain(one_core, 1) is None


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A folder of parameters, and a chapter 7 that has run."""
    copied = tmp_path / "params"
    for kind in ("", "hardware", "size"):
        (copied / kind).mkdir()
        for path in (param_files.PARAMS / kind).glob("*.yaml"):
            (copied / kind / path.name).write_text(path.read_text())
    monkeypatch.setattr(param_files, "PARAMS", copied)
    record = {"facts": {"divisions": ROWS}, "machine": {"cpu": "A Processor"}}
    monkeypatch.setattr(records, "current", lambda folder, chapter: record)
    return copied


def test_the_best_division_becomes_hardware(measured, capsys):
    assert core_split.main(["--goal", "latency", "--write", "my-laptop"]) == 0
    path = measured / "hardware" / "my-laptop.yaml"
    written = yaml.safe_load(path.read_text())
    mine = params.load_run("docs-cpu").hardware_values()
    assert written == mine | {"instances": 1, "instance_threads": 2}
    assert "A Processor" in path.read_text() and "latency" in path.read_text()
    run = params.load_run("docs-cpu", hardware="my-laptop")  # every name is a parameter of some chapter
    assert run.chapter_values("07_serving")["instance_threads"] == 2
    assert "make book HARDWARE=my-laptop" in capsys.readouterr().out


def test_nothing_is_overwritten_and_names_are_names(measured, capsys):
    assert core_split.main(["--write", "cpu"]) == 2
    assert "is there already; give another name" in capsys.readouterr().err
    for name in ("", "../x", ".hidden", "a/b"):
        assert core_split.main(["--write", name]) == 2
        assert "is no name for a file" in capsys.readouterr().err
    assert sorted(path.name for path in (measured / "hardware").iterdir()) == ["cpu.yaml", "gpu.yaml"]


def test_a_run_without_the_chapter(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    assert core_split.main(["--write", "mine"]) == 2
    assert "run chapter 07_serving first" in capsys.readouterr().err


def test_a_study_times_every_division_and_checks_its_answers(tmp_path):
    model, examples = tiny_classifier(), examples_of([5, 9, 12])
    path = export.save_onnx(model, tmp_path / "model.onnx")
    predict = predictors.onnx_predictor(predictors.onnx_session(path, 1))
    right = timing.Variant("alone", predict, batching.in_order(examples.lengths, 1)).logits(examples)
    rows = core_split.study(path, examples, right, ["thread"], rounds=1, tolerance=1e-4)
    found = [(row["instances"], row["threads"]) for row in rows]
    assert found == core_split.divisions(len(cores.physical_cores())) and {row["kind"] for row in rows} == {"thread"}
    assert all(row["throughput_per_s"] > 0 and 0 < row["p50_ms"] <= row["p95_ms"] for row in rows)
    with pytest.raises(AssertionError, match="a logit is off"):
        core_split.study(path, examples, right + 1, ["thread"], rounds=1, tolerance=1e-4)


def test_over_one_instance_with_all_threads_only_ratios_are_left():
    rows = [
        {"instances": 1, "threads": 4, "kind": kind, "throughput_per_s": per_s, "p95_ms": 1.0}
        for kind, per_s in (("thread", 50.0), ("process", 40.0))
    ]
    rows.append({"instances": 4, "threads": 1, "kind": "thread", "throughput_per_s": 120.0, "p95_ms": 3.0})
    ratios = core_split.over_one(rows, 4)
    assert [row["throughput_per_s"] for row in ratios] == pytest.approx([1, 0.8, 2.4])
    assert [row["p95_ms"] for row in ratios] == [1, 1, 3] and rows[0]["throughput_per_s"] == 50
