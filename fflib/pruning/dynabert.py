"""DynaBERT (2004.04037): one set of weights for many sizes, trained by distillation, cut to size at deployment.

A size is a share of the width (heads and neurons of every layer) and a share of the depth (layers). Heads and neurons
are sorted once, the most important first, so that every sub-network is made of the first ones and all share the best.
The teacher is one fixed model of full size, as in the authors' code; the paper's second stage has one for each width.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from fflib.distillation.losses import soft_cross_entropy, state_loss
from fflib.distillation.objective import Feature, Teacher
from fflib.files import InputError
from fflib.model import checkpoints, slicing
from fflib.model.config import EncoderConfig
from fflib.model.encoder import Classifier, ClassifierOutput

ROUNDING = 1e-9  # a share is seldom exact in binary, so a product that should be whole may fall just short of it


class Importance(Protocol):
    """What is asked of an importance: of each layer its heads' [num_heads] and its neurons' [intermediate_size]."""

    heads: Sequence[Tensor]
    neurons: Sequence[Tensor]


@dataclass(frozen=True)
class SubNetwork:
    """A size to cut: shares of the width and of the depth, above 0 and up to 1 (else InputError)."""

    width: float = 1.0
    depth: float = 1.0

    def __post_init__(self) -> None:
        _check_share(self.width, "width")
        _check_share(self.depth, "depth")

    def __str__(self) -> str:
        return f"width {100 * self.width:.3g} %, depth {100 * self.depth:.3g} %"


def sub_networks(widths: Iterable[float], depths: Iterable[float]) -> list[SubNetwork]:
    """Return all pairs, each once, the largest first: the depths from whole to shallow, the widths within them."""
    widths, depths = (sorted(set(shares), reverse=True) for shares in (widths, depths))
    if not widths or not depths:
        raise InputError("without a width and a depth there is no sub-network; name at least one of each, such as 1.0")
    return [SubNetwork(width, depth) for depth in depths for width in widths]


def kept_layers(num_layers: int, depth: float) -> list[int]:
    """Return which layers stay, counted from 0: evenly spaced, the first one always among them (section 2.2).

    Of n layers the rounded share ``depth`` * n stays, at least one, and the i-th of them is the one at i / ``depth``,
    rounded down. So a quarter less drops every fourth layer, half drops every second one, and never the first.
    """
    _check_share(depth, "depth")
    return [int(i / depth + ROUNDING) for i in range(max(1, round(depth * num_layers)))]


def rewired(model: Classifier, importance: Importance) -> Classifier:
    """Return the same function with heads and neurons of every layer sorted, the most important first (section 2.1).

    InputError: the importance is of a model of another shape.
    """
    shapes = model.encoder.config.layers
    expected = [shape.num_heads for shape in shapes], [shape.intermediate_size for shape in shapes]
    if ([*map(len, importance.heads)], [*map(len, importance.neurons)]) != expected:
        raise InputError("the importance is of a model with other heads, neurons or layers; compute it on this one")
    heads, neurons = (
        [scores.argsort(descending=True, stable=True).tolist() for scores in parts]
        for parts in (importance.heads, importance.neurons)
    )
    return slicing.slice_model(model, heads=heads, neurons=neurons)


def cut(model: Classifier, net: SubNetwork) -> Classifier:
    """Return a sub-network as an ordinary small model, in evaluation mode; it shares no memory with ``model``."""
    shapes = _config_of(model.encoder.config, net).layers
    heads, neurons = [range(s.num_heads) for s in shapes], [range(s.intermediate_size) for s in shapes]
    return slicing.slice_model(model, kept_layers(len(model.encoder.layers), net.depth), heads, neurons)


class ElasticDistillation(nn.Module):
    """The distillation loss of all sub-networks at once, for `training.fit`; it has no weights of its own.

    A sub-network runs on slices of the big model's weights, so its gradient flows into these. DynaBERT adds up the
    gradients of the sub-networks, then clips and steps once; the gradient of their sum is the same thing. (All
    activations are held at once for it: memory grows with the number of sub-networks.) The dev score of ``fit`` sees
    the whole model only.

    Each one has ``weight_logits`` times the soft cross-entropy with the teacher's logits, plus ``weight_hidden`` times
    the sum over embeddings and kept layers of the mean squared difference of the states. What a kept layer hands on is
    compared with what the next kept layer receives in the teacher, the last state with the last, as in the authors'
    code, which weighs the two parts 1 and 0.1 where only the width varies, 1 and 1 with the depth.

    Raises:
        InputError: teacher and model differ in hidden size, layers or labels, or there is no sub-network.
    """

    def __init__(
        self,
        model: Classifier,
        teacher: Teacher,
        nets: Sequence[SubNetwork],
        weight_logits: float = 1.0,
        weight_hidden: float = 0.1,
    ) -> None:
        super().__init__()
        ours, theirs = _sizes(model), _sizes(teacher.model)
        for name in ours:
            if ours[name] != theirs[name]:
                raise InputError(f"the model has {ours[name]} {name}, its teacher {theirs[name]}; take a like teacher")
        if not nets:
            raise InputError("without a sub-network there is nothing to train; name at least one")
        self.teacher, self.weight_logits, self.weight_hidden = teacher, weight_logits, weight_hidden
        self._kept = {net: kept_layers(len(model.encoder.layers), net.depth) for net in nets}
        config, labels = model.encoder.config, model.classifier.out_features
        # In a dict, so that the optimizer does not see them.
        self._skeletons = {net: checkpoints.blank(_config_of(config, net), labels) for net in nets}
        self._states = {net: _taught_states(kept, len(model.encoder.layers)) for net, kept in self._kept.items()}
        self._wanted = {state for states in self._states.values() for state in states if weight_hidden}
        teacher.prepare(self._wanted)

    def forward(self, model: Classifier, inputs: dict[str, Tensor], indices: np.ndarray) -> Tensor:
        """Return the loss of one batch, a scalar."""
        return torch.stack([*self.losses(model, inputs, indices).values()]).sum()

    def losses(self, model: Classifier, inputs: dict[str, Tensor], indices: np.ndarray) -> dict[SubNetwork, Tensor]:
        """Return the loss of each sub-network, a scalar; their sum is the loss."""
        target = self.teacher.logits[indices].to(inputs["input_ids"].device)
        states, losses = self.teacher.features(indices, inputs, self._wanted), {}
        for net, kept in self._kept.items():
            output = _run(model, self._skeletons[net], kept, inputs)
            losses[net] = self.weight_logits * soft_cross_entropy(output.logits.float(), target)
            if self.weight_hidden:
                pairs = zip(output.hidden_states, self._states[net], strict=True)
                parts = [state_loss(ours, states[theirs], inputs["attention_mask"]) for ours, theirs in pairs]
                losses[net] = losses[net] + self.weight_hidden * torch.stack(parts).sum()
        return losses


def _run(model: Classifier, skeleton: Classifier, kept: list[int], inputs: dict[str, Tensor]) -> ClassifierOutput:
    """Run a sub-network of the layers ``kept`` with the weights, the mode and the dropout of ``model``."""

    def in_model(name: str) -> str:
        return re.sub(r"(?<=^encoder\.layers\.)\d+", lambda layer: str(kept[int(layer[0])]), name)

    skeleton.train(model.training)
    for name, module in skeleton.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = model.get_submodule(in_model(name)).p
    # The first heads and neurons are the first rows or columns: a view, through which gradients flow back.
    weights = {
        name: model.get_parameter(in_model(name))[tuple(map(slice, placeholder.shape))]
        for name, placeholder in skeleton.named_parameters()
    }
    return functional_call(skeleton, weights, kwargs={**inputs, "output_hidden_states": True}, strict=True)


def _taught_states(kept: list[int], num_layers: int) -> list[Feature]:
    """Name the teacher's states to learn from: what each kept layer receives there, and the last."""
    return [*(("hidden", layer) for layer in kept), ("hidden", num_layers)]


def _config_of(config: EncoderConfig, net: SubNetwork) -> EncoderConfig:
    """Round heads to the nearest number and neurons down; a layer that has heads keeps one.

    (DynaBERT's code takes neurons by the rounded share of heads, the same wherever that is a whole number of heads.)
    """
    shapes = [config.layers[i] for i in kept_layers(len(config.layers), net.depth)]
    heads = [min(shape.num_heads, max(1, round(net.width * shape.num_heads))) for shape in shapes]
    neurons = [int(net.width * shape.intermediate_size + ROUNDING) for shape in shapes]
    small = [replace(s, num_heads=h, intermediate_size=n) for s, h, n in zip(shapes, heads, neurons, strict=True)]
    return replace(config, layers=tuple(small))


def _sizes(model: Classifier) -> dict[str, int]:
    config, labels = model.encoder.config, model.classifier.out_features
    return {"hidden units": config.hidden_size, "layers": len(config.layers), "labels": labels}


def _check_share(share: float, what: str) -> None:
    if not 0 < share <= 1:
        raise InputError(f"a {what} of {share} cannot be cut; give a share of the whole, above 0 and up to 1")
