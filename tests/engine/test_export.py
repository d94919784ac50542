"""ONNX files against the PyTorch model they come from: values, reuse, damage, and a model left as it was."""

from __future__ import annotations

import copy
import logging
import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from fflib.engine import export, graph
from fflib.files import InputError
from fflib.model.encoder import Classifier, EncoderConfig, LayerShape

UNIFORM = (LayerShape(2, 8, 24),) * 2
PRUNED = (LayerShape(3, 4, 10), LayerShape(0, 4, 6), LayerShape(1, 7, 0), LayerShape(0, 4, 0))
NAMES = ("input_ids", "attention_mask", "token_type_ids")
VOCABULARY = 50

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


def classifier(shapes, seed=0) -> Classifier:
    """A model whose weights are large enough for attention to be far from uniform."""
    torch.manual_seed(seed)
    model = Classifier(EncoderConfig(VOCABULARY, 16, shapes, max_position_embeddings=64), num_labels=3).eval()
    for parameter in model.parameters():
        if parameter.numel():
            nn.init.normal_(parameter, 0.05, 0.3)
    return model


def batch(rows, length, seed=0) -> dict[str, Tensor]:
    """Random tokens of two types; the last row is padded."""
    generator = torch.Generator().manual_seed(seed)
    ids, types = (torch.randint(high, (rows, length), generator=generator) for high in (VOCABULARY, 2))
    mask = torch.ones_like(ids)
    mask[-1, length // 2 + 1 :] = 0
    return dict(zip(NAMES, (ids, mask, types), strict=True))


def answers(path, inputs) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})[0]


def differences(path, model) -> list[float]:
    with torch.no_grad():
        pairs = [(answers(path, inputs), model(**inputs).logits.numpy()) for inputs in map(batch, *SIZES)]
    return [float(np.abs(got - wanted).max()) for got, wanted in pairs]


SIZES = ((3, 1, 2, 1, 8), (9, 1, 30, 64, 8))  # rows, lengths; 64 is as long as the model's positions go


@pytest.fixture(scope="module")
def uniform(tmp_path_factory):
    """A model with one of its parts in training mode, the file of it, and the flags and random state around that."""
    model = classifier(UNIFORM)
    model.encoder.layers[1].train()
    before, state = modes(model), torch.random.get_rng_state()
    path = export.save_onnx(model, tmp_path_factory.mktemp("uniform") / "new" / "model.onnx")
    return model, path, (before, modes(model)), torch.equal(state, torch.random.get_rng_state())


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    model = classifier(PRUNED)
    return model, export.save_onnx(model, tmp_path_factory.mktemp("pruned") / "model.onnx")


def modes(module) -> dict[str, bool]:
    return {name: part.training for name, part in module.named_modules()}


@pytest.fixture
def exports(monkeypatch, uniform):
    """Stand-in for both ways to a graph, ours and the exporter's: note each call, return the graph of ``uniform``."""
    calls = []

    def to_onnx(*args):
        calls.append(args)
        return onnx.load(uniform[1])

    monkeypatch.setattr(export, "to_onnx", to_onnx)
    monkeypatch.setitem(graph.WRITERS, Classifier, to_onnx)
    return calls


class Mixed(nn.Module):
    """Arguments out of order, one of them a vector; two outputs; dropout that would show."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).eval()
        self.dropout = nn.Dropout(0.5)

    def forward(self, first: Tensor, second: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        return self.frozen(self.dropout(first - 2 * second)), first.sum(-1) * scale[:, None]


def mixed_inputs(rows, length) -> dict[str, Tensor]:
    return {"scale": torch.randn(rows), "second": torch.randn(rows, length, 4), "first": torch.randn(rows, length, 4)}


def test_any_module_quietly_and_left_as_it_was(capfd, caplog, recwarn):
    """First in this file: some of the exporter's messages come once a process."""
    module, level = Mixed(), logging.root.manager.disable
    before = modes(module)
    proto = export.to_onnx(module, mixed_inputs(2, 3), ["difference", "total"])
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]  # what would be printed
    assert not recwarn.list
    assert logging.root.manager.disable == level
    assert modes(module) == before
    assert len(set(before.values())) == 2

    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_outputs()] == ["difference", "total"]
    module.eval()
    for rows, length in ((5, 1), (1, 7)):
        inputs = mixed_inputs(rows, length)
        got = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        for array, tensor in zip(got, module(**inputs), strict=True):
            np.testing.assert_allclose(array, tensor.detach(), atol=1e-5)


def test_file_equals_model_at_other_sizes(uniform):
    model, path, _, _ = uniform
    assert max(differences(path, copy.deepcopy(model).eval())) < 1e-5


def test_layers_without_heads_or_neurons(pruned):
    model, path = pruned
    assert max(differences(path, model)) < 1e-5


def test_quantize_dynamic_takes_the_file(pruned, tmp_path):
    """It does not if the graph notes the shapes of weights; what it makes still tells whose weights it holds."""
    model, path = pruned
    small = tmp_path / "int8.onnx"
    options = {"weight_type": QuantType.QInt8, "per_channel": True, "op_types_to_quantize": ["MatMul"]}
    quantize_dynamic(path, small, **options, extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
    assert "MatMulInteger" in {node.op_type for node in onnx.load(small).graph.node}
    assert max(differences(small, model)) < 0.5
    export.check_belongs(small, model)


def test_dimensions_are_shared(uniform):
    made = onnx.load(uniform[1]).graph
    shapes = {
        node.name: [axis.dim_param or axis.dim_value for axis in node.type.tensor_type.shape.dim]
        for node in (*made.input, *made.output)
    }
    assert shapes == dict.fromkeys(NAMES, ["batch", "length"]) | {"logits": ["batch", 3]}


def test_a_model_of_ours_is_written_quietly_without_the_exporter(monkeypatch, tmp_path, capfd, caplog, recwarn):
    monkeypatch.setattr(export, "to_onnx", None)
    model, level = classifier(UNIFORM), logging.root.manager.disable
    assert max(differences(export.save_onnx(model, tmp_path / "model.onnx"), model)) < 1e-5
    assert capfd.readouterr() == ("", "") and not caplog.records and not recwarn.list
    assert logging.root.manager.disable == level


def test_save_leaves_modes_and_random_numbers(uniform):
    _, _, (before, after), same_random_state = uniform
    assert before == after
    assert len(set(before.values())) == 2
    assert same_random_state


def test_file_is_kept_while_nothing_changed(uniform, exports):
    model, path, _, _ = uniform
    os.utime(path, (1, 1))
    assert export.save_onnx(model, path) == path
    assert export.save_onnx(copy.deepcopy(model), str(path)) == path
    assert path.stat().st_mtime == 1
    assert not exports


@pytest.mark.parametrize("what", ["version", "code", "writer", "damage"])
def test_file_is_made_again(uniform, exports, monkeypatch, tmp_path, what):
    model, original, _, _ = uniform
    path = tmp_path / "model.onnx"
    whole = original.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if what == "damage" else whole)
    if what == "version":
        monkeypatch.setattr(export.importlib.metadata, "version", lambda name: "0")
    elif what in ("code", "writer"):
        changed = tmp_path / "changed.py"
        changed.write_text("another forward pass")
        monkeypatch.setattr(export.encoder if what == "code" else graph, "__file__", str(changed))
    export.save_onnx(model, path)
    export.save_onnx(model, path)
    assert len(exports) == 1
    assert [path.name for path in tmp_path.glob("*onnx*")] == ["model.onnx"]
    assert max(differences(path, copy.deepcopy(model).eval())) < 1e-5


def test_other_weights_replace_the_file(pruned, tmp_path):
    old, original = pruned
    path = tmp_path / "model.onnx"
    path.write_bytes(original.read_bytes())
    new = copy.deepcopy(old)
    with torch.no_grad():
        new.classifier.bias += 1
    with pytest.raises(InputError, match="not exported from these weights"):
        export.check_belongs(path, new)
    export.save_onnx(new, path)
    export.check_belongs(path, new)
    with torch.no_grad():
        np.testing.assert_allclose(answers(path, batch(2, 6)), old(**batch(2, 6)).logits + 1, atol=1e-5)


class Halved(Classifier):
    """Has inputs of its own."""

    dimensions = {"token_type_ids": ("batch",)}

    def example_inputs(self, tokens: dict[str, Tensor]) -> dict[str, Tensor]:
        return tokens | {"input_ids": tokens["input_ids"] // 2}


def test_a_model_may_tell_its_inputs(uniform, exports, tmp_path):
    """The parity check feeds them as well, and the code of the model's class counts, wherever it lies."""
    model, fed = Halved(uniform[0].encoder.config, 3), []
    model.load_state_dict(uniform[0].state_dict())
    model.register_forward_pre_hook(lambda _, args, inputs: fed.append(inputs), with_kwargs=True)
    export.save_onnx(model, tmp_path / "model.onnx")
    ((_, inputs, _, dimensions),) = exports
    assert inputs.keys() == set(NAMES) and dimensions == Halved.dimensions
    assert inputs["input_ids"].shape == export.TRACED
    assert [tuple(given["input_ids"].shape) for given in fed] == list(export.CHECKED)
    assert max(int(given["input_ids"].max()) for given in (inputs, *fed)) < VOCABULARY // 2
    old, new = export.notes(uniform[1]), export.notes(tmp_path / "model.onnx")
    assert old["weights"] == new["weights"] and old["fingerprint"] != new["fingerprint"]


def test_wrong_graph_is_not_written(uniform, exports, tmp_path):
    model = copy.deepcopy(uniform[0])
    with torch.no_grad():
        model.classifier.bias[1] += 0.25
    with pytest.raises(AssertionError, match="off by 0.25 "):
        export.save_onnx(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_rounding_grows_with_the_logits_and_a_wrong_graph_is_still_refused(uniform, tmp_path):
    """A teacher of many layers may have logits of a hundred and more, and fp32 keeps seven digits of each."""
    model = copy.deepcopy(uniform[0])
    with torch.no_grad():
        model.classifier.weight *= 1e4
        model.classifier.bias *= 1e4
    assert export.rounding(np.array([[-0.5, 0.2]])) == export.TOLERANCE
    proto = onnx.load(export.save_onnx(model, tmp_path / "large.onnx"))
    scale = float(model(**export.example_inputs(model, 3, 11)).logits.detach().abs().max())
    assert scale > 100
    with torch.no_grad():
        model.classifier.bias[1] += 0.01 * scale
    with pytest.raises(AssertionError, match="off by"):
        export.assert_parity(model, proto)


def test_check_belongs(uniform, pruned, tmp_path):
    export.check_belongs(uniform[1], uniform[0])
    with pytest.raises(InputError, match="not exported from these weights"):
        export.check_belongs(uniform[1], pruned[0])
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(InputError, match="not exported"):
        export.check_belongs(tmp_path / "empty.onnx", uniform[0])


@pytest.mark.parametrize("content", [None, b"this is no graph " * 9, "half"])
def test_missing_or_damaged_file(uniform, tmp_path, content):
    path = tmp_path / "model.onnx"
    if content is not None:
        whole = uniform[1].read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(InputError, match="model.onnx is missing or is no readable ONNX file") as error:
        export.check_belongs(path, uniform[0])
    assert "\n" not in str(error.value)
