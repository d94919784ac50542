"""The stages in which a student learns: in each it is asked to match something else, and trained anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fflib.data.splits import TokenizedSplit
from fflib.distillation import losses, objective, teacher
from fflib.distillation.objective import Distillation, Objectives
from fflib.distillation.teacher import PartOfOutputs, TeacherOutputs
from fflib.files import InputError, content_hash
from fflib.model import cache, training
from fflib.model.encoder import Classifier
from fflib.model.training import History, Recipe


@dataclass(frozen=True)
class DistillationStage:
    """One training run of a student: what it is asked to match, and how it is trained."""

    name: str
    objectives: Objectives
    recipe: Recipe


def same_examples(teacher_examples: TokenizedSplit, student_examples: TokenizedSplit) -> None:
    """Assert that two tokenisations are of the same examples, in the same order, as far as labels tell."""
    assert len(teacher_examples) == len(student_examples), "teacher and student saw different examples"
    assert (teacher_examples.labels == student_examples.labels).all(), "teacher and student saw different examples"


def distil(
    student: Classifier,
    stages: Sequence[DistillationStage],
    outputs: TeacherOutputs | PartOfOutputs,
    dev: TokenizedSplit,
    score: training.Score,
    folder: Path,
    learn_from: str = "uniform",
    train: TokenizedSplit | None = None,
) -> tuple[Classifier, list[History]]:
    """Train a student stage by stage; a stage starts from the last one's weights, and a finished one is not run again.

    Args:
        outputs: the teacher's, on the training examples.
        folder: the stages' models go to ``folder``/<stage>; the last one is the student.
        learn_from: which of the teacher's layers it learns from, a `losses.layer_map`.
        train: the examples as the student reads them, where that is not as the teacher does.
    """
    if not stages:
        raise InputError("a student without a stage learns nothing; name a part for it to match")
    train = outputs.examples if train is None else train
    same_examples(outputs.examples, train)
    code = [Path(module.__file__) for module in (losses, objective, teacher)]
    origin = content_hash(outputs.key, learn_from, *code)
    histories = []
    for stage in stages:
        origin = content_hash(origin, asdict(stage))
        student, history = cache.train_or_load(
            lambda student=student: student,
            folder / stage.name,
            train,
            dev,
            lambda model, stage=stage: Distillation(model, outputs, stage.objectives, learn_from, train.gold),
            score,
            stage.recipe,
            origin,
        )
        histories.append(history)
    return student, histories
