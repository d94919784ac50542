"""How near the integer products of a graph come to what the engine can do on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fflib.engine import gemm, node_times, predictors
from fflib.model import flops
from fflib.model.config import EncoderConfig
from fflib.runtime import fusions

LARGE = [(512, 1536, 1536), (512, 384, 1536)]  # tokens, inner, outer: where a product comes nearest to its peak

SHOWN = {
    "threads": "threads",
    "operations, G": "operations, G",
    "ms, rounding included": "ms in int8 products",
    "GOP/s": "G a second",
    "best rate measured, GOP/s": "best rate, G a second",
    "share of it": "share of the best",
    "share of the request": "share of the request",
}  # the columns of `against_the_ceiling`, and their heads in a table


def shown(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of `against_the_ceiling` as a table shows them."""
    return [{head: row[key] for key, head in SHOWN.items()} for row in rows]


def against_the_ceiling(
    path: str | Path, config: EncoderConfig, inputs: Mapping[str, np.ndarray], length: int, threads: int
) -> dict[str, Any]:
    """Set the rate of the int8 products in one request beside the best rate that any such product reaches here.

    Args:
        path: the graph of a `FirstTokenClassifier` of ``config``, in integers or not.
        inputs: one request, of about ``length`` tokens, for which operations are counted.

    Returns:
        A row with the operations (1e9), the ms of the products with their rounding, both rates (1e9 a second), the
        share of the ceiling (None without products in int8), and the products' share of the request.
    """
    operations = flops.first_token_product_flop(config, length) / 1e9
    spent_ms = node_times.node_ms(path, predictors.session_options(threads), dict(inputs), by="operator")
    int8_ms = sum(spent_ms.get(operator, 0) for operator in fusions.INT8_PRODUCTS)
    own = (length, config.hidden_size, max(1, config.layers[0].intermediate_size))
    ceiling = max(rate.int8_gop_per_s for rate in gemm.product_rates([*LARGE, own], threads, 0.05))
    rate = operations / int8_ms * 1e3 if int8_ms else None
    return {
        "threads": threads,
        "operations, G": operations,
        "ms, rounding included": int8_ms,
        "GOP/s": rate,
        "best rate measured, GOP/s": ceiling,
        "share of it": rate / ceiling if rate else None,
        "share of the request": int8_ms / sum(spent_ms.values()),
    }


def under_the_roofline(rates: Mapping[str, Any], peak: float, bandwidth: float) -> list[dict[str, float]]:
    """Set the int8 rates of one product under its roofline (Williams et al., 2009).

    Args:
        rates: a row of chapter 5's fact "product_rates": its "product", as "384 to 1,536", "tokens" and "int8" rates.
        peak: the best rate of any product. Rates are in 1e9 operations a second.
        bandwidth: of the memory, GB a second.

    Returns:
        A row for each number of tokens: the intensity, the bound and the measured rate. Inputs and weights take a byte,
        outputs four.
    """
    inner, outer = (int(number.replace(",", "")) for number in rates["product"].split(" to "))
    rows = []
    for tokens, measured in zip(rates["tokens"], rates["int8"], strict=True):
        intensity = 2 * tokens * inner * outer / (tokens * inner + inner * outer + 4 * tokens * outer)
        roof = min(peak, intensity * bandwidth)
        row = {"tokens": tokens, "operations a byte": intensity}
        rows.append(row | {"roofline, GOP/s": roof, "measured, GOP/s": measured})
    return rows
