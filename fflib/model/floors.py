"""Floors: what is reached without a fine-tuned transformer. To keep 98 % of a teacher means something only above them.

Each floor is fitted on train in seconds; where it comes in variants, the better on *dev* is taken. It answers as models
do, with logits [n, classes], so that the task's own metrics score it. Equal inputs give equal floors.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from transformers import PreTrainedTokenizerBase

from fflib import spent
from fflib.data import batching, metrics
from fflib.data.labels import short
from fflib.data.splits import Split, TokenizedSplit
from fflib.data.task import Task
from fflib.measure.timing import Together
from fflib.model import checkpoints, floor_features
from fflib.model.floor_features import Features, Variants
from fflib.model.text_means import TextMeans

ONE_ANSWER, WORDS, ENCODER, STATIC = "one answer for all", "words", "untrained encoder", "static embeddings"
# Examples of train that a floor sees at most, so that it takes seconds; encoding a text is by far the dearest.
ROWS = {WORDS: 20_000, STATIC: 6_000, ENCODER: 2_000}
ENCODED_PAIRS = 1_000
SERVED_BY = {  # by whom, from text, and in what numbers
    ONE_ANSWER: {"engine": "none", "precision": "none"},
    WORDS: {"engine": "scikit-learn, from text", "precision": "fp64"},
    ENCODER: {"engine": "PyTorch eager, from text", "precision": "fp32"},
    STATIC: {"engine": "scikit-learn, from text", "precision": "fp32"},
}
LEAST = 1e-9  # of a probability, so that its logarithm is a number


@dataclass(frozen=True)
class Floor:
    """A fitted floor.

    Attributes:
        by: the variant that was best on dev.
        dev_score: what it scores there, by the task's metrics.
        seconds: that fitting and choosing took.
        logits: the answers [n, classes] to texts.
        served: the same for requests, from text alone and with nothing kept on disk; None: there is nothing to compute.
    """

    by: str
    dev_score: float
    seconds: float
    logits: Callable[[Split], np.ndarray]
    served: Callable[[Split], np.ndarray] | None = None

    def from_text(self, texts: Split) -> Together:
        """Return the floor as a way to answer the batches of a plan of ``texts``, one after the other, see `timing`."""

        def run(_: TokenizedSplit, plan: batching.Plan) -> tuple[list[np.ndarray], float, list[float]]:
            asked, answers, clock = [texts.take(group) for group in plan], [], [time.perf_counter()]
            for batch in asked:
                answers.append(self.served(batch))
                clock.append(time.perf_counter())
            return answers, clock[-1] - clock[0], np.diff(clock).tolist()

        return run


@spent.on("training")
def fit(
    task: Task, train: Split, dev: Split, encoder: str = "", tokenizer: PreTrainedTokenizerBase | None = None
) -> dict[str, Floor]:
    """Return the floors of a task by their names, fitted on ``train``, their variants chosen on ``dev``.

    ``encoder`` is the public model that the teacher starts from, with its ``tokenizer``; without it there are no floors
    of embeddings.
    """
    floors = {ONE_ANSWER: _one_answer(task, dev)}
    pairs = floor_features.is_pair(train)
    floors[WORDS] = _fitted(task, train.head(ROWS[WORDS]), dev, floor_features.of_words)
    if encoder:
        model = checkpoints.load_classifier(encoder, task.num_labels, spans=task.spans)
        means = TextMeans(model, tokenizer)
        few = train.head(min(ROWS[ENCODER], ENCODED_PAIRS) if pairs else ROWS[ENCODER])
        floors[ENCODER] = _fitted(task, few, dev, lambda *_: floor_features.of_states(task, means, pairs))
        some = train.head(ROWS[STATIC])
        floors[STATIC] = _fitted(task, some, dev, lambda *_: floor_features.of_word_embeddings(task, means))
    return floors


def best(floors: Mapping[str, Floor]) -> str:
    """Name the floor that scored best on dev."""
    return max(floors, key=lambda name: floors[name].dev_score)


def _one_answer(task: Task, dev: Split) -> Floor:
    """Take the class that scores best on dev when it is the answer to everything."""

    def always(label: int) -> Callable[[Split], np.ndarray]:
        return lambda texts: np.tile(np.eye(task.num_labels)[label], (len(texts), 1))

    scores = [metrics.score(task, always(label)(dev), dev.gold) for label in range(task.num_labels)]
    label = int(np.argmax(scores))
    return Floor(f"always {short(str(task.labels[label]))}", scores[label], 0.0, always(label))


def _fitted(task: Task, train: Split, dev: Split, variants: Callable[[Task, Split], Variants]) -> Floor:
    """Fit every variant of a floor on ``train`` and return the best on ``dev``."""
    start = time.perf_counter()
    answers = {by: _Answers(task, *variant) for by, variant in variants(task, train).items()}
    scores = {}
    different = {each.features for each in answers.values()}  # variants may read the same: it is made once
    of_train, of_dev = ({features: features(texts) for features in different} for texts in (train, dev))
    for by, each in answers.items():
        each.fit(of_train[each.features], train.labels)
        scores[by] = metrics.score(task, each.logits(of_dev[each.features]), dev.gold)
    by = max(scores, key=scores.get)
    return Floor(by, scores[by], time.perf_counter() - start, answers[by], answers[by].served)


class _Answers:
    """Features and a classifier of them, as a function from texts to logits [n, classes]."""

    def __init__(self, task: Task, features: Features, classifier: Any) -> None:
        self._task, self.features, self._classifier = task, features, classifier

    def fit(self, matrix: Any, labels: np.ndarray) -> None:
        if len(np.unique(labels)) < 2:  # a few examples may be of one class alone
            self._classifier = DummyClassifier()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a floor is as good as it gets in seconds
            self._classifier.fit(matrix, labels)

    def __call__(self, texts: Split) -> np.ndarray:
        return self.logits(self.features(texts))

    def served(self, texts: Split) -> np.ndarray:
        return self.logits(getattr(self.features, "now", self.features)(texts))

    def logits(self, matrix: Any) -> np.ndarray:
        """Return the logarithm of the probability of every class, also of one that no example of train had."""
        logits = np.full((matrix.shape[0], self._task.num_labels), np.log(LEAST))
        logits[:, self._classifier.classes_] = np.log(self._classifier.predict_proba(matrix).clip(LEAST))
        return logits
