"""Products: the fused operator is there, its results follow the arithmetic of int8, medians and rates are right."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from fflib.engine import gemm, int8_graph, predictors
from fflib.engine.gemm import VARIANTS, ProductRate
from fflib.files import InputError

RNG = np.random.default_rng(3)
A = RNG.standard_normal((5, 64), dtype=np.float32)
B = RNG.standard_normal((64, 24), dtype=np.float32)


def answer(name: str) -> np.ndarray:
    session = predictors.onnx_session(gemm._graph(name, A, B), 1)
    return session.run(None, {node.name: {"a": A, "b": B}[node.name] for node in session.get_inputs()})[0]


def unsigned(x: np.ndarray) -> np.ndarray:
    """What DynamicQuantizeLinear, by ONNX's definition, keeps of ``x``: 256 steps from its least to its greatest."""
    low, high = min(x.min(), np.float32(0)), max(x.max(), np.float32(0))
    scale = (high - low) / np.float32(255)
    zero = np.rint(-low / scale)
    return (np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale


def signed(x: np.ndarray) -> np.ndarray:
    """What 7 bits keep of each column of ``x``: 129 steps around zero."""
    scale = np.abs(x).max(axis=0) / 64
    return np.rint(x / scale) * scale


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("fp32, constant", A @ B),
        ("fp32, both computed", A @ B),
        ("int8, constant", unsigned(A) @ signed(B)),
        ("int8, both computed", unsigned(A) @ unsigned(B)),
    ],
)
def test_product_is_what_its_precision_makes_of_it(name, wanted):
    np.testing.assert_allclose(answer(name), wanted, atol=2e-4)
    if name.startswith("int8"):  # rounded, but not far from fp32
        assert 0.001 < np.linalg.norm(answer(name) - A @ B) / np.linalg.norm(A @ B) < 0.03


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("fp32, constant", [("MatMul", "a")]),
        ("fp32, both computed", [("MatMul", "a")]),
        ("int8, constant", [("DynamicQuantizeMatMul", "a")]),
        ("int8, both computed", [("DynamicQuantizeLinear", "b"), ("DynamicQuantizeMatMul", "a")]),
    ],
)
def test_engine_fuses_what_it_can(tmp_path, name, wanted):
    """What is timed is the fused operator; only where both are computed is there a second operand to quantise."""
    graph, path = gemm._graph(name, A, B), tmp_path / "optimised.onnx"
    options = predictors.onnx_session(graph, 1).get_session_options()
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert [(node.op_type, node.input[0]) for node in onnx.load(path).graph.node] == wanted


def test_graph_is_that_of_quantize_dynamic(tmp_path):
    """The library's own quantiser, with one scale per column and 7 bits, writes the same nodes and values."""
    options = {"per_channel": True, "reduce_range": True, "weight_type": QuantType.QInt8}
    onnx.save(gemm._graph("fp32, constant", A, B), tmp_path / "fp32.onnx")
    quantize_dynamic(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", **options)
    theirs, ours = onnx.load(tmp_path / "int8.onnx"), gemm._graph("int8, constant", A, B)
    assert sorted(node.op_type for node in theirs.graph.node) == sorted(node.op_type for node in ours.graph.node)
    (wanted,) = predictors.onnx_session(theirs, 1).run(None, {"a": A})
    np.testing.assert_allclose(answer("int8, constant"), wanted, atol=1e-5)


def test_weights_have_seven_bits():
    graph = gemm._graph("int8, constant", A, B).graph
    (weights,) = (numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == "b.codes")
    assert weights.dtype == np.int8
    np.testing.assert_array_equal(np.abs(weights.astype(int)).max(0), 64)  # every column uses the whole range


def test_rate_by_hand():
    assert gemm._gop_per_s((10, 100, 1000), 0.001) == pytest.approx(2.0)  # 2e6 operations in a millisecond
    assert ProductRate(1, 2, 3, fp32_gop_per_s=50.0, int8_gop_per_s=80.0).speedup == 1.6


def test_rates_come_from_the_medians(monkeypatch):
    """Of the sessions of a variant the middle one counts: one may be slow, or lucky."""
    taken_s = {"fp32, constant": (0.004, 0.1, 0.003), "int8, constant": (0.002, 0.002, 0.001)}
    monkeypatch.setattr(gemm, "_interleaved", lambda calls, seconds: {key: taken_s[key[0]][key[1]] for key in calls})
    assert gemm.product_rates([(10, 100, 1000)], 1) == [
        ProductRate(10, 100, 1000, pytest.approx(0.5), pytest.approx(1.0))
    ]


def test_medians_round_by_round(monkeypatch):
    """On a clock that only the calls move: known times, one of them disturbed, and both calls in every round."""
    now, log = [0.0], []

    def work(name, spent_s):
        log.append(name)
        now[0] += 5.0 if name == "fast" and log.count(name) == 2 else spent_s

    monkeypatch.setattr(gemm, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    calls = {"fast": lambda: work("fast", 1.0), "slow": lambda: work("slow", 3.0)}
    assert gemm._interleaved(calls, seconds=20.0) == {"fast": 1.0, "slow": 3.0}
    assert len(log) == 2 * 9  # 4 s a round, one of 8 s: 2 x 20 s are over after nine
    rounds = {tuple(log[i : i + 2]) for i in range(0, len(log), 2)}
    assert rounds == {("fast", "slow"), ("slow", "fast")}
    log.clear()
    gemm._interleaved(calls, seconds=1e-9)
    assert len(log) == 2 * gemm.MIN_ROUNDS


def test_product_rates_on_this_machine():
    shapes = [(4, 32, 48), (64, 128, 256)]
    rates = gemm.product_rates(shapes, threads=1, seconds=0.01)
    assert [(rate.tokens, rate.inner, rate.outer) for rate in rates] == shapes
    for rate in rates:
        assert min(rate.fp32_gop_per_s, rate.int8_gop_per_s) > 0
        assert max(rate.fp32_gop_per_s, rate.int8_gop_per_s) < 1e5  # no processor has 100 Top/s in one core
    assert rates[1].fp32_gop_per_s > rates[0].fp32_gop_per_s  # a call costs microseconds, whatever it computes


def test_packing_costs_most_where_few_tokens_meet_many_weights():
    (row,) = gemm.packing([(1, 512, 512)], threads=1, seconds=0.02)
    assert set(row) == {"tokens", "inner", "outer", *(f"{name}, us" for name in VARIANTS)}
    assert (row["tokens"], row["inner"], row["outer"]) == (1, 512, 512)
    assert row["int8, both computed, us"] > row["int8, constant, us"] > 0
    assert row["fp32, both computed, us"] > 0


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 1), (7, 1, 3), (3, 5, 1)])
def test_smallest_shapes(shape):
    (row,) = gemm.packing([shape], threads=1, seconds=1e-6)
    assert min(row.values()) > 0


def test_wrong_product_is_not_timed(monkeypatch):
    right = int8_graph.weight_codes

    def wrong(*arguments):
        codes, scale, zero = right(*arguments)
        return codes, np.float32(1.1) * scale, zero

    monkeypatch.setattr(int8_graph, "weight_codes", wrong)
    with pytest.raises(AssertionError, match="int8, constant: the product is off by 0.1"):
        gemm.product_rates([(8, 64, 64)], threads=1, seconds=0.01)


@pytest.mark.parametrize("measure", [gemm.product_rates, gemm.packing])
@pytest.mark.parametrize(
    "shapes, seconds, message",
    [
        ([], 0.01, "there are no shapes; give at least one"),
        ([(4, 4, 4), (4, 0, 4)], 0.01, r"the shape \(4, 0, 4\) is not three positive sizes"),
        ([(4, 4, -1)], 0.01, "not three positive sizes"),
        ([(4, 4)], 0.01, "not three positive sizes"),
        ([(4, 4, 4.0)], 0.01, "not three positive sizes"),
        ([4], 0.01, "not three positive sizes"),
        ([(4, 4, 4)], 0.0, "seconds is 0.0; give a positive time"),
        ([(4, 4, 4)], float("inf"), "seconds is inf"),
        ([(4, 4, 4)], float("nan"), "seconds is nan"),
    ],
)
def test_input_is_checked_first(monkeypatch, measure, shapes, seconds, message):
    monkeypatch.setattr(gemm, "_medians", lambda *arguments: pytest.fail("measured before the check"))
    with pytest.raises(InputError, match=message):
        measure(shapes, 1, seconds)
