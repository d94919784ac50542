"""Structured pruning: from a model to a smaller one of some of its layers, heads, neurons and hidden units.

Units are removed physically, so the result is an ordinary, merely narrower, `Classifier`: no masks, no sparse kernels.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from fflib.files import InputError
from fflib.model import checkpoints
from fflib.model.config import LayerShape
from fflib.model.encoder import Classifier

Indices = Sequence[int]
Counts = tuple[int, int] | None  # heads and neurons that a layer keeps; None: the layer goes
Axes = tuple[str | None, ...]  # which units the dimensions of a weight stand for; None: no unit of these kinds
AXES: dict[str, Axes] = {  # of each module's weight; a bias has the first of them
    **dict.fromkeys((f"encoder.embeddings.{name}" for name in ("word", "position", "token_type")), (None, "hidden")),
    **dict.fromkeys(("encoder.embeddings.norm", "attention_norm", "feed_forward_norm"), ("hidden",)),
    **dict.fromkeys(("attention.query", "attention.key", "attention.value"), ("heads", "hidden")),
    "attention.output": ("hidden", "heads"),
    "feed_forward.intermediate": ("neurons", "hidden"),
    "feed_forward.output": ("hidden", "neurons"),
    "encoder.pooler": ("hidden", "hidden"),
    "classifier": (None, "read"),
}


def top(scores: Tensor, count: int) -> list[int]:
    """Return the indices of the ``count`` largest of ``scores`` [n], ascending; of equals the first are taken."""
    if not 0 <= count <= len(scores):
        raise InputError(f"cannot keep {count} of {len(scores)}; give a number from 0 to {len(scores)}")
    return sorted(scores.argsort(descending=True, stable=True)[:count].tolist())


class Kept(NamedTuple):
    """Which parts of a model stay, as `slice_model` takes them: ``slice_model(model, *kept)``."""

    layers: tuple[int, ...]
    heads: tuple[tuple[int, ...], ...]
    neurons: tuple[tuple[int, ...], ...]

    @property
    def counts(self) -> list[tuple[int, int]]:
        """Heads and neurons of each kept layer."""
        return [(len(heads), len(neurons)) for heads, neurons in zip(self.heads, self.neurons, strict=True)]


def uniform(text: str, shapes: Sequence[LayerShape]) -> list[tuple[int, int]]:
    """Return how many heads and neurons each layer keeps by "33/50": per cent of both to remove, as the paper has it.

    InputError: it is written otherwise, or removes less than nothing or more than there is.
    """
    parts = text.split("/")
    if len(parts) != 2 or not all(part.strip().isdecimal() and int(part) <= 100 for part in parts):
        raise InputError(f"the shape {text!r} is not HEADS/NEURONS, per cent to remove from 0 to 100; write '33/50'")
    heads, neurons = (1 - int(part) / 100 for part in parts)
    return [(round(heads * shape.num_heads), round(neurons * shape.intermediate_size)) for shape in shapes]


def keep_top(
    heads: Sequence[Tensor],
    neurons: Sequence[Tensor],
    counts: Sequence[Counts],
    choose: Callable[[Tensor, int], list[int]] = top,
) -> Kept:
    """Keep of each layer as many heads and neurons as ``counts`` says, those of the largest scores.

    ``heads`` and ``neurons`` have the scores of each layer, [num_heads] and [intermediate_size], or whatever ``choose``
    takes to choose as many by.
    InputError: the counts are not one for each layer, or more are asked for than there are.
    """
    if not len(heads) == len(neurons) == len(counts):
        raise InputError(
            f"counts are given for {len(counts)} layers, but the model has {len(heads)}; give one for each"
        )
    layers = [i for i, count in enumerate(counts) if count is not None]
    return Kept(
        tuple(layers),
        tuple(tuple(choose(heads[i], counts[i][0])) for i in layers),
        tuple(tuple(choose(neurons[i], counts[i][1])) for i in layers),
    )


def slice_model(
    model: Classifier,
    layers: Indices | None = None,
    heads: Sequence[Indices] | None = None,
    neurons: Sequence[Indices] | None = None,
    hidden: Indices | None = None,
) -> Classifier:
    """Return a new, smaller model of the named parts, in evaluation mode; it shares no memory with ``model``.

    Indices are those of ``model`` and keep their order; None keeps all. ``heads`` and ``neurons`` have one sequence for
    each *kept* layer, of any length: with none, that half of the layer is only bias, residual and LayerNorm. The units
    in ``hidden`` (at least one) are kept in embeddings, layers, pooler and classifier alike.
    InputError: an index does not exist or stands twice, or the sequences are not as many as the kept layers.
    """
    config = model.encoder.config
    kept = _checked(layers, len(config.layers), "layers")
    old_shapes = [config.layers[i] for i in kept]
    kept_heads = _checked_each(heads, [shape.num_heads for shape in old_shapes], kept, "heads")
    kept_neurons = _checked_each(neurons, [shape.intermediate_size for shape in old_shapes], kept, "neurons")
    kept_hidden = _checked(hidden, config.hidden_size, "hidden units")
    if not kept_hidden:
        raise InputError("a model without hidden units computes nothing; keep at least one")
    # What the head reads is the hidden units of the first token, or of each of its words, side by side.
    read = [word * config.hidden_size + unit for word in range(max(1, config.spans)) for unit in kept_hidden]
    # old layer -> what names begin with now, what to keep
    shapes, units = [], {None: ("", {"hidden": kept_hidden, "read": read})}
    for new, (old, shape, *chosen) in enumerate(zip(kept, old_shapes, kept_heads, kept_neurons, strict=True)):
        shapes.append(replace(shape, num_heads=len(chosen[0]), intermediate_size=len(chosen[1])))
        rows = [head * shape.head_size + row for head in chosen[0] for row in range(shape.head_size)]
        units[old] = f"encoder.layers.{new}.", {"heads": rows, "neurons": chosen[1], "hidden": kept_hidden}
    state = {}
    for layer, name, axes, weight in named_weights(model):
        if layer in units:
            prefix, keep = units[layer]
            state[prefix + name] = _select(weight, axes, keep)
    new_config = replace(config, hidden_size=len(kept_hidden), layers=tuple(shapes))
    small = checkpoints.blank(new_config, model.classifier.out_features)
    small.load_state_dict(state, assign=True)
    return small.eval()


def named_weights(model: Classifier) -> Iterator[tuple[int | None, str, Axes, Tensor]]:
    """Yield of each weight and bias: its layer (None: outside them), its name there, its axes, and itself."""
    for full_name, tensor in model.state_dict().items():
        layer, name = re.fullmatch(r"(?:encoder\.layers\.(\d+)\.)?(.+)", full_name).groups()
        yield layer and int(layer), name, AXES[name.rpartition(".")[0]][: tensor.ndim], tensor


def _select(weight: Tensor, axes: Axes, keep: dict[str, list[int]]) -> Tensor:
    weight = weight.clone()
    for dim, unit in enumerate(axes):
        if unit:
            weight = weight.index_select(dim, torch.tensor(keep[unit], dtype=torch.long, device=weight.device))
    return weight


def _checked(indices: Indices | None, size: int, what: str) -> list[int]:
    chosen = list(range(size)) if indices is None else [operator.index(i) for i in indices]
    for i, times in Counter(chosen).items():
        if not 0 <= i < size:
            raise InputError(f"{what}: there is no {i}; there are {size}, counted from 0")
        if times > 1:
            raise InputError(f"{what}: {i} stands twice; name each once")
    return chosen


def _checked_each(indices: Sequence[Indices] | None, sizes: list[int], layers: list[int], what: str) -> list[list[int]]:
    indices = [None] * len(sizes) if indices is None else indices
    if len(indices) != len(sizes):
        raise InputError(f"{what} are given for {len(indices)} layers, but {len(sizes)} are kept; give them for each")
    return [_checked(*args, f"{what} of layer {i}") for *args, i in zip(indices, sizes, layers, strict=True)]
