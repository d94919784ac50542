"""How much each head, neuron and hidden unit matters: by the gradients of the loss, by magnitude, or at random."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fflib import progress
from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.files import InputError
from fflib.model import slicing
from fflib.model.config import LayerShape
from fflib.model.encoder import Classifier


class Importance(NamedTuple):
    """How much the parts of a model matter; larger is more. ``heads`` [num_heads] and ``neurons`` [intermediate_size]
    have a tensor for each layer, ``hidden`` [hidden_size] runs through all layers. The three differ in scale."""

    heads: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]
    hidden: Tensor


class Gradients(NamedTuple):
    """Slopes of the loss by gates of 1, of each of n examples: ``heads`` [n, num_heads] and ``neurons``
    [n, intermediate_size] of each layer, ``hidden`` [n, hidden_size]. ``inputs`` [n, intermediate_size] are those of
    gates before the activation, where ``neurons`` has them behind it."""

    heads: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]
    hidden: Tensor


@torch.enable_grad()
def gradients(model: Classifier, examples: TokenizedSplit, batch_size: int = 16) -> Gradients:
    """Return the slope of every example's own cross-entropy by a gate on each part (Michel et al., 1905.10650, eq. 2).

    A gate that multiplies x has the gradient sum of x * dL/dx, so nothing need be multiplied: the parts are watched and
    the model stays as it is. A hidden unit's gate multiplies it in every hidden state, embeddings included.

    Each example has gradients of its own, however it is batched. (The code of FastFormers and of DynaBERT never zeroes
    them, so that what its t-th batch adds is |g_1 + ... + g_t|.)

    Args:
        examples: of *train*, at least one (else InputError). What to remove is a choice like any other: made on the
            split that is reported, as FastFormers and DynaBERT do, it has seen the answers, and the score flatters.
    """
    if not len(examples):
        raise InputError("importance needs examples; give at least one of the training split")
    plan = batching.sorted_by_length(examples.lengths, batch_size)
    model = copy.deepcopy(model).eval().requires_grad_(True)  # frozen embeddings would have no gradient
    labels = torch.from_numpy(examples.labels).to(model.classifier.weight.device)
    rows = []
    with _watching(model) as seen, progress.bar(len(plan), "importance", "batch") as bar:
        for group in plan:
            batch = batching.collate(examples, group, pad_token_id=model.encoder.config.pad_token_id)
            rows.append(_slopes(model, seen, batch, labels[group]))
            bar.update()
    order = torch.from_numpy(np.argsort(np.concatenate(plan)))
    heads, neurons, inputs = (
        tuple(torch.cat(parts)[order] for parts in zip(*(row[kind] for row in rows), strict=True)) for kind in range(3)
    )
    return Gradients(heads, neurons, inputs, torch.cat([row.hidden for row in rows])[order])


def first_order(slopes: Gradients) -> Importance:
    """Estimate to first order how much the loss would change without each part: the mean over examples of |dL/dgate|.

    A neuron has DynaBERT's two terms (2004.04037, section 2.1): its gate before and its gate behind the activation,
    which are the weights into it and out of it times their gradients. FastFormers' code has the first only.
    """
    neurons = zip(slopes.inputs, slopes.neurons, strict=True)
    return Importance(
        tuple(slope.abs().mean(0) for slope in slopes.heads),
        tuple(before.abs().mean(0) + behind.abs().mean(0) for before, behind in neurons),
        slopes.hidden.abs().mean(0),
    )


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
    matrices = [(axes, weight) for *_, axes, weight in slicing.named_weights(model) if weight.ndim == 2]
    by_unit = [w if axis == 0 else w.T for axes, w in matrices for axis in (0, 1) if axes[axis] == "hidden"]
    hidden = model.encoder.config.hidden_size
    by_unit += [w.unflatten(1, (-1, hidden)).flatten(0, 1).T for axes, w in matrices if "read" in axes]
    return Importance(tuple(heads), tuple(neurons), torch.cat(by_unit, dim=1).norm(dim=1))


def random(model: Classifier, seed: int) -> Importance:
    """Draw every importance uniformly from 0 to 1: the control that any method must beat."""
    generator, config = torch.Generator().manual_seed(seed), model.encoder.config
    heads = tuple(torch.rand(shape.num_heads, generator=generator) for shape in config.layers)
    neurons = tuple(torch.rand(shape.intermediate_size, generator=generator) for shape in config.layers)
    return Importance(heads, neurons, torch.rand(config.hidden_size, generator=generator))


@contextmanager
def _watching(model: Classifier) -> Iterator[dict[nn.Module, Tensor]]:
    """Keep what goes into each module that sums the parts up, or comes out of the one that makes them, as it runs."""
    seen: dict[nn.Module, Tensor] = {}

    def keep_input(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen[module] = arguments[0]

    def keep_output(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        seen[module] = output

    with ExitStack() as stack:
        for layer in model.encoder.layers:
            for module in (layer.attention.output, layer.feed_forward.output):
                stack.callback(module.register_forward_pre_hook(keep_input).remove)
            stack.callback(layer.feed_forward.intermediate.register_forward_hook(keep_output).remove)
        yield seen


def _slopes(model: Classifier, seen: dict[nn.Module, Tensor], batch: batching.Batch, labels: Tensor) -> Gradients:
    """Return the gradients of the examples of one batch."""
    seen.clear()
    inputs = {name: torch.from_numpy(array).to(labels.device) for name, array in batch.inputs.items()}
    output = model(**inputs, output_hidden_states=True)
    loss = F.cross_entropy(output.logits, labels, reduction="sum")  # a sum keeps the examples' slopes apart
    states = [*seen.values(), *output.hidden_states]
    slopes = torch.autograd.grad(loss, states)
    # At padding the slope is exactly zero: no token looks at it.
    products = [(x.detach() * slope).sum(1) for x, slope in zip(states, slopes, strict=True)]
    by_module = dict(zip(seen, products, strict=False))

    def of(module: nn.Module, width: int) -> Tensor:  # a half layer of width 0 is not run
        return by_module[module] if module in by_module else loss.new_zeros(len(labels), width)

    layers = list(zip(model.encoder.layers, model.encoder.config.layers, strict=True))
    return Gradients(
        tuple(_by_head(of(layer.attention.output, s.num_heads * s.head_size), s) for layer, s in layers),
        tuple(of(layer.feed_forward.output, s.intermediate_size) for layer, s in layers),
        tuple(of(layer.feed_forward.intermediate, s.intermediate_size) for layer, s in layers),
        sum(products[len(seen) :]),
    )


def _by_head(products: Tensor, shape: LayerShape) -> Tensor:
    """[batch, num_heads * head_size] -> [batch, num_heads]."""
    return products.unflatten(1, (shape.num_heads, shape.head_size)).sum(2)
