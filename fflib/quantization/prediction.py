"""What int8 can gain in a whole model, told beforehand from its products alone.

Only products with constant weights become faster. Their share of the time and what is left of it give the speed-up of
the whole (Amdahl's law).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fflib.engine import gemm, int8_graph, node_times, predictors
from fflib.model.config import EncoderConfig
from fflib.quantization import recipes

Product = tuple[int, int]  # inner, outer: what a token's [inner] is multiplied by is [inner, outer]
WORTH_IT = 1.3  # a gain below this is not worth a rounding error


def products_of(config: EncoderConfig) -> list[Product]:
    """Return the products with constant weights of all layers; those that pruning left without a width are none."""
    products: list[Product] = []
    for layer in config.layers:
        hidden, width, inside = config.hidden_size, layer.num_heads * layer.head_size, layer.intermediate_size
        attention = [(hidden, width)] * 3 + [(width, hidden)]
        products += attention + [(hidden, inside), (inside, hidden)]
    return [product for product in products if min(product)]


def time_left(config: EncoderConfig, tokens: int, threads: int, seconds: float) -> float:
    """Return the time of all of a model's products in int8, as a share of that in fp32.

    Each different product is measured, [tokens, inner] x [inner, outer], for about ``seconds``, see
    `gemm.product_rates`.
    """
    products = products_of(config)
    different = list(dict.fromkeys(products))
    measured = gemm.product_rates([(tokens, *product) for product in different], threads, seconds)
    rate_of = dict(zip(different, measured, strict=True))
    fp32 = sum(inner * outer / rate_of[inner, outer].fp32_gop_per_s for inner, outer in products)
    int8 = sum(inner * outer / rate_of[inner, outer].int8_gop_per_s for inner, outer in products)
    return int8 / fp32


def share_of_products(path: str | Path, inputs: Mapping[str, np.ndarray], threads: int) -> float:
    """Return the share of a request's time that an fp32 graph spends in its products with constant weights.

    ONNX Runtime's profiler tells it, for ``inputs``, arrays [batch, length].
    """
    ms = node_times.node_ms(path, predictors.session_options(threads), dict(inputs))
    nodes = [node.name for group in int8_graph.products(recipes.load(path).graph).values() for node in group]
    return sum(ms.get(name, 0) for name in nodes) / sum(ms.values())


def speedup(share: float, left: float) -> float:
    """Return how many times as fast a whole becomes when of its ``share`` only so much time is ``left`` (Amdahl)."""
    return 1 / (1 - share + share * left)


def row(share: float, left: float) -> dict[str, float]:
    """Describe a prediction: how much of the time shrinks, by how much, and what that makes of the whole."""
    return {
        "share of the products": share,
        "their speed-up in int8": 1 / left,
        "predicted speed-up": speedup(share, left),
    }


def attention_and_weights(config: EncoderConfig, tokens: int) -> dict[str, gemm.Shape]:
    """Name the two products inside the attention of one head, and the widest product with weights; their shapes."""
    head, hidden = config.layers[0].head_size, config.hidden_size
    inside = max(layer.intermediate_size for layer in config.layers)
    return {
        f"queries by keys, {head} wide": (tokens, head, tokens),
        f"attention weights by values, {head} wide": (tokens, tokens, head),
        f"feed-forward, {hidden:,} to {inside:,}": (tokens, hidden, inside),
    }


def layer_rates(
    config: EncoderConfig, tokens: Sequence[int], threads: int, seconds: float
) -> list[dict[str, str | list[float]]]:
    """Measure the products of the widest layer at several numbers of ``tokens``: a row for each different product.

    Returns:
        Rows with the keys "product", its name, "tokens", and "fp32" and "int8", in 1e9 operations per second.
    """
    hidden, inside = config.hidden_size, max(layer.intermediate_size for layer in config.layers)
    rows = []
    for inner, outer in dict.fromkeys([(hidden, hidden), (hidden, inside), (inside, hidden)]):
        rates = gemm.product_rates([(count, inner, outer) for count in tokens], threads, seconds)
        speeds = {
            "fp32": [rate.fp32_gop_per_s for rate in rates],
            "int8": [rate.int8_gop_per_s for rate in rates],
        }
        rows.append({"product": f"{inner:,} to {outer:,}", "tokens": list(tokens)} | speeds)
    return rows


def verdict_on_attention(rows: Sequence[Mapping[str, float]]) -> str:
    """Say whether int8 would pay inside attention; ``rows`` of `gemm.packing`, of its two products."""
    gains = [row["fp32, both computed, us"] / row["int8, both computed, us"] for row in rows]
    pays = "That would pay here" if max(gains) >= WORTH_IT else "That is not worth a rounding error"
    return (
        f"Inside attention, with both factors new in each call, int8 is {gains[0]:.2f} and {gains[1]:.2f} times "
        f"as fast as fp32. {pays}."
    )
