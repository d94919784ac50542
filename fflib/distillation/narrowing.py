"""A student that can be cut: it learns its answers whole and, in the same step, with fewer heads and neurons.

DynaBERT (2004.04037, section 2) trains one set of weights for some widths at once, so that each is good when it is cut
out. Here the width is drawn anew in each step, heads and neurons apart, since a search (chapter 4) may choose any pair.
Units keep their places and the least important are gated off, which computes what cutting them out would; in DynaBERT
they are sorted, but then the student would differ from its teacher's layers by more than thin matrices hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fflib.distillation.losses import soft_cross_entropy
from fflib.distillation.objective import Teacher
from fflib.model.encoder import Classifier, LayerGates
from fflib.model.importance import Importance


class NarrowAnswers(nn.Module):
    """The loss for `training.fit`: soft cross-entropy with the teacher's logits, of the student whole plus narrowed.

    Args:
        teacher: its logits are learnt, in both.
        importance: of the student's heads and neurons; of each width the most important ones stay.
        layers: those that are narrowed, counted from 0. The last of a model that answers by its first token costs
            nothing and need not be.
        widths: the least and the most that a draw leaves, as shares of the heads and of the neurons.
        labels: [n] of the teacher's examples, or None. With them the loss is half the teacher's and half theirs: a
            teacher that errs teaches its errors.
    """

    def __init__(
        self,
        teacher: Teacher,
        importance: Importance,
        layers: Sequence[int],
        widths: tuple[float, float],
        labels: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.teacher, self.layers, self.widths = teacher, frozenset(layers), widths
        self.labels = None if labels is None else torch.from_numpy(labels)
        units = zip(importance.heads, importance.neurons, strict=True)
        self.ranks = [tuple(_ranks(scores) for scores in pair) for pair in units]

    def forward(self, model: Classifier, inputs: dict[str, Tensor], indices: np.ndarray) -> Tensor:
        """Return the loss of one batch, a scalar; the width depends on the examples of the batch alone."""
        losses = []
        for gates in (None, self.gates(np.random.default_rng(indices))):
            logits = model(**inputs, gates=gates, first_only=True).logits.float()
            loss = soft_cross_entropy(logits, self.teacher.logits[indices].to(logits.device))
            if self.labels is not None:
                loss = (loss + F.cross_entropy(logits, self.labels[indices].to(logits.device))) / 2
            losses.append(loss)
        return torch.stack(losses).sum()

    def gates(self, rng: np.random.Generator) -> list[LayerGates | tuple[None, None]]:
        """Draw for each layer that is narrowed how many heads and neurons stay."""
        return [
            LayerGates(*(self._drawn(ranks, rng) for ranks in pair)) if i in self.layers else (None, None)
            for i, pair in enumerate(self.ranks)
        ]

    def _drawn(self, ranks: Tensor, rng: np.random.Generator) -> Tensor:
        """[n] -> 1.0 for the first k of them, 0.0 for the others; each k within the widths is as likely."""
        least, most = (max(1, round(width * len(ranks))) for width in self.widths)
        return (ranks < int(rng.integers(least, most + 1))).float()


def _ranks(scores: Tensor) -> Tensor:
    """[n] -> the place of each unit when all are sorted, the most important first."""
    return scores.argsort(descending=True, stable=True).argsort()
