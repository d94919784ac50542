"""The graph in fp16: its answers, its weights, and what a missing provider says; the CUDA provider needs a card."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import examples_of, tiny_classifier

from fflib.card import onnx_runtime
from fflib.data import batching
from fflib.files import InputError
from fflib.model import training

TEXTS = examples_of([5, 8, 9])


def test_the_graph_keeps_the_answers_and_holds_half_the_bytes(tmp_path):
    path = onnx_runtime.half_graph(model := tiny_classifier(), tmp_path / "half.onnx")
    predict = onnx_runtime.predictor(path, 1, onnx_runtime.PROCESSOR)
    answers = predict(batching.collate(TEXTS, range(3)).inputs)
    assert answers.dtype == np.float32 and np.abs(answers - training.predict(model, TEXTS)).max() <= 2e-3
    matrices = [each for each in onnx.load(path).graph.initializer if len(each.dims) == 2]
    assert matrices and {each.data_type for each in matrices} == {onnx.TensorProto.FLOAT16}


def test_a_missing_provider_says_what_to_install(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [onnx_runtime.PROCESSOR])
    assert "onnxruntime-gpu" in onnx_runtime.lacking()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [onnx_runtime.CUDA])
    assert onnx_runtime.lacking() == ""


def test_falling_back_to_the_processor_is_an_error_and_no_number(tmp_path, monkeypatch):
    path = onnx_runtime.half_graph(tiny_classifier(), tmp_path / "half.onnx")
    with pytest.raises(InputError, match="could not start its CUDAExecutionProvider"):
        onnx_runtime.predictor(path, 1)
    path.write_bytes(b"no graph")
    with pytest.raises(InputError, match="is missing or is no readable ONNX model"):
        onnx_runtime.predictor(path, 1, onnx_runtime.PROCESSOR)
