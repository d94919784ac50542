"""A study: students that learn from one teacher, alike but for what is compared, and scored on the same texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fflib.data import metrics
from fflib.data.metrics import Gold, Scored
from fflib.data.retention import Retention
from fflib.data.splits import TokenizedSplit
from fflib.data.task import Task
from fflib.distillation import stages as learning
from fflib.distillation.shipped_student import is_kept
from fflib.distillation.stages import DistillationStage
from fflib.distillation.students import TEACHER, StudentInit
from fflib.distillation.teacher import PartOfOutputs, TeacherOutputs
from fflib.model import cache
from fflib.model.encoder import Classifier
from fflib.model.training import History


@dataclass(frozen=True)
class Distilled:
    """A student that has learnt, and how each stage of its training went."""

    model: Classifier
    histories: Sequence[History]
    minutes_before: float = 0.0  # of training that one had which comes with the book

    @property
    def minutes(self) -> float:
        """Minutes of training, all stages together."""
        return sum(history.seconds for history in self.histories) / 60 + self.minutes_before

    @property
    def steps(self) -> int:
        """Steps of training, all stages together."""
        return sum(history.loss[-1][0] for history in self.histories)


@dataclass(frozen=True)
class Study:
    """What the students of a study share, unless a call says otherwise.

    Args:
        init: where they start from.
        stages: in which they learn.
        outputs: the teacher's, on the training examples.
        texts: train, dev and test as a student reads them.
        task: its metrics score them.
        folder: each student has a folder of its own in it, and is not trained again.
        learn_from: which of the teacher's layers they learn from, a `losses.layer_map`.
        resamples: of every bootstrap interval.
        teacher_texts: dev and test as the teacher reads them, where students read other tokens.
    """

    init: StudentInit
    stages: Sequence[DistillationStage]
    outputs: TeacherOutputs
    texts: Mapping[str, TokenizedSplit]
    task: Task
    folder: Path
    learn_from: str = "uniform"
    resamples: int = 1000
    teacher_texts: Mapping[str, TokenizedSplit] | None = None

    def distil(
        self,
        name: str,
        start: Classifier,
        stages: Sequence[DistillationStage] = (),
        outputs: TeacherOutputs | PartOfOutputs | None = None,
        learn_from: str = "",
    ) -> Distilled:
        """Train the student ``start``, which changes it; what is given takes the place of what the study says.

        ``name`` is that of its folder. Outputs on other texts than the study's first ones are not for `logits_only`.
        """
        outputs = self.outputs if outputs is None else outputs
        own = self.texts["train"].take(range(len(outputs.examples))) if self.init.logits_only else None
        return Distilled(
            *learning.distil(
                start,
                stages or self.stages,
                outputs,
                self.texts["dev"],
                self._score,
                self.folder / name.replace("/", "--"),
                learn_from or self.learn_from,
                own,
            )
        )

    def taught(self, shape: str, start: Classifier | None = None) -> Distilled:
        """Return the student of ``shape`` after the study's stages, from ``start`` or as `StudentInit.make` makes it.

        Not trained are the teacher itself, called `TEACHER`, and a student that comes with the book: it was taught.
        """
        if shape == TEACHER:
            return Distilled(self.outputs.model, [])
        if is_kept(shape):
            return Distilled(self.init.make(shape), [], self.init.minutes_before(shape))
        return self.distil(shape, self.init.make(shape) if start is None else start)

    def on_first(self, shape: str, count: int) -> Distilled:
        """Distil a student of ``shape`` on the first ``count`` training examples; 0, or more than there are: on all."""
        outputs = self.outputs.first(count)
        name = shape if outputs is self.outputs else f"{count} texts"
        return self.distil(name, self.init.make(shape), outputs=outputs)

    def losses(self, distilled: Mapping[str, Distilled]) -> dict[str, dict[str, list[tuple[int, float]]]]:
        """Return the training losses [(step, loss), ...] of students that went through the study's stages, by stage."""
        return {
            stage.name: {name: each.histories[i].loss for name, each in distilled.items() if each.histories}
            for i, stage in enumerate(self.stages)
        }

    def logits(self, model: Classifier, split: str) -> np.ndarray:
        """Return the logits [n, classes] of a student on dev or test."""
        return cache.predict_cached(model, self._read_by(model)[split])

    def score(self, model: Classifier, split: str) -> float:
        """Return what a student scores on dev or test, 0 to 1."""
        return self._score(self.logits(model, split), self.texts[split].gold)

    def scored(self, model: Classifier, split: str) -> Scored:
        """Return what a student scores on dev or test, with its interval."""
        return metrics.scored(self.task, self.logits(model, split), self.texts[split].gold, self.resamples)

    def difference(self, model: Classifier, other: Classifier, split: str) -> Scored:
        """Return by how much a student scores above another on dev or test, with the paired interval."""
        return self.difference_to(self.logits(other, split), model, split)

    def difference_to(self, logits: np.ndarray, model: Classifier, split: str) -> Scored:
        """Return by how much a student scores above the ``logits`` [n, classes] of another model."""
        own, gold = self.logits(model, split), self.texts[split].gold
        return Scored(*metrics.difference_interval(self.task, own, logits, gold, resamples=self.resamples))

    def _read_by(self, model: Classifier) -> Mapping[str, TokenizedSplit]:
        return self.teacher_texts if self.teacher_texts and model is self.outputs.model else self.texts

    def _score(self, logits: np.ndarray, gold: Gold) -> float:
        return metrics.score(self.task, logits, gold)


def first_that_holds(kept: Mapping[str, Retention], min_retention: float) -> str:
    """Return the first student, in the order they were tried, that keeps the rule; where none does, the `TEACHER`."""
    return next((name for name, each in kept.items() if each.holds(min_retention)), TEACHER)


def to_study(chosen: str, tried: Sequence[str]) -> str:
    """Return the student whose recipe is looked at closely: the chosen one, or the last that was taught in this run.

    Where none of those ``tried`` was, it is the chosen one's size, to be taught from the teacher's first layers.
    """
    taught_here = [shape for shape in tried if shape != TEACHER and not is_kept(shape)]
    if chosen in taught_here:
        return chosen
    return taught_here[-1] if taught_here else next(shape for shape in tried if shape != TEACHER).partition("@")[0]


def why_above(name: str, difference: Scored) -> str:
    """Return a sentence on a student that scores above its teacher, by ``difference``; '' for one that does not."""
    if difference.value <= 0:
        return ""
    interval = f"the paired interval, {100 * difference.low:+.1f} to {100 * difference.high:+.1f},"
    chance = f"{interval} includes zero, so the choice of test texts alone can explain it"
    if difference.low > 0:
        chance = f"{interval} lies above zero, so the choice of test texts alone does not explain it"
    return (
        f"**{name}** scores {100 * difference.value:.1f} points above its teacher: {chance}. A student can be better "
        "than its teacher. It learns from the teacher's probabilities, which are less noisy than labels, and it has "
        "fewer weights with which to learn single examples by heart. No test label took part in its training."
    )


def training_minutes(distilled: Iterable[Distilled]) -> float:
    """Return the minutes of training of several students."""
    return sum(each.minutes for each in distilled)
