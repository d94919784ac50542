"""One set of weights, trained and scored, against the steps taken by hand."""

from __future__ import annotations

import pytest
import torch
from conftest import examples_of, tiny_classifier

from fflib.data.metrics import Scored
from fflib.distillation import teacher
from fflib.model import importance, training
from fflib.model.training import Recipe
from fflib.pruning import dynabert, supernet

TRAIN, DEV = examples_of([6, 9, 7, 8] * 4), examples_of([6, 8], seed=1)
NETS = dynabert.sub_networks([1.0, 0.5], [1.0, 0.5])
RECIPE = Recipe(1, 4, 1e-3, dropout=0.0, evaluations_per_epoch=0)


def score(logits, gold) -> float:
    return float((logits.argmax(1) == gold.labels).mean())


def shape_score(model) -> Scored:
    layers = model.encoder.config.layers
    return Scored(len(layers) + layers[0].num_heads / 10, 0.0, 1.0)


def test_it_is_sorted_trained_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    model = tiny_classifier()
    outputs, scores = teacher.TeacherOutputs(model, TRAIN), importance.magnitude(model)
    first, history = supernet.train(model, scores, NETS, outputs, DEV, score, RECIPE, tmp_path)
    assert history.loss and (tmp_path / "elastic").is_dir()

    by_hand = dynabert.rewired(model, scores)
    torch.manual_seed(RECIPE.seed)
    loss = dynabert.ElasticDistillation(by_hand, outputs, NETS, weight_hidden=1.0)
    training.fit(by_hand, TRAIN, DEV, loss, score, RECIPE)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), by_hand.parameters(), strict=True))

    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("it was trained already"))
    again, _ = supernet.train(model, scores, NETS, outputs, DEV, score, RECIPE, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_every_size_is_scored_once_by_its_number_of_layers():
    nets = dynabert.sub_networks([1.0, 0.5], [1.0, 0.5, 0.4])  # 0.5 and 0.4 of two layers are one layer
    cuts = []
    found = supernet.accuracy_by_size(tiny_classifier(), nets, lambda model: cuts.append(model) or shape_score(model))
    assert found == {
        "2 of 2 layers": [(1.0, 2.2, 0.0, 1.0), (0.5, 2.1, 0.0, 1.0)],
        "1 of 2 layers": [(1.0, 1.2, 0.0, 1.0), (0.5, 1.1, 0.0, 1.0)],
    }
    assert len(cuts) == 4
