"""What int8 can gain in a whole model: its products, what is left of their time, and Amdahl's law."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import export, gemm, node_times, predictors
from fflib.model.encoder import EncoderConfig, LayerShape
from fflib.quantization import prediction

# The second layer has no attention left, the third no neurons.
CONFIG = EncoderConfig(50, 16, (LayerShape(2, 4, 64), LayerShape(0, 4, 32), LayerShape(1, 4, 0)))


def rates(speedup_of):
    """Stand for the measurement: fp32 does one operation a second, int8 ``speedup_of`` (inner, outer) as many."""

    def measure(shapes, threads, seconds):
        return [gemm.ProductRate(*shape, 1.0, speedup_of(*shape[1:])) for shape in shapes]

    return measure


def test_products_are_those_of_every_layer_that_pruning_left_something_of():
    first = [(16, 8)] * 3 + [(8, 16), (16, 64), (64, 16)]
    assert prediction.products_of(CONFIG) == first + [(16, 32), (32, 16)] + [(16, 4)] * 3 + [(4, 16)]


def test_time_left_weighs_each_product_with_its_work(monkeypatch):
    monkeypatch.setattr(gemm, "product_rates", rates(lambda inner, outer: 4.0))
    assert prediction.time_left(CONFIG, 10, 1, 0.01) == 1 / 4
    # Only the widest become faster, twice as fast: of 4 x 128 + 2 x 1024 + 2 x 512 + 4 x 64 = 3840, 2048 becomes 1024.
    monkeypatch.setattr(gemm, "product_rates", rates(lambda inner, outer: 2.0 if 64 in (inner, outer) else 1.0))
    assert prediction.time_left(CONFIG, 10, 1, 0.01) == pytest.approx((3840 - 1024) / 3840)


def test_each_different_product_is_measured_once_at_the_tokens_asked_for(monkeypatch):
    seen = []

    def measure(shapes, threads, seconds):
        seen.append((shapes, threads, seconds))
        return rates(lambda inner, outer: 1.0)(shapes, threads, seconds)

    monkeypatch.setattr(gemm, "product_rates", measure)
    prediction.time_left(CONFIG, 10, 3, 0.5)
    ((shapes, threads, seconds),) = seen
    assert len(shapes) == len(set(shapes)) == 8 and {tokens for tokens, _, _ in shapes} == {10}
    assert (threads, seconds) == (3, 0.5)


@pytest.mark.parametrize("share, left, faster", [(0.0, 0.1, 1.0), (1.0, 0.25, 4.0), (0.5, 0.5, 4 / 3), (0.8, 1.0, 1.0)])
def test_amdahls_law(share, left, faster):
    assert prediction.speedup(share, left) == pytest.approx(faster)
    row = prediction.row(share, left)
    assert row["predicted speed-up"] == pytest.approx(faster) and row["their speed-up in int8"] == 1 / left


def test_the_share_of_the_products_is_that_of_the_profiler(tmp_path, monkeypatch):
    examples = examples_of([12])
    path = export.save_onnx(tiny_classifier(), tmp_path / "model.onnx")
    inputs = batching.collate(examples, [0]).inputs
    times = node_times.node_ms(path, predictors.session_options(1), inputs, repeats=1)
    share = prediction.share_of_products(path, inputs, 1)
    assert 0 < share < 1
    monkeypatch.setattr(node_times, "node_ms", lambda *_: dict.fromkeys(times, 2.0) | {"of no product": 8.0})
    counted = round(prediction.share_of_products(path, inputs, 1) * (2 * len(times) + 8) / 2)
    assert 0 < counted < len(times)  # as many nodes as products


def test_rates_of_the_widest_layer(monkeypatch):
    monkeypatch.setattr(gemm, "product_rates", rates(lambda inner, outer: inner / outer))
    rows = prediction.layer_rates(CONFIG, [1, 8], 1, 0.01)
    assert [row["product"] for row in rows] == ["16 to 16", "16 to 64", "64 to 16"]
    assert rows[1] == {"product": "16 to 64", "tokens": [1, 8], "fp32": [1.0, 1.0], "int8": [0.25, 0.25]}
    assert list(rows[0]) == ["product", "tokens", "fp32", "int8"]  # the order in which the figure takes them
    square = EncoderConfig(50, 16, (LayerShape(2, 4, 16),))
    assert len(prediction.layer_rates(square, [1], 1, 0.01)) == 1, "the same product three times"


def test_products_inside_attention_and_one_with_weights():
    shapes = prediction.attention_and_weights(CONFIG, 30)
    assert list(shapes.values()) == [(30, 4, 30), (30, 30, 4), (30, 16, 64)]
    assert list(shapes)[0] == "queries by keys, 4 wide"


@pytest.mark.parametrize("gain, verdict", [(1.29, "not worth"), (1.31, "would pay here")])
def test_the_verdict_on_attention(gain, verdict):
    rows = [{"fp32, both computed, us": fp32, "int8, both computed, us": 1.0} for fp32 in (0.5, gain)]
    words = prediction.verdict_on_attention(rows)
    assert verdict in words and f"0.50 and {gain:.2f} times" in words
    assert np.isclose(prediction.WORTH_IT, 1.3)
