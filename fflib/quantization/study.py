"""Many recipes on several models: every file is made, served and compared with its original in the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from fflib import spent
from fflib.data import batching
from fflib.data.retention import Retention
from fflib.data.splits import TokenizedSplit
from fflib.engine import export, predictors
from fflib.files import InputError, check_known
from fflib.measure.race import Race
from fflib.measure.timing import Predictor, Together
from fflib.model import cache
from fflib.model.encoder import Classifier
from fflib.quantization import agreement, recipes
from fflib.quantization.agreement import Fidelity
from fflib.quantization.calibration import Calibration

FLOAT = "fp32"
TRAINING = ("never", "when needed", "always")


@dataclass(frozen=True)
class Graph:
    """The file of a model and what serves it.

    Attributes:
        fidelity: how true it stays to its original; None: it is the original.
        seconds: what it took to calibrate, convert and compare it.
        learned: its weights have learned with the rounding.
    """

    path: Path
    predict: Predictor
    fidelity: Fidelity | None = None
    seconds: float = 0.0
    learned: bool = False

    @property
    def agreement(self) -> float:
        """The share of the original's labels that it keeps, in the batches that are served."""
        return self.fidelity.agreement if self.fidelity else 1.0

    @property
    def megabytes(self) -> float:
        """The size of the file."""
        return self.path.stat().st_size / 1e6

    @property
    def model(self) -> onnx.ModelProto:
        """What is in the file; InputError as in `recipes.load`."""
        return recipes.load(self.path)


@dataclass(frozen=True)
class Answers:
    """What a model says to some texts, and in which batches: every conversion of it is compared with that.

    ``logits`` [n, classes] are those of the original for ``texts``, ``plan`` the batches in which they are served.
    """

    texts: TokenizedSplit
    plan: batching.Plan
    logits: np.ndarray

    def compare(self, predict: Predictor) -> Fidelity:
        """Return how true ``predict`` stays to the original, see `agreement.compare`."""
        return agreement.compare(predict, self.texts, self.plan, self.logits)


def check_choices(
    tried: Sequence[str], served: Sequence[str], training: str, seeds: Sequence[int], n_check: int
) -> None:
    """Raise InputError where what is to be tried cannot be, before anything takes time."""
    check_known("recipe", [*tried, *served], recipes.RECIPES)
    check_known("training", [training], TRAINING)
    if not (served and seeds) or n_check == 1 or len({*served}) < len(served):
        raise InputError("give recipes to serve, each once, a seed, and n_check of 2 or more, or 0")


@spent.on("export")
def originals(
    models: Mapping[str, Classifier], paths: Mapping[str, Path], threads: int
) -> dict[tuple[str, str], Graph]:
    """Write and serve the graphs of models in fp32, see `export.save_onnx`; by (model, `FLOAT`)."""
    graphs = {}
    for name, model in models.items():
        path = export.save_onnx(model, paths[name])
        export.check_belongs(path, model)
        graphs[name, FLOAT] = Graph(path, served(path, threads))
    return graphs


def served(graph: onnx.ModelProto | Path, threads: int) -> Predictor:
    """Serve a graph, or the file of one, with ONNX Runtime."""
    return predictors.onnx_predictor(predictors.onnx_session(graph, threads))


def two_instances(path: Path, threads: int) -> Together:
    """Serve a file twice at the same time, each instance with half of the threads, and one at least."""
    return predictors.together([served(path, max(1, threads // 2)) for _ in range(2)])


def answers_of(
    model: Classifier, texts: TokenizedSplit, which: np.ndarray, plan_of: Callable[[np.ndarray], batching.Plan]
) -> Answers:
    """Ask a model about the texts at ``which`` [n]; ``plan_of`` makes batches for their lengths."""
    chosen = texts.take(which)
    return Answers(chosen, plan_of(chosen.lengths), cache.predict_cached(model, texts)[which])


@spent.on("export")
def convert(source: Path, recipe: str, calibration: Calibration, answers: Answers, learned: bool = False) -> Graph:
    """Convert the file ``source`` by a recipe, into the folder it lies in, and compare what it answers."""
    start = time.perf_counter()
    with export.quiet():  # the chapter has warned already
        path = recipes.quantize(source, source.with_name(f"{recipe}.onnx"), recipes.get_recipe(recipe), calibration)
    predict = served(path, calibration.threads)
    fidelity = answers.compare(predict)
    return Graph(path, predict, fidelity, time.perf_counter() - start, learned)


def choose(race: Race, kept: Mapping[str, Retention], min_retention: float, first: str) -> str:
    """Return the fastest recipe that beats fp32 and keeps the rule (`Retention.holds`) on dev; '' where there is none.

    ``first`` is taken where the noise of the timing cannot tell it from the fastest.
    """
    faster = [name for name in kept if race[name].throughput_per_s > race[FLOAT].throughput_per_s]
    holding = [name for name in faster if kept[name].holds(min_retention)]
    fastest = max(holding, key=lambda name: race[name].throughput_per_s, default="")
    if first in holding and race[first].throughput_interval()[1] > race[fastest].throughput_interval()[0]:
        return first
    return fastest
