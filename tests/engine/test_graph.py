"""The written graph against PyTorch, and against the graph that PyTorch's exporter makes: the same to the last bit."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import examples_of, tiny_classifier
from onnx import helper, numpy_helper
from torch import nn

from fflib.engine import export, graph, int8_graph, predictors
from fflib.model import config as encoder_config
from fflib.model.encoder import Classifier, EncoderConfig, LayerShape
from fflib.quantization import calibration, recipes
from fflib.quantization.qat import fake_quantized
from fflib.runtime import fusions
from fflib.runtime.first_token import FirstTokenClassifier
from fflib.runtime.fusions import VARIANTS, WHOLE
from fflib.runtime.packing import PackedClassifier

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")

LONGEST = 16  # positions of the models
SHAPES = {
    "uniform": [(2, 8, 24), (2, 8, 24)],
    "pruned": [(3, 4, 10), (1, 7, 5)],
    "no heads": [(2, 8, 24), (0, 8, 6)],
    "no neurons": [(2, 8, 0), (1, 4, 0)],
    "nothing left": [(0, 8, 0), (0, 8, 0)],
    "one layer": [(4, 4, 32)],
}
OPTIONS = {
    "BERT": {},
    "RoBERTa": {"pad_token_id": 1, "position_offset": 2, "type_vocab_size": 1, "max_position_embeddings": LONGEST + 2},
    "positions from 1": {"pad_token_id": 0, "position_offset": 1, "max_position_embeddings": LONGEST + 1},
    "another padding": {"pad_token_id": 7},
    "one word": {"spans": 1},
    "words": {"spans": 2, "pad_token_id": 1, "position_offset": 2, "max_position_embeddings": LONGEST + 2},
    **{name: {"activation": name} for name in encoder_config.ACTIVATIONS},
    "epsilon": {"layer_norm_eps": 1e-3},
}
KINDS = {"whole": lambda model: model, "first token": FirstTokenClassifier, "packed": PackedClassifier}
TABLE = [(shape, "BERT") for shape in SHAPES] + [("pruned", option) for option in OPTIONS] + [("no heads", "words")]
BATCHES = [(1, 1), (2, 1), (3, 2), (2, 9), (1, LONGEST), (4, LONGEST)]  # rows and tokens


def classifier(shapes, **options) -> Classifier:
    """A model whose weights are large enough for attention to be far from uniform."""
    torch.manual_seed(0)
    config = EncoderConfig(
        50, 16, tuple(LayerShape(*shape) for shape in shapes), **{"max_position_embeddings": LONGEST} | options
    )
    model = Classifier(config, num_labels=3).eval()
    for parameter in model.parameters():
        if parameter.numel():
            nn.init.normal_(parameter, 0.05, 0.3)
    return model


def session_of(proto, options=None) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def arrays(inputs) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in inputs.items()}


def batches(model):
    """Batches of every size, padded but for the first row; a packed row needs two tokens."""
    smallest = 2 if isinstance(model, PackedClassifier) else 1
    return [export.example_inputs(model, rows, n) for rows, n in BATCHES if n >= 2 * smallest or smallest == 1]


def test_every_activation_and_kind_is_written():
    assert {*graph.GELUS, "relu"} == encoder_config.ACTIVATIONS.keys()
    assert set(graph.WRITERS) == {Classifier, FirstTokenClassifier, PackedClassifier}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape, option", TABLE)
def test_equals_pytorch_at_any_size(shape, option, kind):
    model = KINDS[kind](classifier(SHAPES[shape], **OPTIONS[option]))
    assert graph.can_write(model)
    proto = export.graph_of(model)
    onnx.checker.check_model(proto, full_check=True)
    session = session_of(proto)
    for inputs in batches(model):
        with torch.inference_mode():
            wanted = model(**inputs).logits.numpy()
        np.testing.assert_allclose(session.run(["logits"], arrays(inputs))[0], wanted, atol=1e-5)


def test_answers_depend_on_every_input():
    """Else the table above would prove little: tokens, their padding, their types and the words marked all count."""
    model = classifier(SHAPES["uniform"], **OPTIONS["words"])
    inputs, session = arrays(export.example_inputs(model, 3, 9)), session_of(export.graph_of(model))
    before = session.run(None, inputs)[0]
    ids, mask, types = (inputs[name] for name in export.INPUTS)
    changes = [{"input_ids": np.where(mask, 49 - ids, ids)}, {"attention_mask": np.ones_like(mask)}]
    changes += [{"token_type_ids": types ^ 1}, {"token_type_ids": types % 2}]
    for change in changes:
        assert np.abs(session.run(None, inputs | change)[0] - before)[1:].max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", ["BERT", "words"])
def test_the_noted_shapes_are_those_of_the_values(kind, option):
    """ONNX Runtime fuses by what is noted; the builder finds shapes by itself, and can be wrong."""
    model = KINDS[kind](classifier(SHAPES["pruned"], **OPTIONS[option]))
    proto, inputs = export.graph_of(model), export.example_inputs(model, 3, 10)
    noted = {value.name: value.type.tensor_type for value in proto.graph.value_info}
    assert not noted.keys() & {tensor.name for tensor in proto.graph.initializer}  # `quantize_dynamic` trips over them
    sizes = {"batch": 3, "length": 10, "requests": 6}
    proto.graph.output.extend(proto.graph.value_info)
    off = onnxruntime.SessionOptions()
    off.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = session_of(proto, off)
    for name, array in zip(noted, session.run(list(noted), arrays(inputs)), strict=True):
        dims = [sizes.get(dim.dim_param, dim.dim_value) for dim in noted[name].shape.dim]
        known = [dim.HasField("dim_value") or dim.dim_param in sizes for dim in noted[name].shape.dim]
        assert array.ndim == len(dims) and array.dtype == helper.tensor_dtype_to_np_dtype(noted[name].elem_type)
        assert [n for n, k in zip(array.shape, known, strict=True) if k] == [
            d for d, k in zip(dims, known, strict=True) if k
        ]


def test_the_last_layer_for_the_first_token_has_no_key_and_no_value():
    """What is left of them is read once a text, head by head, and stays in floating point."""
    written = export.graph_of(FirstTokenClassifier(classifier(SHAPES["uniform"], **OPTIONS["BERT"])))
    held = {tensor.name: tensor.dims for tensor in written.graph.initializer}
    last = [name for name in held if ".layers.1.attention.key" in name or ".layers.1.attention.value" in name]
    by_head = [name for name in last if name.endswith(".by_head")]
    assert sorted(len(held[name]) for name in last) == [1, 3, 3] and len(by_head) == 2  # values have their bias
    rounded = {tensor.name for tensor in int8_graph.integer_products(written, 8).graph.initializer}
    assert {*by_head} <= rounded and "encoder.layers.0.attention.key.weight.T" not in rounded


def test_names_and_dimensions():
    model = tiny_classifier()
    proto = export.graph_of(model)
    names = {tensor.name.removesuffix(".T") for tensor in proto.graph.initializer}
    assert {name for name, _ in model.named_parameters()} <= names
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*proto.graph.input, *proto.graph.output)
    }
    assert shapes == dict.fromkeys(export.INPUTS, ["batch", "length"]) | {"logits": ["batch", 2]}
    readers = int8_graph.readers(proto.graph).values()
    assert "layers.0.attention.query, layers.0.attention.key, layers.0.attention.value" in readers
    assert {"layers.1.feed_forward.output", "pooler", "classifier"} <= {*readers}


def test_what_the_graph_does_not_read_is_not_in_it():
    """A head that reads words has no use for the pooler, a layer without heads none for its empty products."""
    proto = export.graph_of(classifier(SHAPES["no heads"], **OPTIONS["words"]))
    names = {tensor.name for tensor in proto.graph.initializer}
    assert not [name for name in names if "pooler" in name or "layers.1.attention.query" in name]
    assert "encoder.layers.1.attention.output.bias" in names
    assert min(numpy_helper.to_array(tensor).size for tensor in proto.graph.initializer) > 0


class Derived(Classifier):
    """Computes otherwise than its base."""

    def forward(self, *args, **options):
        answer = super().forward(*args, **options)
        return answer._replace(logits=answer.logits + 1)


def test_what_computes_otherwise_is_left_to_the_exporter(monkeypatch):
    model = tiny_classifier()
    exchanged = copy.deepcopy(model)
    exchanged.encoder.layers[0].feed_forward.intermediate = nn.Sequential(nn.Linear(16, 32), nn.ReLU())
    others = [Derived(model.encoder.config, 2), exchanged, copy.deepcopy(model).bfloat16(), nn.Linear(2, 2)]
    assert [graph.can_write(other) for other in (model, *others)] == [True, False, False, False, False]
    calls = []
    monkeypatch.setattr(export, "to_onnx", lambda module, *_: calls.append(module.model))
    with fake_quantized(model):
        export.graph_of(model)
        export.graph_of(others[0])
        assert calls == [model, others[0]]
    assert export.graph_of(model) is not None and len(calls) == 2


# The graph for the first token regroups products, which no exporter does: the table above checks its answers.
EXPORTED = {
    "RoBERTa": ("whole", "no heads", OPTIONS["RoBERTa"] | {"activation": "gelu_new", "type_vocab_size": 2}),
    "BERT": ("whole", "uniform", OPTIONS["BERT"]),
    "packed": ("packed", "no neurons", OPTIONS["words"] | {"activation": "relu"}),
}


@pytest.fixture(scope="module", params=EXPORTED)
def both(request, tmp_path_factory):
    """A model, and the files of its graph: as it is written, and as the exporter makes it."""
    kind, shape, options = EXPORTED[request.param]
    model, folder = KINDS[kind](classifier(SHAPES[shape], **options)), tmp_path_factory.mktemp("both")
    exported = export.to_onnx(
        export._LogitsOnly(model), export.example_inputs(model), ["logits"], getattr(model, "dimensions", None)
    )
    for name, proto in (("written", export.graph_of(model)), ("exported", exported)):
        onnx.save(proto, folder / f"{name}.onnx")
    return model, folder / "written.onnx", folder / "exported.onnx"


def predictions(model, file) -> list[np.ndarray]:
    """Logits of the book's sessions: with SkipLayerNormFusion, which these leave out, sums are in another order."""
    session = predictors.onnx_session(file, 1)
    names = [node.name for node in session.get_inputs()]
    return [session.run(["logits"], {name: inputs[name].numpy() for name in names})[0] for inputs in batches(model)]


def test_logits_are_those_of_the_exporters_graph(both):
    model, written, exported = both
    for ours, theirs in zip(predictions(model, written), predictions(model, exported), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def codes_of(file) -> list[list[np.ndarray]]:
    """What the weights of the products became, in the order of the products."""
    proto = onnx.load(file)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    products = [
        node for node in proto.graph.node if node.op_type in ("MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits")
    ]
    return [[held[name] for name in node.input if name in held] for node in products]


@pytest.mark.parametrize(
    "name", ["dynamic", "paper", "static, entropy", "static, smoothed", "embeddings too", "int4 weights"]
)
def test_integers_are_those_of_the_exporters_graph(both, name, tmp_path):
    """Codes, scales, zero points, where known beforehand those of the activations too, and so the answers."""
    model, *files = both
    recipe = replace(recipes.RECIPES[name], weight_bits=recipes.RECIPES[name].weight_bits or 7)
    if recipe.calibrated and isinstance(model, PackedClassifier):
        pytest.skip("calibration texts are not packed")
    made = []
    for file in files:
        texts = calibration.Calibration(onnx.load(file), examples_of([5, 9, 12, 16]), 1) if recipe.calibrated else None
        made.append(recipes.quantize(file, tmp_path / file.name, recipe, texts))
    ours, theirs = map(codes_of, made)
    assert len(ours) == len(theirs) > 1
    for codes, others in zip(ours, theirs, strict=True):
        assert len(codes) == len(others)
        for one, other in zip(codes, others, strict=True):
            np.testing.assert_array_equal(one, other)
    for one, other in zip(*(predictions(model, file) for file in made), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("bits", [0, 7])
def test_a_session_runs_the_same_operators_or_fewer(both, bits):
    """Fusions find what they look for; sizes need not be computed, as a reshape may say that they stay."""
    _, *files = both
    protos = [onnx.load(file) for file in files]
    if bits:
        protos = [int8_graph.integer_products(proto, bits) for proto in protos]
    ours, theirs = (fusions.serve(proto, VARIANTS[WHOLE], 1)[1] for proto in protos)
    kept = ["MatMul", "Gemm", "LayerNormalization", "BiasGelu", "Gelu", "Relu", "Softmax", "Transpose", "Add"]
    kept += [*fusions.INT8_PRODUCTS, "DynamicQuantizeLinear"]
    assert {name: ours.get(name, 0) for name in kept} == {name: theirs.get(name, 0) for name in kept}
    assert theirs["LayerNormalization"] == 5 and sum(ours.values()) < sum(theirs.values())


@pytest.mark.parametrize("share", [0.05, 0.4, 0.75])
@pytest.mark.parametrize("kind", ["whole", "first token"])
def test_tokens_end_in_the_graph_as_they_do_in_the_encoder(kind, share):
    model = KINDS[kind](classifier([(2, 8, 24, share), (3, 4, 10), (1, 7, 5)]))
    session = session_of(export.graph_of(model))
    for inputs in batches(model):  # of one to many rows and tokens, padded
        with torch.inference_mode():
            expected = model(**inputs).logits.numpy()
        np.testing.assert_allclose(session.run(None, arrays(inputs))[0], expected, atol=1e-5, rtol=0)


def test_a_graph_in_which_tokens_end_becomes_integers(tmp_path):
    model = classifier([(2, 8, 24, 0.5), (2, 8, 24)])
    source = export.save_onnx(FirstTokenClassifier(model), tmp_path / "model.onnx")
    int8 = recipes.quantize(source, tmp_path / "int8.onnx", recipes.get_recipe("dynamic"))
    inputs = arrays(export.example_inputs(model, 3, 9))
    ours, theirs = (predictors.onnx_predictor(predictors.onnx_session(path, 1))(inputs) for path in (source, int8))
    assert 0 < np.abs(ours - theirs).max() < 0.5 * np.ptp(ours)
