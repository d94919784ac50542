"""The full stack, and the stack without one technique at a time.

What a step brings depends on what was there before it: the ladder adds techniques in one order. Taking a single one out
of the finished stack asks another question: what would be missed?
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from fflib.data.splits import TokenizedSplit
from fflib.files import check_known
from fflib.model import importance, slicing
from fflib.model.config import LayerShape
from fflib.model.encoder import Classifier
from fflib.pruning import mask_search
from fflib.story.stacks import Stack

FULL = "the full stack"
CUT_TEACHER, STUDENT = "cut teacher", "student"  # models that a stack may have in place of its own


def without(technique: str, full: Stack, cores: int) -> Stack:
    """Return ``full`` without a technique of `TECHNIQUES`, all ``cores`` still at work; the same stack if it had none.

    InputError: there is no such technique.
    """
    check_known("technique", [technique], TECHNIQUES)
    return TECHNIQUES[technique](full, cores)


def _one_instance(stack: Stack, cores: int) -> Stack:
    return stack if stack.instances == 1 else replace(stack, instances=1, threads=cores, kind="thread")


TECHNIQUES: Mapping[str, Callable[[Stack, int], Stack]] = {
    "batching": lambda full, cores: replace(full, batches=("in order", 1)),
    # Pruning as it was done here is half distillation: the cut model learns from the uncut one. Without a teacher to
    # learn from, the fine-tuned model itself is cut and tuned, see `cut_in_proportion`.
    "distillation": lambda full, cores: replace(full, model=CUT_TEACHER),
    "pruning": lambda full, cores: replace(full, model=STUDENT),
    "quantisation": lambda full, cores: replace(full, recipe=""),
    "first token": lambda full, cores: replace(full, first_token=False),
    "instances": _one_instance,
    # PyTorch shares its threads over the whole process and has no such integers: two techniques go with the engine.
    "ONNX Runtime": lambda full, cores: replace(_one_instance(full, cores), engine="pytorch", recipe="", threads=cores),
}

GOES_ALONG = {"ONNX Runtime": ("quantisation", "instances")}  # techniques that go when another goes


def lost_along(technique: str, full: Stack, cores: int) -> list[str]:
    """Return what else ``full`` loses with a technique, of what it has."""
    return [other for other in GOES_ALONG.get(technique, ()) if without(other, full, cores) != full]


def label(technique: str, full: Stack, cores: int) -> str:
    """Return the name of a technique with all that goes with it: "ONNX Runtime, with quantisation and instances"."""
    others = lost_along(technique, full, cores)
    return technique + (f", with {' and '.join(others)}" if others else "")


def changes(stack: Stack, full: Stack) -> str:
    """Say in what a stack differs from the full one: "model: student instead of pruned student"."""
    values, full_values = asdict(stack), asdict(full)
    return "; ".join(
        f"{name.replace('_', ' ')}: {_words(value)} instead of {_words(full_values[name])}"
        for name, value in values.items()
        if value != full_values[name]
    )


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(str(part) for part in value)
    return str(value) or "none"


def factor_when_added(
    technique: str, full: Stack, cores: int, factor_by_technique: Mapping[str, float]
) -> float | None:
    """Return what a technique, with all that goes with it, brought when the ladder took it up; None: it did not.

    ``factor_by_technique`` is that of `factors.factor_by_technique`.
    """
    if technique not in factor_by_technique:
        return None
    names = [technique, *lost_along(technique, full, cores)]
    return math.prod(factor_by_technique.get(name, 1.0) for name in names)


def slowdowns(wall_s: Mapping[str, np.ndarray], full: str = FULL) -> dict[str, tuple[float, float, float]]:
    """Return how many times slower each stack is than the full one: the median of the rounds, the least, the largest.

    ``wall_s`` are seconds of each round [rounds], timed in turn: a round of one stack belongs to the same of another.
    """
    ratios = {name: seconds / wall_s[full] for name, seconds in wall_s.items() if name != full}
    return {name: (float(np.median(r)), float(r.min()), float(r.max())) for name, r in ratios.items()}


def cut_in_proportion(
    teacher: Classifier, student: Classifier, pruned: Classifier, examples: TokenizedSplit
) -> Classifier:
    """Return ``teacher`` with the share of heads and neurons that a layer of ``pruned`` has of ``student``, on average.

    The last layer, which costs little where it is computed for the first token alone, gets the share of the last one.
    All its layers stay: where ``pruned`` lost whole layers, the teacher does not.

    Chosen by the importance of chapter 4 and tuned by `mask_search.tune`, without training: what pruning makes of a
    model that nothing taught. ``examples`` are of train; where nothing was pruned, the teacher itself is returned.
    """
    before, after = _layers(student), _layers(pruned)
    of_last = _shares_left(before[-1:], after[-1:])
    of_others = _shares_left(before[:-1], after[:-1]) if before[:-1] and after[:-1] else of_last
    if of_last == of_others == (1, 1):
        return teacher
    *others, last = _layers(teacher)
    shares = [of_others] * len(others) + [of_last]
    counts = [
        (round(heads_left * layer.num_heads), round(neurons_left * layer.intermediate_size))
        for layer, (heads_left, neurons_left) in zip((*others, last), shares, strict=True)
    ]
    scores = importance.first_order(importance.gradients(teacher, examples))
    most_important = slicing.keep_top(scores.heads, scores.neurons, counts)
    return mask_search.tune(teacher, most_important, examples, "weights")


def _layers(model: Classifier) -> Sequence[LayerShape]:
    return model.encoder.config.layers


def _shares_left(before: Sequence[LayerShape], after: Sequence[LayerShape]) -> tuple[float, float]:
    """Return the shares of a layer's heads and neurons that are left, on average over the layers that are left."""
    heads, neurons = (
        _total(after, unit) / _total(before, unit) * len(before) / len(after)
        for unit in ("num_heads", "intermediate_size")
    )
    return heads, neurons


def _total(layers: Sequence[LayerShape], unit: str) -> int:
    return sum(getattr(layer, unit) for layer in layers)
