"""Make a student that comes with the book: taught on many texts, for longer than a reader waits.

    python -m fflib.distillation.make_student 2x384@3,6        makes it anew, with its record (80 minutes, two cores)

It learns from the teacher that comes with the book (`model.shipped`) alone, never from labels, and is kept as
`shipped_student` reads it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from fflib.data import docs_transfer, metrics, registry, splits
from fflib.distillation import losses, narrowing, shipped_student
from fflib.distillation import stages as learning
from fflib.distillation.narrowing import NarrowAnswers
from fflib.distillation.objective import Objectives
from fflib.distillation.stages import DistillationStage
from fflib.distillation.students import StudentShape
from fflib.distillation.teacher import PartOfOutputs, TeacherOutputs
from fflib.files import cache_dir, content_hash
from fflib.measure import hardware
from fflib.model import cache, checkpoints, importance, shipped, slicing, training
from fflib.model.encoder import Classifier
from fflib.model.training import History

Outputs = TeacherOutputs | PartOfOutputs


@dataclass(frozen=True)
class Way:
    """How a student of one shape is taught, and with what ``rank`` its file keeps it.

    On all of the transfer set, the last epochs apart: they see the part of it where counting words tells nothing.
    """

    answer_epochs: int
    balanced_epochs: int
    rank: int


WAYS = {"2x384@3,6": Way(answer_epochs=2, balanced_epochs=2, rank=96)}
N_IMPORTANCE = 512  # of the balanced texts: which heads and neurons are the least important
_RECIPE = training.Recipe(epochs=1, batch_size=32, warmup=0.06, dropout=0.0, freeze_words=True, evaluations_per_epoch=2)
INSIDE = DistillationStage(
    "inside", Objectives.inside(["hidden"]), replace(_RECIPE, learning_rate=1e-3, evaluations_per_epoch=0)
)
ANSWERS = replace(_RECIPE, learning_rate=4e-4)
BALANCED = replace(_RECIPE, learning_rate=2e-4)
AFTER_THE_CUT = replace(_RECIPE, learning_rate=1e-3)


def make(name: str) -> Path:
    """Distil a student of a shape of `WAYS`; write the file and its record.

    Interrupted, it goes on where it was. Dev chooses the weights; test is scored for the record alone.
    """
    way = WAYS[name]
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

    def answers(model: Classifier, stage: str, recipe: training.Recipe, on: Outputs) -> tuple[Classifier, History]:
        def loss(_: Classifier) -> NarrowAnswers:
            return NarrowAnswers(on, scores, range(shape.layers - 1))  # the last layer is served for one token alone

        widths = [part.tolist() for part in (*scores.heads, *scores.neurons)]
        origin = content_hash(on.key, widths, Path(narrowing.__file__), Path(losses.__file__))
        return cache.train_or_load(
            lambda: model, folder / name / stage, on.examples, texts["dev"], loss, score, recipe, origin
        )

    def tune(model: Classifier) -> History:
        tuned, history = answers(model, "after the cut", AFTER_THE_CUT, last)
        model.load_state_dict(tuned.state_dict())
        return history

    shape = StudentShape.parse(name)
    layers = losses.layer_map(shape.start, shape.layers, len(teacher.encoder.layers))
    start, student, cut = (slicing.slice_model(teacher, [layer - 1 for layer in layers]) for _ in range(3))
    outputs = TeacherOutputs(teacher, many)
    last = outputs.first(n_balanced)
    student, histories = learning.distil(student, (INSIDE,), outputs, texts["dev"], score, folder / name, "uniform")
    scores = importance.first_order(importance.gradients(student, outputs.first(N_IMPORTANCE).examples))
    recipes = {
        "answers": replace(ANSWERS, epochs=way.answer_epochs),
        "balanced": replace(BALANCED, epochs=way.balanced_epochs),
    }
    for stage, on in (("answers", outputs), ("balanced", last)):
        student, history = answers(student, stage, recipes[stage], on)
        histories.append(history)
    measured = {"teacher": scored(teacher), "as trained": scored(student)}

    file = shipped_student.file_of(task, f"{shape.layers}x{shape.hidden}", there=False)
    tuned, small = shipped.keep(student, start, cut, file, way.rank, tune, scored)
    facts = {
        "command": f"python -m fflib.distillation.make_student {name}",
        "teacher": shipped_student.teacher_hash(teacher),
        "shape": name,
        "layers": list(layers),
        "rank": way.rank,
        "taught_on": {"n": len(many), "n_balanced": n_balanced, "fingerprint": many.fingerprint},
        "narrowed_to": narrowing.LEAST,
        "stages": [asdict(INSIDE), *_told(recipes | {"after the cut": AFTER_THE_CUT})],
        "histories": [asdict(history) for history in (*histories, tuned)],
    }
    shipped.write_record(file, facts, texts, measured | small, machine)
    return file


def _told(recipes: dict[str, training.Recipe]) -> list[dict[str, object]]:
    """Write stages that learn answers as `DistillationStage` is written."""
    return [{"name": name, "objectives": {"narrow answers": 1.0}, "recipe": asdict(r)} for name, r in recipes.items()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shape", choices=[*WAYS], help="which student to make")
    chosen = parser.parse_args()
    began = time.perf_counter()
    print(f"{make(chosen.shape).name}: {(time.perf_counter() - began) / 60:.0f} minutes")
