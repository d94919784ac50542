"""Each loss against the paper's equation, computed here example by example, head by head, in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tiny_classifier

from fflib.distillation import losses
from fflib.files import InputError

LENGTHS = (7, 4, 1)
MASK = torch.tensor([[1] * n + [0] * (7 - n) for n in LENGTHS])


def states(width, seed):
    return torch.randn(len(LENGTHS), 7, width, generator=torch.Generator().manual_seed(seed))


def softmax(x):
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def head_scores(query, key, heads):
    """Scaled scores of one unpadded example: [heads, n, n]."""
    size = query.shape[1] // heads
    cut = [(query[:, h * size : (h + 1) * size], key[:, h * size : (h + 1) * size]) for h in range(heads)]
    return np.stack([q @ k.T / np.sqrt(size) for q, k in cut])


def unpadded(*tensors):
    """The real tokens of each example, as arrays."""
    return [[tensor[i, :n].double().numpy() for tensor in tensors] for i, n in enumerate(LENGTHS)]


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_soft_cross_entropy_is_that_of_the_softened_probabilities(temperature):
    student, teacher = (np.random.default_rng(seed).normal(size=(5, 3)) for seed in (0, 1))
    wanted = 0.0
    for s, t in zip(student, teacher, strict=True):
        wanted -= (softmax(t / temperature) * np.log(softmax(s / temperature))).sum() / len(student)
    got = losses.soft_cross_entropy(torch.from_numpy(student), torch.from_numpy(teacher), temperature)
    assert got.item() == pytest.approx(wanted * temperature**2)


def test_its_gradient_at_temperature_one_is_the_difference_of_the_probabilities():
    student = torch.randn(4, 3, requires_grad=True)
    teacher = torch.randn(4, 3)
    losses.soft_cross_entropy(student, teacher).backward()
    torch.testing.assert_close(student.grad, (student.detach().softmax(-1) - teacher.softmax(-1)) / 4)


def test_state_loss_is_the_mean_square_over_real_tokens():
    student, teacher = states(8, 0), states(8, 1)
    squares = np.concatenate([((s - t) ** 2).ravel() for s, t in unpadded(student, teacher)])
    assert losses.state_loss(student, teacher, MASK).item() == pytest.approx(squares.mean(), rel=1e-5)


def test_state_loss_projects_a_narrower_student():
    student, teacher, projection = states(5, 0), states(8, 1), torch.nn.Linear(5, 8)
    weight, bias = projection.weight.detach().double().numpy(), projection.bias.detach().double().numpy()
    squares = np.concatenate([((s @ weight.T + bias - t) ** 2).ravel() for s, t in unpadded(student, teacher)])
    got = losses.state_loss(student, teacher, MASK, projection).item()
    assert got == pytest.approx(squares.mean(), rel=1e-5)


def test_attention_scores_are_those_of_the_encoder():
    model = tiny_classifier()
    ids = torch.randint(8, 50, (3, 7))
    output = model(ids, MASK, output_hidden_states=True, output_attention_scores=True)
    attention = model.encoder.layers[0].attention
    query, key = attention.query(output.hidden_states[0]), attention.key(output.hidden_states[0])
    got = losses.attention_scores(query, key, 2)
    real = MASK[:, None, None, :].bool().expand_as(got)
    torch.testing.assert_close(got[real], output.attention_scores[0][real])


def test_attention_loss_is_equation_7_on_scores_before_the_softmax():
    heads, parts = 4, [states(8, seed) for seed in range(4)]
    squares = [
        ((head_scores(qs, ks, heads) - head_scores(qt, kt, heads)) ** 2).ravel() for qs, ks, qt, kt in unpadded(*parts)
    ]
    student, teacher = (losses.attention_scores(*parts[i : i + 2], heads) for i in (0, 2))
    got = losses.attention_loss(student, teacher, MASK).item()
    assert got == pytest.approx(np.concatenate(squares).mean(), rel=1e-5)


def test_attention_cosine_loss_compares_rows_of_probabilities():
    heads, parts, cosines = 2, [states(8, seed) for seed in range(4)], []
    for qs, ks, qt, kt in unpadded(*parts):
        ours, theirs = (softmax(head_scores(q, k, heads)) for q, k in ((qs, ks), (qt, kt)))
        norms = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
        cosines.append(((ours * theirs).sum(-1) / norms).ravel())
    student, teacher = (losses.attention_scores(*parts[i : i + 2], heads) for i in (0, 2))
    got = losses.attention_cosine_loss(student, teacher, MASK).item()
    assert got == pytest.approx(1 - np.concatenate(cosines).mean(), rel=1e-4)


@pytest.mark.parametrize("student_width", [12, 4])
def test_relation_loss_is_the_divergence_of_relations_also_between_unlike_widths(student_width):
    heads, divergences = 2, []
    student, teacher = states(student_width, 0), states(12, 1)
    for s, t in unpadded(student, teacher):
        ours, theirs = softmax(head_scores(s, s, heads)), softmax(head_scores(t, t, heads))
        divergences.append((theirs * np.log(theirs / ours)).sum(-1).ravel())
    got = losses.relation_loss(student, teacher, MASK, heads).item()
    assert got == pytest.approx(np.concatenate(divergences).mean(), rel=1e-4)


@pytest.mark.parametrize(
    "loss",
    [
        losses.state_loss,
        lambda s, t, mask: losses.relation_loss(s, t, mask, 2),
        lambda s, t, mask: losses.attention_loss(*(losses.attention_scores(x, x, 2) for x in (s, t)), mask),
        lambda s, t, mask: losses.attention_cosine_loss(*(losses.attention_scores(x, x, 2) for x in (s, t)), mask),
    ],
)
def test_what_stands_at_padding_does_not_matter_and_gets_no_gradient(loss):
    student, teacher = states(8, 0).requires_grad_(), states(8, 1)
    value = loss(student, teacher, MASK)
    value.backward()
    assert not student.grad[MASK == 0].any() and student.grad[MASK == 1].any()
    other = torch.where(MASK[..., None].bool(), student, 100.0)
    assert loss(other, torch.where(MASK[..., None].bool(), teacher, -50.0), MASK).item() == pytest.approx(value.item())
    assert loss(teacher, teacher, MASK).item() == pytest.approx(0, abs=1e-6)


def test_layer_maps():
    assert losses.layer_map("uniform", 4, 12) == (3, 6, 9, 12)  # TinyBERT's
    assert losses.layer_map("uniform", 4, 6) == (1, 3, 4, 6)
    assert losses.layer_map("last", 2, 6) == (5, 6)
    assert losses.layer_map("first", 3, 6) == (1, 2, 3)
    assert losses.layer_map([2, 6], 2, 6) == losses.layer_map("2,6", 2, 6) == (2, 6)


@pytest.mark.parametrize(
    ("kind", "layers", "says"),
    [
        ("uniform", 7, "7 layers, the teacher only 6"),
        ("middle", 2, "no layer map 'middle'"),
        ([1, 2, 3], 2, "needs 2 ascending layers"),
        ([3, 2], 2, "ascending"),
        ([0, 6], 2, "1 to 6"),
        ([1, 7], 2, "1 to 6"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(kind, layers, says):
    with pytest.raises(InputError, match=says):
        losses.layer_map(kind, layers, 6)
