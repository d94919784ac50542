"""From PyTorch to ONNX: one file for any batch size and length, checked against the model before it is kept."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from torch import Tensor, nn

from fflib.data.task import SEGMENTS
from fflib.engine import graph
from fflib.files import InputError, atomic_path, content_hash
from fflib.model import cache, encoder
from fflib.model import config as encoder_config

TOLERANCE = 1e-4  # of a logit about one: far above rounding in fp32, far below anything that is wrong
TRACED, CHECKED = (2, 8), ((3, 11), (1, 5))  # batch and length of the example, and of the batches that test the graph
DIMENSIONS, INPUTS = ("batch", "length"), ("input_ids", "attention_mask", "token_type_ids")


class _LogitsOnly(nn.Module):
    """A graph has tensors for outputs, and every output costs: of a classifier's, only the logits are kept."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        # The exporter takes the arguments of a graph from the signature of `forward`: it must be the model's own.
        self.forward = functools.wraps(model.forward)(lambda **inputs: model(**inputs).logits)


def to_onnx(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    output_names: Sequence[str],
    dimensions: Mapping[str, Sequence[str]] | None = None,
) -> onnx.ModelProto:
    """Return ``module`` as an ONNX graph, for inference; the module is left as it was.

    ``inputs`` are examples of the arguments of its ``forward``, by name. Their first two dimensions, batch and length,
    may have any size later; for an input where these are others, ``dimensions`` names them. In the example give each
    name a size that no other has, and not 1. The further dimensions of an input keep their size.
    Each input must be a tensor object of its own: the exporter takes one object given twice for one input.
    """
    named = dict.fromkeys(inputs, DIMENSIONS) | dict(dimensions or {})
    axes = {name: dict(enumerate(named[name][: tensor.ndim])) for name, tensor in inputs.items()}
    with _evaluating(module), quiet():
        names = {"input_names": list(inputs), "output_names": list(output_names)}
        options = {"dynamo": True, "dynamic_shapes": axes, "verbose": False}
        program = torch.onnx.export(module, kwargs=dict(inputs), **names, **options)
    return _without_shapes_of_weights(program.model_proto)  # made anew at each access


def _without_shapes_of_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Forget them: `quantize_dynamic` trips over noted shapes of the weights it replaces.

    Those of other values stay: ONNX Runtime fuses some operators only where it is told that two have the same shape.
    """
    weights = {tensor.name for tensor in proto.graph.initializer}
    noted = [value for value in proto.graph.value_info if value.name not in weights]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(noted)
    return proto


def graph_of(model: nn.Module) -> onnx.ModelProto:
    """Return the graph that `save_onnx` writes, unchecked: that of `graph` for our own models, else the exporter's."""
    if graph.can_write(model):
        return _without_shapes_of_weights(graph.WRITERS[type(model)](model))
    return by_pytorch(model)


def by_pytorch(model: nn.Module) -> onnx.ModelProto:
    """Return the graph that `torch.onnx.export` makes of a model as `save_onnx` takes it; that takes seconds."""
    return to_onnx(_LogitsOnly(model), example_inputs(model), ["logits"], getattr(model, "dimensions", None))


def save_onnx(model: nn.Module, path: Path) -> Path:
    """Write an ONNX file: input_ids, attention_mask, token_type_ids [batch, length] -> logits [batch, num_labels].

    A file that is there already and comes from the same weights, versions and code is kept.

    Args:
        model: a `Classifier`, or a module with its ``encoder`` whose output has ``logits`` too. If it takes other
            inputs it has a method ``example_inputs``, which makes them of random ones of a classifier, and an attribute
            ``dimensions`` for `to_onnx`.

    Raises:
        AssertionError: the graph's logits differ from the model's by more than `rounding`; nothing is written then.
    """
    path, weights = Path(path), cache.weights_hash(model)
    fingerprint = _fingerprint(weights, inspect.getfile(type(model)))
    with suppress(InputError):  # not there yet, or damaged
        if notes(path).get("fingerprint") == fingerprint:
            return path
    proto = graph_of(model)
    onnx.helper.set_model_props(proto, {"weights": weights, "fingerprint": fingerprint})
    assert_parity(model, proto)
    with atomic_path(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())
    return path


def check_belongs(path: str | Path, model: nn.Module) -> None:
    """Raise InputError unless ``path`` is what `save_onnx` made of the weights of ``model``, quantised or not."""
    if notes(path).get("weights") != cache.weights_hash(model):
        raise InputError(f"{path} was not exported from these weights; export the model again")


def load(path: str | Path) -> onnx.ModelProto:
    """Read an ONNX file; InputError: it is missing or damaged."""
    try:
        return onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise InputError(f"{path} is missing or is no readable ONNX file ({error}); export it again") from error


def notes(graph: str | Path | onnx.ModelProto) -> dict[str, str]:
    """Return the notes in a graph or in the file of one, those of `save_onnx` among them; InputError as in `load`."""
    proto = graph if isinstance(graph, onnx.ModelProto) else load(graph)
    return {entry.key: entry.value for entry in proto.metadata_props}


def _fingerprint(weights: str, model_code: str) -> str:
    """Hash all that decides the graph: the weights, the code of the model and of what writes it, the exporter."""
    versions = [importlib.metadata.version(name) for name in ("torch", "onnx", "onnxscript")]
    code = [Path(file) for file in (__file__, graph.__file__, encoder.__file__, encoder_config.__file__, model_code)]
    return content_hash(weights, versions, *code)


def example_inputs(model: nn.Module, rows: int = TRACED[0], length: int = TRACED[1]) -> dict[str, Tensor]:
    """Return random inputs of ``model`` by name, for texts of ``length`` tokens at most."""
    tokens = _random_tokens(model, rows, length)
    return model.example_inputs(tokens) if hasattr(model, "example_inputs") else tokens


def _random_tokens(model: nn.Module, rows: int, length: int) -> dict[str, Tensor]:
    """Random tokens, int64 [rows, length]; all but the first row are padded by half."""
    config, device = model.encoder.config, next(model.parameters()).device
    rng = np.random.default_rng(rows)  # not PyTorch's generator: an export must not change what is drawn after it
    shape = (rows, min(length, config.max_position_embeddings - config.position_offset))
    mask = np.ones(shape, np.int64)
    mask[1:, (shape[1] + 1) // 2 :] = 0
    ids = np.where(mask, rng.integers(config.vocab_size, size=shape), config.pad_token_id)
    types = rng.integers(config.type_vocab_size, size=shape)
    marks = rng.integers(config.spans + 1, size=shape) * SEGMENTS  # of words, where the head reads words
    arrays = (ids, mask, types + marks if config.spans else types)
    return {name: torch.from_numpy(array).to(device) for name, array in zip(INPUTS, arrays, strict=True)}


def assert_parity(model: nn.Module, proto: onnx.ModelProto) -> None:
    """Raise AssertionError unless the graph's logits on random texts are those of ``model``, but for `rounding`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for rows, length in CHECKED:
        inputs = example_inputs(model, rows, length)
        (got,) = session.run(["logits"], {node.name: inputs[node.name].cpu().numpy() for node in session.get_inputs()})
        with _evaluating(model), torch.inference_mode():
            expected = model(**inputs).logits.cpu().numpy()
        off = float(np.abs(got - expected).max())
        assert off <= rounding(expected), (
            f"the ONNX graph's logits are off by {off:.2g} on a batch of {rows} x {length} tokens"
        )


def rounding(values: np.ndarray) -> float:
    """Return by how much two engines in fp32 may differ in ``values``: it grows with the largest of them."""
    return TOLERANCE * max(1.0, float(np.abs(values).max()))


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put ``module`` in evaluation mode, then every submodule back in its own mode: they need not agree."""
    flags = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in flags.items():
            part.training = training


@contextmanager
def quiet() -> Iterator[None]:
    """Keep advice that tools give as warnings and in logs out of a notebook; errors are raised as ever."""
    disabled = logging.root.manager.disable
    logging.disable(max(disabled, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
