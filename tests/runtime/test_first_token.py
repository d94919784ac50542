"""The last layer for one token: the same logits, fewer operations, one file for any batch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import export, predictors
from fflib.model import encoder, flops
from fflib.quantization import recipes
from fflib.runtime.first_token import FirstTokenClassifier

EXAMPLES = examples_of([5, 9, 12, 1, 3, 11])
BATCH = {name: torch.from_numpy(array) for name, array in batching.collate(EXAMPLES, range(6)).inputs.items()}
SHAPES = {
    "one layer": [(2, 8, 32)],
    "unlike layers": [(2, 8, 32), (1, 4, 16), (3, 8, 8)],
    "no heads at the end": [(2, 8, 32), (0, 8, 16)],
    "no neurons at the end": [(2, 8, 32), (2, 8, 0)],
}


def model_of(shapes, **options):
    torch.manual_seed(1)
    layers = tuple(encoder.LayerShape(*shape) for shape in shapes)
    config = encoder.EncoderConfig(vocab_size=50, hidden_size=16, layers=layers, max_position_embeddings=64, **options)
    model = encoder.Classifier(config, 3).eval()
    with torch.no_grad():  # at 0.02 all logits would be nearly alike
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights) * 0.2)
    return model


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_the_logits_are_those_of_the_whole_model(shapes):
    model = model_of(shapes)
    with torch.inference_mode():
        whole, one = model(**BATCH), FirstTokenClassifier(model)(**BATCH)
    assert whole.logits.std() > 0.1
    assert torch.allclose(one.logits, whole.logits, atol=1e-5)
    assert one.last_hidden_state.shape == (6, 1, 16)
    assert torch.allclose(one.last_hidden_state[:, 0], whole.last_hidden_state[:, 0], atol=1e-5)


def test_positions_that_count_from_the_padding_token():
    model = model_of(SHAPES["unlike layers"], position_offset=2, pad_token_id=1)
    with torch.inference_mode():
        assert torch.allclose(FirstTokenClassifier(model)(**BATCH).logits, model(**BATCH).logits, atol=1e-5)


def test_the_weights_are_shared_under_their_names():
    model = tiny_classifier()
    served = FirstTokenClassifier(model)
    assert served.state_dict().keys() == model.state_dict().keys()
    assert served.encoder.pooler.weight is model.encoder.pooler.weight


def work(path, rows, length):
    """Multiply-adds of all products of a graph, by the shapes that ONNX infers."""
    proto = onnx.load(path)
    for value in proto.graph.input:
        for dimension, size in zip(value.type.tensor_type.shape.dim, (rows, length), strict=True):
            dimension.Clear()
            dimension.dim_value = size
    del proto.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in [*graph.value_info, *graph.input]}
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    return sum(int(np.prod(shapes[n.input[0]])) * shapes[n.input[1]][-1] for n in products)


def test_the_graph_does_only_what_is_read(tmp_path):
    model = model_of([(2, 8, 32), (2, 8, 32)])
    whole = export.save_onnx(model, tmp_path / "whole.onnx")
    first = export.save_onnx(FirstTokenClassifier(model), tmp_path / "first.onnx")
    export.check_belongs(first, model)
    inputs = batching.collate(EXAMPLES, range(6)).inputs
    expected, got = (predictors.onnx_predictor(predictors.onnx_session(path, 1))(inputs) for path in (whole, first))
    assert np.abs(expected - got).max() < 1e-5
    # By hand, for 7 tokens, width 16, 2 heads, 32 neurons: a layer, and one in which only the first token asks, which
    # then has no key and no value: all four projections are of one row.
    tokens, width, heads, neurons = 7, 16, 2, 32
    layer = tokens * (4 * width * width + 2 * width * neurons) + 2 * tokens * tokens * width
    last = 4 * width * width + 2 * width * neurons + 2 * tokens * width * heads
    assert 2 * work(whole, 1, tokens) == 4 * layer == flops.forward_flop(model.encoder.config, tokens)
    assert 2 * work(first, 1, tokens) == 2 * (layer + last) == flops.first_token_flop(model.encoder.config, tokens)


def test_it_becomes_integers_like_any_graph(tmp_path):
    model = model_of([(2, 8, 32), (2, 8, 32)])
    files = [export.save_onnx(m, tmp_path / f"{i}.onnx") for i, m in enumerate((model, FirstTokenClassifier(model)))]
    recipe = recipes.get_recipe("dynamic")
    inputs = batching.collate(EXAMPLES, range(6)).inputs
    whole, first = (
        predictors.onnx_predictor(predictors.onnx_session(recipes.quantize(f, f.with_suffix(".int8"), recipe), 1))(
            inputs
        )
        for f in files
    )
    exact = predictors.onnx_predictor(predictors.onnx_session(files[0], 1))(inputs)
    assert 0 < np.abs(first - exact).max() < 3 * np.abs(whole - exact).max()
