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
