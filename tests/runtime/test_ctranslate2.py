"""CTranslate2 gives the model's logits in fp32 and comes near them in int8; what it cannot hold, it is not given."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest
import torch
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.files import InputError
from fflib.model import encoder
from fflib.model.encoder import Classifier
from fflib.runtime import ctranslate2

INPUTS = batching.collate(examples_of([5, 9, 12, 7, 3, 11]), range(6)).inputs
SHAPE = encoder.LayerShape(2, 16, 64)


def model_of(*shapes, **others):
    torch.manual_seed(0)
    model = Classifier(encoder.EncoderConfig(50, 32, shapes, max_position_embeddings=64, **others), 3).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 6 if weight.ndim == 2 else 1  # else all logits are about 0, and attention does nothing
    return model


def test_it_gives_the_models_logits(tmp_path):
    if why := ctranslate2.missing():
        pytest.skip(why)
    model, inputs = model_of(SHAPE, SHAPE), {**INPUTS, "token_type_ids": INPUTS["input_ids"] % 2}
    with torch.inference_mode():
        wanted = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.numpy()
    folder = ctranslate2.convert(model, tmp_path / "converted")
    exact, rounded = (ctranslate2.predictor(folder, model, kind, 1)(inputs) for kind in ("float32", "int8"))
    assert exact.dtype == np.float32 and np.abs(exact - wanted).max() < 1e-5
    assert 1e-5 < np.abs(rounded - wanted).max() < 0.05 * np.ptp(wanted)


def test_what_it_cannot_hold(tmp_path, monkeypatch):
    assert ctranslate2.cannot_hold(model_of(SHAPE, SHAPE)) == ""
    told = "CTranslate2 cannot hold a pruned model: its heads always share the whole hidden width"
    for pruned in (tiny_classifier(), model_of(*[dataclasses.replace(SHAPE, num_heads=1)] * 2)):
        assert ctranslate2.cannot_hold(pruned) == told
    assert "marked words" in ctranslate2.cannot_hold(model_of(SHAPE, spans=2, type_vocab_size=8))
    assert "RoBERTa" in ctranslate2.cannot_hold(model_of(SHAPE, position_offset=2))
    monkeypatch.setattr(ctranslate2, "missing", lambda: "")
    with pytest.raises(InputError, match="cannot hold a pruned model"):
        ctranslate2.convert(tiny_classifier(), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert ctranslate2.missing().startswith("not installed: ctranslate2; run .venv/bin/python -m pip install")
    with pytest.raises(InputError, match="not installed: ctranslate2"):
        ctranslate2.convert(model_of(SHAPE), tmp_path / "none")
