"""Make a student that comes with the book: taught on all of train, for longer than a reader waits.

    python -m fflib.distillation.make_student 3x384@2,4,6        makes it anew, with its record (43 minutes, two cores)
    python -m fflib.distillation.make_student 2x384@3,6

It learns from the teacher that comes with the book (`model.shipped`) alone, never from labels, and is kept as
`shipped_student` reads it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from fflib.data import metrics, registry
from fflib.distillation import losses, shipped_student
from fflib.distillation import stages as learning
from fflib.distillation.objective import Distillation, Objectives
from fflib.distillation.stages import DistillationStage
from fflib.distillation.students import StudentShape
from fflib.distillation.teacher import TeacherOutputs
from fflib.files import cache_dir
from fflib.measure import hardware
from fflib.model import checkpoints, shipped, slicing, training
from fflib.model.encoder import Classifier

ANSWER_EPOCHS = {"3x384@2,4,6": 2, "2x384@3,6": 3}  # by shape: the smaller it is, the longer it gains
RANK = 64
_RECIPE = training.Recipe(epochs=1, batch_size=32, warmup=0.06, dropout=0.0, freeze_words=True, evaluations_per_epoch=2)
INSIDE = DistillationStage(
    "inside", Objectives.inside(["hidden"]), replace(_RECIPE, learning_rate=1e-3, evaluations_per_epoch=0)
)
ANSWERS = DistillationStage("answers", Objectives(logits=1.0), replace(_RECIPE, learning_rate=4e-4))
AFTER_THE_CUT = DistillationStage("after the cut", Objectives(logits=1.0), replace(_RECIPE, learning_rate=1e-3))


def make(name: str) -> Path:
    """Distil a student of a shape of `ANSWER_EPOCHS` on all of the task's train; write the file and its record.

    Interrupted, it goes on where it was. Dev chooses the weights; test is scored for the record alone.
    """
    answers = replace(ANSWERS, recipe=replace(ANSWERS.recipe, epochs=ANSWER_EPOCHS[name]))
    machine = hardware.card()  # now: the commit that the code is of, before a file changes
    task, tokenizer = registry.get_task(shipped.TASK), checkpoints.load_tokenizer(shipped.BASE)
    texts, folder = shipped.tokenized(task, tokenizer), cache_dir("shipped")
    teacher_file = shipped.file_for(task, shipped.BASE)
    teacher, _ = shipped.take(teacher_file, shipped.BASE, task, folder / "teacher", tokenizer)

    score = partial(metrics.score, task)

    def scored(model: Classifier) -> dict[str, float]:
        return shipped.scores(model, texts, score)

    def tune(model: Classifier) -> training.History:
        loss = Distillation(model, outputs, AFTER_THE_CUT.objectives, "uniform")
        state_file = folder / f"{name}-after.state"
        return training.fit(model, texts["train"], texts["dev"], loss, score, AFTER_THE_CUT.recipe, state_file)

    shape = StudentShape.parse(name)
    layers = losses.layer_map(shape.start, shape.layers, len(teacher.encoder.layers))
    start, student, cut = (slicing.slice_model(teacher, [layer - 1 for layer in layers]) for _ in range(3))
    outputs = TeacherOutputs(teacher, texts["train"])
    student, histories = learning.distil(
        student, (INSIDE, answers), outputs, texts["dev"], score, folder / name, "uniform"
    )
    measured = {"teacher": scored(teacher), "as trained": scored(student)}

    file = shipped_student.file_of(task, f"{shape.layers}x{shape.hidden}", there=False)
    tuned, small = shipped.keep(student, start, cut, file, RANK, tune, scored)
    facts = {
        "command": f"python -m fflib.distillation.make_student {name}",
        "teacher": shipped_student.teacher_hash(teacher),
        "shape": name,
        "layers": list(layers),
        "rank": RANK,
        "stages": [asdict(stage) for stage in (INSIDE, answers, AFTER_THE_CUT)],
        "histories": [asdict(history) for history in (*histories, tuned)],
    }
    shipped.write_record(file, facts, texts, measured | small, machine)
    return file


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shape", choices=[*ANSWER_EPOCHS], help="which student to make")
    chosen = parser.parse_args()
    began = time.perf_counter()
    print(f"{make(chosen.shape).name}: {(time.perf_counter() - began) / 60:.0f} minutes")
