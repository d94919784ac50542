"""What a student is asked to match: the parts of a distillation loss, their weights, and their sum as one loss.

`Distillation` is a loss that ``training.fit`` takes like any other. It watches student and teacher by hooks, so
neither has to know of it. (Longer than 200 lines: every part of a loss, and where in a model it looks.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fflib.data.metrics import Gold
from fflib.distillation.losses import (
    attention_cosine_loss,
    attention_loss,
    attention_scores,
    layer_map,
    relation_loss,
    soft_cross_entropy,
    state_loss,
)
from fflib.files import InputError, check_known
from fflib.model.config import LayerShape
from fflib.model.encoder import Classifier
from fflib.model.training import cross_entropy

Feature = tuple[str, int]  # ("hidden", 0): the embeddings; ("hidden", m), ("query", m), ...: of layer m, counted from 1
RELATIONS = ("query", "key", "value")
INSIDE = ("embedding", "hidden", "attention", "attention_cosine", "relations")  # parts of `Objectives` that look inside


class Teacher(Protocol):
    """What a loss needs of a teacher, see ``teacher.TeacherOutputs``."""

    model: Classifier
    logits: Tensor  # [n, classes]

    def prepare(self, features: Collection[Feature]) -> None:
        """Get ready to be asked for these."""

    def features(
        self, indices: np.ndarray, inputs: Mapping[str, Tensor], wanted: Collection[Feature]
    ) -> dict[Feature, Tensor]:
        """Return features of the examples at ``indices``, each [batch, length, width]."""


@dataclass(frozen=True)
class Objectives:
    """Weights of the parts of a distillation loss; a part with weight 0 is left out and costs nothing.

    ``hidden`` and ``attention`` (or its variant ``attention_cosine``) compare every student layer with the teacher's
    that the layer map names, ``last_hidden`` and ``relations`` the last student layer only.
    """

    logits: float = 0.0
    labels: float = 0.0
    embedding: float = 0.0
    hidden: float = 0.0
    last_hidden: float = 0.0
    attention: float = 0.0
    attention_cosine: float = 0.0
    relations: float = 0.0
    temperature: float = 1.0

    @property
    def looks_inside(self) -> bool:
        """Whether states of tokens are compared, so that all tokens of the student have to go on."""
        return any(getattr(self, part) for part in (*INSIDE, "last_hidden"))

    @classmethod
    def inside(cls, parts: Sequence[str]) -> Objectives:
        """Compare these parts of `INSIDE`, each with weight 1; InputError: there is no such part."""
        check_known("part of the inside", parts, INSIDE)
        return cls(**dict.fromkeys(parts, 1.0))


FASTFORMERS = Objectives(logits=1.0, embedding=0.1, last_hidden=0.1)  # one stage; the defaults of the paper's code


def observe(
    model: Classifier, inputs: Mapping[str, Tensor], features: Collection[Feature]
) -> tuple[Tensor, dict[Feature, Tensor]]:
    """Run ``model`` and return its logits and the features, each [batch, length, width]."""
    seen: dict[Feature, Tensor] = {}

    def keep(feature: Feature, module: nn.Module, arguments: tuple, output: Tensor | tuple) -> None:
        seen[feature] = output[0] if isinstance(output, tuple) else output

    with ExitStack() as stack:
        for feature in features:
            handle = _module_of(model, feature).register_forward_hook(partial(keep, feature))
            stack.callback(handle.remove)
        logits = model(**inputs, first_only=not features).logits  # no logit depends on the last layer's other tokens
    return logits, seen


class Term(NamedTuple):
    """One comparison of a loss: ``compare`` takes the student's features, the teacher's, and the mask."""

    part: str  # its weight's name in Objectives
    student: tuple[Feature, ...]
    teacher: tuple[Feature, ...]
    compare: Callable[..., Tensor]


class Distillation(nn.Module):
    """The weighted sum of the losses, for `training.fit`; projections between unlike widths are its own weights.

    ``maps_to`` is a `layer_map`, by name or as layers; ``gold`` is needed if `Objectives.labels` has a weight.

    Raises:
        InputError: the student is deeper than the teacher, has other labels, or the map or the labels do not fit.
    """

    def __init__(
        self,
        student: Classifier,
        teacher: Teacher,
        objectives: Objectives,
        maps_to: str | Sequence[int],
        gold: Gold | None = None,
    ) -> None:
        super().__init__()
        classes = student.classifier.out_features, teacher.model.classifier.out_features
        if classes[0] != classes[1]:
            raise InputError(f"the student has {classes[0]} labels, the teacher {classes[1]}; take one task for both")
        if objectives.labels and (gold is None or gold.labels.min() < 0):
            raise InputError("the label loss needs a label for every example; text that nobody labelled has none")
        self.teacher, self.objectives, self.gold = teacher, objectives, gold
        widths = student.encoder.config.hidden_size, teacher.model.encoder.config.hidden_size
        self.project_embedding, self.project_hidden = (  # W_e and W_h of TinyBERT
            nn.Linear(*widths) if widths[0] != widths[1] else nn.Identity() for _ in range(2)
        )
        layers = layer_map(maps_to, len(student.encoder.layers), len(teacher.model.encoder.layers))
        self.terms = [term for term in self._terms(student, layers) if getattr(objectives, term.part)]
        self.watched = {feature for term in self.terms for feature in term.student}
        self.wanted = {feature for term in self.terms for feature in term.teacher}
        teacher.prepare(self.wanted)

    def forward(self, model: Classifier, inputs: dict[str, Tensor], indices: np.ndarray) -> Tensor:
        """Return the loss of one batch, a scalar."""
        parts = self.parts(model, inputs, indices)
        return torch.stack([getattr(self.objectives, name) * value for name, value in parts.items()]).sum()

    def parts(self, model: Classifier, inputs: dict[str, Tensor], indices: np.ndarray) -> dict[str, Tensor]:
        """Return every part that has a weight, unweighted and summed over the layers, by its name in `Objectives`."""
        logits, ours = observe(model, inputs, self.watched)
        theirs = self.teacher.features(indices, inputs, self.wanted)
        parts: dict[str, Tensor] = {}
        if self.objectives.logits:
            target = self.teacher.logits[indices].to(logits.device)
            parts["logits"] = soft_cross_entropy(logits.float(), target, self.objectives.temperature)
        if self.objectives.labels:
            parts["labels"] = cross_entropy(logits, self.gold, indices)
        for term in self.terms:
            features = [*(ours[f] for f in term.student), *(theirs[f] for f in term.teacher)]
            value = term.compare(*features, inputs["attention_mask"])
            parts[term.part] = parts[term.part] + value if term.part in parts else value
        return parts

    def _terms(self, student: Classifier, maps_to: Sequence[int]) -> list[Term]:
        """List all comparisons, whether they have a weight or not."""
        ours, theirs = student.encoder.config.layers, self.teacher.model.encoder.config.layers
        embedding = partial(state_loss, projection=self.project_embedding)
        hidden = partial(state_loss, projection=self.project_hidden)
        terms = [
            Term("embedding", (("hidden", 0),), (("hidden", 0),), embedding),
            Term("last_hidden", (("hidden", len(ours)),), (("hidden", len(theirs)),), hidden),
        ]
        for m, g in enumerate(maps_to, start=1):
            terms.append(Term("hidden", (("hidden", m),), (("hidden", g),), hidden))
            scores = (("query", m), ("key", m)), (("query", g), ("key", g))
            shapes = ours[m - 1], theirs[g - 1]
            terms.append(Term("attention", *scores, _on_scores(attention_loss, *shapes)))
            terms.append(Term("attention_cosine", *scores, _on_scores(attention_cosine_loss, *shapes)))
        m, g = len(ours), maps_to[-1]
        heads = _relation_heads(ours[m - 1], theirs[g - 1])
        relation = partial(relation_loss, relation_heads=heads)
        return [*terms, *(Term("relations", ((kind, m),), ((kind, g),), relation) for kind in RELATIONS)]


def _on_scores(compare: Callable[..., Tensor], ours: LayerShape, theirs: LayerShape) -> Callable[..., Tensor]:
    """Make ``compare`` take queries and keys instead of the scores made of them."""

    def compare_scores(query: Tensor, key: Tensor, their_query: Tensor, their_key: Tensor, mask: Tensor) -> Tensor:
        if ours.num_heads != theirs.num_heads:
            raise InputError(
                f"the attention losses compare head by head, but a layer of the student has {ours.num_heads} heads "
                f"and the teacher's {theirs.num_heads}; use the relation loss"
            )
        student = attention_scores(query, key, ours.num_heads)
        return compare(student, attention_scores(their_query, their_key, theirs.num_heads), mask)

    return compare_scores


def _relation_heads(ours: LayerShape, theirs: LayerShape) -> int:
    """Return as many relation heads as the teacher has heads, or the next smaller number that divides both widths."""
    common = math.gcd(ours.num_heads * ours.head_size, theirs.num_heads * theirs.head_size)
    return max(heads for heads in range(1, theirs.num_heads + 1) if common % heads == 0)


def _module_of(model: Classifier, feature: Feature) -> nn.Module:
    kind, layer = feature
    if kind == "hidden":
        return model.encoder.layers[layer - 1] if layer else model.encoder.embeddings
    return getattr(model.encoder.layers[layer - 1].attention, kind)
