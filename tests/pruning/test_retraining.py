"""Retraining against its steps taken one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import examples_of, tiny_classifier

from fflib.distillation import stages, teacher
from fflib.distillation.objective import Objectives
from fflib.distillation.stages import DistillationStage
from fflib.files import InputError
from fflib.model import importance, slicing, training
from fflib.model.training import Recipe
from fflib.pruning import mask_search, retraining

TRAIN, DEV = examples_of([6, 9, 7, 8] * 4), examples_of([6, 8], seed=1)
RECIPE = Recipe(1, 4, 1e-3, dropout=0.0, evaluations_per_epoch=0)
STAGES = [DistillationStage("b", Objectives(hidden=1.0, logits=1.0), RECIPE)]


def score(logits, gold) -> float:
    return float((logits.argmax(1) == gold.labels).mean())


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    return teacher.TeacherOutputs(tiny_classifier(), TRAIN, 1.0)


def retrained(outputs, counts, folder, rounds=1):
    return retraining.retrain(outputs.model, counts, TRAIN, STAGES, outputs, DEV, score, folder, rounds)


def test_one_round_is_keep_tune_and_distil(outputs, tmp_path):
    whole, counts = outputs.model, [(1, 16), (1, 4)]
    model, histories = retrained(outputs, counts, tmp_path / "a")
    scores = importance.first_order(importance.gradients(whole, TRAIN))
    cut = mask_search.tune(whole, slicing.keep_top(scores.heads, scores.neurons, counts), TRAIN, "weights")
    untaught = training.predict(cut, DEV)  # training changes the model that it is given
    by_hand, _ = stages.distil(cut, STAGES, outputs, DEV, score, tmp_path / "b", "1,2")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), by_hand.parameters(), strict=True))
    assert len(histories) == 1 and histories[0].loss
    assert not np.allclose(training.predict(model, DEV), untaught)


def test_several_rounds_end_at_the_wanted_shape_and_a_layer_that_goes_goes_first(outputs, tmp_path):
    model, histories = retrained(outputs, [None, (1, 6)], tmp_path, rounds=3)
    assert [(s.num_heads, s.intermediate_size) for s in model.encoder.config.layers] == [(1, 6)]
    assert len(histories) == 3
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdecimal()) == ["1", "2", "3"]


def test_between_goes_in_equal_parts():
    full, counts = [(12, 1536), (12, 1536), (12, 1536)], [(6, 0), None, (12, 384)]
    assert retraining.between(full, counts, 1 / 3) == [(10, 1024), None, (12, 1152)]
    assert retraining.between(full, counts, 1.0) == counts


def test_no_round_at_all_is_refused(outputs, tmp_path):
    with pytest.raises(InputError, match="take 1 or more"):
        retrained(outputs, [(1, 16), (1, 4)], tmp_path, rounds=0)
