"""What rounding costs a matrix of weights."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import tiny_classifier

from fflib.quantization.rounding import linear_weights, place, rounding_error, smoothing_balance


def test_weights_of_the_layers_stand_as_in_the_graph():
    weights = linear_weights(tiny_classifier())
    assert len(weights) == 12 and not any("pooler" in name for name in weights)
    assert {name: matrix.shape for name, matrix in weights.items()}["0.feed_forward.intermediate"] == (16, 32)


def test_codes_that_fit_cost_nothing():
    exact = np.array([[-127.0, 3.0], [64.0, 127.0]])
    assert rounding_error(exact, 8, per_column=False) == 0 == rounding_error(exact, 8)


def test_by_hand():
    """One scale of 1: 0.4 becomes 0. In a column of its own it is exact."""
    matrix = np.array([[127.0, 0.4], [-127.0, 0.4]])
    assert rounding_error(matrix, 8, per_column=False) == pytest.approx((2 * 0.4**2 / 4) / matrix.var())
    assert rounding_error(matrix, 8, per_column=True) == pytest.approx(0, abs=1e-12)


def test_fewer_bits_and_one_scale_cost_more():
    matrix = np.random.default_rng(0).normal(size=(64, 8)) * np.logspace(0, -2, 8)
    assert rounding_error(matrix, 8) < rounding_error(matrix, 7) < rounding_error(matrix, 4)
    assert rounding_error(matrix, 8, per_column=True) < rounding_error(matrix, 8, per_column=False)


def test_where_a_matrix_stands():
    assert place("1.attention.query") == "layer 1: attention query"


def test_smoothing_evens_the_channels_and_the_weights_pay():
    channels, weight = np.array([1.0, 100.0, 1.0, 1.0]), np.ones((4, 3)) * [0.5, 0.25, 1.0]
    none, half, full = smoothing_balance(channels, weight, 8, (0.0, 0.5, 1.0))
    louder = [row["loudest channel over the median one"] for row in (none, half, full)]
    assert louder == pytest.approx([100, 10, 1]), "the factor of the loud channel is 1, 10 and 100 times the others'"
    errors = [row["error of the weights, %"] for row in (none, half, full)]
    assert errors[0] < errors[1] and errors[0] < errors[2] and none["strength"] == 0
