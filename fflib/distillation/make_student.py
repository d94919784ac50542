"""Make a student that comes with the book: taught on many texts, for longer than a reader waits.

    python -m fflib.distillation.make_student 3x384@2,4,6        makes it anew, with its record (43 minutes, two cores)
    python -m fflib.distillation.make_student 2x384@3,6

It learns from the teacher that comes with the book (`model.shipped`) alone, never from labels, and is kept as
`shipped_student` reads it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from fflib.data import docs_transfer, metrics, registry, splits
from fflib.data.splits import TokenizedSplit
from fflib.distillation import losses, shipped_student
from fflib.distillation import stages as learning
from fflib.distillation.objective import Distillation, Objectives
from fflib.distillation.stages import DistillationStage
from fflib.distillation.students import StudentShape
from fflib.distillation.teacher import PartOfOutputs, TeacherOutputs
from fflib.files import cache_dir
from fflib.measure import hardware
from fflib.model import checkpoints, shipped, slicing, training
from fflib.model.encoder import Classifier


@dataclass(frozen=True)
class Way:
    """How a student of one shape is taught, and with what ``rank`` its file keeps it.

    On ``texts``, "train" or "transfer", that last stage apart: it sees ``balanced_epochs`` of the part of the transfer
    set where counting words tells nothing.
    """

    texts: str
    answer_epochs: int
    balanced_epochs: int
    rank: int


# The smaller a student, the more texts it takes to learn as much. The files are of one size: fewer layers, more rank.
WAYS = {"3x384@2,4,6": Way("train", 2, 0, 64), "2x384@3,6": Way("transfer", 2, 2, 96)}
_RECIPE = training.Recipe(epochs=1, batch_size=32, warmup=0.06, dropout=0.0, freeze_words=True, evaluations_per_epoch=2)
INSIDE = DistillationStage(
    "inside", Objectives.inside(["hidden"]), replace(_RECIPE, learning_rate=1e-3, evaluations_per_epoch=0)
)
ANSWERS = DistillationStage("answers", Objectives(logits=1.0), replace(_RECIPE, learning_rate=4e-4))
BALANCED = DistillationStage("balanced", Objectives(logits=1.0), replace(_RECIPE, learning_rate=2e-4))
AFTER_THE_CUT = DistillationStage("after the cut", Objectives(logits=1.0), replace(_RECIPE, learning_rate=1e-3))


def make(name: str) -> Path:
    """Distil a student of a shape of `WAYS`; write the file and its record.

    Interrupted, it goes on where it was. Dev chooses the weights; test is scored for the record alone.
    """
    way = WAYS[name]
    machine = hardware.card()  # now: the commit that the code is of, before a file changes
    task, tokenizer = registry.get_task(shipped.TASK), checkpoints.load_tokenizer(shipped.BASE)
    texts, folder = shipped.tokenized(task, tokenizer), cache_dir("shipped")
    many, n_balanced = taught_on(way, texts["train"], tokenizer)
    teacher_file = shipped.file_for(task, shipped.BASE)
    teacher, _ = shipped.take(teacher_file, shipped.BASE, task, folder / "teacher", tokenizer)

    score = partial(metrics.score, task)

    def scored(model: Classifier) -> dict[str, float]:
        return shipped.scores(model, texts, score)

    def tune(model: Classifier) -> training.History:
        loss = Distillation(model, last, AFTER_THE_CUT.objectives, "uniform")
        state_file = folder / f"{name}-after.state"
        return training.fit(model, last.examples, texts["dev"], loss, score, AFTER_THE_CUT.recipe, state_file)

    shape = StudentShape.parse(name)
    layers = losses.layer_map(shape.start, shape.layers, len(teacher.encoder.layers))
    start, student, cut = (slicing.slice_model(teacher, [layer - 1 for layer in layers]) for _ in range(3))
    outputs = TeacherOutputs(teacher, many)
    last = outputs.first(n_balanced)
    histories = []
    for taught, on in stages(way, outputs, last):
        student, more = learning.distil(student, taught, on, texts["dev"], score, folder / name, "uniform")
        histories += more
    measured = {"teacher": scored(teacher), "as trained": scored(student)}

    file = shipped_student.file_of(task, f"{shape.layers}x{shape.hidden}", there=False)
    tuned, small = shipped.keep(student, start, cut, file, way.rank, tune, scored)
    facts = {
        "command": f"python -m fflib.distillation.make_student {name}",
        "teacher": shipped_student.teacher_hash(teacher),
        "shape": name,
        "layers": list(layers),
        "rank": way.rank,
        "taught_on": {"texts": way.texts, "n": len(many), "n_balanced": n_balanced, "fingerprint": many.fingerprint},
        "stages": [asdict(stage) for taught, _ in stages(way, outputs, last) for stage in taught]
        + [asdict(AFTER_THE_CUT)],
        "histories": [asdict(history) for history in (*histories, tuned)],
    }
    shipped.write_record(file, facts, texts, measured | small, machine)
    return file


def taught_on(way: Way, train: TokenizedSplit, tokenizer: PreTrainedTokenizerBase) -> tuple[TokenizedSplit, int]:
    """Return the texts that a student learns from, and how many of them, from the first on, are balanced (0: unknown)."""
    if way.texts == "train":
        return train, 0
    texts, n_balanced = docs_transfer.load()
    return splits.tokenize(texts, tokenizer, shipped.LENGTH), n_balanced


def stages(
    way: Way, whole: TeacherOutputs, balanced: TeacherOutputs | PartOfOutputs
) -> list[tuple[Sequence[DistillationStage], TeacherOutputs | PartOfOutputs]]:
    """Return the stages before the cut, and on what part of the teacher's outputs each is taught."""
    taught = [((INSIDE, _for(ANSWERS, way.answer_epochs)), whole)]
    return [*taught, ((_for(BALANCED, way.balanced_epochs),), balanced)] if way.balanced_epochs else taught


def _for(stage: DistillationStage, epochs: int) -> DistillationStage:
    return replace(stage, recipe=replace(stage.recipe, epochs=epochs))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shape", choices=[*WAYS], help="which student to make")
    chosen = parser.parse_args()
    began = time.perf_counter()
    print(f"{make(chosen.shape).name}: {(time.perf_counter() - began) / 60:.0f} minutes")
