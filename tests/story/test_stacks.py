"""Stacks: each gives its model's answers, alone and beside others, and files that are there already are used."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from conftest import examples_of
from random_models import model_of

from fflib.data import batching
from fflib.files import InputError
from fflib.measure import timing
from fflib.model import slicing, training
from fflib.story import stacks
from fflib.story.stacks import Parts, RunningStacks, Stack

EXAMPLES = examples_of([5, 9, 12, 3, 3, 11, 8, 4])


def test_every_stack_gives_its_models_answers_and_graphs_are_made_once(tmp_path):
    models = {"student": model_of((2, 8, 32), (2, 8, 32), seed=1)}
    models["pruned student"] = slicing.slice_model(models["student"], heads=[[0], [1]], neurons=[range(16), range(8)])
    parts = Parts(models, {("student", True): tmp_path / "there" / "model.onnx"}, tmp_path, EXAMPLES, 1)
    one = Stack("pruned student", "", True, "onnxruntime", 1, 1, "thread", ("in order", 1))
    for changes in ({}, {"model": "student"}, {"first_token": False}, {"engine": "pytorch"}):
        stack = Stack(**asdict(one) | changes)
        with stacks.serve(stack, parts) as predictors:
            variant = timing.Variant("", predictors[0], batching.in_order(EXAMPLES.lengths, 3))
            right = training.predict(models[stack.model], EXAMPLES)
            assert np.abs(variant.logits(EXAMPLES) - right).max() < 1e-4, changes
    assert (tmp_path / "there" / "model.onnx").exists(), "a file that is there already is used in its place"
    before = stacks.graph(one, parts).stat().st_mtime_ns
    assert stacks.graph(one, parts).stat().st_mtime_ns == before
    rounded = stacks.graph(Stack(**asdict(one) | {"recipe": "static, largest"}), parts)
    assert rounded.name == "static, largest.onnx" and rounded.parent == stacks.graph(one, parts).parent


def test_pytorch_has_one_instance(tmp_path):
    stack = Stack("student", "", False, "pytorch", 2, 1, "thread", ("in order", 1))
    with (
        pytest.raises(InputError, match="share their threads"),
        stacks.serve(stack, Parts({}, {}, tmp_path, EXAMPLES, 1)),
    ):
        pass


@pytest.fixture
def parts(tmp_path):
    models = {"student": model_of((2, 8, 32), (2, 8, 32), seed=1), "teacher": model_of((2, 8, 32), seed=2)}
    return Parts(models, {}, tmp_path, EXAMPLES, 1)


STACKS = {
    "in batches": Stack("student", batches=("sorted", 3)),
    "eager": Stack("teacher", engine="pytorch"),
    "in eight bits": Stack("student", "dynamic", first_token=True),
}


def test_running_stacks_answer_in_their_own_batches_and_are_timed_together(parts):
    running = RunningStacks(STACKS, parts)
    expected = {name: running.expected(name, EXAMPLES) for name in STACKS}
    for name, stack in STACKS.items():
        right = training.predict(parts.models[stack.model], EXAMPLES)
        assert np.abs(running.logits(name, EXAMPLES) - right).max() < (0.2 if stack.recipe else 1e-4)
        assert (expected[name] == right).all() == (not stack.recipe), "fp32 is held to the model itself"
    timings = running.time(EXAMPLES, expected, rounds=2, tolerance=0.1)
    running.close()
    assert [timings[name].batch_sizes.tolist() for name in ("in batches", "eager")] == [[3, 3, 2], [1] * 8]
    assert all(timing.wall_s.shape == (2,) for timing in timings.values())


def test_one_by_one_each_stack_is_checked_against_its_own_model(parts):
    running = RunningStacks(STACKS, parts)
    variants = running.one_by_one(EXAMPLES.take(range(3)), EXAMPLES, 0.9)
    running.close()
    assert list(variants) == list(STACKS) and all(len(variant.plan) == 3 for variant in variants.values())
    assert [variant.checked.n for variant in variants.values()] == [3, 3, 8], "eight bits are judged on more"
    assert variants["in batches"].checked.label_agreement == 1


def test_a_stack_that_gives_other_answers_than_its_model_is_not_timed(parts):
    running = RunningStacks({"student": Stack("student")}, parts)
    parts.models["student"] = parts.models["teacher"]
    with pytest.raises(AssertionError, match="student: a logit is off"):
        running.one_by_one(EXAMPLES, EXAMPLES, 0.9)
    with pytest.raises(AssertionError, match="student: a logit is off"):
        running.expected("student", EXAMPLES)
    running.close()


def test_a_stack_in_eight_bits_that_keeps_too_few_labels_is_not_timed(parts):
    running = RunningStacks({"student": Stack("student", "dynamic")}, parts)
    right = training.predict(parts.models["student"], EXAMPLES)
    (predict,) = running._predictors["student"]
    running._predictors["student"] = [lambda inputs: -predict(inputs)]
    assert (right.argmax(1) != (-right).argmax(1)).all()
    with pytest.raises(AssertionError, match="student: only 0.0% of the labels agree"):
        running.one_by_one(EXAMPLES, EXAMPLES, 0.9)
    running.close()


def test_the_stack_and_the_graphs_of_a_run_follow_from_what_its_chapters_left(tmp_path):
    served = {"model": "pruned student", "recipe": "dynamic", "onnx": str(tmp_path / "served" / "dynamic.onnx")}
    served |= {"division": [2, 1, "process"], "batches": ["token budget", 512], "first_token": True}
    assert not stacks.of_run(served | {"first_token": False}).first_token
    assert stacks.of_run(served) == Stack(
        "pruned student", "dynamic", True, "onnxruntime", 2, 1, "process", ("token budget", 512)
    )
    quantised = {"onnx": str(tmp_path / "rounded" / "dynamic.onnx")}
    graphs = stacks.graphs_of_run(tmp_path, served, quantised)
    assert graphs["pruned student", True] == tmp_path / "models" / "onnx" / "served" / "model.onnx"
    assert graphs["pruned student", False] == tmp_path / "rounded" / "model.onnx"
    assert graphs["student", False] == tmp_path / "models" / "onnx" / "unpruned" / "model.onnx"
    unrounded = stacks.graphs_of_run(tmp_path, served, {"onnx": ""})
    assert unrounded["pruned student", False] == tmp_path / "models" / "onnx" / "whole" / "model.onnx"
