"""Make the student that comes with the book: taught on all of train, for longer than a reader waits.

    python -m fflib.distillation.make_student        makes it anew, with its record (20 minutes, two cores)

It learns from the teacher that comes with the book (`model.shipped`) alone, never from labels, and is kept as
`shipped_student` reads it.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fflib.data import metrics, registry, splits
from fflib.data.splits import TokenizedSplit
from fflib.distillation import losses, shipped_student
from fflib.distillation import stages as learning
from fflib.distillation.objective import Distillation, Objectives
from fflib.distillation.stages import DistillationStage
from fflib.distillation.students import StudentShape
from fflib.distillation.teacher import TeacherOutputs
from fflib.files import cache_dir, write_json
from fflib.measure import hardware
from fflib.model import checkpoints, low_rank, shipped, slicing, training
from fflib.model.encoder import Classifier

SHAPE, RANK = "3x384@2,4,6", 64
_RECIPE = training.Recipe(epochs=1, batch_size=32, warmup=0.06, dropout=0.0, freeze_words=True, evaluations_per_epoch=2)
STAGES = (
    DistillationStage(
        "inside", Objectives.inside(["hidden"]), replace(_RECIPE, learning_rate=1e-3, evaluations_per_epoch=0)
    ),
    DistillationStage("answers", Objectives(logits=1.0), replace(_RECIPE, epochs=2, learning_rate=4e-4)),
)
AFTER_THE_CUT = DistillationStage("after the cut", Objectives(logits=1.0), replace(_RECIPE, learning_rate=1e-3))


def make() -> Path:
    """Distil a student of `SHAPE` through `STAGES` on all of the task's train; write the file and its record.

    Interrupted, it goes on where it was. Dev chooses the weights; test is scored for the record alone.
    """
    machine = hardware.card()  # now: the commit that the code is of, before a file changes
    task, tokenizer = registry.get_task(shipped.TASK), checkpoints.load_tokenizer(shipped.BASE)
    lengths = {"train": shipped.LENGTH, "dev": task.max_length, "test": task.max_length}
    texts = {name: splits.tokenize(splits.load_split(task.name, name), tokenizer, n) for name, n in lengths.items()}
    folder = cache_dir("shipped")
    teacher_file = shipped.file_for(task, shipped.BASE)
    teacher, _ = shipped.take(teacher_file, shipped.BASE, task, folder / "teacher", tokenizer)

    def score(logits: np.ndarray, gold: metrics.Gold) -> float:
        return metrics.score(task, logits, gold)

    shape = StudentShape.parse(SHAPE)
    layers = losses.layer_map(shape.start, shape.layers, len(teacher.encoder.layers))
    start, student, cut = (slicing.slice_model(teacher, [layer - 1 for layer in layers]) for _ in range(3))
    outputs = TeacherOutputs(teacher, texts["train"])
    student, histories = learning.distil(student, STAGES, outputs, texts["dev"], score, folder / SHAPE, "uniform")
    measured = {"teacher": shipped.scores(teacher, texts, score), "as trained": shipped.scores(student, texts, score)}

    file = shipped_student.file_of(task, f"{shape.layers}x{shape.hidden}", there=False)
    low_rank.save(student, start, file, RANK)
    low_rank.apply(cut, file)
    measured["as cut"] = shipped.scores(cut, texts, score)
    low_rank.freeze_matrices(cut)
    loss = Distillation(cut, outputs, AFTER_THE_CUT.objectives, "uniform")
    state_file = folder / f"{SHAPE}-after.state"
    histories.append(training.fit(cut, texts["train"], texts["dev"], loss, score, AFTER_THE_CUT.recipe, state_file))
    low_rank.save(cut, start, file, RANK)
    low_rank.apply(start, file)
    measured["as kept"] = shipped.scores(start, texts, score)
    write_json(file.with_suffix(".json"), _record(histories, texts, measured, layers, teacher, file, machine))
    return file


def _record(
    histories: list[training.History],
    texts: dict[str, TokenizedSplit],
    measured: dict,
    layers: list[int],
    teacher: Classifier,
    file: Path,
    machine: dict[str, object],
) -> dict[str, Any]:
    return {
        "command": "python -m fflib.distillation.make_student",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "task": shipped.TASK,
        "teacher": shipped_student.teacher_hash(teacher),
        "shape": SHAPE,
        "layers": list(layers),
        "rank": RANK,
        "train_length": shipped.LENGTH,
        "stages": [asdict(stage) for stage in (*STAGES, AFTER_THE_CUT)],
        "examples": {name: len(split) for name, split in texts.items()},
        "fingerprints": {name: split.fingerprint for name, split in texts.items()},
        "histories": [asdict(history) for history in histories],
        "scores": measured,
        "kilobytes": round(file.stat().st_size / 1000),
    }


if __name__ == "__main__":
    began = time.perf_counter()
    print(f"{make().name}: {(time.perf_counter() - began) / 60:.0f} minutes")
