"""Structured pruning: how much each head, neuron and hidden unit matters, and a smaller model of those worth keeping.

Units are removed physically, so the result is an ordinary, merely narrower, `Classifier`: no masks, no sparse kernels.
"""

from __future__ import annotations

import copy
import operator
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fflib import batching, progress
from fflib.data import TokenizedSplit
from fflib.encoder import Classifier, LayerGates
from fflib.files import InputError

Indices = Sequence[int]
Axes = tuple[str | None, ...]  # which units the dimensions of a weight stand for; None: no unit of these kinds
AXES: dict[str, Axes] = {  # of each module's weight; a bias has the first of them
    **dict.fromkeys((f"encoder.embeddings.{name}" for name in ("word", "position", "token_type")), (None, "hidden")),
    **dict.fromkeys(("encoder.embeddings.norm", "attention_norm", "feed_forward_norm"), ("hidden",)),
    **dict.fromkeys(("attention.query", "attention.key", "attention.value"), ("heads", "hidden")),
    "attention.output": ("hidden", "heads"),
    "feed_forward.intermediate": ("neurons", "hidden"),
    "feed_forward.output": ("hidden", "neurons"),
    "encoder.pooler": ("hidden", "hidden"),
    "classifier": (None, "hidden"),
}


class Importance(NamedTuple):
    """How much the parts of a model matter; larger is more. ``heads`` [num_heads] and ``neurons`` [intermediate_size]
    have a tensor for each layer, ``hidden`` [hidden_size] runs through all layers. The three differ in scale."""

    heads: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]
    hidden: Tensor


@torch.enable_grad()
def importance(
    model: Classifier, examples: TokenizedSplit, batch_size: int = 16, plan: batching.Plan | None = None
) -> Importance:
    """Estimate to first order how the loss would change without each part: the mean over batches of |dL/dgate|.

    L is the batch's mean cross-entropy and a gate of 1 multiplies the part's output (Michel et al., 1905.10650, eq. 2;
    DynaBERT, 2004.04037, section 2.1; FastFormers, 2010.13382, section 3). A hidden unit's gate multiplies it in every
    hidden state, embeddings included, so its gradient is the sum of h * dL/dh over states, examples and tokens.

    Each batch has gradients of its own and counts alike. (The code of both later papers never zeroes them, so that its
    t-th batch adds |g_1 + ... + g_t|.) Within a batch opposite signs cancel; ``batch_size=1`` is eq. 2 to the letter.

    Args:
        model: left as it is, its mode, flags and gradients included.
        examples: of *train*, at least one (else InputError). What to remove is a choice like any other: made on the
            split that is reported, as FastFormers and DynaBERT do, it has seen the answers, and the score flatters.
        plan: the batches; by default ``batch_size`` neighbours in length, the same ones every time.
    """
    plan = batching.sorted_by_length(examples.lengths, batch_size) if plan is None else plan
    if not plan:
        raise InputError("importance needs examples; give at least one of the training split")
    model = copy.deepcopy(model).eval().requires_grad_(True)  # frozen embeddings would have no gradient
    config, one = model.encoder.config, model.classifier.weight.new_ones
    gates = [LayerGates(one(shape.num_heads), one(shape.intermediate_size)) for shape in config.layers]
    labels, total = torch.from_numpy(examples.labels).to(model.classifier.weight.device), 0.0
    with progress.bar(len(plan), "importance", "batch") as bar:
        for group in plan:
            batch = batching.collate(examples, group, pad_token_id=config.pad_token_id)
            total += _gate_gradients(model, gates, batch, labels[group]).abs()
            bar.update()
    sizes = [*(len(gate) for pair in gates for gate in pair), config.hidden_size]
    *parts, hidden = (total / len(plan)).split(sizes)
    return Importance(tuple(parts[::2]), tuple(parts[1::2]), hidden)


@torch.no_grad()
def magnitude(model: Classifier) -> Importance:
    """Return the L2 norm of the weights of each part: a control that looks at no data.

    A head has its rows of query, key and value and its columns of output; a neuron its row and its column; a hidden
    unit its row or column of every matrix, embeddings included. Biases and LayerNorms do not count.
    """
    heads, neurons = [], []
    for layer, shape in zip(model.encoder.layers, model.encoder.config.layers, strict=True):
        attention, feed_forward = layer.attention, layer.feed_forward
        inner = [linear.weight for linear in (attention.query, attention.key, attention.value)]
        rows = torch.cat([*inner, attention.output.weight.T], dim=1)
        heads.append(torch.linalg.vector_norm(rows.unflatten(0, (shape.num_heads, shape.head_size)), dim=(1, 2)))
        neurons.append(torch.cat([feed_forward.intermediate.weight, feed_forward.output.weight.T], dim=1).norm(dim=1))
    matrices = [(axes, weight) for *_, axes, weight in _weights(model) if weight.ndim == 2]
    by_unit = [w if axis == 0 else w.T for axes, w in matrices for axis in (0, 1) if axes[axis] == "hidden"]
    return Importance(tuple(heads), tuple(neurons), torch.cat(by_unit, dim=1).norm(dim=1))


def random(model: Classifier, seed: int) -> Importance:
    """Draw every importance uniformly from 0 to 1: the control that any method must beat."""
    generator, config = torch.Generator().manual_seed(seed), model.encoder.config
    heads = tuple(torch.rand(shape.num_heads, generator=generator) for shape in config.layers)
    neurons = tuple(torch.rand(shape.intermediate_size, generator=generator) for shape in config.layers)
    return Importance(heads, neurons, torch.rand(config.hidden_size, generator=generator))


def top(scores: Tensor, count: int) -> list[int]:
    """Return the indices of the ``count`` largest of ``scores`` [n], ascending; of equals the first are taken."""
    if not 0 <= count <= len(scores):
        raise InputError(f"cannot keep {count} of {len(scores)}; give a number from 0 to {len(scores)}")
    return sorted(scores.argsort(descending=True, stable=True)[:count].tolist())


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
    shapes, units = [], {None: ("", {"hidden": kept_hidden})}  # old layer -> what names begin with now, what to keep
    for new, (old, shape, *chosen) in enumerate(zip(kept, old_shapes, kept_heads, kept_neurons, strict=True)):
        shapes.append(replace(shape, num_heads=len(chosen[0]), intermediate_size=len(chosen[1])))
        rows = [head * shape.head_size + row for head in chosen[0] for row in range(shape.head_size)]
        units[old] = f"encoder.layers.{new}.", {"heads": rows, "neurons": chosen[1], "hidden": kept_hidden}
    state = {}
    for layer, name, axes, weight in _weights(model):
        if layer in units:
            prefix, keep = units[layer]
            state[prefix + name] = _select(weight, axes, keep)
    new_config = replace(config, hidden_size=len(kept_hidden), layers=tuple(shapes))
    with torch.device("meta"):  # shapes only, so no random numbers are drawn
        small = Classifier(new_config, model.classifier.out_features)
    small.load_state_dict(state, assign=True)
    return small.eval()


def _weights(model: Classifier) -> Iterator[tuple[int | None, str, Axes, Tensor]]:
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


def _gate_gradients(model: Classifier, gates: list[LayerGates], batch: batching.Batch, labels: Tensor) -> Tensor:
    """Return dL/dgate of heads and neurons, layer after layer, and of the hidden units, in one row."""
    inputs = {name: torch.from_numpy(array).to(labels.device) for name, array in batch.inputs.items()}
    flat = [gate.requires_grad_() for pair in gates for gate in pair]
    output = model(**inputs, gates=gates, output_hidden_states=True)
    loss = F.cross_entropy(output.logits, labels)
    # Unlike backward() this adds to nothing. A layer without heads leaves their gate unused, hence "materialize".
    gradients = torch.autograd.grad(loss, [*flat, *output.hidden_states], materialize_grads=True)
    is_token = inputs["attention_mask"].bool()
    products = (h.detach() * g for h, g in zip(output.hidden_states, gradients[len(flat) :], strict=True))
    return torch.cat([*gradients[: len(flat)], sum(product[is_token].sum(0) for product in products)])
