"""The full stack, and the stack without one technique at a time.

What a step brings depends on what was there before it: the ladder adds techniques in one order. Taking a single one out
of the finished stack asks another question: what would be missed?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fflib.data.splits import TokenizedSplit
from fflib.engine import export
from fflib.files import InputError, check_known
from fflib.measure.timing import Predictor
from fflib.model import importance, slicing
from fflib.model.encoder import Classifier
from fflib.pruning import mask_search
from fflib.quantization import calibration, recipes
from fflib.runtime import engines
from fflib.runtime.first_token import FirstTokenClassifier
from fflib.serving import instances

TEACHER_CUT, STUDENT = "teacher, cut alike", "student"  # models that a stack may have in place of its own


@dataclass(frozen=True)
class Stack:
    """What is served, and how.

    Attributes:
        model: the name of one of the models given to `serve`.
        recipe: of `recipes.RECIPES`; '' stays in fp32.
        first_token: the last layer is computed for the first token alone.
        engine: "onnxruntime" or "pytorch".
        instances, threads, kind: how the cores are divided, see `instances.start`.
        batches: a plan of `batching.PLANS` and its size.
    """

    model: str
    recipe: str
    first_token: bool
    engine: str
    instances: int
    threads: int
    kind: str
    batches: tuple[str, int]


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
    # learn from, the fine-tuned model itself is cut and tuned, see `cut_alike`.
    "distillation": lambda full, cores: replace(full, model=TEACHER_CUT),
    "pruning": lambda full, cores: replace(full, model=STUDENT),
    "quantisation": lambda full, cores: replace(full, recipe=""),
    "first token": lambda full, cores: replace(full, first_token=False),
    "instances": _one_instance,
    # PyTorch shares its threads over the whole process and has no such integers: two techniques go with the engine.
    "ONNX Runtime": lambda full, cores: replace(_one_instance(full, cores), engine="pytorch", recipe="", threads=cores),
}

TAKES_ALONG = {"ONNX Runtime": ("quantisation", "instances")}  # techniques that are gone with another


def taken_along(technique: str, full: Stack, cores: int) -> list[str]:
    """Return what else ``full`` loses with a technique, of what it has."""
    return [other for other in TAKES_ALONG.get(technique, ()) if without(other, full, cores) != full]


def label(technique: str, full: Stack, cores: int) -> str:
    """Return the name of a technique with all that goes with it: "ONNX Runtime, with quantisation and instances"."""
    gone = taken_along(technique, full, cores)
    return technique + (f", with {' and '.join(gone)}" if gone else "")


def cut_alike(teacher: Classifier, whole: Classifier, cut: Classifier, examples: TokenizedSplit) -> Classifier:
    """Return ``teacher`` with the share of heads and neurons in each layer that ``cut`` has of ``whole``, on average.

    All its layers stay: where ``cut`` lost whole layers, the teacher does not.

    Chosen by the importance of chapter 4 and tuned by `mask_search.tune`, without training: what pruning makes of a
    model that nothing taught. ``examples`` are of train; an unpruned ``cut`` gives the teacher back.
    """
    shares = [_units(cut)[i] / _units(whole)[i] * len(_layers(whole)) / len(_layers(cut)) for i in (0, 1)]
    if shares == [1, 1]:
        return teacher
    counts = [
        (round(shares[0] * layer.num_heads), round(shares[1] * layer.intermediate_size)) for layer in _layers(teacher)
    ]
    scores = importance.first_order(importance.gradients(teacher, examples))
    return mask_search.tune(teacher, slicing.keep_top(scores.heads, scores.neurons, counts), examples, "weights")


def _layers(model: Classifier) -> Sequence:
    return model.encoder.config.layers


def _units(model: Classifier) -> tuple[int, int]:
    """Heads and neurons of all layers."""
    return sum(layer.num_heads for layer in _layers(model)), sum(layer.intermediate_size for layer in _layers(model))


@dataclass(frozen=True)
class Parts:
    """What stacks are made of.

    Attributes:
        models: by the names that stacks use.
        sources: ONNX files that are there already, by the name of a model and whether for the first token alone.
        folder: for the others.
        texts: of train, that static recipes are calibrated on.
        threads: of the calibration.
    """

    models: Mapping[str, Classifier]
    sources: Mapping[tuple[str, bool], Path]
    folder: Path
    texts: TokenizedSplit
    threads: int


def graph(stack: Stack, parts: Parts) -> Path:
    """Return the ONNX file of a stack, made once: the model or its `FirstTokenClassifier`, in its recipe's integers."""
    model, kind = parts.models[stack.model], "first token" if stack.first_token else "whole"
    usual = parts.folder / f"{stack.model}, {kind}" / "model.onnx"
    source = parts.sources.get((stack.model, stack.first_token), usual)
    export.save_onnx(FirstTokenClassifier(model) if stack.first_token else model, source)
    if not stack.recipe:
        return source
    recipe = recipes.get_recipe(stack.recipe)
    with export.quiet():  # chapter 5 has said what this processor cannot do
        shown = recipes.load(source)
        seen = calibration.Calibration(shown, parts.texts, parts.threads) if recipe.calibrated else None
        return recipes.quantize(source, source.with_name(f"{stack.recipe}.onnx"), recipe, seen)


@contextmanager
def serve(stack: Stack, parts: Parts) -> Iterator[list[Predictor]]:
    """Yield the predictors of a stack, one an instance.

    InputError: several instances of PyTorch, whose threads the whole process shares.
    """
    if stack.engine == "onnxruntime":
        path = graph(stack, parts)
        with instances.start(path, stack.instances, stack.threads, stack.kind) as predictors:
            yield predictors
        return
    if stack.instances > 1:
        raise InputError(f"{stack.instances} instances of {stack.engine} would share their threads; take one instance")
    model = parts.models[stack.model]
    served = FirstTokenClassifier(model) if stack.first_token else model
    yield [engines.serve(served, stack.engine, stack.threads, parts.folder)[0]]


def factors(full: np.ndarray, others: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float, float]]:
    """Return how many times slower each stack is than the full one: the median of the rounds, the least, the largest.

    All are seconds of each round [rounds], timed in turn, so a round of one belongs to the same round of another.
    """
    ratios = {name: seconds / full for name, seconds in others.items()}
    return {name: (float(np.median(r)), float(r.min()), float(r.max())) for name, r in ratios.items()}
