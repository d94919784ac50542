"""The kept student starts from the book's own teacher, and from no other."""

import json

import pytest
import torch
from random_models import model_of

from fflib.data import registry
from fflib.distillation import shipped_student
from fflib.distillation.students import StudentInit
from fflib.files import InputError
from fflib.model import low_rank, shipped, slicing

DOCS = registry.get_task("docs")
LAYER = (2, 8, 24)


@pytest.fixture
def teacher():
    return model_of(LAYER, LAYER, LAYER)


@pytest.fixture
def kept(tmp_path, monkeypatch, teacher):
    """A student of the teacher's layers 1 and 3 that has learnt something."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    start, student = (slicing.slice_model(teacher, [0, 2]) for _ in range(2))
    with torch.no_grad():
        student.encoder.layers[1].attention_norm.bias += 0.5
    file = tmp_path / "docs-student-2x16.safetensors"
    low_rank.save(student, start, file, 2)
    record = {"teacher": shipped_student.teacher_hash(teacher), "layers": [1, 3]}
    file.with_suffix(".json").write_text(json.dumps(record))
    return student


def test_a_student_may_start_from_the_one_that_comes_with_the_book(kept, teacher):
    made = StudentInit("teacher", teacher, None, task=DOCS).make("2x16@kept")
    for name, tensor in kept.state_dict().items():
        assert torch.allclose(made.state_dict()[name], tensor, atol=1e-3), name
    relu = StudentInit("teacher", teacher, None, task=DOCS).make("2x16@kept", activation="relu")
    assert relu.encoder.config.activation == "relu"


def test_a_processor_that_rounds_the_teachers_products_otherwise_changes_nothing(kept, teacher):
    with torch.no_grad():
        teacher.encoder.layers[0].feed_forward.output.weight += 1e-7
    assert StudentInit("teacher", teacher, None, task=DOCS).make("2x16@kept").encoder.config.layers


def test_another_teacher_or_size_or_task_is_refused(kept, teacher):
    with torch.no_grad():
        teacher.classifier.bias += 1
    with pytest.raises(InputError, match="this run has another.*'@kept'"):
        StudentInit("teacher", teacher, None, task=DOCS).make("2x16@kept")
    with pytest.raises(InputError, match="no student 3x16.*it has docs-student-2x16"):
        shipped_student.file_of(DOCS, "3x16")
    with pytest.raises(InputError, match="for BoolQ; it has none"):
        shipped_student.file_of(registry.get_task("boolq"), "2x16")
