"""A cheap front: a classifier of words or of static embeddings that answers before the served model is asked.

The floors of chapter 1, fitted on the same texts twice: on their labels, and on the teacher's answers. What is learnt
of the teacher is its probabilities: each text counts once for every class, as much as the teacher believes in it, so
any classifier with weights of examples can learn from soft answers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from fflib import spent
from fflib.beyond.cascade import margins, without_luck
from fflib.data import metrics
from fflib.data.retention import Retention
from fflib.data.splits import Split
from fflib.data.task import Task
from fflib.model import floor_features
from fflib.model.floor_features import Features
from fflib.model.floors import LEAST
from fflib.model.text_means import TextMeans

WORDS, STATIC = "words", "static embeddings"
LABELS, TEACHER = "the labels", "the teacher's answers"


@dataclass(frozen=True, eq=False)
class Front:
    """Features of texts and a fitted classifier of them."""

    features: Features
    classifier: Any
    classes: int

    def __call__(self, texts: Split) -> np.ndarray:
        """Return logarithms of probabilities, [n, classes]."""
        matrix = self.features(texts)
        logits = np.full((matrix.shape[0], self.classes), np.log(LEAST))
        logits[:, self.classifier.classes_] = np.log(self.classifier.predict_proba(matrix).clip(LEAST))
        return logits


@spent.on("training")
def fit(task: Task, train: Split, teacher_logits: np.ndarray, means: TextMeans) -> dict[tuple[str, str], Front]:
    """Return fronts by what they read (`WORDS`, `STATIC`) and what they learnt from (`LABELS`, `TEACHER`).

    ``teacher_logits`` are the teacher's answers to ``train``, [n, classes].
    """
    targets = {LABELS: np.eye(task.num_labels)[train.labels], TEACHER: _probabilities(teacher_logits)}
    fronts = {}
    for name, (features, scaler) in _readers(task, train, means).items():
        matrix = features(train)
        for taught_by, wanted in targets.items():
            classifier = make_pipeline(scaler(), LogisticRegression(C=0.003 if name == STATIC else 1.0, max_iter=100))
            _fit_soft(classifier, matrix, wanted)
            fronts[name, taught_by] = Front(features, classifier, task.num_labels)
    return fronts


def _readers(task: Task, train: Split, means: TextMeans) -> dict[str, tuple[Features, Callable[[], Any]]]:
    counts = floor_features.WordCounts(train)
    words = counts.terms_and_overlap if floor_features.is_pair(train) else counts.terms
    of_embeddings, _ = next(iter(floor_features.of_word_embeddings(task, means).values()))
    return {WORDS: (words, MaxAbsScaler), STATIC: (of_embeddings, StandardScaler)}


def _probabilities(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


def _fit_soft(classifier: Any, matrix: Any, wanted: np.ndarray) -> None:
    """Fit a pipeline on targets [n, classes]: every text once for each class, with that weight.

    No weight is quite 0: a few texts may be of one class alone.
    """
    count, classes = wanted.shape
    stack = sparse.vstack if sparse.issparse(matrix) else np.vstack
    labels, weights = np.repeat(np.arange(classes), count), wanted.T.ravel().clip(LEAST)
    last = classifier.steps[-1][0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as good as it gets in seconds, like a floor
        classifier.fit(stack([matrix] * classes), labels, **{f"{last}__sample_weight": weights})


def most_answered(
    front: np.ndarray,
    served: np.ndarray,
    gold: metrics.Gold,
    keeps: Callable[[np.ndarray], Retention],
    min_retention: float,
    min_agreement: float,
    shares: Sequence[float] = tuple(np.arange(0.95, 0, -0.05)),
) -> Mapping[str, float] | None:
    """Return the largest share of texts that a front may answer by itself, surest first, under the rule; None: none.

    Args:
        front, served: logits [n, classes] on dev.
        keeps: what logits keep of the teacher's score.

    Returns:
        ``share``, the ``threshold`` of its margin, ``retention`` (without luck) and ``agreement`` of the whole.
    """
    sure = margins(front)
    for share in shares:
        threshold = float(np.quantile(sure, 1 - share))
        answers = np.where((sure >= threshold)[:, None], front, served)
        kept, agreement = keeps(without_luck(answers, served, gold)), metrics.kept(answers, served, gold)
        if kept.holds(min_retention) and agreement >= min_agreement:
            found = {"share": float((sure >= threshold).mean()), "threshold": threshold}
            return found | {"retention": kept.value, "agreement": agreement}
    return None
