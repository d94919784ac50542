"""The file that is served: in the integers that chapter 5 chose, and judged by the labels that it keeps.

In fp32 a logit is that of the model, up to the order of additions. In eight bits it is not, so labels are counted
instead; who keeps too few of them may be timed, but is not served.

**One form is judged from pruning on**, see `final_form`: the graph for the first token in eight bits. Each rounding
turns some answers that hang in the balance. A model near the rule that is judged in fp32, then as one file and then as
another, is judged by three throws of a coin. So it is judged as what will be served, and each chapter finds the same.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.engine import export, predictors
from fflib.measure import device, fitness, timing
from fflib.measure.timing import Check, Predictor, Variant
from fflib.model import training
from fflib.model.encoder import Classifier
from fflib.quantization import calibration, recipes
from fflib.runtime.first_token import FirstTokenClassifier

IN_FP32 = 0.999  # of the labels; the order of additions may turn one that hangs in the balance


@dataclass(frozen=True, eq=False)
class Answers:
    """What is said to all of test, logits [n, classes], and how that compares with what the model says."""

    logits: np.ndarray
    check: Check


def in_integers(source: Path, recipe: str, texts: TokenizedSplit | None, threads: int) -> Path:
    """Return the file of ``source`` in a recipe of `recipes.RECIPES`, calibrated on ``texts`` where it needs them.

    It lies beside ``source`` and is made once; without a recipe it is ``source`` itself.
    """
    if not recipe:
        return source
    wanted = recipes.get_recipe(recipe)
    needs_texts = wanted.calibrated and texts is not None  # without them `quantize` says what is missing
    seen = calibration.Calibration(recipes.load(source), texts, threads) if needs_texts else None
    with export.quiet():  # what this processor cannot do, chapter 5 has said already
        return recipes.quantize(source, source.with_name(f"{recipe}.onnx"), wanted, seen)


def final_form(
    model: Classifier, recipe: str, folder: Path, threads: int, texts: TokenizedSplit | None = None
) -> Predictor:
    """Serve ``model`` as the book does in the end: its graph for the first token, in a recipe ('': in fp32).

    The files lie in ``folder``; current ones are kept. ``texts`` calibrate a recipe that needs it.
    """
    source = export.save_onnx(FirstTokenClassifier(model), folder / "model.onnx")
    return predictors.onnx_predictor(predictors.onnx_session(in_integers(source, recipe, texts, threads), threads))


def final_answers(
    model: Classifier, recipe: str, texts: TokenizedSplit, plan: batching.Plan, threads: int
) -> np.ndarray:
    """Return the logits [n, classes] that the `final_form` of ``model`` says to ``texts`` in the batches of ``plan``.

    The recipe is one without calibration. No file is left. On a graphics card the model itself is what is served.
    """
    if device.is_card():
        return training.predict(model, texts)
    with tempfile.TemporaryDirectory() as folder:
        return Variant("final form", final_form(model, recipe, Path(folder), threads), plan).logits(texts)


def judged(variant: Variant, requests: TokenizedSplit, expected: np.ndarray) -> Variant:
    """Note how a way in eight bits compares with the logits ``expected`` [n, classes] of all ``requests``.

    It may be timed whatever it answers; whether it may be served is what `fitness.verdict` makes of its labels.
    """
    everything = replace(variant, plan=batching.in_order(requests.lengths, 1))
    noted = timing.check(everything, requests, expected, tolerance=np.inf, agreement=0.0)
    return replace(noted, plan=variant.plan)


def labels_to_keep(recipe: str, min_agreement: float, n: int) -> float:
    """Return the share of the model's labels that the served file has to give on ``n`` texts, in any batches.

    Chapter 5 found the file fit; these are other batches, or another graph of the same products.
    """
    return fitness.least(min_agreement, n, fitness.NEARLY_NEVER) if recipe else IN_FP32


def tolerance(recipe: str, logits: np.ndarray) -> float:
    """Return by how much an answer may differ from ``logits`` while it is timed.

    In eight bits it is wide: labels are judged elsewhere, but an answer to another text would stand out.
    """
    return max(1.0, 0.3 * float(np.ptp(logits))) if recipe else 1e-3


def answers(
    predict: Predictor, test: TokenizedSplit, expected: np.ndarray, batches: tuple[str, int], at_least: float
) -> Answers:
    """Answer all of ``test`` in ``batches``, a kind of `batching.PLANS` and its size, and compare with the model.

    Args:
        expected: the model's logits, [n, classes].
        at_least: the share of the model's labels that have to stay, see `labels_to_keep`.

    Raises:
        AssertionError: fewer do.
    """
    plan = batching.PLANS[batches[0]](test.lengths, batches[1])
    logits = Variant("all of test", predict, plan).logits(test)
    check = timing.compared(logits, expected, test.gold)
    said = f"only {check.label_agreement:.1%} of the labels are those of the model, {at_least:.1%} have to be"
    assert timing.agreeing(logits, expected, test.gold) >= at_least, said
    return Answers(logits, check)
