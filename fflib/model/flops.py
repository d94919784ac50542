"""What a model asks of a machine: the operations of a forward pass, counted from the shapes alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fflib.model.config import EncoderConfig, LayerShape


def forward_flop(config: EncoderConfig, length: int) -> float:
    """Count the floating-point operations of one forward pass over ``length`` tokens (a multiply-add counts two).

    Per layer and token: four projections and, of those that go on, two feed-forward products; per layer and pair of
    tokens: QK and PV. Embedding look-ups, LayerNorm, softmax, activations and the choice of tokens are left out: they
    cost time, but hardly any operations.
    """
    return sum(
        _product_flop(config, *each) + 4 * each[1] ** 2 * _width(each[0]) for each in layers_and_tokens(config, length)
    )


def first_token_flop(config: EncoderConfig, length: int) -> float:
    """Count the operations of the graph of a `FirstTokenClassifier` over ``length`` tokens, as `forward_flop` does.

    In its last layer every head asks once, and takes one mean: two products of all tokens by [hidden, heads], with the
    head's keys and values applied to the one row before and after (`engine.graph.attention_of_first`).
    """
    if config.spans:
        return forward_flop(config, length)
    *others, (last, length_of_last, _) = layers_and_tokens(config, length)
    products = first_token_product_flop(config, length)
    products += sum(4 * tokens**2 * _width(layer) for layer, tokens, _ in others)
    return products + 4 * last.num_heads * config.hidden_size * (length_of_last + last.head_size)


def first_token_product_flop(config: EncoderConfig, length: int) -> float:
    """Count only the products by constant matrices, those that can be integers (a multiply-add counts two)."""
    layers = list(layers_and_tokens(config, length))
    if config.spans:
        return float(sum(_product_flop(config, *each) for each in layers))
    *others, (last, _, _) = layers
    of_last = 4 * config.hidden_size * (_width(last) + last.intermediate_size)
    return float(of_last + sum(_product_flop(config, *each) for each in others))


def layers_and_tokens(config: EncoderConfig, length: int) -> Iterator[tuple[LayerShape, int, int]]:
    """Yield each layer's shape, the tokens that it reads of a text of ``length``, and how many of them go on."""
    for layer in config.layers:
        goes_on = math.ceil(length * layer.tokens) if layer.tokens < 1 else length
        yield layer, length, goes_on
        length = goes_on


def _product_flop(config: EncoderConfig, layer: LayerShape, tokens: int, goes_on: int) -> float:
    attention, feed_forward = 4 * tokens * _width(layer), 2 * goes_on * layer.intermediate_size
    return 2 * config.hidden_size * (attention + feed_forward)


def _width(layer: LayerShape) -> int:
    return layer.num_heads * layer.head_size
