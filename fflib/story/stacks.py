"""A stack, all that serves a request: the model, its numbers, its graph, its engine, its cores and its batches.

Chapters measured stacks as they came about. Here any of them can be made, served beside others, checked and timed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fflib import spent
from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.engine import export, predictors
from fflib.files import InputError, resolve
from fflib.measure import fitness, timing
from fflib.measure.timing import Predictor, Timing, Together, Variant
from fflib.model import training
from fflib.model.encoder import Classifier
from fflib.runtime import engines
from fflib.runtime.first_token import FirstTokenClassifier
from fflib.runtime.served import in_integers
from fflib.serving import instances


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
    recipe: str = ""
    first_token: bool = False
    engine: str = "onnxruntime"
    instances: int = 1
    threads: int = 1
    kind: str = "thread"
    batches: tuple[str, int] = ("in order", 1)

    def plan(self, lengths: np.ndarray) -> batching.Plan:
        """Return the batches in which this stack answers texts of these lengths."""
        kind, size = self.batches
        return batching.PLANS[kind](lengths, size)


def of_run(served: Mapping[str, Any]) -> Stack:
    """Return the stack that a run ends with, from the fact "served" of chapter 7."""
    count, threads, kind = served["division"]
    batches = tuple(served["batches"])
    first_token = served["first_token"]
    return Stack(served["model"], served["recipe"], first_token, "onnxruntime", count, threads, kind, batches)


@dataclass(frozen=True)
class Parts:
    """What stacks are made of.

    Attributes:
        models: by the names that stacks use.
        graphs: ONNX files that are there already, by the name of a model and whether for the first token alone.
        folder: for the others.
        texts: of train, that static recipes are calibrated on.
        threads: of the calibration.
    """

    models: Mapping[str, Classifier]
    graphs: Mapping[tuple[str, bool], Path]
    folder: Path
    texts: TokenizedSplit
    threads: int


def graphs_of_run(folder: Path, served: Mapping[str, Any], quantised: Mapping[str, Any]) -> dict:
    """Return the ONNX files that the chapters of a run left in ``folder``/models/onnx, as `Parts.graphs`.

    ``served`` and ``quantised`` are the facts of chapters 7 and 5 of these names.
    """
    onnx, final = folder / "models" / "onnx", served["model"]
    rounded = quantised["onnx"]
    return {
        ("teacher", False): onnx / "teacher" / "model.onnx",
        ("student", False): onnx / "unpruned" / "model.onnx",
        (final, False): resolve(rounded).with_name("model.onnx") if rounded else onnx / "whole" / "model.onnx",
        (final, True): onnx / "served" / "model.onnx",
    }


@spent.on("export")
def graph(stack: Stack, parts: Parts) -> Path:
    """Return the ONNX file of a stack, made once: the model or its `FirstTokenClassifier`, in its recipe's integers."""
    model, kind = parts.models[stack.model], "first token" if stack.first_token else "whole"
    usual = parts.folder / f"{stack.model}, {kind}" / "model.onnx"
    source = parts.graphs.get((stack.model, stack.first_token), usual)
    export.save_onnx(FirstTokenClassifier(model) if stack.first_token else model, source)
    return in_integers(source, stack.recipe, parts.texts, parts.threads)


@contextmanager
def serve(stack: Stack, parts: Parts) -> Iterator[list[Predictor]]:
    """Yield the predictors of a stack, one an instance.

    InputError: several instances of PyTorch, whose threads the whole process shares.
    """
    if stack.engine == "onnxruntime":
        path = graph(stack, parts)
        with instances.start(path, stack.instances, stack.threads, stack.kind) as predictors_of_stack:
            yield predictors_of_stack
        return
    if stack.instances > 1:
        raise InputError(f"{stack.instances} instances of {stack.engine} would share their threads; take one instance")
    model = parts.models[stack.model]
    served = FirstTokenClassifier(model) if stack.first_token else model
    yield [engines.serve(served, stack.engine, stack.threads, parts.folder)[0]]


class RunningStacks:
    """Stacks that run beside each other, all instances of each, until they are closed.

    Args:
        stacks: by their names.
        parts: what they are made of.
    """

    def __init__(self, stacks: Mapping[str, Stack], parts: Parts) -> None:
        self.stacks, self._models = dict(stacks), parts.models
        with ExitStack() as opened:
            self._predictors = {name: opened.enter_context(serve(stack, parts)) for name, stack in stacks.items()}
            self._opened = opened.pop_all()

    def close(self) -> None:
        """End all instances."""
        self._opened.close()

    def logits(self, name: str, texts: TokenizedSplit) -> np.ndarray:
        """Return the logits [n, classes] of a stack for ``texts``, in its own batches, by one of its instances."""
        return self._variant(name, self.stacks[name].plan(texts.lengths)).logits(texts)

    def together(self, name: str) -> Together:
        """Return how a stack answers the batches of a plan, with all its instances."""
        return predictors.together(self._predictors[name])

    def expected(self, name: str, texts: TokenizedSplit) -> np.ndarray:
        """Return the logits [n, classes] that all instances of a stack together have to give for ``texts``.

        In fp32 these are the model's own, which one instance is checked for at once (AssertionError: it does not give
        them); in eight bits they are what one instance answers.
        """
        stack = self.stacks[name]
        if stack.recipe:
            return self.logits(name, texts)
        logits = training.predict(self._models[stack.model], texts)
        timing.check(self._variant(name, stack.plan(texts.lengths)), texts, logits)
        return logits

    def time(
        self, texts: TokenizedSplit, expected: Mapping[str, np.ndarray], rounds: int, tolerance: float
    ) -> dict[str, Timing]:
        """Let each stack answer all of ``texts`` in every round, with all its instances: `timing.time_at_once`."""
        ways = {name: self.together(name) for name in self.stacks}
        plans = {name: stack.plan(texts.lengths) for name, stack in self.stacks.items()}
        return timing.time_at_once(ways, texts, plans, expected, rounds, tolerance)

    def one_by_one(self, texts: TokenizedSplit, judges: TokenizedSplit, min_agreement: float) -> dict[str, Variant]:
        """Return each stack as a variant that one instance serves one text at a time, checked and ready to be timed.

        Args:
            texts: what it is timed on; in fp32 its logits for them are those of its model.
            judges: more texts, whose labels judge a stack in eight bits.
            min_agreement: how many it has to keep, but for chance; see `fitness.least`.

        Raises:
            AssertionError: one does not answer as its model does, see `timing.check`.
        """
        checked, plan = {}, batching.in_order(texts.lengths, 1)
        for name, stack in self.stacks.items():
            judged_by, limits = texts, {}
            if stack.recipe:
                least = fitness.least(min_agreement, len(judges), fitness.NEARLY_NEVER)
                judged_by, limits = judges, {"tolerance": np.inf, "agreement": least}
            logits = training.predict(self._models[stack.model], judged_by)
            variant = self._variant(name, batching.in_order(judged_by.lengths, 1))
            checked[name] = replace(timing.check(variant, judged_by, logits, **limits), plan=plan)
        return checked

    def _variant(self, name: str, plan: batching.Plan) -> Variant:
        return Variant(name, self._predictors[name][0], plan)
