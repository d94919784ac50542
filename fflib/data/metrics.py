"""How predictions are scored: SuperGLUE's metrics (Wang et al., 1905.00537, section 3), with intervals and differences.

Every metric here is a function of sums over questions: of hits, or of right and wrong positives. So a metric is two
short functions, one that tallies each question and one that makes a value of the sums, and a bootstrap resamples the
tallies. Where several examples answer one question they are drawn together, for they stand or fall together.
(Longer than 200 lines: all metrics and their one bootstrap.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from fflib import spent
from fflib.files import InputError


class Scorable(Protocol):
    """What scoring asks of a task, see ``task.Task``."""

    name: str
    metrics: tuple[str, ...]

    @property
    def num_labels(self) -> int:
        """The number of classes."""


@dataclass(frozen=True, eq=False)
class Gold:
    """What is right about n examples, each an answer to a question."""

    labels: np.ndarray  # class indices, [n], int64
    questions: np.ndarray | None = None  # the number of each example's question, [n]; None: each has its own
    overlap: np.ndarray | None = None  # F1 of an answer's words with those of the right answer, [n], from 0 to 1
    one_right: bool = False  # one answer of each question is right, so that they compete

    def take(self, indices: Sequence[int]) -> Gold:
        """Return what is right about the examples at ``indices``, in that order."""
        at = np.asarray(indices, int)
        questions, overlap = (None if a is None else a[at] for a in (self.questions, self.overlap))
        return replace(self, labels=self.labels[at], questions=questions, overlap=overlap)

    def numbered(self) -> np.ndarray:
        """Return the question of each example, [n], numbered from 0 without gaps."""
        if self.questions is None:
            return np.arange(len(self.labels))
        return np.unique(self.questions, return_inverse=True)[1]


class Metric(NamedTuple):
    """``tally`` (logits [n, classes], gold) -> [questions, k]; ``value`` of its sums, [k], is the metric, 0 to 1.

    Matthews' correlation alone may be less than 0: of answers that are worse than none.
    """

    tally: Callable[[np.ndarray, Gold], np.ndarray]
    value: Callable[[np.ndarray], float]


class Scored(NamedTuple):
    """A score with its 95 % interval."""

    value: float
    low: float
    high: float


def score(task: Scorable, logits: np.ndarray, gold: Gold) -> float:
    """Return the mean of the task's metrics, at most 1, of ``logits`` [n, classes]."""
    return _mean([metric.value(tally.sum(0)) for metric, tally in _tallied(task, logits, gold)])


def parts(task: Scorable, logits: np.ndarray, gold: Gold) -> dict[str, float]:
    """Return each of the task's metrics by its name; `score` is their mean."""
    values = [metric.value(tally.sum(0)) for metric, tally in _tallied(task, logits, gold)]
    return dict(zip(task.metrics, values, strict=True))


def chance(task: Scorable, gold: Gold) -> float:
    """Return the best score that giving every example the same logits can have: what a model must beat."""
    constant = [np.tile(row, (len(gold.labels), 1)) for row in np.eye(task.num_labels)]
    return max(score(task, logits, gold) for logits in constant)


def answers(logits: np.ndarray, gold: Gold) -> np.ndarray:
    """Return the class that ``logits`` [n, classes] give each example, [n].

    Of answers that compete, the likeliest has class 1 and the others 0, whatever their scores are beside an answer to
    another question. One whose rivals are not among the n is judged alone.
    """
    given = logits.argmax(1)
    if not gold.one_right:
        return given
    numbers = gold.numbered()
    contested = np.bincount(numbers)[numbers] > 1
    return np.where(contested, np.isin(np.arange(len(given)), _likeliest(logits, numbers)), given)


def kept(logits: np.ndarray, original: np.ndarray, gold: Gold) -> float:
    """Return the share of n examples with the same answer by ``logits`` as by ``original``, both [n, classes]."""
    return float((answers(logits, gold) == answers(original, gold)).mean())


@spent.on("scoring")
def score_interval(
    task: Scorable, logits: np.ndarray, gold: Gold, seed: int = 0, confidence: float = 0.95, resamples: int = 1000
) -> tuple[float, float]:
    """Return (low, high): the bootstrap percentile interval of `score`, resampling the questions with replacement.

    It covers the choice of questions only, not the training seed: two trainings can differ by more than this.
    """
    tallied = _tallied(task, logits, gold)
    weights = _draws(len(tallied[0][1]), seed, resamples)
    return _percentiles([_weighted(tallied, weight) for weight in weights], confidence)


def scored(task: Scorable, logits: np.ndarray, gold: Gold, resamples: int = 1000) -> Scored:
    """Return `score` and `score_interval` of the same ``logits`` [n, classes]."""
    return Scored(score(task, logits, gold), *score_interval(task, logits, gold, resamples=resamples))


@spent.on("scoring")
def difference_interval(
    task: Scorable,
    logits: np.ndarray,
    other_logits: np.ndarray,
    gold: Gold,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> tuple[float, float, float]:
    """Return (difference, low, high) of two models' `score` on the same n examples: a paired bootstrap.

    Both are scored on the same draw, so questions that are hard for either do not widen the interval.
    """
    ours, theirs = paired_scores(task, logits, other_logits, gold, seed, resamples).T
    differences = ours - theirs
    return score(task, logits, gold) - score(task, other_logits, gold), *_percentiles(differences, confidence)


@spent.on("scoring")
def paired_scores(
    task: Scorable, logits: np.ndarray, other_logits: np.ndarray, gold: Gold, seed: int = 0, resamples: int = 1000
) -> np.ndarray:
    """Return two models' `score` on bootstrap draws of the same n examples, [resamples, 2]: each row is one draw."""
    ours, theirs = _tallied(task, logits, gold), _tallied(task, other_logits, gold)
    weights = _draws(len(ours[0][1]), seed, resamples)
    return np.array([(_weighted(ours, weight), _weighted(theirs, weight)) for weight in weights])


def _by_question(values: np.ndarray, gold: Gold) -> np.ndarray:
    """Sum values [n, k] over the examples of each question: [questions, k]."""
    numbers = gold.numbered()
    sums = np.zeros((numbers.max() + 1, values.shape[1]))
    np.add.at(sums, numbers, values)
    return sums


def _hits(logits: np.ndarray, gold: Gold) -> np.ndarray:
    right = logits.argmax(1) == gold.labels
    return _by_question(np.stack([right, np.ones(len(right))], 1), gold)


def _positives(logits: np.ndarray, gold: Gold) -> np.ndarray:
    """Count, for every class, the true positives, and twice these with the false positives and negatives."""
    answers, labels = np.eye(logits.shape[1])[logits.argmax(1)], np.eye(logits.shape[1])[gold.labels]
    return _by_question(np.concatenate([answers * labels, answers + labels], 1), gold)


def _agreements(logits: np.ndarray, gold: Gold) -> np.ndarray:
    """Count the hits, the examples, and then of every class its answers and its labels."""
    answers, labels = np.eye(logits.shape[1])[logits.argmax(1)], np.eye(logits.shape[1])[gold.labels]
    hits = (answers * labels).sum(1, keepdims=True)
    return _by_question(np.concatenate([hits, np.ones_like(hits), answers, labels], 1), gold)


def _matthews(sums: np.ndarray) -> float:
    """Matthews' correlation of answers and labels (Gorodkin 2004 for many classes); 0 where either is constant."""
    (hits, n), (answers, labels) = sums[:2], np.split(sums[2:], 2)
    spread = (n * n - answers @ answers) * (n * n - labels @ labels)
    return float((hits * n - answers @ labels) / spread**0.5) if spread > 0 else 0.0


def _exact(logits: np.ndarray, gold: Gold) -> np.ndarray:
    wrong = _by_question((logits.argmax(1) != gold.labels)[:, None], gold)
    return np.concatenate([wrong == 0, np.ones_like(wrong)], 1)


def _best(values: np.ndarray, logits: np.ndarray, gold: Gold) -> np.ndarray:
    """Take of each question the value of the answer that yes is most likely for; of equals the first."""
    first = _likeliest(logits, gold.numbered())
    return np.stack([values[first], np.ones(len(first))], 1)


def _likeliest(logits: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the index of each question's answer that yes is most likely for; of equals the first."""
    order = np.lexsort((np.arange(len(numbers)), logits[:, 0] - logits[:, 1], numbers))
    return order[np.unique(numbers[order], return_index=True)[1]]


def _f1(sums: np.ndarray) -> np.ndarray:
    """F1 of each class, NaN of one that neither stands in the labels nor was predicted."""
    twice, total = 2 * sums[: len(sums) // 2], sums[len(sums) // 2 :]
    return np.divide(twice, total, out=np.full(len(total), np.nan), where=total > 0)


def _ratio(sums: np.ndarray) -> float:
    return float(sums[0] / sums[1])


METRICS = {
    "accuracy": Metric(_hits, _ratio),
    "macro F1": Metric(_positives, lambda sums: float(np.nanmean(_f1(sums)))),
    "matthews": Metric(_agreements, _matthews),
    # MultiRC's: over all answers, and the share of questions with every answer right.
    "F1 of the answers": Metric(_positives, lambda sums: float(np.nan_to_num(_f1(sums)[1]))),
    "exact match": Metric(_exact, _ratio),
    # COPA's and ReCoRD's: answers to one question are compared, the likeliest is given.
    "accuracy of the choice": Metric(lambda logits, gold: _best(gold.labels == 1, logits, gold), _ratio),
    "F1 of the choice": Metric(lambda logits, gold: _best(_overlap(gold), logits, gold), _ratio),
}


def _overlap(gold: Gold) -> np.ndarray:
    return (gold.labels == 1).astype(float) if gold.overlap is None else gold.overlap


def _tallied(task: Scorable, logits: np.ndarray, gold: Gold) -> list[tuple[Metric, np.ndarray]]:
    unknown = [name for name in task.metrics if name not in METRICS]
    if unknown or not task.metrics:
        known = ", ".join(METRICS)
        raise InputError(f"{task.name}: unknown metric {', '.join(unknown) or 'none'!r}; the metrics are {known}")
    n = len(gold.labels)
    if logits.shape != (n, task.num_labels) or not n:
        wanted = f"[{n}, {task.num_labels}]"
        raise InputError(f"{task.name}: logits have shape {list(logits.shape)}, but {wanted} and n > 0 is needed")
    if not np.isfinite(logits).all():  # argmax of NaN is 0, which would look like an answer
        raise InputError(f"{task.name}: the logits hold NaN or infinity, so there is nothing to score")
    return [(METRICS[name], METRICS[name].tally(logits, gold)) for name in task.metrics]


def _draws(n: int, seed: int, resamples: int) -> list[np.ndarray]:
    """How often each of n questions is drawn, for each resample."""
    rng = np.random.default_rng(seed)
    return [np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(resamples)]


def _weighted(tallied: list[tuple[Metric, np.ndarray]], weight: np.ndarray) -> float:
    return _mean([metric.value(weight @ tally) for metric, tally in tallied])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _percentiles(values: Sequence[float], confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
