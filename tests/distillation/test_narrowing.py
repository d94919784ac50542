"""A student that is narrowed while it learns computes what the cut one would, and learns from both."""

import numpy as np
import pytest
import torch
from conftest import examples_of
from random_models import model_of

from fflib.data import batching
from fflib.distillation.losses import soft_cross_entropy
from fflib.distillation.narrowing import NarrowAnswers
from fflib.distillation.teacher import TeacherOutputs
from fflib.model import slicing
from fflib.model.importance import Importance

LAYERS = ((4, 4, 24),) * 2


@pytest.fixture
def importance():
    rng = torch.Generator().manual_seed(3)
    heads, neurons = (tuple(torch.rand(n, generator=rng) for _ in LAYERS) for n in (4, 24))
    return Importance(heads, neurons, torch.rand(16, generator=rng))


@pytest.fixture
def outputs():
    return TeacherOutputs(model_of(*LAYERS), examples_of([5, 9, 7]))


def test_the_loss_is_that_of_the_whole_student_and_of_the_one_that_is_cut(importance, outputs):
    student, indices = model_of(*LAYERS, seed=5).eval(), np.arange(3)
    loss = NarrowAnswers(outputs, importance, [0], (0.25, 1))
    inputs = {
        name: torch.from_numpy(array) for name, array in batching.collate(outputs.examples, indices).inputs.items()
    }
    first, last = loss.gates(np.random.default_rng(indices))
    assert last == (None, None), "the last layer is not named, so it stays whole"
    kept = [[torch.nonzero(gate).flatten().tolist() for gate in first]]
    small = slicing.slice_model(student, heads=[kept[0][0], range(4)], neurons=[kept[0][1], range(24)])
    expected = sum(soft_cross_entropy(each(**inputs).logits, outputs.logits) for each in (student, small))
    assert torch.allclose(loss(student, inputs, indices), expected, atol=1e-6)
    assert 0 < len(kept[0][1]) < 24, "a draw that removes something, or the test shows nothing"


def test_of_each_width_the_most_important_units_stay(importance, outputs):
    loss, rng = NarrowAnswers(outputs, importance, [0, 1], (0.25, 0.75)), np.random.default_rng(0)
    drawn = [loss.gates(rng) for _ in range(40)]
    for layer in range(2):
        for kind, scores in enumerate((importance.heads, importance.neurons)):
            for gate in (each[layer][kind] for each in drawn):
                kept = torch.nonzero(gate).flatten().tolist()
                assert kept == slicing.top(scores[layer], len(kept))
        heads = {int(each[layer].heads.sum()) for each in drawn}
        neurons = {int(each[layer].neurons.sum()) for each in drawn}
        assert heads == {1, 2, 3} and min(neurons) >= 6 and max(neurons) <= 18 and len(neurons) > 5


def test_the_same_examples_are_narrowed_alike(importance, outputs):
    loss, student = NarrowAnswers(outputs, importance, [0], (0.25, 1)), model_of(*LAYERS, seed=5).eval()
    inputs = {name: torch.from_numpy(a) for name, a in batching.collate(outputs.examples, np.arange(2)).inputs.items()}
    assert loss(student, inputs, np.arange(2)) == loss(student, inputs, np.arange(2))


def test_labels_count_as_much_as_the_teacher(importance, outputs):
    student, indices, labels = model_of(*LAYERS, seed=5).eval(), np.array([2, 0]), np.array([1, 0, 1])
    inputs = {name: torch.from_numpy(a) for name, a in batching.collate(outputs.examples, indices).inputs.items()}
    whole = importance, [], (0.25, 1)  # no layer is narrowed: twice the same
    logits = student(**inputs).logits
    right = -logits.log_softmax(-1)[torch.arange(2), torch.from_numpy(labels[indices])].mean()
    expected = soft_cross_entropy(logits, outputs.logits[indices]) + right
    assert torch.allclose(NarrowAnswers(outputs, *whole, labels)(student, inputs, indices), expected, atol=1e-6)
