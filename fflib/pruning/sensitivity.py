"""How far a model's answers move as half a layer, alone, loses units: what a search for a shape weighs against time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch.nn import functional as F

from fflib import progress
from fflib.data.splits import TokenizedSplit
from fflib.files import InputError
from fflib.model import slicing, training
from fflib.model.encoder import Classifier
from fflib.model.importance import Importance
from fflib.model.slicing import Counts

Found = TypeVar("Found")


class Losses(NamedTuple):
    """Estimated loss, in nats: of each layer {units kept: loss} where all else is whole, and of its removal."""

    attention: list[dict[int, float]]
    feed_forward: list[dict[int, float]]
    removed: list[float]


def texts_to_choose_on(train: TokenizedSplit, count: int) -> tuple[TokenizedSplit, TokenizedSplit]:
    """Return the first ``count`` texts, to choose and tune on, and half as many that follow, to check the choice on.

    Where there are not so many, both are smaller, two to one. InputError: fewer than three.
    """
    if len(train) < 3:
        raise InputError(f"{len(train)} training texts are too few to choose a shape on; give 3 or more (n_retrain)")
    if len(train) < count + max(1, count // 2):
        count = max(2, 2 * len(train) // 3)
    return train.take(range(count)), train.take(range(count, min(count + max(1, count // 2), len(train))))


def divergence(logits: np.ndarray, expected: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence of answers, logits [n, classes], from the expected ones, in nats."""
    ours, theirs = (torch.from_numpy(x).double().log_softmax(-1) for x in (logits, expected))
    return float(F.kl_div(ours, theirs, log_target=True, reduction="batchmean"))


def remembered(of_shape: Callable[[Sequence[Counts]], Found]) -> Callable[[Sequence[Counts]], Found]:
    """Return ``of_shape``, but computed once for a shape: the search and the tables ask for the same ones."""
    found: dict[tuple[Counts, ...], Found] = {}

    def once(counts: Sequence[Counts]) -> Found:
        key = tuple(counts)
        if key not in found:
            found[key] = of_shape(counts)
        return found[key]

    return once


def measure(
    model: Classifier,
    scores: Importance,
    examples: TokenizedSplit,
    heads: Sequence[int],
    neurons: Sequence[int],
    priced: Collection[int] | None = None,
) -> Losses:
    """Measure the divergence of the answers on ``examples``, of *train*, from those of the whole model.

    One half layer at a time keeps its best units by ``scores``, each number of ``heads`` or ``neurons`` in turn (all:
    no loss), untuned and untrained. That the losses of two halves add up is an assumption, so whatever is chosen by
    them has to be measured as a whole (see ``shape_search``).

    ``priced`` are the layers in which a cut saves time (None: all). The others keep all units, or go.
    """
    expected = training.predict(model, examples)
    full = [(shape.num_heads, shape.intermediate_size) for shape in model.encoder.config.layers]
    trials: list[tuple[str, int, tuple[int, int] | None]] = []
    for i, (all_heads, all_neurons) in enumerate(full):
        if priced is None or i in priced:
            trials += [("attention", i, (count, all_neurons)) for count in heads if count < all_heads]
            trials += [("feed_forward", i, (all_heads, count)) for count in neurons if count < all_neurons]
        trials += [("removed", i, None)]
    losses = Losses([{pair[0]: 0.0} for pair in full], [{pair[1]: 0.0} for pair in full], [0.0] * len(full))
    with progress.bar(len(trials), "sensitivity", "trial") as bar:
        for half, i, count in trials:
            kept = slicing.keep_top(scores.heads, scores.neurons, [*full[:i], count, *full[i + 1 :]])
            loss = divergence(training.predict(slicing.slice_model(model, *kept), examples), expected)
            if count is None:
                losses.removed[i] = loss
            else:
                getattr(losses, half)[i][count[half == "feed_forward"]] = loss
            bar.update()
    return losses
