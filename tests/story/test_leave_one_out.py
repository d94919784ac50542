"""The stack without a technique: what changes, what stays, and that each still gives its model's answers."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from conftest import examples_of
from random_models import model_of

from fflib.files import InputError
from fflib.model import slicing
from fflib.story import leave_one_out
from fflib.story.leave_one_out import Stack

FULL = Stack("pruned student", "dynamic", True, "onnxruntime", 2, 1, "thread", ("token budget", 256))
EXAMPLES = examples_of([5, 9, 12, 3, 3, 11, 8, 4])


@pytest.mark.parametrize(
    ("technique", "changed"),
    [
        ("batching", {"batches": ("in order", 1)}),
        ("distillation", {"model": leave_one_out.CUT_TEACHER}),
        ("pruning", {"model": "student"}),
        ("quantisation", {"recipe": ""}),
        ("first token", {"first_token": False}),
        ("instances", {"instances": 1, "threads": 4}),
        ("ONNX Runtime", {"engine": "pytorch", "recipe": "", "instances": 1, "threads": 4}),
    ],
)
def test_one_technique_changes_and_all_cores_stay_at_work(technique, changed):
    assert asdict(leave_one_out.without(technique, FULL, cores=4)) == asdict(FULL) | changed


def test_every_technique_is_tested_above_and_an_unknown_one_is_named():
    assert len(leave_one_out.TECHNIQUES) == 7
    with pytest.raises(InputError, match="no technique 'magic'"):
        leave_one_out.without("magic", FULL, 2)


def test_a_technique_that_the_stack_lacks_leaves_it_as_it_is():
    plain = Stack("student", "", False, "onnxruntime", 1, 2, "process", ("in order", 1))
    assert all(
        leave_one_out.without(name, plain, 2) == plain
        for name in ("batching", "pruning", "quantisation", "first token", "instances")
    )


def test_the_teacher_is_cut_by_the_shares_of_the_student():
    teacher = model_of((4, 4, 40), (4, 4, 40), (4, 4, 40))
    student = model_of((4, 4, 20), (4, 4, 20), seed=1)
    cut = slicing.slice_model(student, heads=[[0, 1], [0]], neurons=[range(10), range(5)])  # a half, then a quarter
    small = leave_one_out.cut_in_proportion(teacher, student, cut, EXAMPLES)
    assert [(shape.num_heads, shape.intermediate_size) for shape in small.encoder.config.layers] == [
        (2, 20),
        (2, 20),
        (1, 10),
    ]
    assert leave_one_out.cut_in_proportion(teacher, student, student, EXAMPLES) is teacher


def test_a_student_of_fewer_layers_after_pruning_still_gives_shares_of_a_layer():
    teacher, student = model_of((4, 4, 40)), model_of((4, 4, 20), (4, 4, 20), seed=1)
    cut = slicing.slice_model(student, layers=[1], heads=[[0, 1]], neurons=[range(10)])  # half of one layer
    small = leave_one_out.cut_in_proportion(teacher, student, cut, EXAMPLES)
    assert [(shape.num_heads, shape.intermediate_size) for shape in small.encoder.config.layers] == [(2, 20)]


def test_what_goes_along_is_what_the_stack_without_it_lacks_too():
    for technique, others in leave_one_out.GOES_ALONG.items():
        lacking = asdict(leave_one_out.without(technique, FULL, 4))
        for other in others:
            changed = {
                name: value
                for name, value in asdict(leave_one_out.without(other, FULL, 4)).items()
                if value != asdict(FULL)[name]
            }
            assert changed.items() <= lacking.items(), f"without {technique} there is still {other}"
    assert leave_one_out.label("ONNX Runtime", FULL, 4) == "ONNX Runtime, with quantisation and instances"
    assert leave_one_out.label("pruning", FULL, 4) == "pruning"
    plain = Stack("student", "", False, "onnxruntime", 1, 2, "process", ("in order", 1))
    assert leave_one_out.label("ONNX Runtime", plain, 2) == "ONNX Runtime"


def test_slowdowns_pair_the_rounds():
    full = np.array([1.0, 2.0, 4.0])  # the machine slows down by itself
    got = leave_one_out.slowdowns({"batching": np.array([1.5, 3.0, 8.0]), leave_one_out.FULL: full})
    assert got == {"batching": (1.5, 1.5, 2.0)}


def test_what_changes_is_told_field_by_field():
    def changes(technique):
        return leave_one_out.changes(leave_one_out.without(technique, FULL, 4), FULL)

    assert changes("pruning") == "model: student instead of pruned student"
    assert changes("batching") == "batches: in order 1 instead of token budget 256"
    assert changes("instances") == "instances: 1 instead of 2; threads: 4 instead of 1"
    assert changes("first token") == "first token: no instead of yes"
    assert changes("quantisation") == "recipe: none instead of dynamic"
    assert not leave_one_out.changes(FULL, FULL)


def test_what_a_technique_brought_counts_what_goes_along_with_it():
    brought = {"ONNX Runtime": 2.0, "quantisation": 3.0, "pruning": 5.0}  # this ladder took no instances
    assert leave_one_out.factor_when_added("pruning", FULL, 4, brought) == 5
    assert leave_one_out.factor_when_added("ONNX Runtime", FULL, 4, brought) == 6
    assert leave_one_out.factor_when_added("batching", FULL, 4, brought) is None
