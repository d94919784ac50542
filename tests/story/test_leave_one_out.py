"""The stack without a technique: what changes, what stays, and that each still gives its model's answers."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch
from conftest import examples_of

from fflib.data import batching
from fflib.files import InputError
from fflib.measure import timing
from fflib.model import encoder, slicing, training
from fflib.story import leave_one_out
from fflib.story.leave_one_out import Parts, Stack

FULL = Stack("pruned student", "dynamic", True, "onnxruntime", 2, 1, "thread", ("token budget", 256))
EXAMPLES = examples_of([5, 9, 12, 3, 3, 11, 8, 4])


def model_of(*shapes, seed=0):
    torch.manual_seed(seed)
    layers = tuple(encoder.LayerShape(*shape) for shape in shapes)
    config = encoder.EncoderConfig(vocab_size=50, hidden_size=16, layers=layers, max_position_embeddings=64)
    model = encoder.Classifier(config, 2).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights) * 0.2)
    return model


@pytest.mark.parametrize(
    ("technique", "changed"),
    [
        ("batching", {"batches": ("in order", 1)}),
        ("distillation", {"model": leave_one_out.TEACHER_CUT}),
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
    cut = slicing.slice_model(student, heads=[[0, 1], [0]], neurons=[range(10), range(5)])  # 3 of 8, 15 of 40
    small = leave_one_out.cut_alike(teacher, student, cut, EXAMPLES)
    assert [(shape.num_heads, shape.intermediate_size) for shape in small.encoder.config.layers] == [(2, 15)] * 3
    assert leave_one_out.cut_alike(teacher, student, student, EXAMPLES) is teacher


def test_a_student_of_fewer_layers_after_pruning_still_gives_shares_of_a_layer():
    teacher, student = model_of((4, 4, 40)), model_of((4, 4, 20), (4, 4, 20), seed=1)
    cut = slicing.slice_model(student, layers=[1], heads=[[0, 1]], neurons=[range(10)])  # half of one layer
    small = leave_one_out.cut_alike(teacher, student, cut, EXAMPLES)
    assert [(shape.num_heads, shape.intermediate_size) for shape in small.encoder.config.layers] == [(2, 20)]


def test_every_stack_gives_its_models_answers_and_graphs_are_made_once(tmp_path):
    models = {"student": model_of((2, 8, 32), (2, 8, 32), seed=1)}
    models["pruned student"] = slicing.slice_model(models["student"], heads=[[0], [1]], neurons=[range(16), range(8)])
    parts = Parts(models, {("student", True): tmp_path / "there" / "model.onnx"}, tmp_path, EXAMPLES, 1)
    one = Stack("pruned student", "", True, "onnxruntime", 1, 1, "thread", ("in order", 1))
    for changes in ({}, {"model": "student"}, {"first_token": False}, {"engine": "pytorch"}):
        stack = Stack(**asdict(one) | changes)
        with leave_one_out.serve(stack, parts) as predictors:
            variant = timing.Variant("", predictors[0], batching.in_order(EXAMPLES.lengths, 3))
            right = training.predict(models[stack.model], EXAMPLES)
            assert np.abs(variant.logits(EXAMPLES) - right).max() < 1e-4, changes
    assert (tmp_path / "there" / "model.onnx").exists(), "a file that is there already is used in its place"
    before = leave_one_out.graph(one, parts).stat().st_mtime_ns
    assert leave_one_out.graph(one, parts).stat().st_mtime_ns == before
    rounded = leave_one_out.graph(Stack(**asdict(one) | {"recipe": "static, largest"}), parts)
    assert rounded.name == "static, largest.onnx" and rounded.parent == leave_one_out.graph(one, parts).parent


def test_pytorch_has_one_instance(tmp_path):
    stack = Stack("student", "", False, "pytorch", 2, 1, "thread", ("in order", 1))
    with (
        pytest.raises(InputError, match="share their threads"),
        leave_one_out.serve(stack, Parts({}, {}, tmp_path, EXAMPLES, 1)),
    ):
        pass


def test_what_goes_along_is_what_the_stack_without_it_lacks_too():
    for technique, gone in leave_one_out.TAKES_ALONG.items():
        lacking = asdict(leave_one_out.without(technique, FULL, 4))
        for other in gone:
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


def test_factors_pair_the_rounds():
    full = np.array([1.0, 2.0, 4.0])  # the machine slows down by itself
    got = leave_one_out.factors(full, {"batching": np.array([1.5, 3.0, 8.0])})
    assert got == {"batching": (1.5, 1.5, 2.0)}
