"""What a task is: which columns hold its text, which labels it has, how it is scored, and what was published for it.

Everything downstream (tokenising, training, measuring) asks a `Task`, never its name, so a further task is one more
entry in `_tasks`; one whose predictions are scored in another way adds its metric to `_metric`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import accuracy_score

from fflib.files import InputError


@dataclass(frozen=True)
class Task:
    """One classification task. ``labels`` are the raw values in the data; a class's index is its position there."""

    name: str
    text_fields: tuple[str, ...]  # one or two columns, given to the tokenizer as text and text_pair
    label_field: str
    labels: tuple[Any, ...]
    metric: str
    max_length: int  # tokens; what the padded baseline pads to
    description: str
    published: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def num_labels(self) -> int:
        """The number of classes, and so the width of the model's last layer."""
        return len(self.labels)

    def texts(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the record's text, one string a text field. InputError: a column is missing, not text, or empty."""
        return tuple(self._text(record, name) for name in self.text_fields)

    def label(self, record: Mapping[str, Any]) -> int:
        """Return the record's class index. InputError: the column is missing or its value is none of the labels."""
        value = _column(self, record, self.label_field)
        for index, label in enumerate(self.labels):
            # 1 == True in Python; a label has to be of the right kind as well.
            if value == label and isinstance(value, bool) == isinstance(label, bool):
                return index
        known = ", ".join(repr(label) for label in self.labels)
        raise InputError(f"{self.name}: {self.label_field}={value!r} is not a label; the labels are {known}")

    def _text(self, record: Mapping[str, Any], name: str) -> str:
        value = _column(self, record, name)
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{self.name}: column {name!r} is {value!r}, but it must hold some text")
        return value


def get_task(name: str) -> Task:
    """Return the task called ``name``, in any case of letters. InputError: names the tasks there are."""
    tasks = {task.name.lower(): task for task in _tasks()}
    if name.lower() in tasks:
        return tasks[name.lower()]
    close = difflib.get_close_matches(name.lower(), tasks, n=1)
    hint = f"did you mean {tasks[close[0]].name!r}? " if close else ""
    known = ", ".join(task.name for task in tasks.values())
    raise InputError(f"unknown task {name!r}; {hint}the tasks are {known}")


def score(task: Task, logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the task's metric, in [0, 1], of ``logits`` [n, classes] against the class indices ``labels`` [n]."""
    predictions = _predictions(task, logits, labels)
    return float(_metric(task)(labels, predictions))


def score_interval(
    task: Task, logits: np.ndarray, labels: np.ndarray, seed: int = 0, confidence: float = 0.95, resamples: int = 1000
) -> tuple[float, float]:
    """Return (low, high): the bootstrap percentile interval of `score`, resampling the n examples with replacement.

    It covers the choice of examples only, not the training seed: two trainings can differ by more than this.
    """
    predictions, metric = _predictions(task, logits, labels), _metric(task)
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(labels), size=len(labels)) for _ in range(resamples))
    if task.metric == "accuracy":  # the mean of hits, so no need to call the metric a thousand times
        hits = predictions == labels
        scores = [hits[draw].mean() for draw in draws]
    else:
        scores = [metric(labels[draw], predictions[draw]) for draw in draws]
    tail = (1 - confidence) / 2
    low, high = np.quantile(scores, [tail, 1 - tail])
    return float(low), float(high)


class Scored(NamedTuple):
    """A score with its 95 % interval."""

    value: float
    low: float
    high: float


def scored(task: Task, logits: np.ndarray, labels: np.ndarray, resamples: int = 1000) -> Scored:
    """Return `score` and `score_interval` of the same ``logits`` [n, classes]."""
    return Scored(score(task, logits, labels), *score_interval(task, logits, labels, resamples=resamples))


def difference_interval(
    task: Task,
    logits: np.ndarray,
    other_logits: np.ndarray,
    labels: np.ndarray,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> tuple[float, float, float]:
    """Return (difference, low, high) of two models' `score` on the same n examples: a paired bootstrap.

    Both are scored on the same draw, so examples that are hard for either do not widen the interval.
    """
    ours, theirs = _predictions(task, logits, labels), _predictions(task, other_logits, labels)
    metric, rng = _metric(task), np.random.default_rng(seed)
    draws = (rng.integers(len(labels), size=len(labels)) for _ in range(resamples))
    differences = [metric(labels[draw], ours[draw]) - metric(labels[draw], theirs[draw]) for draw in draws]
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return float(metric(labels, ours) - metric(labels, theirs)), float(low), float(high)


def _tasks() -> tuple[Task, ...]:
    docs = Task(
        name="docs",
        text_fields=("summary", "passage"),
        label_field="label",
        labels=("no", "yes"),
        metric="accuracy",
        max_length=512,
        description="Does this summary describe this documentation text?",
    )
    # FastFormers (arXiv 2010.13382): accuracy on BoolQ's validation set in per cent, as printed. Tables 1 and 3 give
    # different figures for the same models, since they are two trainings.
    published = {
        "teacher": 74.01,  # table 3: BERT, 12 layers, 768 wide
        "student_4L_312": 74.04,
        "student_4L_312_int8": 73.43,
        "student_4L_312_int8_pruned_25_25": 73.36,
        "student_4L_312_int8_pruned_33_50": 72.81,
        "table1_teacher": 75.99,
        "table1_student_6L_768": 76.06,
        "table1_student_4L_312": 72.63,
        "table1_roberta_teacher": 81.59,
    }
    boolq = Task(
        name="BoolQ",
        text_fields=("question", "passage"),
        label_field="label",
        labels=(False, True),
        metric="accuracy",
        max_length=512,
        description="Is the answer to this question about this Wikipedia passage yes?",
        published=MappingProxyType(published),
    )
    return docs, boolq


def _metric(task: Task) -> Callable[[np.ndarray, np.ndarray], float]:
    metrics = {"accuracy": accuracy_score}
    if task.metric not in metrics:
        raise InputError(f"{task.name}: unknown metric {task.metric!r}; the metrics are {', '.join(metrics)}")
    return metrics[task.metric]


def _predictions(task: Task, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if logits.shape != (len(labels), task.num_labels) or not len(labels):
        wanted = f"[{len(labels)}, {task.num_labels}]"
        raise InputError(f"{task.name}: logits have shape {list(logits.shape)}, but {wanted} and n > 0 is needed")
    if not np.isfinite(logits).all():  # argmax of NaN is 0, which would look like an answer
        raise InputError(f"{task.name}: the logits hold NaN or infinity, so there is nothing to score")
    return logits.argmax(axis=1)


def _column(task: Task, record: Mapping[str, Any], name: str) -> Any:
    if name not in record:
        raise InputError(f"{task.name}: there is no column {name!r}; the columns are {', '.join(record) or 'none'}")
    return record[name]
