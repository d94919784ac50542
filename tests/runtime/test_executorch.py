"""ExecuTorch serves a pruned model for any batch and length, and in int8 comes near its logits."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.files import InputError
from fflib.runtime import executorch
from fflib.runtime.first_token import FirstTokenClassifier

TEXTS = examples_of([5, 9, 12, 7, 3, 11])


def test_one_program_serves_all_batches_and_lengths():
    if why := executorch.missing():
        pytest.skip(why)
    model = tiny_classifier(num_labels=3)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 6 if weight.ndim == 2 else 1  # else all logits are about 0, and attention does nothing
    predict = executorch.predictor(executorch.program(FirstTokenClassifier(model), 6, 16), 1)
    off, said = [], []
    for group in (range(6), [0], [4], [2, 3]):
        inputs = batching.collate(TEXTS, group).inputs
        with torch.inference_mode():
            wanted = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.numpy()
        answers = predict(inputs)
        assert answers.shape == wanted.shape and answers.dtype == np.float32
        off.append(np.abs(answers - wanted).max())
        said.append(answers)
    assert 1e-6 < max(off) < 0.05 * np.ptp(said[0]), "eight bits are near, and not to be told from fp32"
    assert np.abs(said[1] - said[0][:1]).max() < 0.05 * np.ptp(said[0]), "an answer does not depend on its batch"


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "executorch" else name)
    assert executorch.missing() == 'not installed: executorch; run .venv/bin/python -m pip install -e ".[peers]"'
    with pytest.raises(InputError, match="not installed: executorch"):
        executorch.program(tiny_classifier(), 2, 8)
