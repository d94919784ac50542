"""The race of engines: who is checked and timed, who is not and why, and what the record says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import small_field

from fflib.files import InputError, write_json
from fflib.measure import hardware
from fflib.runtime import peer_engines, peer_race, peers, peers_table
from fflib.runtime.peer_engines import ENGINES, Engine

OURS = "this book's file"


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setattr(
        peers, "_field", lambda run, requests, checked, threads, folder: small_field.small_field(tmp_path)
    )
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda: False)
    return small_field.SmallRun()


def test_engines_race_on_one_run(run, tmp_path):
    record = peers.race(run, 2, 6, 6, ["onnxruntime", "pytorch"])
    ways = {(way["engine"], way["model"]): way for way in record["ways"]}
    assert list(ways) == [
        (OURS, "pruned student"), ("ONNX Runtime fp32", "pruned student"), ("ONNX Runtime int8", "student"),
        ("ONNX Runtime int8, all by default", "teacher"), ("PyTorch eager fp32", "pruned student"),
        ("PyTorch eager fp32", "teacher"),
    ]  # fmt: skip
    assert ways[OURS, "pruned student"]["times this book's"] == 1
    for way in ways.values():
        low, high = way["interval"]
        assert low <= way["requests/s"] <= high and way["p50 ms"] > 0
        assert way["requests/s"] == max(way["by batches"].values())
        assert (way["batches"] == "one by one") == (way["requests/s"] == way["by batches"]["one by one"])
        assert ("fp32" in way["engine"]) == (way["largest change"] < 1e-5), way["engine"]
        assert way["answers"] == "checked" or way["labels kept %"] < 80
    assert record["missing"]["openvino"] == "it was not asked for" and len(record["missing"]) == len(ENGINES) - 2
    assert record["floors"] == [{"floor": "words", "requests/s": 200.0, "test %": 50.0}]
    assert (record["rounds"], record["n_requests"], record["run_commit"]) == (2, 6, "abc1234")
    write_json(tmp_path / "peers.json", record)
    assert peers_table.read(tmp_path / "peers.json") == json.loads((tmp_path / "peers.json").read_text()) == record


def test_who_is_wrong_or_fails_is_told_and_the_others_race(run, monkeypatch):
    def wrong(field):
        (way, *_) = peer_engines.pytorch(field)
        yield peer_engines.Way(
            "wrong", "none 1", "", way.subject, True, lambda inputs: way.alone(inputs) + 0.01, way.together
        )
        raise RuntimeError("cannot open /some/where/secret.bin\nand more")

    engines = {
        "onnxruntime": ENGINES["onnxruntime"],
        "odd": Engine(wrong),
        "gone": Engine(wrong, lambda: "not installed: x"),
    }
    monkeypatch.setattr(peers, "ENGINES", engines)
    record = peers.race(run, 1, 6, 6, list(engines))
    assert record["missing"] == {
        "wrong, pruned student": "it is not timed: a logit is off by 0.01, more than 0.001",
        "odd": "it failed here: RuntimeError, cannot open <path>",
        "gone": "not installed: x",
    }
    assert {way["version"].split()[0] for way in record["ways"]} == {"onnxruntime"}


def test_without_this_books_file_there_is_no_race(run):
    with pytest.raises(InputError, match="this book's file is not fit to be compared"):
        peers.race(run, 1, 6, 6, ["pytorch"])


@pytest.mark.parametrize(("rounds", "requests", "checked"), [(0, 6, 6), (1, 1, 6), (1, 6, 0)])
def test_too_little_is_refused(run, rounds, requests, checked):
    with pytest.raises(InputError, match="give at least 1 round, 2 requests and 1 text"):
        peers.race(run, rounds, requests, checked, ["onnxruntime"])


def test_the_command_line_ends_with_a_sentence(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    assert peers.main(["--run", "docs-cpu"]) == 2
    assert "01_baseline.json is not there; run the book first: make book RUN=docs-cpu" in capsys.readouterr().err
    assert peers.main(["--run", "no-such-run"]) == 2


def test_answers_that_are_no_numbers_are_refused(run, tmp_path):
    (way, *_) = peer_engines.pytorch(small_field.small_field(tmp_path))
    broken = peer_engines.Way(
        "broken", "none 1", "", way.subject, False, lambda inputs: way.alone(inputs) * np.nan, way.together
    )
    with pytest.raises(AssertionError, match="no numbers"):
        peer_race.checked(broken, run)


@pytest.mark.parametrize("engine", ["openvino", "ctranslate2", "executorch", "torch.compile"])
def test_every_engine_gives_what_it_is_asked(run, engine, tmp_path, plain_compiler):
    if why := ENGINES[engine].missing():
        pytest.skip(why)
    field = small_field.small_field(tmp_path)
    ways = [(way, peer_race.checked(way, run)) for way in ENGINES[engine].ways(field)]
    for way, check in ways:
        assert check.max_abs_difference < 0.1 * np.ptp(way.subject.expected), way.name
    if engine == "ctranslate2":
        ((way, _),) = ways
        assert way.subject is field.student and "so it has the student before pruning" in way.note


@pytest.fixture
def plain_compiler(monkeypatch):
    """PyTorch's compiler takes half a minute; what it is given is the same with a back end that runs as it is."""
    import torch

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, options, **others: compiled(model, backend="eager", **others))
