"""The same logits from every engine, by one call; what is missing is told in a sentence."""

from __future__ import annotations

import functools

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import export
from fflib.files import InputError
from fflib.measure import hardware
from fflib.measure.race import Race
from fflib.measure.timing import Check, Timing
from fflib.runtime import engines, openvino
from fflib.runtime.first_token import FirstTokenClassifier

INPUTS = batching.collate(examples_of([5, 9, 12, 7, 3, 11]), range(6)).inputs


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A model with the folder of its graphs, and what it answers."""
    model, folder = tiny_classifier(num_labels=3), tmp_path_factory.mktemp("served")
    export.save_onnx(model, folder / "model.onnx")
    with torch.inference_mode():
        return model, folder, model(**{name: torch.from_numpy(array) for name, array in INPUTS.items()}).logits.numpy()


@pytest.fixture
def plain_compiler(monkeypatch):
    """PyTorch's compiler takes half a minute here; what it is given is the same with a back end that runs as it is."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_engines_agree(served, engine, plain_compiler):
    model, folder, wanted = served
    if why := engines.missing(engine):
        pytest.skip(why)
    predict, name = engines.serve(model, engine, 1, folder)
    off = np.abs(predict(INPUTS) - wanted).max()
    assert off < (1e-2 if engine == "onnxruntime int8" else 1e-5)
    assert (engine == "onnxruntime int8") == (off > 1e-6), "eight bits are not to be told from fp32"
    assert name.startswith(("fflib, PyTorch", "PyTorch", f"ONNX Runtime {onnxruntime.__version__}", "OpenVINO 20"))


def test_another_module_is_served_too(served, tmp_path):
    model, _, wanted = served
    for engine in ("pytorch", "onnxruntime"):
        predict, _ = engines.serve(FirstTokenClassifier(model), engine, 1, tmp_path)
        assert np.abs(predict(INPUTS) - wanted).max() < 1e-5


def test_refusals(served, monkeypatch):
    model, folder, _ = served
    with pytest.raises(InputError, match="no engine 'tensorrt'; there are pytorch, torch.compile"):
        engines.serve(model, "tensorrt", 1, folder)
    monkeypatch.setattr(hardware, "threads_in_use", lambda: 7)
    with pytest.raises(InputError, match=r"PyTorch runs on 7 threads; call hardware.set_threads\(1\)"):
        engines.serve(model, "pytorch", 1, folder)
    monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="needs a C\\+\\+ compiler, which this machine lacks"):
        engines.serve(model, "torch.compile", 1, folder)
    monkeypatch.setattr(openvino, "missing", lambda: "not installed: openvino; install it")
    with pytest.raises(InputError, match="not installed: openvino"):
        engines.serve(model, "openvino", 1, folder)


def test_engines_are_loaded_side_by_side_and_who_is_missing_is_told(served, monkeypatch):
    model, folder, wanted = served
    monkeypatch.setattr(openvino, "missing", lambda: "not installed: openvino; install it")
    loaded, absent = engines.load_all(model, ["pytorch", "openvino", "onnxruntime"], 1, folder)
    assert list(loaded) == ["pytorch", "onnxruntime"] and absent == {"openvino": "not installed: openvino; install it"}
    assert all(one.seconds > 0 and np.abs(one.predict(INPUTS) - wanted).max() < 1e-5 for one in loaded.values())


def test_rows_say_how_fast_an_engine_is_and_what_it_keeps():
    timing = Timing(np.full((2, 4), 0.002), np.ones(4, int), checked=Check(0.25, 0.75, 4))
    loaded = {"a": engines.Loaded(None, 1.5), "b": engines.Loaded(None)}
    first, second = engines.rows(Race({"a": timing, "b": timing}), loaded)
    assert first == {
        "engine": "a", "ms": pytest.approx(2.0), "p50 ms": pytest.approx(2.0), "p95 ms": pytest.approx(2.0),
        "labels kept %": 75.0, "largest change": 0.25, "to load or compile, s": 1.5,
    }  # fmt: skip
    assert second["to load or compile, s"] is None
    told, _ = engines.shown([first, second], {"a": "checked", "b": "timed, not served"})
    assert (told["mean ms"], told["largest logit change"], told["answers"]) == (
        pytest.approx(2.0),
        "2e-01",
        "checked",
    )
    assert "answers" not in engines.shown([first])[0], "of a kept run nothing is served"


def test_the_peer_gets_both_graphs_and_makes_its_own_integers(tmp_path, monkeypatch):
    texts, asked = examples_of([5, 9]), []
    monkeypatch.setattr(openvino, "quantize", lambda path, texts, n: asked.append((path, n)) or "graph")
    monkeypatch.setattr(openvino, "save", lambda graph, path: path if graph == "graph" else None)
    graphs = engines.openvino_graphs(tmp_path / "whole.onnx", tmp_path / "first.onnx", texts, tmp_path)
    assert asked == [(tmp_path / "first.onnx", 2)]
    names = ["whole.onnx", "first.onnx", "openvino-int8.xml"]
    assert [path.name for path in graphs.values()] == names and all(name.startswith("OpenVINO") for name in graphs)
