"""Half layers by themselves: attention with some heads kept, feed-forward with some neurons, ready to be timed.

On ONNX Runtime each is a graph of its own, and every one is compared with PyTorch before it is handed out.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from fflib.engine import export, graph, predictors
from fflib.measure import device
from fflib.model import slicing
from fflib.model.encoder import MASKED, Classifier, EncoderConfig, Layer, LayerShape

Kind = Literal["attention", "feed_forward"]
Name = tuple[Kind | Literal["whole", "rest", "last"], int]  # of a half layer, with the units it kept; 0 for the others
Piece = Callable[[Mapping[str, np.ndarray]], np.ndarray]
KINDS: tuple[Kind, Kind] = ("attention", "feed_forward")
TOKENS = ("input_ids", "attention_mask", "token_type_ids")
CHECKED = (2, 7)  # requests and tokens of the batch that the graphs are checked on
SESSIONS = 3  # of each graph, in turn: where its weights lie in memory favours a session, or not, as long as it lives


def half(layer: Layer, kind: Kind, state: Tensor, mask: Tensor) -> Tensor:
    """One half of :meth:`Layer.forward` without its dropout: [batch, length, hidden] -> the same shape."""
    if kind == "attention":
        return layer.attention_norm(state + layer.attention(state, mask, None, False)[0])
    return layer.feed_forward_norm(state + layer.feed_forward(state, None))


def inputs(config: EncoderConfig, rows: int, length: int) -> dict[str, np.ndarray]:
    """Random arguments of every piece: `TOKENS`, "state" and "mask"; after the first row, half is padding."""
    rng, is_token = np.random.default_rng(length), np.ones((rows, length), np.int64)
    is_token[1:, (length + 1) // 2 :] = 0
    arrays = rng.integers(config.vocab_size, size=(rows, length)), is_token, np.zeros_like(is_token)
    state = rng.standard_normal((rows, length, config.hidden_size), np.float32)
    mask = (1 - is_token[:, None, None, :].astype(np.float32)) * np.float32(MASKED)
    return {**dict(zip(TOKENS, arrays, strict=True)), "state": state, "mask": mask}


def pieces(
    model: Classifier, engine: str, threads: int, heads: Sequence[int], neurons: Sequence[int], seed: int = 0
) -> dict[Name, Piece]:
    """Return on ``engine``, one of `predictors.ENGINES`: ``model``, it without layers, and a half layer for each count.

    Each takes `inputs`. Half layers have random weights and the widths of ``model``, which has heads of one size. On
    ONNX Runtime the model is the graph that is served (`graph.first_token`). If its last layer is computed for the
    first token alone, that layer is a piece too, "last".

    Raises:
        AssertionError: the output of a graph differs from PyTorch's by more than `export.rounding`.
    """
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # PyTorch warns of layers without units
        big = _largest(model.encoder.config, max(heads), max(neurons), seed)
        layers = {("attention", n): _cut(big, n, 0) for n in heads}
        layers |= {("feed_forward", n): _cut(big, 0, n) for n in neurons}
        whole, rest = slicing.slice_model(model), slicing.slice_model(model, layers=[])
    in_torch = {
        ("whole", 0): _torch_piece(lambda *tokens: whole(*tokens).logits, TOKENS),
        ("rest", 0): _torch_piece(lambda *tokens: rest(*tokens).logits, TOKENS),
    }
    in_torch |= {name: _torch_piece(partial(half, layer, name[0]), ("state", "mask")) for name, layer in layers.items()}
    if engine == "pytorch":
        return in_torch
    in_onnx = _onnx_pieces({"whole": whole, "rest": rest}, layers, threads)
    if ("last", 0) in in_onnx:
        last = whole.encoder.layers[-1]
        in_torch["last", 0] = _torch_piece(
            lambda state, mask: last(state, mask, (None, None), False, first_only=True)[0], ("state", "mask")
        )
    batch = inputs(model.encoder.config, *CHECKED)
    for name, piece in in_onnx.items():
        expected = in_torch[name](batch)
        off, limit = float(np.abs(piece(batch) - expected).max()), export.rounding(expected)
        assert off <= limit, f"the graph of {name} is off by {off:.2g}, more than {limit:.2g}"
    return in_onnx


def _largest(config: EncoderConfig, heads: int, neurons: int, seed: int) -> Classifier:
    """One layer with as many units as are wanted at most."""
    shape = LayerShape(heads, config.layers[0].head_size, neurons)
    tiny = {"vocab_size": config.pad_token_id + 1, "layers": (shape,)}  # a model, for `slicing` to cut
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        big = Classifier(replace(config, **tiny), num_labels=2)
        for parameter in big.parameters():  # attention far from uniform, so that a wrong graph would show
            parameter.data += torch.randn_like(parameter) / config.hidden_size**0.5
    return device.placed(big).eval()


def _cut(big: Classifier, heads: int, neurons: int) -> Layer:
    return slicing.slice_model(big, heads=[range(heads)], neurons=[range(neurons)]).encoder.layers[0]


def _torch_piece(function: Callable[..., Tensor], names: Sequence[str]) -> Piece:
    def run(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            tensors = (torch.from_numpy(arrays[name]).to(device.in_use()) for name in names)
            return function(*tensors).cpu().numpy()

    return run


def _onnx_pieces(models: Mapping[str, Classifier], layers: Mapping[Name, Layer], threads: int) -> dict[Name, Piece]:
    whole, config = models["whole"], models["whole"].encoder.config
    graphs = {("whole", 0): graph.first_token(whole), ("rest", 0): export.graph_of(models["rest"])}
    parts: dict[str, Callable[..., Any]] = {
        "attention": graph.attention_half,
        "feed_forward": lambda written, layer, state, _: graph.feed_forward_half(written, layer, state),
    }
    graphs |= {(kind, n): _part_graph(layer, parts[kind], config) for (kind, n), layer in layers.items()}
    if config.layers and not config.spans:
        graphs["last", 0] = _part_graph(whole.encoder.layers[-1], graph.last_layer, config)
    return {
        name: _onnx_piece([predictors.onnx_session(proto, threads) for _ in range(SESSIONS)])
        for name, proto in graphs.items()
    }


def _part_graph(layer: Layer, write: Callable[..., Any], config: EncoderConfig) -> onnx.ModelProto:
    """Write a part of a layer, a function of `graph`, from "state" and "mask"."""
    shapes = {"state": (*graph.ROWS, config.hidden_size), "mask": ("batch", 1, 1, "length")}
    written = graph.Graph(layer, config, shapes, graph.FLOATS)
    return written.finished(write(written, layer, *written.inputs.values()), "states")


def _onnx_piece(sessions: Sequence[onnxruntime.InferenceSession]) -> Piece:
    names, turns = [node.name for node in sessions[0].get_inputs()], itertools.cycle(sessions)

    def run(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        return next(turns).run(None, {name: arrays[name] for name in names})[0]

    return run
