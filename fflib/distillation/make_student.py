"""Make a student that comes with the book: taught on many texts, for longer than a reader waits.

    python -m fflib.distillation.make_student 2x384@3,6        makes it anew, with its record (75 minutes, two cores)

It learns from the teacher that comes with the book (`model.shipped`), and at last from the labels too. It is kept as
`shipped_student` reads it.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from fflib.data import docs_transfer, metrics, registry, splits
from fflib.distillation import losses, narrowing, shipped_student
from fflib.distillation import stages as learning
from fflib.distillation.narrowing import NarrowAnswers
from fflib.distillation.objective import Objectives
from fflib.distillation.stages import DistillationStage
from fflib.distillation.students import StudentShape
from fflib.distillation.teacher import TeacherOutputs
from fflib.files import cache_dir, content_hash
from fflib.measure import hardware
from fflib.model import cache, checkpoints, importance, low_rank, shipped, slicing, training
from fflib.model.encoder import Classifier
from fflib.model.training import History


@dataclass(frozen=True)
class Lesson:
    """A stage in which a student learns answers, whole and narrowed to shares between ``widths``.

    ``balanced``: on the part of the transfer set where counting words tells nothing, as in dev and test; else on all.
    ``labels``: from these too, not from the teacher alone.
    """

    name: str
    recipe: training.Recipe
    balanced: bool
    widths: tuple[float, float]
    labels: bool = False


SHAPE = "2x384@3,6"
RANK = 160  # with which the file keeps the student: less loses on dev
N_IMPORTANCE = 512  # of the balanced texts: which heads and neurons are the least important
_RECIPE = training.Recipe(epochs=1, batch_size=32, warmup=0.06, dropout=0.0, freeze_words=True, evaluations_per_epoch=2)
INSIDE = DistillationStage(
    "inside", Objectives.inside(["hidden"]), replace(_RECIPE, learning_rate=1e-3, evaluations_per_epoch=0)
)
# First from the teacher alone. Then the labels join in, since most of these pairs the teacher never saw, and the widths
# are those to which a search cuts. These lessons keep their last weights, for dev has chosen often enough, and of the
# two the mean is taken (model soups, 2203.05482): what each learnt by heart differs, what both know stays.
LESSONS = (
    Lesson("answers", replace(_RECIPE, epochs=2, learning_rate=4e-4), balanced=False, widths=(0.25, 1)),
    Lesson(
        "labels too",
        replace(_RECIPE, learning_rate=3e-4, evaluations_per_epoch=0),
        balanced=False,
        widths=(0.125, 0.5),
        labels=True,
    ),
    Lesson(
        "balanced",
        replace(_RECIPE, epochs=2, learning_rate=2e-4, evaluations_per_epoch=0),
        balanced=True,
        widths=(0.125, 0.5),
        labels=True,
    ),
)
AVERAGED = 2  # lessons, the last ones


def make(name: str) -> Path:
    """Distil a student of the shape ``name``; write the file and its record.

    Interrupted, it goes on where it was. Test is scored for the record alone.
    """
    machine = hardware.card()  # now: the commit that the code is of, before a file changes
    task, tokenizer = registry.get_task(shipped.TASK), checkpoints.load_tokenizer(shipped.BASE)
    texts, folder = shipped.tokenized(task, tokenizer), cache_dir("shipped")
    many, n_balanced = docs_transfer.load()
    many = splits.tokenize(many, tokenizer, shipped.LENGTH)
    teacher_file = shipped.file_for(task, shipped.BASE)
    teacher, _ = shipped.take(teacher_file, shipped.BASE, task, folder / "teacher", tokenizer)
    score = partial(metrics.score, task)

    def scored(model: Classifier) -> dict[str, float]:
        return shipped.scores(model, texts, score)

    def learn(model: Classifier, lesson: Lesson) -> tuple[Classifier, History]:
        on = balanced if lesson.balanced else outputs

        def loss(_: Classifier) -> NarrowAnswers:
            # The last layer is served for one token alone, so it stays whole.
            labels = on.examples.gold.labels if lesson.labels else None
            return NarrowAnswers(on, units, range(shape.layers - 1), lesson.widths, labels)

        scores = [part.tolist() for part in (*units.heads, *units.neurons)]
        origin = content_hash(on.key, scores, asdict(lesson), Path(narrowing.__file__), Path(losses.__file__))
        return cache.train_or_load(
            lambda: model, folder / name / lesson.name, on.examples, texts["dev"], loss, score, lesson.recipe, origin
        )

    shape = StudentShape.parse(name)
    layers = losses.layer_map(shape.start, shape.layers, len(teacher.encoder.layers))
    start, student = (slicing.slice_model(teacher, [layer - 1 for layer in layers]) for _ in range(2))
    outputs = TeacherOutputs(teacher, many)
    balanced = outputs.first(n_balanced)
    student, histories = learning.distil(student, (INSIDE,), outputs, texts["dev"], score, folder / name, "uniform")
    units = importance.first_order(importance.gradients(student, outputs.first(N_IMPORTANCE).examples))
    learnt = []
    for lesson in LESSONS:
        student, history = learn(student, lesson)
        histories.append(history)
        learnt.append(copy.deepcopy(student.state_dict()))
    student.load_state_dict(mean_of(learnt[-AVERAGED:]))
    measured = {"teacher": scored(teacher), "as trained": scored(student)}

    file = shipped_student.file_of(task, f"{shape.layers}x{shape.hidden}", there=False)
    low_rank.save(student, start, file, RANK)
    low_rank.apply(start, file)
    measured["as kept"] = scored(start)
    facts = {
        "command": f"python -m fflib.distillation.make_student {name}",
        "teacher": shipped_student.teacher_hash(teacher),
        "shape": name,
        "layers": list(layers),
        "rank": RANK,
        "taught_on": {"n": len(many), "n_balanced": n_balanced, "fingerprint": many.fingerprint},
        "stages": [asdict(INSIDE), *(asdict(lesson) for lesson in LESSONS)],
        "averaged": [lesson.name for lesson in LESSONS[-AVERAGED:]],
        "histories": [asdict(history) for history in histories],
    }
    shipped.write_record(file, facts, texts, measured, machine)
    return file


def mean_of(weights: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of the weights of models of one shape, by name."""
    return {name: torch.stack([each[name] for each in weights]).mean(0) for name in weights[0]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shape", choices=[SHAPE], help="which student to make")
    chosen = parser.parse_args()
    began = time.perf_counter()
    print(f"{make(chosen.shape).name}: {(time.perf_counter() - began) / 60:.0f} minutes")
