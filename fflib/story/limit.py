"""The limit that the processor sets: the matrix products of a request, over the best rate that any product reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def best_rate(products: Sequence[Mapping[str, Any]], threads: int) -> float:
    """Return the highest rate, in G operations per second on all ``threads``, that any matrix product reached.

    ``products`` are the rows of the fact "int8_products" of chapter 6; a rate on fewer threads counts in proportion. A
    model whose products were not found has none of its own.
    """
    rates = []
    for row in products:
        fastest = max(row["best rate measured, GOP/s"], row["GOP/s"] or 0)
        rates.append(fastest * threads / row["threads"])
    return max(rates)


def rows(measured_per_s: float, limit_per_s: float) -> list[dict[str, Any]]:
    """Return the rows of `figures.limits`: requests per second as the full stack answers them, and its limit."""
    products_alone = "what its matrix products alone would allow"
    return [
        {"limit": "the full stack", "throughput_per_s": measured_per_s, "kind": "measured"},
        {"limit": products_alone, "throughput_per_s": limit_per_s, "kind": "limit"},
    ]
