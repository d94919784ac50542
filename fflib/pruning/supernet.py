"""One set of weights for many sizes, as a chapter needs it: trained once, and scored at every size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from fflib.data.metrics import Scored
from fflib.data.splits import TokenizedSplit
from fflib.distillation import losses, teacher
from fflib.files import content_hash
from fflib.model import cache, training
from fflib.model.encoder import Classifier
from fflib.model.importance import Importance
from fflib.model.training import History
from fflib.pruning import dynabert
from fflib.pruning.dynabert import ElasticDistillation, SubNetwork


def train(
    model: Classifier,
    scores: Importance,
    nets: Sequence[SubNetwork],
    outputs: teacher.TeacherOutputs,
    dev: TokenizedSplit,
    score: training.Score,
    recipe: training.Recipe,
    folder: Path,
) -> tuple[Classifier, History]:
    """Sort the heads and neurons of ``model`` by ``scores``, then train all ``nets`` in its weights at once.

    ``outputs`` are those of the unpruned model, which teaches them, on the training examples. What was trained
    lies in ``folder``/elastic and is not trained again.
    """
    code = [Path(module.__file__) for module in (dynabert, losses, teacher)]
    return cache.train_or_load(
        lambda: dynabert.rewired(model, scores),
        folder / "elastic",
        outputs.examples,
        dev,
        lambda supernet: ElasticDistillation(supernet, outputs, nets, weight_hidden=1.0),
        score,
        recipe,
        content_hash(outputs.key, [asdict(net) for net in nets], *code),
    )


def accuracy_by_size(
    supernet: Classifier, nets: Sequence[SubNetwork], evaluate: Callable[[Classifier], Scored]
) -> dict[str, list[tuple[float, float, float, float]]]:
    """Return of each number of layers, such as "2 of 4 layers", the width, accuracy and interval of its sub-networks.

    Depths that leave the same number of layers are the same sub-networks, and are scored once.
    """
    layers = len(supernet.encoder.layers)
    found: dict[str, dict[float, tuple[float, float, float, float]]] = {}
    for net in nets:
        line = found.setdefault(f"{len(dynabert.kept_layers(layers, net.depth))} of {layers} layers", {})
        if net.width not in line:
            line[net.width] = (net.width, *evaluate(dynabert.cut(supernet, net)))
    return {depth: list(line.values()) for depth, line in found.items()}
