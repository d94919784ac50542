"""Controls against cuts made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tiny_classifier

from fflib.data.metrics import Scored
from fflib.model import importance, slicing
from fflib.pruning import controls

MODEL = tiny_classifier()  # 2 heads and 32 neurons, then 1 head and 16 neurons


def weight_sum(model) -> Scored:
    """A score that tells one cut from another."""
    value = float(sum(parameter.detach().abs().sum() for parameter in model.parameters()))
    return Scored(value, value - 1, value + 1)


def test_a_share_of_every_layer_stays():
    scores = importance.magnitude(MODEL)
    cut = controls.keep_share(MODEL, scores, 0.5)
    assert [(shape.num_heads, shape.intermediate_size) for shape in cut.encoder.config.layers] == [(1, 16), (0, 8)]
    kept = slicing.keep_top(scores.heads, scores.neurons, [(1, 16), (0, 8)])
    by_hand = slicing.slice_model(MODEL, *kept)
    assert all(torch.equal(a, b) for a, b in zip(cut.parameters(), by_hand.parameters(), strict=True))


def test_accuracies_have_a_point_for_each_share():
    scores = importance.magnitude(MODEL)
    line = controls.accuracies(MODEL, scores, [0.25, 1.0], weight_sum)
    assert [share for share, *_ in line] == [0.25, 1.0]
    assert line[1][1:] == pytest.approx(weight_sum(MODEL))
    assert line[0][1] < line[1][1]


def test_random_choices_are_averaged_and_the_bar_is_from_the_worst_to_the_best():
    ((share, mean, low, high),) = controls.random_accuracies(MODEL, [0.5], weight_sum, draws=4)
    draws = [weight_sum(controls.keep_share(MODEL, importance.random(MODEL, seed), 0.5)).value for seed in range(4)]
    assert (share, low, high) == (0.5, min(draws), max(draws)) and mean == pytest.approx(np.mean(draws))
    assert low < high
