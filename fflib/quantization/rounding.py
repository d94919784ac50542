"""What rounding costs a weight matrix, with one scale for all of it or one for each column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from fflib.engine import int8_graph
from fflib.model.encoder import Classifier


def linear_weights(model: Classifier) -> dict[str, np.ndarray]:
    """Return the weights of the layers' products, [inputs, outputs] as in the graph, by name: "0.intermediate"."""
    return {
        name: module.weight.detach().T.numpy()
        for name, module in model.encoder.layers.named_modules()
        if isinstance(module, nn.Linear) and module.weight.numel()
    }


def rounding_error(weight: np.ndarray, bits: int, per_column: bool = True) -> float:
    """Return the mean square of what rounding changes in a matrix, as a share of the weights' variance."""
    codes, scale, _ = int8_graph.weight_codes(weight, bits, per_column)
    return float(np.square(weight - codes * scale).mean() / weight.var())


def smoothing_balance(
    channels: np.ndarray, weight: np.ndarray, bits: int, strengths: Sequence[float]
) -> list[dict[str, float]]:
    """Say for each strength of smoothing (`int8_graph.smoothed`) what is left of the outliers and what the weights pay.

    Args:
        channels: the largest size of a value in each channel that goes into the product, [inputs].
        weight: [inputs, outputs].

    Returns:
        Rows: the strength, how many times the median channel the loudest one then is, and the `rounding_error` in %.
    """
    rows, meets = [], np.abs(weight).max(axis=1)
    for strength in strengths:
        factors = int8_graph.smoothing_factors(channels, meets, strength)
        even, error = channels / factors, rounding_error(weight * factors[:, None], bits)
        row = {"strength": strength, "loudest channel over the median one": float(even.max() / np.median(even))}
        rows.append(row | {"error of the weights, %": 100 * error})
    return rows


def place(name: str) -> str:
    """Say where a matrix of `linear_weights` stands: "layer 0: intermediate"."""
    layer, *parts = name.split(".")
    return f"layer {layer}: {' '.join(parts)}"
