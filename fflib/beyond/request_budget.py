"""The budget of a request: where the time of a served batch goes, and whether the parts add up to the whole.

And the limit: how fast the processor would be if it did nothing but multiply, in fp32 and in integers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from fflib import spent
from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.engine import int8_support, node_times, sessions
from fflib.measure.operators import group_operators
from fflib.model import flops
from fflib.model.config import EncoderConfig

BY_INSTRUCTIONS, BY_RATE = "times the fp32 peak", "at the best integer rate measured"  # how two limits end
CLOSED = 0.1  # parts that add up to the whole within this share of it close the budget
CALL, PADDING = "the call", "padding the batch"
# The operators of ONNX Runtime's profiler, by what a request pays for; whatever is not named here is "other".
PARTS = {
    "products of tokens and weights": (
        "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulInteger", "QLinearMatMul", "QGemm", "Gemm",
        "FusedGemm", "DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear", "MatMulNBits",
    ),
    "attention": ("MatMul", "FusedMatMul", "Softmax", "Attention", "MultiHeadAttention", "QAttention"),
    "elementwise passes": (
        "LayerNormalization", "SkipLayerNormalization", "EmbedLayerNormalization", "Add", "Mul", "Sub", "Div",
        "Gelu", "BiasGelu", "FastGelu", "QuickGelu", "Erf", "Tanh", "Relu", "Where", "Cast",
    ),
    "moving data": (
        "Transpose", "Reshape", "Concat", "Slice", "Gather", "Split", "Squeeze", "Unsqueeze", "Expand", "Flatten",
    ),
}  # fmt: skip


@spent.on("timing")
def budget(
    path: str | Path, texts: TokenizedSplit, group: Sequence[int], threads: int, has_integers: bool, repeats: int = 30
) -> dict[str, Any]:
    """Measure one batch as it is served, and each of its parts by itself.

    The whole is timed without the profiler, before and after it; the operators are ONNX Runtime's own profile. A call
    is that of a graph which does nothing, with the same arrays. In fp32 a product with constant weights is a MatMul as
    attention's are, and both count as products.

    Args:
        path: the graph that is served.
        texts: from which the batch is taken, at the indices ``group``.
        threads: of its session.
        has_integers: whether the graph is in eight bits.

    Returns:
        ``whole_ms``, ``parts_ms`` by the names of `PARTS`, "other", `CALL` and `PADDING`, their ``sum_ms``,
        ``off``, the sum over the whole minus 1, and whether that ``closes`` the budget.
    """
    predict = sessions.onnx_predictor(sessions.onnx_session(path, threads))
    inputs = batching.collate(texts, group).inputs
    nothing = sessions.onnx_predictor(sessions.onnx_session(_nothing(), threads))

    def served() -> None:
        predict(batching.collate(texts, group).inputs)

    before = _median_ms(served, repeats)
    profile = node_times.node_ms(path, sessions.session_options(threads), dict(inputs), repeats, by="operator")
    after = _median_ms(served, repeats)
    parts = group_operators(profile, PARTS if has_integers else _IN_FP32)
    parts[CALL] = _median_ms(lambda: nothing(inputs), repeats)
    parts[PADDING] = _median_ms(lambda: batching.collate(texts, group), repeats)
    whole, total = (before + after) / 2, sum(parts.values())
    off = total / whole - 1
    return {"whole_ms": whole, "parts_ms": parts, "sum_ms": total, "off": off, "closes": abs(off) <= CLOSED}


_IN_FP32 = PARTS | {
    "products of tokens and weights": (*PARTS["products of tokens and weights"], "MatMul", "FusedMatMul"),
    "attention": ("Softmax", "Attention", "MultiHeadAttention"),
}


def _median_ms(call: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats + 1):  # the first warms up
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return 1e3 * float(np.median(taken[1:]))


def _nothing() -> onnx.ModelProto:
    """Return a graph with the inputs of every other that answers with one of them."""
    shape = ["batch", "length"]
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in names]
    output = helper.make_tensor_value_info("logits", TensorProto.INT64, shape)
    nodes = [helper.make_node("Identity", ["attention_mask"], ["logits"])]
    graph = helper.make_graph(nodes, "nothing", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def mean_operations(config: EncoderConfig, lengths: np.ndarray, first_token: bool) -> float:
    """Return the mean operations over texts of these lengths; ``first_token``: of the graph for that alone."""
    count = flops.first_token_flop if first_token else flops.forward_flop
    values, times = np.unique(lengths, return_counts=True)
    return float(np.average([count(config, int(length)) for length in values], weights=times))


def against_the_limit(
    per_s: tuple[float, float, float],
    operations: float,
    reference_operations: float,
    peaks_gflop_per_s: Sequence[float],
    integer_ratio: float,
    integer_gop_per_s: float | None = None,
) -> list[dict[str, Any]]:
    """Set what is served beside what the processor's multiplications alone would allow.

    Args:
        per_s: requests per second of the served stack: the value and its interval.
        operations: of the served model, for a mean request.
        reference_operations: of the reference.
        peaks_gflop_per_s: the fp32 rate that a product reached, as measured several times; the highest counts, and an
            interval goes from the lowest to the highest.
        integer_ratio: how many times as many products the instruction set does in integers, see `int8_support`; 1 for a
            model in fp32.
        integer_gop_per_s: the best rate that any integer product reached here.

    Returns:
        Rows of {limit, requests/s, factor, low, high}: how many times as fast the served stack is as that.
    """
    peak, least = max(peaks_gflop_per_s) * 1e9, min(peaks_gflop_per_s) * 1e9

    def line(limit: str, rate: float, lowest: float, work: float) -> dict[str, Any]:
        value, low, high = per_s
        factors = {"factor": value * work / rate, "low": low * work / rate, "high": high * work / lowest}
        return {"limit": limit, "requests/s": rate / work} | factors

    rows = [line("the reference on a perfect fp32 engine", peak, least, reference_operations)]
    rows.append(line("the served model on a perfect fp32 engine", peak, least, operations))
    if integer_ratio > 1:
        name = f"the served model, products alone, at {integer_ratio:g} {BY_INSTRUCTIONS}"
        rows.append(line(name, peak * integer_ratio, least * integer_ratio, operations))
    if integer_gop_per_s:
        best = integer_gop_per_s * 1e9
        rows.append(line(f"the served model, products alone, {BY_RATE}", best, best, operations))
    return rows


def peak_that_is_no_limit(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say so if integers, measured, went faster than `against_the_limit` allows them by the fp32 peak; else ''."""
    ends = {end: row["requests/s"] for row in rows for end in (BY_INSTRUCTIONS, BY_RATE) if row["limit"].endswith(end)}
    if len(ends) < 2 or ends[BY_RATE] <= ends[BY_INSTRUCTIONS]:
        return ""
    by_rate, by_instructions = ends[BY_RATE], ends[BY_INSTRUCTIONS]
    return (
        f"Integer products that were measured allow {by_rate:,.0f} requests a second, more than the limit by "
        f"instructions ({by_instructions:,.0f}): so **the fp32 peak is no limit of this processor**, only what a large "
        "product reaches in PyTorch. By the same instructions a perfect fp32 engine would be at least "
        f"{by_rate / by_instructions:.2f} times as fast as the first two lines say. The last line alone is a limit."
    )


def integer_rates(runtime_facts: Mapping[str, Any], threads: int, recipe: str) -> tuple[float, float | None]:
    """Return the last two arguments of `against_the_limit`: the ratio of the instructions, and the best rate measured.

    Args:
        runtime_facts: of chapter 6, whose rates on fewer threads count in proportion.
        threads: that are in use.
        recipe: of the served file; '' in fp32, where neither counts.
    """
    if not recipe:
        return 1.0, None
    rates = [row["best rate measured, GOP/s"] * threads / row["threads"] for row in runtime_facts["int8_products"]]
    return int8_support.int8_support().speedup_limit, max(rates)


def budget_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a `budget` as rows: ms of the batch and share of the whole, for each part and for what is left."""
    whole = found["whole_ms"]
    rows = [{"part": name, "ms": ms, "% of the batch": 100 * ms / whole} for name, ms in found["parts_ms"].items()]
    left = {"part": "not explained", "ms": whole - found["sum_ms"], "% of the batch": -100 * found["off"]}
    return [*rows, left, {"part": "**the batch, timed**", "ms": whole, "% of the batch": 100.0}]
