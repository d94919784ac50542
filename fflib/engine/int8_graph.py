"""Whole numbers in an ONNX graph: smoothing before its products are rounded, the products, the embeddings.

(Longer than 200 lines: three rewritings of a graph, which share what a product is.)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fflib.files import InputError

PARTS = ("codes", "scale", "zero")  # of a rounded tensor, as endings of its name
MICROSOFT = "com.microsoft"  # ONNX Runtime's own operators
Ranges = Mapping[str, tuple[float, float]]  # by name of a tensor: the least and the largest value it is given codes for


def products(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """Return the products with constant matrices, by the name of the tensor that goes into them.

    They are MatMul, or Gemm with no factors of its own, as an exported linear layer is. What has a matrix for each head
    (`graph.attention_of_first`) multiplies a row a text: rounding it would cost more than it saves.
    """
    constants, found = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 2}, {}
    for node in graph.node:
        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        factors = options.get("alpha", 1), options.get("beta", 1), options.get("transA", 0)
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in constants and factors == (1, 1, 0):
            found.setdefault(node.input[0], []).append(node)
    return found


def readers(graph: onnx.GraphProto) -> dict[str, str]:
    """Say in words what reads the input of each product, by the names of the biases: an export renames the rest."""
    found = products(graph)
    by_output = {node.output[0]: node for nodes in found.values() for node in nodes}
    bias_of = {output: bias for output, (bias, _) in _biases(graph, by_output).items()}
    bias_of |= {output: node.input[2] for output, node in by_output.items() if len(node.input) > 2}
    words = {}
    for name, nodes in found.items():
        biases = [bias_of[node.output[0]] for node in nodes if node.output[0] in bias_of]
        words[name] = (
            ", ".join(b.removeprefix("model.").removeprefix("encoder.").removesuffix(".bias") for b in biases) or name
        )
    return words


def smoothed(model: onnx.ModelProto, channels: Mapping[str, np.ndarray], strength: float = 0.5) -> onnx.ModelProto:
    """Return the same function with evener inputs of the products (SmoothQuant, 2211.10438, eqs. 3 and 4).

    A few channels carry values far beyond the others', and one scale for the tensor must hold them. Each channel is
    divided by max|x|^strength / max|w|^(1 - strength), and the weights it meets are multiplied by that. In SmoothQuant
    the division vanishes in the LayerNorm before; here that output also goes around the product, so it stays, as one
    cheap operator.

    Args:
        channels: the largest size in each channel, [width], of each product's input; from `calibration.observe`.
    """
    model = copy.deepcopy(model)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    dividers: dict[str, onnx.NodeProto] = {}
    for name, nodes in products(graph).items():
        axes = [1 if _transposed(node) else 0 for node in nodes]  # of the inputs, in the weights
        matrices = [numpy_helper.to_array(weights[node.input[1]]) for node in nodes]
        sizes = [np.abs(matrix).max(1 - axis) for matrix, axis in zip(matrices, axes, strict=True)]
        factors = smoothing_factors(channels[name], np.max(sizes, axis=0), strength)
        for node, matrix, axis in zip(nodes, matrices, axes, strict=True):
            scaled = matrix * np.expand_dims(factors, 1 - axis)
            weights[node.input[1]].CopyFrom(numpy_helper.from_array(scaled.astype(np.float32), node.input[1]))
            node.input[0] = f"{name}.smoothed"
        graph.initializer.append(numpy_helper.from_array((1 / factors).astype(np.float32), f"{name}.divider"))
        dividers[name] = helper.make_node("Mul", [name, f"{name}.divider"], [f"{name}.smoothed"])
    nodes = []
    for node in graph.node:
        nodes += [node, *(dividers[name] for name in node.output if name in dividers)]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _transposed(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)


def smoothing_factors(inputs: np.ndarray, weights: np.ndarray, strength: float) -> np.ndarray:
    """Return SmoothQuant's eq. 4, [width], for the largest sizes [width] of inputs and of the weights they meet.

    A channel that never carries anything, or meets no weight, is left alone.
    """
    factors = np.ones(len(inputs))
    used = (inputs > 0) & (weights > 0)
    factors[used] = inputs[used] ** strength / weights[used] ** (1 - strength)
    return factors


def integer_products(
    model: onnx.ModelProto, bits: int, per_column: bool = True, symmetric: bool = True, ranges: Ranges | None = None
) -> onnx.ModelProto:
    """Return the graph with its products by constant weights in whole numbers; all other products stay.

    What flows in is rounded once for all products that it goes into: with a scale found anew in each call (as the
    library's ``quantize_dynamic``), or with fixed ``ranges``. With fixed ones a product with its bias is one operator
    of ONNX Runtime; with new ones the operators are ONNX's own, which it fuses into such.

    Raises:
        InputError: the ranges lack one of the products' inputs.
    """
    model = copy.deepcopy(model)
    graph, weights = model.graph, {tensor.name: tensor for tensor in model.graph.initializer}
    found = {node.output[0]: node for nodes in products(graph).values() for node in nodes}
    biases = _biases(graph, found) if ranges else {}  # of products, each with the addition that goes into it
    added = {addition.output[0] for _, addition in biases.values()}
    rounded: set[str] = set()  # inputs and weights that have their codes
    nodes = []
    for node in graph.node:
        if node.output[0] in added:
            continue
        if node.output[0] not in found:
            nodes.append(node)
            continue
        source, weight = node.input[:2]
        if source not in rounded:
            nodes.append(_rounding(graph, source, ranges))
        if weight not in rounded:
            _add_codes(graph, weights[weight], _transposed(node), bits, per_column, symmetric)
        rounded |= {source, weight}
        bias, last = biases.get(node.output[0], ("".join(node.input[2:]), node))
        nodes += (_fixed_product if ranges else dynamic_product)(source, weight, bias, last.output[0])
    del graph.node[:]
    graph.node.extend(nodes)
    if ranges and not any(entry.domain == MICROSOFT for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return model


def largest_code(bits: int) -> int:
    """Return the largest code of a weight, 2^(bits-1) - 1; InputError: not 2 to 8 bits.

    For 7 it is 64: the library's ``reduce_range`` goes from -64 to 64 (onnxruntime, quant_utils.py).
    """
    if bits not in range(2, 9):
        raise InputError(f"weights of {bits} bits have no codes here; take 2 to 8")
    return 64 if bits == 7 else 2 ** (bits - 1) - 1


def weight_codes(
    matrix: np.ndarray, bits: int, per_column: bool = True, symmetric: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the codes int8 [inputs, outputs] of a weight matrix, their scale and their zero point, [outputs] or [].

    The rules are those of onnxruntime's quant_utils.py: of 8 bits the codes go from -127 to 127. Not ``symmetric``: the
    least weight has the least code and the largest the largest.
    """
    top = largest_code(bits)
    bottom = -top if symmetric or bits == 7 else -top - 1
    axis = 0 if per_column else None
    low, high = np.minimum(matrix.min(axis), 0), np.maximum(matrix.max(axis), 0)
    if symmetric:
        high = np.maximum(high, -low)
        low = -high
    scale = ((high.astype(np.float64) - low) / (top - bottom)).astype(np.float32)
    scale = np.where(scale < np.finfo(np.float32).tiny, np.float32(1), scale)  # a column of zeros
    zero = np.zeros(scale.shape) if symmetric else np.rint(bottom - low / scale)
    return np.clip(np.rint(matrix / scale + zero), bottom, top).astype(np.int8), scale, zero.astype(np.int8)


def activation_codes(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Return scale and zero point of the codes 0 to 255 for values from ``low`` to ``high`` and zero (ONNX's rule)."""
    low, high = np.float32(min(low, 0.0)), np.float32(max(high, 0.0))
    scale = (high - low) / np.float32(255) or np.float32(1)
    return scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255))


def _biases(graph: onnx.GraphProto, found: Mapping[str, onnx.NodeProto]) -> dict[str, tuple[str, onnx.NodeProto]]:
    """Find the products without a bias whose only use is the addition of one: its name and the addition, by product."""
    uses = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
    constants = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 1}
    additions = [node for node in graph.node if node.op_type == "Add"]
    pairs = [(names, node) for node in additions for names in (node.input, node.input[::-1])]
    bare = {name for name, node in found.items() if len(node.input) == 2 and uses.count(name) == 1}
    return {a: (b, node) for (a, b), node in pairs if a in bare and b in constants}


def _add_codes(
    graph: onnx.GraphProto, tensor: onnx.TensorProto, transposed: bool, bits: int, per_column: bool, symmetric: bool
) -> None:
    matrix = numpy_helper.to_array(tensor)
    values = weight_codes(matrix.T if transposed else matrix, bits, per_column, symmetric)
    for value, end in zip(values, PARTS, strict=True):
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), f"{tensor.name}.{end}"))
    graph.initializer.remove(tensor)


def _rounding(graph: onnx.GraphProto, source: str, ranges: Ranges | None) -> onnx.NodeProto:
    codes, scale, zero = (f"{source}.{end}" for end in PARTS)
    if ranges is None:
        return dynamic_rounding(source)
    if source not in ranges:
        raise InputError(f"the calibration has no range for '{source}'; calibrate on the very graph that is converted")
    for value, name in zip(activation_codes(*ranges[source]), (scale, zero), strict=True):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return helper.make_node("QuantizeLinear", [source, scale, zero], [codes])


def dynamic_rounding(source: str) -> onnx.NodeProto:
    """Return the node that rounds a tensor: to its codes, with their scale and their zero point."""
    return helper.make_node("DynamicQuantizeLinear", [source], [f"{source}.{end}" for end in PARTS])


def _fixed_product(source: str, weight: str, bias: str, out: str) -> list[onnx.NodeProto]:
    inputs = [f"{name}.{end}" for end in PARTS for name in (source, weight)]
    return [helper.make_node("MatMulIntegerToFloat", inputs + [bias] * bool(bias), [out], domain=MICROSOFT)]


def dynamic_product(source: str, weight: str, bias: str, out: str) -> list[onnx.NodeProto]:
    """Multiply two tensors that have codes, in ONNX's own operators: the pattern that ONNX Runtime fuses."""
    scaled = f"{out}.unbiased" if bias else out
    nodes = [
        helper.make_node(
            "MatMulInteger", [f"{n}.{end}" for end in ("codes", "zero") for n in (source, weight)], [f"{out}.sums"]
        ),
        helper.make_node("Cast", [f"{out}.sums"], [f"{out}.float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{source}.scale", f"{weight}.scale"], [f"{out}.scale"]),
        helper.make_node("Mul", [f"{out}.float", f"{out}.scale"], [scaled]),
    ]
    return nodes + [helper.make_node("Add", [scaled, bias], [out])] * bool(bias)


def with_int8_embeddings(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with the rows of its embeddings in eight bits, symmetric, with a scale for each row."""
    model = copy.deepcopy(model)
    graph = model.graph
    used = {node.input[0] for node in graph.node if node.op_type == "Gather"}
    tables = [tensor for tensor in graph.initializer if len(tensor.dims) == 2 and tensor.name in used]
    for table in tables:
        codes, scales, _ = weight_codes(numpy_helper.to_array(table).T, 8)  # a row as if it were a column
        for value, end in ((np.ascontiguousarray(codes.T), "codes"), (scales[:, None], "scales")):
            graph.initializer.append(numpy_helper.from_array(value, f"{table.name}.{end}"))
        graph.initializer.remove(table)
    names, nodes = {table.name for table in tables}, []
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] in names:
            nodes += _gather_rows(node.input[0], node.input[1], node.output[0])
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _gather_rows(table: str, ids: str, out: str) -> list[onnx.NodeProto]:
    parts = [helper.make_node("Gather", [f"{table}.{end}", ids], [f"{out}.{end}"]) for end in ("codes", "scales")]
    widened = helper.make_node("Cast", [f"{out}.codes"], [f"{out}.float"], to=onnx.TensorProto.FLOAT)
    return [*parts, widened, helper.make_node("Mul", [f"{out}.float", f"{out}.scales"], [out])]
