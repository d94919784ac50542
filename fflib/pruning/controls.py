"""What a choice of heads and neurons is compared with: as many of them, chosen by something else or by nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fflib.data.metrics import Scored
from fflib.model import importance, slicing
from fflib.model.encoder import Classifier
from fflib.model.importance import Importance

Line = Sequence[tuple[float, float, float, float]]  # share kept, accuracy, and the ends of its bar


def keep_share(model: Classifier, scores: Importance, share: float) -> Classifier:
    """Return the model with the same ``share``, 0 to 1, of the best heads and neurons of each layer, as they are."""
    shapes = model.encoder.config.layers
    counts = [(round(share * shape.num_heads), round(share * shape.intermediate_size)) for shape in shapes]
    return slicing.slice_model(model, *slicing.keep_top(scores.heads, scores.neurons, counts))


def accuracies(
    model: Classifier, scores: Importance, shares: Sequence[float], evaluate: Callable[[Classifier], Scored]
) -> Line:
    """Return what is left of the accuracy at each of ``shares``, by `keep_share`."""
    return [(share, *evaluate(keep_share(model, scores, share))) for share in shares]


def random_accuracies(
    model: Classifier, shares: Sequence[float], evaluate: Callable[[Classifier], Scored], draws: int = 3
) -> Line:
    """Return the mean of several random choices at each of ``shares``, with bars from the worst draw to the best."""
    lines = [accuracies(model, importance.random(model, seed), shares, evaluate) for seed in range(draws)]
    values = [[accuracy for _, accuracy, *_ in points] for points in zip(*lines, strict=True)]
    return [(share, float(np.mean(of)), min(of), max(of)) for share, of in zip(shares, values, strict=True)]
