"""The student that comes with the book: how it differs from the layers of the book's teacher that it was made of.

TinyBERT and FastFormers start from a small model that somebody distilled before, on text that nobody labelled; this is
the book's. `make_student` makes it anew.
"""

from __future__ import annotations

from pathlib import Path

from fflib.data.task import Task
from fflib.files import InputError, content_hash
from fflib.model import low_rank, shipped, slicing
from fflib.model.encoder import Classifier

KEPT = "kept"  # as the start of a student, "3x384@kept"


def file_of(task: Task, size: str, there: bool = True) -> Path:
    """Return the file of the student of a ``size`` such as "3x384"; with ``there``, InputError where none is kept."""
    file = shipped.FOLDER / f"{task.name}-student-{size}.safetensors"
    if there and not file.exists():
        kept = [path.stem for path in shipped.FOLDER.glob(f"{task.name}-student-*.safetensors")]
        raise InputError(
            f"no student {size} comes with the book for {task.name}; it has {', '.join(kept) or 'none'}. "
            f"Leave '@{KEPT}' out of students_tried"
        )
    return file


def is_kept(shape: str) -> bool:
    """Say whether ``shape``, such as "3x384@kept", means a student that comes with the book."""
    return shape.partition("@")[2] == KEPT


def take(file: Path, teacher: Classifier) -> Classifier:
    """Return the kept student, made of ``teacher``'s layers. InputError: it was taught by another teacher."""
    record = shipped.record_of(file)
    if record["teacher"] != teacher_hash(teacher):
        raise InputError(
            f"{file.stem} learnt from the teacher that comes with the book, and this run has another; "
            f"leave '@{KEPT}' out of students_tried, or set shipped_teacher to true"
        )
    student = slicing.slice_model(teacher, [layer - 1 for layer in record["layers"]])
    low_rank.apply(student, file)
    return student


def teacher_hash(teacher: Classifier) -> str:
    """Hash the head, norms and biases of a teacher: what its file keeps whole, and so the same on every machine.

    Its matrices are sums with products of thin pairs, whose last bits depend on the processor.
    """
    whole = low_rank.whole_names(teacher)
    return content_hash({name: teacher.get_parameter(name).tolist() for name in sorted(whole)})
