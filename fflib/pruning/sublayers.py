"""Half layers by themselves: attention with some heads kept, feed-forward with some neurons, ready to be timed.

On ONNX Runtime each is a graph of its own. An export takes seconds, so there is one: of a layer that is larger than all
that are wanted. The others are cut from its graph, and every one is compared with PyTorch before it is handed out.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import onnx
import onnx.utils
import onnxruntime
import torch
from torch import Tensor, nn

from fflib.engine import export, predictors
from fflib.model import slicing
from fflib.model.encoder import MASKED, Classifier, EncoderConfig, Layer, LayerShape

Kind = Literal["attention", "feed_forward"]
Name = tuple[Kind | Literal["whole", "rest"], int]  # of a half layer, with the units it has kept; 0 for the other two
Piece = Callable[[Mapping[str, np.ndarray]], np.ndarray]
KINDS: tuple[Kind, Kind] = ("attention", "feed_forward")
TOKENS = ("input_ids", "attention_mask", "token_type_ids")
TOLERANCE = 1e-4  # of logits and of normalised states
CHECKED = (2, 7)  # requests and tokens of the batch that the graphs are checked on
SESSIONS = 3  # of each graph, in turn: where its weights lie in memory favours a session, or not, as long as it lives
SMALLEST = 11  # of the exported layer's sizes: not a number that stands in a graph for something else, as an axis does


class _Everything(nn.Module):
    """All pieces in one graph: a model, it without layers, the mask, and the states of a chain of half layers."""

    def __init__(self, whole: Classifier, rest: Classifier, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.whole, self.rest, self.layers = whole, rest, nn.ModuleList(layers)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        tokens = (input_ids, attention_mask, token_type_ids)
        states = [self.whole.encoder.embeddings(input_ids, token_type_ids)]
        mask = (1 - attention_mask[:, None, None, :].to(states[0].dtype)) * MASKED
        for layer, kind in itertools.product(self.layers, KINDS):
            states.append(half(layer, kind, states[-1], mask))
        return self.whole(*tokens).logits, self.rest(*tokens).logits, mask, *states


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

    Each takes `inputs`. Half layers have random weights and the widths of ``model``, which has heads of one size.

    Raises:
        AssertionError: the output of a graph differs from PyTorch's by more than 1e-4.
    """
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # PyTorch warns of layers without units
        big = _larger(model.encoder.config, max(heads), max(neurons), seed)
        layers = {("attention", n): _cut(big, n, 0) for n in heads}
        layers |= {("feed_forward", n): _cut(big, 0, n) for n in neurons}
        nothing = _cut(big, 0, 0)
        whole, rest = slicing.slice_model(model), slicing.slice_model(model, layers=[])
    in_torch = {
        ("whole", 0): _torch_piece(lambda *tokens: whole(*tokens).logits, TOKENS),
        ("rest", 0): _torch_piece(lambda *tokens: rest(*tokens).logits, TOKENS),
    }
    in_torch |= {name: _torch_piece(partial(half, layer, name[0]), ("state", "mask")) for name, layer in layers.items()}
    if engine == "pytorch":
        return in_torch
    in_onnx = _onnx_pieces(_Everything(whole, rest, [big.encoder.layers[0], nothing]), list(in_torch), threads)
    batch = inputs(model.encoder.config, *CHECKED)
    for name, piece in in_onnx.items():
        off = float(np.abs(piece(batch) - in_torch[name](batch)).max())
        assert off <= TOLERANCE, f"the graph of {name} is off by {off:.2g}, more than {TOLERANCE:.2g}"
    return in_onnx


def _larger(config: EncoderConfig, heads: int, neurons: int, seed: int) -> Classifier:
    """One layer with more units than are wanted, whose sizes nothing else in its graph has: `_resize` goes by them."""
    hidden, size = config.hidden_size, config.layers[0].head_size
    heads = next(n for n in itertools.count(max(heads + 1, SMALLEST)) if not {n, n * size} & {hidden, size})
    taken = {hidden, size, heads, heads * size}
    neurons = next(n for n in itertools.count(max(neurons + 1, SMALLEST)) if n not in taken)
    tiny = {"vocab_size": config.pad_token_id + 1, "layers": (LayerShape(heads, size, neurons),)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        big = Classifier(replace(config, **tiny), num_labels=2)
        for parameter in big.parameters():  # attention far from uniform, so that a wrong graph would show
            parameter.data += torch.randn_like(parameter) / hidden**0.5
    return big.eval()


def _cut(big: Classifier, heads: int, neurons: int) -> Layer:
    return slicing.slice_model(big, heads=[range(heads)], neurons=[range(neurons)]).encoder.layers[0]


def _torch_piece(function: Callable[..., Tensor], names: Sequence[str]) -> Piece:
    def run(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            return function(*(torch.from_numpy(arrays[name]) for name in names)).numpy()

    return run


def _onnx_pieces(everything: _Everything, names: Sequence[Name], threads: int) -> dict[Name, Piece]:
    """Export once and cut out each piece. The chain is the larger layer, then one without any units."""
    example = inputs(everything.whole.encoder.config, *export.TRACED)
    tokens = {name: torch.from_numpy(example[name]) for name in TOKENS}  # no two the same tensor: they would be merged
    states = [f"state_{i}" for i in range(2 * len(everything.layers) + 1)]
    proto = export.to_onnx(everything, tokens, ["whole", "rest", "mask", *states])
    graphs, attention = onnx.utils.Extractor(proto), everything.layers[0].attention
    heads, width = attention.num_heads, attention.output.in_features
    neurons, found = everything.layers[0].feed_forward.intermediate.out_features, {}
    for kind, count in names:
        if kind not in KINDS:
            graph = graphs.extract_model([*TOKENS], [kind])
        else:
            first = KINDS.index(kind) + 2 * (count == 0)
            # The tokens as well: a graph takes the numbers of rows and of tokens from them.
            graph = graphs.extract_model([states[first], "mask", *TOKENS], [states[first + 1]])
            sizes = {heads: count, width: count * attention.head_size} if kind == "attention" else {neurons: count}
            _resize(graph.graph, sizes)
        found[kind, count] = _onnx_piece([predictors.onnx_session(graph, threads) for _ in range(SESSIONS)])
    return found


def _resize(graph: onnx.GraphProto, sizes: Mapping[int, int]) -> None:
    """Keep the first units only: whatever is of a size among the keys, or says that size, gets the new one."""
    for tensor in graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.int64:
            array = np.array([sizes.get(n, n) for n in array.flat], np.int64).reshape(array.shape)
        else:
            array = np.array(array[tuple(slice(sizes.get(n, n)) for n in array.shape)], order="C")
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in graph.value_info:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value in sizes:
                dim.dim_value = sizes[dim.dim_value]


def _onnx_piece(sessions: Sequence[onnxruntime.InferenceSession]) -> Piece:
    # The state that a piece starts from is named for its place in the chain.
    names = {node.name: "state" if node.name.startswith("state") else node.name for node in sessions[0].get_inputs()}
    turns = itertools.cycle(sessions)

    def run(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        return next(turns).run(None, {name: arrays[source] for name, source in names.items()})[0]

    return run
