"""A race of engines in small: a pruned model that is served, the one before pruning, and a teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import export
from fflib.model import encoder, training
from fflib.model.encoder import Classifier
from fflib.runtime import served
from fflib.runtime.first_token import FirstTokenClassifier
from fflib.runtime.peer_run import Field, Subject

TEXTS = examples_of([5, 9, 12, 7, 3, 11])


def whole_classifier(layers: int) -> Classifier:
    """A model whose heads share the hidden width, as stock classes want it."""
    torch.manual_seed(layers)
    shapes = (encoder.LayerShape(2, 8, 32),) * layers
    return Classifier(encoder.EncoderConfig(50, 16, shapes, max_position_embeddings=64), 2).eval()


def louder(model: Classifier) -> Classifier:
    """Return ``model`` with logits that eight bits do not turn: of random weights all are about 0."""
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 4 if weight.ndim == 2 else 1
    return model


def subject(name: str, model: Classifier) -> Subject:
    expected = training.predict(louder(model), TEXTS)
    return Subject(name, model, TEXTS, TEXTS, TEXTS, expected, expected)


def small_field(folder: Path) -> Field:
    final = subject("pruned student", tiny_classifier())
    others = subject("student", whole_classifier(2)), subject("teacher", whole_classifier(3))
    plain = export.save_onnx(FirstTokenClassifier(final.model), folder / "served" / "model.onnx")
    path = served.in_integers(plain, "dynamic", None, 1)
    return Field(final, *others, path, "first-token graph", "dynamic", 1, folder, (6, 12))


class SmallRun:
    """What the race asks of a finished run."""

    def __init__(self) -> None:
        self.values = {"min_agreement": 0.8, "task": "docs", "threads": 1, "n_busy_requests": 6}
        self.served = {"model": "pruned student", "batches": ["token budget", 24], "recipe": "dynamic"}
        self.run = type("Run", (), {"name": "docs-cpu"})
        floor = {"rung": "floor: words", "throughput_per_s": 200.0, "accuracy": 0.5}
        machine = {"written": "2026-01-02T03:04:05+00:00", "machine": {"commit": "abc1234"}}
        self.records = {"01_baseline": {"rungs": [floor, floor | {"throughput_per_s": None}]}, "07_serving": machine}

    def plan(self, lengths: np.ndarray) -> batching.Plan:
        return batching.token_budget(lengths, 24)
