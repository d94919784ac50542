"""How fast ONNX Runtime multiplies matrices: fp32 against int8, and constant weights against computed operands.

The int8 product is what dynamic quantisation makes of a MatMul: activations get one scale for all, found anew in each
call; constant weights get one scale per column, and 7 bits, so that the answer is right on any x86 processor.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from fflib import spent
from fflib.engine import int8_graph, predictors
from fflib.files import InputError

Shape = tuple[int, int, int]  # tokens, inner, outer: [tokens, inner] x [inner, outer]

VARIANTS = ("fp32, constant", "int8, constant", "fp32, both computed", "int8, both computed")
TOLERANCE = {"fp32": 1e-4, "int8": 0.05}  # of a typical entry of the product; rounding to int8 costs about 0.02
MIN_ROUNDS = 3
SESSIONS = 3  # of each product: one session can be slow for its whole life, by where its memory happens to lie
WEIGHT_BITS = 7  # no pair of products overflows 16 bits, see `int8_support`


@dataclass(frozen=True)
class ProductRate:
    """The rates of one product, [tokens, inner] x [inner, outer], in 1e9 operations per second.

    A multiply-add counts two. In int8 the time to quantise the activations is included, the work is counted the same.
    """

    tokens: int
    inner: int
    outer: int
    fp32_gop_per_s: float
    int8_gop_per_s: float

    @property
    def speedup(self) -> float:
        """How many times faster int8 is than fp32."""
        return self.int8_gop_per_s / self.fp32_gop_per_s


@spent.on("timing")
def product_rates(shapes: Sequence[Shape], threads: int, seconds: float = 0.05) -> list[ProductRate]:
    """Measure products with constant weights on ``threads`` threads (0: all cores), one rate per shape.

    Each precision is timed for about ``seconds`` per shape, at least three times, and its median counts. The two take
    turns, so neither keeps the caches to itself: in a model, too, other weights are read in between.

    Raises:
        InputError: no shapes, a shape that is not three positive sizes, or no positive time.
        AssertionError: a product differs too much from NumPy's.
    """
    names, rates = VARIANTS[:2], []
    for shape in _checked(shapes, seconds):
        medians_s = _medians(shape, names, threads, seconds)
        rates.append(ProductRate(*shape, *(_gop_per_s(shape, medians_s[name]) for name in names)))
    return rates


@spent.on("timing")
def packing(shapes: Sequence[Shape], threads: int, seconds: float = 0.05) -> list[dict[str, float]]:
    """Measure what it costs that an operand is no constant: one row per shape, all `VARIANTS` in microseconds.

    Weights are packed, and in int8 also quantised, once at load. Where both operands are computed, as in the QK and
    PV products of attention, that is done in every call; FastFormers (Kim and Awadalla, 2020, arXiv 2010.13382)
    therefore keeps such products in fp32. Timing, checks and errors are those of `product_rates`.

    Returns:
        Rows with the keys "tokens", "inner", "outer" and, for each variant, its name with ", us": "int8, constant, us".
    """
    rows = []
    for shape in _checked(shapes, seconds):
        medians_s = _medians(shape, VARIANTS, threads, seconds)
        sizes = dict(zip(("tokens", "inner", "outer"), shape, strict=True))
        rows.append(sizes | {f"{name}, us": 1e6 * median for name, median in medians_s.items()})
    return rows


def _checked(shapes: Sequence[Shape], seconds: float) -> list[Shape]:
    if not 0 < seconds < math.inf:
        raise InputError(f"seconds is {seconds}; give a positive time, such as 0.05")
    if not shapes:
        raise InputError("there are no shapes; give at least one, as (tokens, inner, outer)")
    for shape in shapes:
        whole = isinstance(shape, tuple | list) and all(isinstance(size, int | np.integer) for size in shape)
        if not whole or len(shape) != 3 or min(shape) < 1:
            raise InputError(f"the shape {shape} is not three positive sizes; give (tokens, inner, outer)")
    return [(int(tokens), int(inner), int(outer)) for tokens, inner, outer in shapes]


def _gop_per_s(shape: Shape, seconds: float) -> float:
    return 2 * math.prod(shape) / seconds / 1e9


def _medians(shape: Shape, names: Sequence[str], threads: int, seconds: float) -> dict[str, float]:
    """Check each variant, then time them in turn; the median of each, in seconds."""
    tokens, inner, outer = shape
    rng = np.random.default_rng(0)
    a = rng.standard_normal((tokens, inner), dtype=np.float32)
    b = rng.standard_normal((inner, outer), dtype=np.float32)
    calls = {(name, i): _checked_call(name, a, b, threads) for name in names for i in range(SESSIONS)}
    medians_s = _interleaved(calls, seconds / SESSIONS)
    return {name: float(np.median([medians_s[name, i] for i in range(SESSIONS)])) for name in names}


def _interleaved(calls: dict[Any, Callable[[], None]], seconds: float) -> dict[Any, float]:
    """Time all calls round by round, in an order drawn anew each round, for about ``seconds`` each; the medians."""
    rng, names = np.random.default_rng(0), list(calls)
    samples: dict[Any, list[float]] = {name: [] for name in names}
    stop = time.perf_counter() + seconds * len(names)
    while len(samples[names[0]]) < MIN_ROUNDS or time.perf_counter() < stop:
        for i in rng.permutation(len(names)):
            start = time.perf_counter()
            calls[names[i]]()
            samples[names[i]].append(time.perf_counter() - start)
    return {name: float(np.median(taken)) for name, taken in samples.items()}


def _checked_call(name: str, a: np.ndarray, b: np.ndarray, threads: int) -> Callable[[], None]:
    """Return what multiplies fp32 ``a`` [tokens, inner] by ``b`` [inner, outer] as the variant ``name`` does.

    It was run once, so it is warm, and compared with NumPy. It writes to the same memory each time, as an engine does
    inside a model: a fresh array of megabytes would be paid for in each call.
    """
    session = predictors.onnx_session(_graph(name, a, b), threads)
    # Memory of the engine's own: that of a NumPy array would be gone once this function has returned.
    product = onnxruntime.OrtValue.ortvalue_from_shape_and_type((len(a), b.shape[1]), np.float32)
    binding = session.io_binding()
    for node in session.get_inputs():
        binding.bind_cpu_input(node.name, {"a": a, "b": b}[node.name])
    binding.bind_ortvalue_output("product", product)
    session.run_with_iobinding(binding)
    typical = np.linalg.norm(a) * np.linalg.norm(b) / math.sqrt(len(b))  # the norm of a product of random matrices
    off, limit = np.linalg.norm(product.numpy() - a @ b) / typical, TOLERANCE[name.split(",")[0]]
    assert off <= limit, f"{name}: the product is off by {off:.2g} of a typical entry, more than {limit:.2g}"
    return lambda: session.run_with_iobinding(binding)


def _graph(name: str, a: np.ndarray, b: np.ndarray) -> onnx.ModelProto:
    """Return the graph of one variant; its inputs are ``a`` and, where both operands are computed, ``b``."""
    int8, computed = name.startswith("int8"), name.endswith("both computed")
    inputs = {"a": a, "b": b} if computed else {"a": a}
    nodes = [helper.make_node("MatMul", ["a", "b"], ["product"])]
    if int8 and computed:
        nodes = [*map(int8_graph.dynamic_rounding, inputs), *int8_graph.dynamic_product("a", "b", "", "product")]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, array.shape) for key, array in inputs.items()],
        [helper.make_tensor_value_info("product", TensorProto.FLOAT, (len(a), b.shape[1]))],
        [] if computed else [numpy_helper.from_array(b, "b")],
    )
    # Both versions are named: by default onnx writes its newest, which may be too new for ONNX Runtime.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return int8_graph.integer_products(model, WEIGHT_BITS) if int8 and not computed else model
