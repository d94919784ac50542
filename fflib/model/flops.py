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
    """Count the operations of `FirstTokenClassifier` over ``length`` tokens, as `forward_flop` does."""
    if config.spans:
        return forward_flop(config, length)
    widths = [layer.num_heads * layer.head_size for layer in config.layers]
    queries = [length] * (len(widths) - 1) + [1]
    return first_token_product_flop(config, length) + sum(
        4 * q * length * width for q, width in zip(queries, widths, strict=True)
    )


def first_token_product_flop(config: EncoderConfig, length: int) -> float:
    """Count only the products with constant weights, those that can be integers (a multiply-add counts two)."""
    *others, last = config.layers
    products = 2 * config.hidden_size * last.num_heads * last.head_size * 2 * length  # keys and values
    products += 4 * config.hidden_size * (last.num_heads * last.head_size + last.intermediate_size)
    if config.spans:
        others, products = config.layers, 0
    for layer in others:
        width = layer.num_heads * layer.head_size
        products += 2 * length * config.hidden_size * (4 * width + 2 * layer.intermediate_size)
    return float(products)
