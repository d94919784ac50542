"""The rate of a graph's integer products beside the best rate of the engine, by hand."""

from __future__ import annotations

import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import gemm, node_times
from fflib.engine.gemm import ProductRate
from fflib.model import flops
from fflib.runtime import ceiling

INPUTS = batching.collate(examples_of((9,)), [0]).inputs
CONFIG = tiny_classifier().encoder.config


def found(monkeypatch, spent_ms):
    asked = []

    def rates(shapes, threads, seconds):
        asked.extend(shapes)
        return [ProductRate(*shape, 1.0, rate) for shape, rate in zip(shapes, (50.0, 20.0, 10.0), strict=True)]

    monkeypatch.setattr(node_times, "node_ms", lambda *_, by: spent_ms)
    monkeypatch.setattr(gemm, "product_rates", rates)
    return ceiling.against_the_ceiling("model.onnx", CONFIG, INPUTS, 9, 1), asked


def test_the_share_is_of_the_best_rate_and_of_the_request(monkeypatch):
    row, asked = found(monkeypatch, {"DynamicQuantizeMatMul": 0.3, "MatMulIntegerToFloat": 0.1, "Softmax": 0.4})
    operations = flops.first_token_product_flop(CONFIG, 9) / 1e9
    assert row["operations, G"] == operations and row["ms, rounding included"] == pytest.approx(0.4)
    assert row["GOP/s"] == pytest.approx(operations / 0.4e-3) and row["best rate measured, GOP/s"] == 50.0
    assert row["share of it"] == pytest.approx(row["GOP/s"] / 50) and row["share of the request"] == pytest.approx(0.5)
    (told,) = ceiling.shown([row])
    assert told["best rate, G a second"] == 50.0 and len(told) == len(row)
    assert asked[-1] == (9, 16, 32) and max(tokens for tokens, _, _ in asked) == 512


def test_without_integers_there_is_no_rate(monkeypatch):
    row, _ = found(monkeypatch, {"MatMul": 0.5})
    assert row["GOP/s"] is None and row["share of it"] is None and row["share of the request"] == 0


def test_a_product_stays_under_the_slanted_roof_and_then_under_the_flat_one():
    rates = {"product": "100 to 1,000", "tokens": [1, 1000], "int8": [3.0, 70.0]}
    few, many = ceiling.under_the_roofline(rates, peak=80.0, bandwidth=10.0)
    assert few["operations a byte"] == pytest.approx(2 * 100_000 / (100 + 100_000 + 4000))
    assert few["roofline, GOP/s"] == pytest.approx(10 * few["operations a byte"]) and few["measured, GOP/s"] == 3.0
    assert many["roofline, GOP/s"] == 80.0 and many["tokens"] == 1000
