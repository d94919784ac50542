"""The bench: what a chapter gets of earlier ones, the rungs it adds, and what it leaves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import examples_of, tiny_classifier
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from fflib.book.bench import Bench
from fflib.data import splits
from fflib.data.metrics import Gold, Scored
from fflib.data.retention import Retention
from fflib.files import InputError
from fflib.measure import device
from fflib.measure.timing import Check, Timing
from fflib.model import checkpoints
from fflib.runs import params, provenance

CHAPTER = "03_distillation"
SPLIT = splits.text_split("docs", "test", [("a", "b"), ("c", "d")], Gold(np.array([0, 1])))


def rung(name, stacks_on, per_s):
    fields = {"model": "m", "engine": "e", "precision": "fp32", "batching": "none", "batch_size": 1, "model_mb": 3.0}
    return {"rung": name, "stacks_on": stacks_on, "threads": 1, "throughput_per_s": per_s, **fields}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose first two chapters are there; returns a maker of benches."""
    monkeypatch.setattr(provenance, "chapter_key", lambda *_: "now")
    monkeypatch.setattr(splits, "load_split", lambda *arguments: SPLIT)
    checkpoints.save(tiny_classifier(), tmp_path / "teacher", None)
    first = {
        "teacher": {"folder": str(tmp_path / "teacher"), "accuracy": 0.8},
        "data_fingerprint": {"dev": SPLIT.fingerprint, "test": SPLIT.fingerprint},
    }
    records = {
        "01_baseline": (first, [rung("teacher unpadded", "", 4.0)]),
        "02_batching": ({"best": ["sorted", 2]}, []),
    }
    (tmp_path / "results").mkdir()
    for chapter, (facts, rungs) in records.items():
        record = {
            "schema_version": 1,
            "chapter": chapter,
            "key": "now",
            "facts": facts,
            "rungs": rungs,
            "parameters": {},
        }
        (tmp_path / "results" / f"{chapter}.json").write_text(json.dumps(record))
    defaults = {name: one.default for name, one in params.declared(CHAPTER).items()}

    def bench(chapter=CHAPTER, **values):
        return Bench(chapter, defaults | {"run_dir": str(tmp_path), "threads": 1} | values)

    return bench


def timing(seconds=0.5):
    return Timing(np.full((2, 2), seconds), np.array([1, 1]), checked=Check(0.0, 1.0, 2))


def test_a_chapter_gets_what_earlier_ones_left(run):
    bench = run()
    assert bench.task.name == "docs" and bench.best_batching == ("sorted", 2) and bench.teacher_accuracy == 0.8
    assert bench.rung("teacher unpadded")["throughput_per_s"] == 4.0
    assert bench.load("teacher").encoder.config.hidden_size == 16
    assert [list(batch) for batch in bench.best_plan(np.array([5, 1, 3]))] == [[1, 2], [0]]
    with pytest.raises(InputError, match="left a rung 'other'"):
        bench.rung("other")
    with pytest.raises(InputError, match="run chapter 04_pruning first"):
        bench.facts_of("04_pruning")


def test_a_rung_says_that_it_ran_on_a_card_and_a_floor_that_it_did_not(run, monkeypatch):
    bench = run()
    assert bench.device == "cpu" and bench.peak_mb is None
    fields = {"model": "m", "engine": "PyTorch", "precision": "fp32", "batching": "none", "status": "failed: a test"}
    assert bench.add_rung("on the processor", None, on="", **fields).engine == "PyTorch"
    monkeypatch.setattr(device, "is_card", lambda kind="": True)
    bench.device = "cuda"
    assert bench.add_rung("a", None, on="", **fields).engine == "PyTorch, cuda"
    assert bench.add_rung("b", None, on="a", like="a").engine == "PyTorch, cuda", "said once"
    assert bench.add_rung("floor: words", None, on="", **fields).engine == "PyTorch"


def test_a_chapter_says_which_device_it_uses_and_one_without_a_card_stops(run, monkeypatch):
    monkeypatch.setattr(device, "lacking", lambda kind: "" if kind == "cpu" else "there is no card")
    with pytest.raises(InputError, match="there is no card"):
        run(device="cuda")
    assert device.in_use() == "cpu"


def test_other_data_than_chapter_1_saw_is_refused(run, monkeypatch):
    assert run().split("test") is SPLIT
    monkeypatch.setattr(splits, "load_split", lambda *arguments: SPLIT.take([1]))
    with pytest.raises(InputError, match="chapter 1 saw other dev data"):
        run().split("dev")
    assert len(run().split("train", 5)) == 1, "train is drawn by each chapter for itself"


def test_texts_are_in_the_tokens_of_a_model_or_of_a_tokenizer(run, monkeypatch):
    seen = []
    monkeypatch.setattr(splits, "tokenize", lambda *arguments: seen.append(arguments[1:]))
    monkeypatch.setattr(checkpoints, "load_tokenizer", lambda folder: f"of {folder.rpartition('/')[2]}")
    bench, tokenizer = run(), object()
    bench.texts("test")
    bench.texts("train", tokenizer, 5, 32)
    assert seen == [("of teacher", bench.task.max_length), (tokenizer, 32)]


def test_a_parameter_of_a_wrong_type_is_refused(run):
    with pytest.raises(InputError, match="rounds"):
        run(rounds="many")


def test_a_rung_has_what_was_measured_and_what_it_shares(run):
    bench = run()
    plan = [np.array([0, 1, 2]), np.array([3])]
    added = bench.add_rung(
        "student", timing(0.25), on="teacher unpadded", like="teacher unpadded", below=timing(0.5), model="small",
        scored=Scored(0.76, 0.7, 0.8), plan=plan,
    )  # fmt: skip
    assert (added.model, added.engine, added.model_mb, added.batch_size, added.threads) == ("small", "e", 3.0, 2, 1)
    assert added.throughput_per_s == 4 and added.paired_baseline_per_s == 2 and added.evidence["check"]["n"] == 2
    assert added.retention == pytest.approx(0.95) and added.usd_per_100m > 0
    with pytest.raises(InputError, match="two rungs named 'student'"):
        bench.add_rung("student", timing(), on="", like="teacher unpadded")
    again = bench.add_rung("again", None, on="student", like="student", status="failed: no engine")
    assert again.model == "small" and again.throughput_per_s is None and again.status == "failed: no engine"


def test_a_rung_keeps_the_rule_by_what_it_keeps_of_the_teacher_on_dev(run, monkeypatch):
    teacher = np.array([[1.0, 0.0], [0.0, 1.0]])  # right on both
    monkeypatch.setattr(splits, "tokenize", lambda *arguments: None)
    monkeypatch.setattr(checkpoints, "load_tokenizer", lambda folder: None)
    monkeypatch.setattr("fflib.model.cache.predict_cached", lambda model, texts: teacher)
    bench, kept = run(min_retention=0.5, n_resamples=20), {}
    for name, logits in {"all": teacher, "half": teacher[[0, 0]], "none": teacher[::-1]}.items():
        kept[name] = bench.retention(logits)
        bench.add_rung(name, None, on="", like="teacher unpadded", kept=kept[name])
    assert [each.value for each in kept.values()] == [1.0, 0.5, 0.0] and kept["half"].n == 2
    bench.add_rung("not asked", None, on="", like="teacher unpadded")
    bench.add_rung("nothing to keep", None, on="", like="teacher unpadded", kept=Retention(*[np.nan] * 3, 2, 0, 0))
    assert [rung.keeps_rule for rung in bench.rungs] == ["yes", "yes", "no", "", ""]


def test_of_a_teacher_that_is_not_clear_no_share_is_kept(run, tmp_path):
    path = tmp_path / "results" / "01_baseline.json"
    record = json.loads(path.read_text())
    record["facts"]["teacher_is_clear"] = False
    path.write_text(json.dumps(record))
    bench = run()
    added = bench.add_rung("student", timing(), on="", like="teacher unpadded", scored=Scored(0.76, 0.7, 0.8))
    assert not bench.teacher_is_clear and added.accuracy == 0.76 and added.retention is None


def test_what_is_saved_is_what_was_gathered_and_is_there_at_once(run, tmp_path):
    bench = run()
    bench.add_rung("student", timing(), on="teacher unpadded", like="teacher unpadded", below=timing())
    assert "9.00" in bench.table([{"value": 9.0}], keep="rows").data
    with plt.style.context("default"):
        assert bench.figure(Figure(), "empty").axes == []
    assert bench.save() is None, "a notebook would show what its last cell returns"
    record = json.loads((tmp_path / "results" / f"{CHAPTER}.json").read_text())
    assert record["facts"]["rows"] == [{"value": 9.0}] and [one["rung"] for one in record["rungs"]] == ["student"]
    assert record["key"] == "now" and record["machine"]["cpu"] and record["parameters"]["run_dir"] == str(tmp_path)
    assert sorted(one.name for one in (tmp_path / "figures").iterdir()) == ["empty.png", "empty.svg"]
    by_kind = record["seconds_by_kind"]
    assert {"start", "figures", "rest"} <= by_kind.keys() and sum(by_kind.values()) == pytest.approx(
        record["seconds"], abs=0.06 * len(by_kind)
    ), "they are rounded, each to a tenth"


def test_a_rung_has_the_interval_of_its_step_where_both_were_timed_here(run):
    bench = run()
    first = bench.add_rung("first", timing(0.5), on="teacher unpadded", like="teacher unpadded", below=timing(1.0))
    second = bench.add_rung("second", timing(0.25), on="first", like="first")
    alone = bench.add_rung("alone", timing(0.25), on="teacher unpadded", like="first")
    assert first.evidence["step_interval"] == second.evidence["step_interval"] == (2.0, 2.0)
    assert "step_interval" not in alone.evidence


def test_saving_shows_what_was_measured(run, monkeypatch):
    shown = []
    monkeypatch.setattr("fflib.book.bench.show", lambda value, **_: shown.append(value))
    bench = run()
    bench._summary = type("Summary", (), {"update": lambda self, value: shown.append(value)})()
    bench.add_rung("student", timing(0.25), on="teacher unpadded", like="teacher unpadded", below=timing(0.5))
    bench.save()
    table, box = (value.data for value in shown)
    assert "| student" in table and "(00_introduction.ipynb#how-to-read-the-ladder)" in table
    assert "What you measured" in box
    assert "**student** answers 4 requests a second, 2 times as many as *teacher unpadded*" in box


def test_a_comparison_takes_the_chapters_rounds(run):
    requests = examples_of((4, 6))
    logits = np.eye(2, dtype=np.float32)

    def predict(inputs):
        return logits[[0 if row.sum() == 4 else 1 for row in inputs["attention_mask"]]]

    bench = run(rounds=3)
    assert bench.compare({"a": predict}, requests, logits)["a"].seconds.shape == (3, 2)
    assert bench.compare({"a": predict}, requests, logits, rounds=1)["a"].seconds.shape == (1, 2)


def test_ways_at_once_take_the_chapters_rounds_too(run):
    requests, logits = examples_of((4, 6)), np.eye(2, dtype=np.float32)
    plan = [np.array([0, 1])]

    def way(examples, plan):
        return [logits[group] for group in plan], 1.0, [1.0]

    bench = run(rounds=3)
    assert bench.compare_at_once({"a": way}, requests, logits, plans=plan)["a"].wall_s.shape == (3,)
    assert bench.compare_at_once({"a": way}, requests, logits, plans={"a": plan}, rounds=1)["a"].wall_s.shape == (1,)


def test_a_step_that_is_clocked_twice_adds_up(run, monkeypatch):
    bench, clock = run(), iter([1.0, 3.0, 10.0, 10.5])
    monkeypatch.setattr("fflib.book.bench.time.perf_counter", lambda: next(clock))
    for _ in range(2):
        with bench.clocked("search"):
            pass
    assert bench.seconds_spent == {"search": 2.5}
