"""What a model asks of a machine: the operations of a forward pass, counted from the shapes alone."""

from __future__ import annotations

from fflib.model.config import EncoderConfig


def forward_flop(config: EncoderConfig, length: int) -> float:
    """Count the floating-point operations of one forward pass over ``length`` tokens (a multiply-add counts two).

    Per layer and token: four projections and two feed-forward products; per layer and pair of tokens: QK and PV.
    Embedding look-ups, LayerNorm, softmax and activations are left out: they cost time, but hardly any operations.
    """
    total = 0.0
    for layer in config.layers:
        width = layer.num_heads * layer.head_size
        products = 4 * config.hidden_size * width + 2 * config.hidden_size * layer.intermediate_size
        total += 2 * length * products + 4 * length**2 * width
    return total


def first_token_flop(config: EncoderConfig, length: int) -> float:
    """Count the operations of the graph of a `FirstTokenClassifier` over ``length`` tokens, as `forward_flop` does.

    In its last layer every head asks once, and takes one mean: two products of all tokens by [hidden, heads], with the
    head's keys and values applied to the one row before and after (`engine.graph.attention_of_first`).
    """
    if config.spans:
        return forward_flop(config, length)
    *others, last = config.layers
    products = first_token_product_flop(config, length)
    products += 4 * length**2 * sum(layer.num_heads * layer.head_size for layer in others)
    return products + 4 * last.num_heads * config.hidden_size * (length + last.head_size)


def first_token_product_flop(config: EncoderConfig, length: int) -> float:
    """Count only the products by constant matrices, those that can be integers (a multiply-add counts two)."""
    *others, last = config.layers
    products = 4 * config.hidden_size * (last.num_heads * last.head_size + last.intermediate_size)
    if config.spans:
        others, products = config.layers, 0
    for layer in others:
        width = layer.num_heads * layer.head_size
        products += 2 * length * config.hidden_size * (4 * width + 2 * layer.intermediate_size)
    return float(products)
