"""The OpenVINO peer: ONNX Runtime's logits in each way of serving, int8 near them, nothing printed or sent."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from conftest import examples_of

from fflib.data import batching
from fflib.engine import export, predictors
from fflib.files import ROOT, InputError
from fflib.measure import cores, hardware
from fflib.model import encoder
from fflib.model.encoder import Classifier
from fflib.runtime import openvino

EXAMPLES = examples_of([5, 9, 12, 7, 3, 11])
GROUPS = [np.array(group) for group in ([0], [1, 2], [3], [4, 5], [2, 0, 1], [5], [4])]
BATCHES = [batch.inputs for batch in batching.batches(EXAMPLES, GROUPS)]
SINGLES = [batching.collate(EXAMPLES, [i]).inputs for i in range(6)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    torch.manual_seed(0)
    shapes = (encoder.LayerShape(2, 16, 64),) * 2
    model = Classifier(encoder.EncoderConfig(50, 32, shapes, max_position_embeddings=64), 3)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 6 if weight.ndim == 2 else 1  # else all logits are about 0, and attention does nothing
    return export.save_onnx(model, tmp_path_factory.mktemp("peer") / "model.onnx")


@pytest.fixture(scope="module")
def expected(path):
    return predictors.onnx_predictor(predictors.onnx_session(path, 1))


@pytest.fixture
def needs_peer():
    """Not `pytest.importorskip`: that import would be reported, and a crash would end the tests."""
    if reason := openvino.missing():
        pytest.skip(reason)


@pytest.fixture
def trial(monkeypatch, tmp_path):
    """Let a shell script stand for Python, as if the packages were there; return what `missing` says then."""

    def say(script):
        stand_in = tmp_path / "python"
        stand_in.write_text(f"#!/bin/sh\n{script}\n")
        stand_in.chmod(0o755)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
        monkeypatch.setattr(sys, "executable", str(stand_in))
        return openvino.missing()

    openvino._trial.cache_clear()
    yield say
    openvino._trial.cache_clear()


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nncf" else name)
    assert openvino.missing() == 'not installed: nncf; run .venv/bin/python -m pip install -e ".[peers]"'
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert openvino.missing().startswith("not installed: openvino and nncf; run")
    with pytest.raises(InputError, match="not installed: openvino and nncf"):
        openvino._package("openvino")


def test_a_crash_stays_in_the_trial(trial):
    said = trial("kill -FPE $$")
    assert said.startswith("OpenVINO does not run here: a trial died of SIGFPE; ")


def test_a_failure_gives_its_reason(trial):
    assert "failed (no such instruction)" in trial("echo 'no such instruction' >&2; exit 3")


def test_a_trial_that_hangs_is_given_up(trial, monkeypatch):
    monkeypatch.setattr(openvino, "TRIAL_SECONDS", 0.2)
    assert "gave no answer in 0.2 s" in trial("exec sleep 30")


def test_one_trial_is_enough(trial, tmp_path):
    assert trial(f"echo {{}} >> {tmp_path}/log") == openvino.missing() == ""
    assert (tmp_path / "log").read_text().count("\n") == 1


@pytest.mark.skipif(not all(map(importlib.util.find_spec, ("openvino", "nncf"))), reason="not installed")
def test_nothing_is_missing():
    openvino._trial.cache_clear()
    said = openvino.missing()
    assert said == "" or "died of SIG" in said  # on some machines it does


def test_same_logits_as_onnx_runtime(needs_peer, path, expected):
    predict = openvino.predictor(path, 1)
    answers = [predict({**inputs, "unknown": np.zeros(3)}) for inputs in BATCHES]
    for answer, inputs in zip(answers, BATCHES, strict=True):  # after all the calls: none overwrites another's answer
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, expected(inputs), atol=1e-4)
    assert np.ptp([answer[0] for answer in answers], axis=0).max() > 1e-3  # else they would agree whatever they were


def test_settings(needs_peer, path, monkeypatch):
    monkeypatch.setattr(cores, "physical_cores", lambda: (0, 1))
    compiled = openvino._compile(path, 0, "throughput", 2)
    wanted = {"INFERENCE_NUM_THREADS": 2, "NUM_STREAMS": 2, "PERFORMANCE_HINT": "THROUGHPUT"}
    if len(os.sched_getaffinity(0)) > 1:  # OpenVINO counts the cores itself
        assert {name: compiled.get_property(name) for name in wanted} == wanted
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


def test_predictor_refuses(needs_peer, path, tmp_path):
    with pytest.raises(InputError, match="streams is 2, but each needs one of the 1 threads"):
        openvino.in_flight(path, 1, 2)
    with pytest.raises(InputError, match="threads is"):
        openvino.predictor(path, hardware.available_cores() + 1)
    with pytest.raises(InputError, match="gone.onnx is missing or is no readable graph") as error:
        openvino.predictor(tmp_path / "gone.onnx", 1)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="needs attention_mask and token_type_ids as well"):
        openvino.predictor(path, 1)({"input_ids": BATCHES[0]["input_ids"]})
    with pytest.raises(InputError, match="takes one text of 8 tokens"):
        openvino.predictor(path, 1, length=8)(SINGLES[0])


def test_buckets_change_no_logit(needs_peer, path, expected):
    graph = openvino.load(path)
    predict = openvino.bucketed(graph, 1, [12, 4, 7], pad_token_id=1)
    for inputs in SINGLES:
        np.testing.assert_allclose(predict(inputs), expected(inputs), atol=1e-4)
    assert graph.inputs[0].partial_shape.is_dynamic  # the caller's graph is as it was


def test_buckets_pad_to_the_next_length(monkeypatch):
    seen = []
    monkeypatch.setattr(openvino, "load", lambda model: model)
    monkeypatch.setattr(
        openvino, "predictor", lambda *_, length, precision: lambda inputs: seen.append((length, inputs)) or np.zeros(1)
    )
    openvino.bucketed("any", 1, [8, 4], pad_token_id=9)(SINGLES[0])
    ((size, inputs),) = seen
    wanted = batching.collate(EXAMPLES, [0], pad_to=8, pad_token_id=9).inputs
    assert size == 8
    for name, array in wanted.items():
        np.testing.assert_array_equal(inputs[name], array)


def test_buckets_refuse(needs_peer, path):
    predict = openvino.bucketed(path, 1, [8])
    with pytest.raises(InputError, match="1 x 9 tokens fit no bucket; give one text of at most 8 tokens"):
        predict(SINGLES[1])
    with pytest.raises(InputError, match="2 x 5 tokens"):
        predict(batching.collate(EXAMPLES, [0, 4]).inputs)
    with pytest.raises(InputError, match=r"lengths is \[\]"):
        openvino.bucketed(path, 1, [])


def test_in_flight_keeps_the_order(needs_peer, path, expected):
    streams = min(2, hardware.available_cores())
    answers, wall, seconds = openvino.in_flight(path, streams, streams)(EXAMPLES, GROUPS * 3)
    assert len(seconds) == len(answers) and 0 < max(seconds) <= wall and sum(seconds) <= 1.01 * streams * wall
    for answer, inputs in zip(answers, BATCHES * 3, strict=True):
        np.testing.assert_allclose(answer, expected(inputs), atol=1e-4)
    assert openvino.in_flight(path, 1, 1)(EXAMPLES, []) == ([], 0.0, [])


def test_in_flight_raises_what_a_callback_raises(needs_peer, path, monkeypatch):
    def fails(request):
        assert threading.current_thread() is not threading.main_thread()
        raise ValueError("no answer")

    monkeypatch.setattr(openvino, "_logits", fails)
    with pytest.raises(ValueError, match="no answer"):
        openvino.in_flight(path, 1, 1)(EXAMPLES, GROUPS)


def test_in_flight_raises_what_a_request_raises(needs_peer, path, monkeypatch):
    good, ones = batching.collate(EXAMPLES, [0]), np.ones((1, 9), np.int64)
    wrong = batching.Batch(good.input_ids, ones, good.token_type_ids)
    monkeypatch.setattr(batching, "batches", lambda *_: [good, wrong, good])
    with pytest.raises(RuntimeError, match="broadcast"):
        openvino.in_flight(path, 1, 1)(EXAMPLES, GROUPS)


def test_quantize(needs_peer, path, expected, tmp_path, capfd):
    first, again, other = (openvino.quantize(path, EXAMPLES, n=4, seed=seed) for seed in (0, 0, 1))
    assert capfd.readouterr() == ("", "")
    assert "FakeQuantize" in {node.get_type_name() for node in first.get_ops()}
    inputs = batching.collate(EXAMPLES, range(6)).inputs
    answers = [openvino.predictor(graph, 1)(inputs) for graph in (first, again, other)]
    wanted = expected(inputs)
    assert 1e-3 < np.abs(answers[0] - wanted).max() < 0.4 * np.ptp(wanted)  # four texts are few, random weights unkind
    assert np.corrcoef(answers[0].ravel(), wanted.ravel())[0, 1] > 0.9
    np.testing.assert_array_equal(answers[0], answers[1])
    assert (answers[0] != answers[2]).any()  # calibrated on other texts


@pytest.mark.parametrize(("texts", "n"), [(EXAMPLES.take([]), 5), (EXAMPLES, 0)])
def test_quantize_refuses_an_empty_set(path, texts, n):
    with pytest.raises(InputError, match="leaves nothing to calibrate with"):
        openvino.quantize(path, texts, n)


def test_no_telemetry(needs_peer, tmp_path):
    """In a process of its own: under pytest, NNCF keeps silent anyway."""
    code = """
import os
from fflib.runtime import openvino as openvino_peer
before = dict(os.environ)
openvino, nncf = (openvino_peer._package(name) for name in ("openvino", "nncf"))
assert dict(os.environ) == before
import nncf.telemetry.decorator, openvino_telemetry
print(openvino_telemetry.Telemetry().consent, type(nncf.telemetry.decorator.telemetry).__name__)
"""
    settings = {name: value for name, value in os.environ.items() if name not in openvino.NO_TELEMETRY}
    child = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=settings | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.split() == ["False", "MagicMock"]
    assert not (tmp_path / "intel").exists()


def test_a_saved_graph_answers_as_before(needs_peer, path, expected, tmp_path):
    saved = openvino.save(openvino.load(path), tmp_path / "own" / "graph.xml")
    np.testing.assert_allclose(openvino.predictor(saved, 1)(BATCHES[0]), expected(BATCHES[0]), atol=1e-4)
