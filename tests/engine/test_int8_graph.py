"""Surgery on small graphs made by hand, against the arithmetic written out in NumPy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from fflib.engine import export, int8_graph, predictors
from fflib.files import InputError

RANGES = {"h": (-1.0, 4.1), "g": (0.7, 5.1)}  # scale 0.02, and codes 50 and 0 for zero
CODES = {"h": (np.float32(0.02), 50), "g": (np.float32(0.02), 0)}


def random(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


WEIGHTS = {name: random(8, width, seed=i) for i, (name, width) in enumerate({"a": 5, "b": 3, "c": 4}.items())}
BIASES = {"a": random(5, seed=7), "c": random(4, seed=8)}
SPREAD = np.float32(2.0) ** np.array([0, 4, -2, 1, 0, -6, 2, 0], np.float32)  # factors that lose no bits


def model_of(nodes, constants, inputs, outputs, **kinds) -> onnx.ModelProto:
    """A graph of ``nodes``; inputs and outputs are float32 of any shape unless ``kinds`` says otherwise."""
    given, made = (
        [helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), None) for name in names]
        for names in (inputs, outputs)
    )
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "by hand", given, made, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def products() -> onnx.ModelProto:
    """x -> h, which two products share; y -> g, which a Gemm takes; and a product of two computed matrices.

    A product with a bias, one without, and one whose weights lie transposed.
    """
    nodes = [
        helper.make_node("Mul", ["x", "spread"], ["h"]),
        helper.make_node("MatMul", ["h", "weights a"], ["a without"]),
        helper.make_node("MatMul", ["h", "weights b"], ["b"]),
        helper.make_node("Add", ["bias a", "a without"], ["a"]),
        helper.make_node("Mul", ["y", "spread"], ["g"]),
        helper.make_node("Gemm", ["g", "weights c", "bias c"], ["c"], transB=1),
        helper.make_node("Transpose", ["h"], ["turned"]),
        helper.make_node("MatMul", ["h", "turned"], ["computed"]),
    ]
    constants = {"spread": SPREAD} | {f"bias {name}": bias for name, bias in BIASES.items()}
    constants |= {f"weights {name}": matrix.T if name == "c" else matrix for name, matrix in WEIGHTS.items()}
    return model_of(nodes, constants, ["x", "y"], ["a", "b", "c", "computed"])


def run(model, inputs, names=("a", "b", "c")) -> dict[str, np.ndarray]:
    """The values of outputs or of inner tensors."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    known = {output.name for output in model.graph.output}
    inner = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in known]
    model.graph.output.extend(inner)
    return dict(zip(names, predictors.onnx_session(model, 1).run(list(names), inputs), strict=True))


def constants_of(model) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def operators(model) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.fixture(scope="module")
def inputs() -> dict[str, np.ndarray]:
    """Inputs that fill the ranges of h and g, and pass them in places."""
    return {"x": random(6, 8, seed=3), "y": random(6, 8, seed=4)}


@pytest.fixture(scope="module")
def channels(inputs) -> dict[str, np.ndarray]:
    """The largest size in each channel of h and g; the third channel of g is never used."""
    sizes = {name: np.abs(inputs[source] * SPREAD).max(0) for name, source in (("h", "x"), ("g", "y"))}
    sizes["g"][2] = 0
    return sizes


def by_the_library(path, bits, per_column, symmetric) -> onnx.ModelProto:
    extra = {"WeightSymmetric": symmetric, "MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT}
    options = {"op_types_to_quantize": ["MatMul"], "reduce_range": bits == 7, "extra_options": extra}
    with export.quiet():
        quantize_dynamic(products(), path, per_channel=per_column, weight_type=QuantType.QInt8, **options)
    return onnx.load(path)


def test_products_are_found_by_what_flows_in():
    found = int8_graph.products(products().graph)
    assert {name: [node.output[0] for node in nodes] for name, nodes in found.items()} == {
        "h": ["a without", "b"],
        "g": ["c"],
    }


def test_readers_are_named_by_their_biases():
    assert int8_graph.readers(products().graph) == {"h": "bias a", "g": "bias c"}


@pytest.mark.parametrize("strength", [0.5, 0.8])
def test_smoothing_keeps_the_function(inputs, channels, strength):
    model = products()
    before = model.SerializeToString()
    smooth = int8_graph.smoothed(model, channels, strength)
    assert model.SerializeToString() == before
    wanted, got = run(model, inputs), run(smooth, inputs)
    for name in wanted:
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-5, atol=1e-5)
        changed = constants_of(smooth)[f"weights {name}"] - constants_of(model)[f"weights {name}"]
        assert np.abs(changed).max() > 0.1  # not the same graph


@pytest.mark.parametrize("strength", [0.5, 0.8])
def test_smoothing_shares_the_sizes_as_in_the_paper(inputs, channels, strength):
    """With s = max|x|^a / max|w|^(1-a), x / s is as large as (xw)^(1-a) and w * s as (xw)^a; a is the strength."""
    smooth = int8_graph.smoothed(products(), channels, strength)
    values, weights = run(smooth, inputs, ["h.smoothed", "g.smoothed"]), constants_of(smooth)
    for name, users in {"h": "ab", "g": "c"}.items():
        used = channels[name] > 0
        largest = np.max([np.abs(WEIGHTS[user]).max(1) for user in users], axis=0)
        both = (channels[name] * largest)[used]
        got = np.abs(values[f"{name}.smoothed"]).max(0)[used]
        np.testing.assert_allclose(got, both ** (1 - strength), rtol=1e-5)
        sizes = [np.abs(weights[f"weights {user}"]).max(1 if user in "ab" else 0) for user in users]
        np.testing.assert_allclose(np.max(sizes, axis=0)[used], both**strength, rtol=1e-5)


def test_smoothing_leaves_channels_alone_that_carry_nothing_or_meet_nothing(inputs, channels):
    model = products()
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == "weights c")
    turned = numpy_helper.to_array(tensor).copy()
    turned[:, 5] = 0
    tensor.CopyFrom(numpy_helper.from_array(turned, tensor.name))
    smooth = int8_graph.smoothed(model, channels)
    new = constants_of(smooth)["weights c"]
    assert [i for i in range(8) if np.array_equal(new[:, i], turned[:, i])] == [2, 5]  # of the inputs
    values = run(smooth, inputs, ["g", "g.smoothed", "c"])
    np.testing.assert_array_equal(values["g"][:, [2, 5]], values["g.smoothed"][:, [2, 5]])
    np.testing.assert_allclose(values["c"], run(model, inputs)["c"], rtol=1e-5, atol=1e-5)


def integers(name, values) -> np.ndarray:
    """What a product is with fixed codes: u8 by s8 in whole numbers, a scale a column, 7 bits of weight."""
    source = "g" if name == "c" else "h"
    scale, zero = CODES[source]
    codes = np.clip(np.rint(values / scale) + zero, 0, 255).astype(np.int64)
    steps = np.abs(WEIGHTS[name]).max(0) / 64
    total = (codes - zero) @ np.rint(WEIGHTS[name] / steps).astype(np.int64)
    return total * (scale * steps) + BIASES.get(name, 0)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("per_column", [True, False])
@pytest.mark.parametrize("bits", [7, 8])
def test_dynamic_products_are_the_librarys_bit_for_bit(inputs, tmp_path, bits, per_column, symmetric):
    ours = int8_graph.integer_products(products(), bits, per_column, symmetric)
    theirs = by_the_library(tmp_path / "int8.onnx", bits, per_column, symmetric)
    got, wanted, floats = (run(model, inputs) for model in (ours, theirs, products()))
    for name in "abc":
        np.testing.assert_array_equal(got[name], wanted[name])
        assert np.abs(got[name] - floats[name]).max() > 1e-3  # it was rounded


def test_fixed_ranges_are_integer_arithmetic(inputs):
    model = products()
    before = model.SerializeToString()
    static = int8_graph.integer_products(model, 7, ranges=RANGES)
    assert model.SerializeToString() == before
    got, floats = run(static, inputs), run(products(), inputs)
    for name in "abc":
        values = inputs["y" if name == "c" else "x"] * SPREAD
        np.testing.assert_allclose(got[name], integers(name, values), rtol=1e-5, atol=1e-5)
        assert np.abs(got[name] - floats[name]).max() > 1  # most channels are far beyond the range


def test_fixed_ranges_leave_one_operator_a_product():
    dynamic = operators(int8_graph.integer_products(products(), 7))
    assert (dynamic.count("DynamicQuantizeLinear"), dynamic.count("MatMulInteger")) == (2, 3)
    left = operators(int8_graph.integer_products(products(), 7, ranges=RANGES))
    fixed = ["QuantizeLinear"] * 2 + ["MatMulIntegerToFloat"] * 3
    assert sorted(left) == sorted([*fixed, "Mul", "Mul", "Transpose", "MatMul"])  # the computed product stays float


def test_fixed_ranges_make_a_row_independent_of_the_others(inputs):
    outlier = {name: np.concatenate([array[:1], 50 * array[1:]]) for name, array in inputs.items()}
    alone = {name: array[:1] for name, array in inputs.items()}
    dynamic, static = (int8_graph.integer_products(products(), 7, ranges=ranges) for ranges in (None, RANGES))
    for name in "abc":
        np.testing.assert_array_equal(run(static, outlier)[name][:1], run(static, alone)[name])
        assert np.abs(run(dynamic, outlier)[name][:1] - run(dynamic, alone)[name]).max() > 1e-2


@pytest.mark.parametrize(
    "added, outputs, users",
    [
        (random(5, seed=7), ["sum"], []),  # a bias, beside what is none
        (random(5, seed=7), ["sum", "bare"], []),
        (random(5, seed=7), ["sum", "after"], [helper.make_node("Relu", ["bare"], ["after"])]),
        (random(6, 5, seed=7), ["sum"], []),
        (np.float32(3), ["sum"], []),
    ],
)
def test_only_the_one_use_of_a_product_is_a_bias(inputs, added, outputs, users):
    nodes = [
        helper.make_node("MatMul", ["x", "weights"], ["bare"]),
        helper.make_node("Add", ["bare", "added"], ["sum"]),
    ]
    model = model_of(nodes + users, {"weights": WEIGHTS["a"], "added": added}, ["x"], outputs)
    static = int8_graph.integer_products(model, 7, ranges={"x": (-4.0, 4.0)})
    one_operator = added.shape == (5,) and outputs == ["sum"]
    assert ("Add" in operators(static)) != one_operator
    feed = {"x": inputs["x"]}
    wanted, got = run(model, feed, outputs), run(static, feed, outputs)
    for name in outputs:
        assert 1e-3 < np.abs(got[name] - wanted[name]).max() < 0.2


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_column_of_zeros_has_zeros_for_codes(symmetric):
    matrix = WEIGHTS["a"].copy()
    matrix[:, 2] = 0
    for weights, columns in ((matrix, [2]), (matrix * 0, range(5))):
        for per_column in (True, False):
            with np.errstate(all="raise"):
                codes, scale, zero = int8_graph.weight_codes(weights, 7, per_column, symmetric)
            assert (scale > 0).all() and np.isfinite(scale).all()
            assert not ((codes.astype(int) - zero) * scale)[:, columns].any()


def test_a_missing_range_is_named():
    with pytest.raises(InputError, match="no range for 'g'; calibrate on the very graph"):
        int8_graph.integer_products(products(), 7, ranges={"h": (-1.0, 1.0)})


@pytest.fixture(scope="module")
def librarys_codes():
    outputs = {"codes": TensorProto.UINT8, "scale": TensorProto.FLOAT, "zero": TensorProto.UINT8}
    node = helper.make_node("DynamicQuantizeLinear", ["x"], list(outputs))
    return predictors.onnx_session(model_of([node], {}, ["x"], list(outputs), **outputs), 1)


def test_a_number_of_bits_without_codes_is_refused():
    assert [int8_graph.largest_code(bits) for bits in (2, 4, 7, 8)] == [1, 7, 64, 127]
    for bits in (1, 9, 0):
        with pytest.raises(InputError, match=f"weights of {bits} bits have no codes here; take 2 to 8"):
            int8_graph.weight_codes(WEIGHTS["a"], bits)


def test_codes_are_those_of_onnx(librarys_codes):
    rng = np.random.default_rng(0)
    for _ in range(300):
        values = (rng.normal(size=9) * 10 ** rng.uniform(-3, 3) + rng.normal(0, 3)).astype(np.float32)
        _, wanted, zero_wanted = librarys_codes.run(None, {"x": values})
        scale, zero = int8_graph.activation_codes(float(values.min()), float(values.max()))
        assert (scale.dtype, zero.dtype) == (np.float32, np.uint8)
        assert zero == zero_wanted
        np.testing.assert_array_max_ulp(scale, wanted, 1)


@pytest.mark.parametrize(
    "low, high, scale, zero",
    [(-1, 4.1, 0.02, 50), (2, 5.1, 0.02, 0), (-5.1, -1, 0.02, 255), (0, 0, 1, 0), (-2.55, 0, 0.01, 255)],
)
def test_codes_always_hold_zero(low, high, scale, zero, librarys_codes):
    got = int8_graph.activation_codes(low, high)
    assert got == (pytest.approx(scale), zero)
    _, *wanted = librarys_codes.run(None, {"x": np.array([low, high], np.float32)})
    assert got == (pytest.approx(wanted[0]), wanted[1])


@pytest.fixture(scope="module")
def look_ups():
    """Two tables, one of them read twice, with rows of zeros, and a vector that is read too."""
    words, places = random(500, 64, seed=1), random(30, 64, seed=2)
    words *= 10 ** np.random.default_rng(3).uniform(-3, 3, (500, 1)).astype(np.float32)
    words[[0, 9]] = 0
    nodes = [
        helper.make_node("Gather", ["words", "ids"], ["one"]),
        helper.make_node("Gather", ["places", "spots"], ["two"]),
        helper.make_node("Gather", ["words", "spots"], ["three"]),
        helper.make_node("Gather", ["vector", "spots"], ["four"]),
        helper.make_node("MatMul", ["one", "matrix"], ["five"]),
    ]
    constants = {"words": words, "places": places, "vector": random(30, seed=5), "matrix": random(64, 2, seed=6)}
    outputs = ["one", "two", "three", "four", "five"]
    kinds = {"ids": TensorProto.INT64, "spots": TensorProto.INT64}
    return model_of(nodes, constants, list(kinds), outputs, **kinds), constants


def test_embeddings_are_off_by_half_a_step_at_most(look_ups):
    model, constants = look_ups
    before = model.SerializeToString()
    small = int8_graph.with_int8_embeddings(model)
    assert model.SerializeToString() == before
    ids, spots = np.arange(500).reshape(2, 250), np.arange(30)
    got = run(small, {"ids": ids, "spots": spots}, ["one", "two", "three", "four", "five"])
    for name, table, rows in (("one", "words", ids), ("two", "places", spots), ("three", "words", spots)):
        wanted = constants[table][rows]
        steps = np.abs(wanted).max(-1, keepdims=True) / 127
        assert got[name].shape == wanted.shape and got[name].dtype == np.float32
        assert (np.abs(got[name] - wanted) <= steps * 0.50001).all()
    assert np.abs(got["one"] - constants["words"][ids]).max() > 0
    assert not got["one"][0, [0, 9]].any() and not got["three"][[0, 9]].any()  # zeros stay zeros
    np.testing.assert_array_equal(got["four"], constants["vector"])  # no table
    np.testing.assert_allclose(got["five"], got["one"] @ constants["matrix"], rtol=1e-4, atol=1e-4)


def test_embeddings_take_a_quarter_of_the_space(look_ups):
    model, constants = look_ups
    small = int8_graph.with_int8_embeddings(model)
    left = constants_of(small)
    assert set(left) == {"vector", "matrix"} | {
        f"{t}.{end}" for t in ("words", "places") for end in ("codes", "scales")
    }
    assert left["words.codes"].dtype == np.int8 and left["words.scales"].shape == (500, 1)
    assert np.abs(left["words.codes"]).max() == 127
    assert 3.5 < model.ByteSize() / small.ByteSize() < 4
