"""The kept student starts from the book's own teacher, and from no other."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from conftest import examples_of
from random_models import model_of

from fflib.data import registry
from fflib.distillation import make_student, shipped_student
from fflib.distillation.students import StudentInit
from fflib.distillation.study import Study, to_study
from fflib.distillation.teacher import TeacherOutputs
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
    record = {
        "teacher": shipped_student.teacher_hash(teacher),
        "layers": [1, 3],
        "histories": [{"seconds": 60}, {"seconds": 30}],
    }
    file.with_suffix(".json").write_text(json.dumps(record))
    return student


def test_a_student_may_start_from_the_one_that_comes_with_the_book(kept, teacher):
    made = StudentInit("teacher", teacher, None, task=DOCS).make("2x16@kept")
    for name, tensor in kept.state_dict().items():
        assert torch.allclose(made.state_dict()[name], tensor, atol=1e-3), name
    relu = StudentInit("teacher", teacher, None, task=DOCS).make("2x16@kept", activation="relu")
    assert relu.encoder.config.activation == "relu"


def test_it_is_not_taught_again_and_counts_the_minutes_it_was_taught(kept, teacher):
    init = StudentInit("teacher", teacher, None, task=DOCS)
    assert init.candidates(["2x16@kept", "2x16"]) == ["2x16@kept", "2x16", "teacher"] and not init.left_out
    outputs = TeacherOutputs(teacher, examples_of([5, 9]))
    distilled = Study(init, [], outputs, {}, DOCS, Path("nowhere")).taught("2x16@kept")
    assert distilled.histories == [] and distilled.minutes == 1.5
    assert distilled.model.encoder.layers[1].attention_norm.bias.mean() > 0.3


def test_one_that_does_not_fit_is_left_out_and_it_is_said_why(kept, teacher):
    init = StudentInit("teacher", teacher, None, task=registry.get_task("boolq"))
    assert init.candidates(["2x16@kept", "2x16"]) == ["2x16", "teacher"]
    assert "BoolQ; it has none" in init.left_out["2x16@kept"]
    with pytest.raises(
        InputError, match=r"no student to try \(no student 2x16 comes with the book for BoolQ.*name one"
    ):
        init.candidates(["2x16@kept", "teacher"])
    with torch.no_grad():
        teacher.classifier.bias += 1
    init = StudentInit("teacher", teacher, None, task=DOCS)
    assert init.candidates(["2x16@kept", "2x16"]) == ["2x16", "teacher"]
    assert "this run has another" in init.left_out["2x16@kept"]


@pytest.mark.parametrize(
    ("chosen", "tried", "studied"),
    [
        ("2x16", ["1x16", "2x16"], "2x16"),
        ("2x16@kept", ["1x16", "2x16@kept"], "1x16"),
        ("teacher", ["1x16", "2x16@1,3", "teacher"], "2x16@1,3"),
        ("2x16@kept", ["2x16@kept"], "2x16"),
    ],
)
def test_what_is_studied_was_taught_in_this_run(chosen, tried, studied):
    assert to_study(chosen, tried) == studied


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


@pytest.mark.parametrize("name", [path.stem for path in sorted(shipped.FOLDER.glob("docs-student-*.json"))])
def test_on_how_many_texts_and_for_how_long_it_was_taught_its_record_says(name):
    init = StudentInit("teacher", model_of(LAYER), None, task=DOCS)
    size, record = name.removeprefix("docs-student-"), json.loads((shipped.FOLDER / f"{name}.json").read_text())
    expected = record["taught_on"]["n"] if "taught_on" in record else record["examples"]["train"]
    assert init.texts_before(f"{size}@kept") == expected > 10_000
    assert init.minutes_before(f"{size}@kept") > 1
    assert (init.texts_before(size), init.minutes_before(size)) == (0, 0)


def test_a_file_that_the_command_makes_is_of_its_recipe_and_loses_little_by_being_small():
    record = json.loads((shipped.FOLDER / f"docs-student-{make_student.SHAPE.partition('@')[0]}.json").read_text())
    assert (record["shape"], record["rank"]) == (make_student.SHAPE, make_student.RANK)
    stages = (make_student.INSIDE, *make_student.LESSONS)
    assert record["stages"] == json.loads(json.dumps([asdict(stage) for stage in stages]))
    scores = record["scores"]
    assert all(scores["as kept"][split] >= scores["as trained"][split] - 0.015 for split in ("dev", "test"))
