"""Importance against finite differences, the gradients of weights, and what slicing takes away."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import examples_of
from small_models import SHAPES, TRAIN, classifier, close, double, gates_of, inputs_of, logits_of, some
from torch import Tensor
from torch.nn import functional as F

from fflib.data.metrics import Gold
from fflib.data.splits import TokenizedSplit
from fflib.files import InputError
from fflib.model import importance, slicing
from fflib.model.encoder import Classifier
from fflib.model.importance import Gradients, Importance, first_order, gradients

STEP = 1e-5  # of the finite differences, which are central and in double precision
FEW = TRAIN.take([0, 3, 5])

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


def flat(values: Importance | Gradients) -> Tensor:
    parts = [part for kind in values[:-1] for part in kind]
    return torch.cat([*parts, values.hidden], dim=-1)


def losses_of(model: Classifier, examples: TokenizedSplit, **options) -> Tensor:
    logits = model(**inputs_of(examples), **options).logits
    return F.cross_entropy(logits, torch.from_numpy(examples.labels), reduction="none")


def slopes(losses: Callable[[float], Tensor]) -> Tensor:
    with torch.no_grad():
        return (losses(1 + STEP) - losses(1 - STEP)) / (2 * STEP)


@pytest.mark.parametrize("kind", ["heads", "neurons"])
def test_gradients_are_the_slopes_of_each_example_by_a_gate(kind):
    model = double()
    found = getattr(gradients(model, FEW), kind)
    for layer, part in ((0, 1), (0, 3), (1, 0), (1, 2)):

        def losses(gate: float, layer=layer, part=part) -> Tensor:
            gates = gates_of(model)
            getattr(gates[layer], kind)[part] = gate
            return losses_of(model, FEW, gates=gates)

        assert close(found[layer][:, part], slopes(losses), 1e-7)


def test_inputs_are_the_slopes_by_a_factor_before_the_activation():
    model = double()
    found = gradients(model, FEW).inputs
    for layer, part in ((0, 4), (1, 7)):
        factor = torch.ones(SHAPES[layer].intermediate_size, dtype=torch.float64)
        into = model.encoder.layers[layer].feed_forward.intermediate
        handle = into.register_forward_hook(lambda module, inputs, output, factor=factor: output * factor)

        def losses(gate: float, factor=factor, part=part) -> Tensor:
            factor[part] = gate
            return losses_of(model, FEW)

        assert close(found[layer][:, part], slopes(losses), 1e-7)
        handle.remove()


@pytest.mark.parametrize("unit", [0, 6, 15])
def test_hidden_gradients_are_the_slopes_by_a_factor_on_every_hidden_state(unit):
    model = double()
    found = gradients(model, FEW).hidden[:, unit]
    encoder, factor = model.encoder, torch.ones(16, dtype=torch.float64)
    encoder.embeddings.register_forward_hook(lambda module, inputs, states: states * factor)
    for layer in encoder.layers:
        layer.register_forward_hook(lambda module, inputs, output: (output[0] * factor, *output[1:]))

    def losses(gate: float) -> Tensor:
        factor[unit] = gate
        return losses_of(model, FEW)

    assert close(found, slopes(losses), 1e-7)


def test_importance_is_made_of_weights_times_their_gradients():
    """As Michel et al. and DynaBERT write it, example by example: |g_t|, never |g_1 + ... + g_t|."""
    model = double()
    found = first_order(gradients(model, TRAIN))
    heads, neurons = ([torch.zeros(n, dtype=torch.float64) for n in sizes] for sizes in ((4, 3), (20, 12)))
    running, trap = copy.deepcopy(model), torch.zeros(20, dtype=torch.float64)
    for i in range(len(TRAIN)):
        model.zero_grad()
        for each in (model, running):  # the gradients of `running` are never zeroed, as in the papers' code
            losses_of(each, TRAIN.take([i])).sum().backward()
        for layer, parts in enumerate(model.encoder.layers):
            out, into = parts.feed_forward.output, parts.feed_forward.intermediate
            by_input = (into.weight * into.weight.grad).sum(1) + into.bias * into.bias.grad
            neurons[layer] += by_input.abs() + (out.weight * out.weight.grad).sum(0).abs()
            by_column = (parts.attention.output.weight * parts.attention.output.weight.grad).sum(0)
            heads[layer] += by_column.unflatten(0, (SHAPES[layer].num_heads, -1)).sum(1).abs()
        out, into = (getattr(running.encoder.layers[0].feed_forward, name) for name in ("output", "intermediate"))
        trap += ((into.weight * into.weight.grad).sum(1) + into.bias * into.bias.grad).abs()
        trap += (out.weight * out.weight.grad).sum(0).abs()
    for layer in range(2):
        assert close(found.heads[layer], heads[layer] / len(TRAIN), 1e-10)
        assert close(found.neurons[layer], neurons[layer] / len(TRAIN), 1e-10)
    assert not close(found.neurons[0], trap / len(TRAIN), 0.1)


def test_opposite_examples_do_not_cancel():
    """One text under two labels: of two classes, the gradients by the logits have opposite signs."""
    model = double(num_labels=2)
    ids, types = [TRAIN.input_ids[1]] * 2, [TRAIN.token_type_ids[1]] * 2
    examples = TokenizedSplit(ids, types, Gold(np.array([0, 1])), "opposite")
    both = gradients(model, examples, batch_size=2)
    assert torch.all(flat(both)[0] * flat(both)[1] < 0)
    alone = [flat(first_order(gradients(model, examples.take([i])))) for i in (0, 1)]
    assert close(flat(first_order(both)), (alone[0] + alone[1]) / 2, 1e-10)


@pytest.mark.parametrize("family", [{}, {"pad_token_id": 1, "position_offset": 2}])
def test_neither_batches_nor_padding_nor_an_earlier_call_make_a_difference(family):
    model = double(**family)
    one_by_one = gradients(model, TRAIN, batch_size=1)
    for batch_size in (3, 8):  # of unlike lengths, so padded
        assert close(flat(gradients(model, TRAIN, batch_size)), flat(one_by_one), 1e-12)
    turned = gradients(model, TRAIN.take([4, 1]))
    assert close(flat(turned), flat(one_by_one)[[4, 1]], 1e-12)


def test_parts_that_change_nothing_do_not_matter():
    model = classifier()
    with torch.no_grad():
        model.encoder.layers[0].attention.output.weight[:, 3:6] = 0  # head 1 of size 3
        model.encoder.layers[2].feed_forward.output.weight[:, 4] = 0
    found = first_order(gradients(model, TRAIN))
    assert found.heads[0][1] == 0 and (found.heads[0] > 0).sum() == 3
    assert found.neurons[2][4] == 0 and (found.neurons[2] > 0).sum() == 8


def test_a_pruned_model_can_be_asked_again():
    heads, neurons = [[], [0, 2], [1], []], [[3], [], [0, 1], []]
    model = slicing.slice_model(classifier(), heads=heads, neurons=neurons, hidden=[1, 5, 6])
    found = (first_order(gradients(model, TRAIN)), importance.magnitude(model), importance.random(model, 0))
    for values in found:
        assert [len(scores) for scores in values.heads] == [0, 2, 1, 0]
        assert [len(scores) for scores in values.neurons] == [1, 0, 2, 0]
        assert values.hidden.shape == (3,) and torch.isfinite(flat(values)).all()
    no_layers = slicing.slice_model(model, [])
    assert gradients(no_layers, TRAIN).heads == importance.magnitude(no_layers).heads == ()


def test_the_model_is_left_as_it_was():
    model = classifier().train()
    model.encoder.pooler.eval()  # a mode of its own
    model.encoder.embeddings.requires_grad_(False)
    model.classifier.weight.grad = torch.full_like(model.classifier.weight, 3.0)
    state, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    flags, random_state = [p.requires_grad for p in model.parameters()], torch.get_rng_state()
    with torch.no_grad():  # whose caller's setting it does not depend on
        found = gradients(model, TRAIN)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"classifier.weight"}
    assert torch.all(model.classifier.weight.grad == 3)
    plain = gradients(classifier(), TRAIN)  # neither dropout nor frozen weights make a difference
    assert torch.equal(flat(found), flat(plain)) and not flat(found).requires_grad


def test_importance_needs_examples():
    with pytest.raises(InputError, match="at least one"):
        gradients(classifier(), examples_of([]))


def test_magnitude_is_the_norm_of_what_slicing_takes_away():
    """Without biases and LayerNorms, the squares of all weights fall by a part's squared norm when it is removed."""
    model = classifier(SHAPES[:2], hidden=6).double().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.zero_()
        if name == "encoder.pooler.weight":
            parameter.fill_diagonal_(0)  # the weights that stand in a unit's row and in its column
    found = importance.magnitude(model)

    def squares(parts: dict) -> float:
        return sum(float(weight.square().sum()) for weight in slicing.slice_model(model, **parts).state_dict().values())

    def norms_of(scores: Tensor, parts_of: Callable[[list[int]], dict]) -> Tensor:
        left = [squares(parts_of([i for i in range(len(scores)) if i != part])) for part in range(len(scores))]
        return (squares({}) - torch.tensor(left, dtype=torch.float64)).sqrt()

    assert close(found.hidden, norms_of(found.hidden, lambda kept: {"hidden": kept}))
    for kind in ("heads", "neurons"):
        first, second = getattr(found, kind)
        keep_all = [list(range(len(scores))) for scores in (first, second)]
        assert close(first, norms_of(first, lambda kept, kind=kind, rest=keep_all[1]: {kind: [kept, rest]}))
        assert close(second, norms_of(second, lambda kept, kind=kind, rest=keep_all[0]: {kind: [rest, kept]}))
    assert not flat(importance.magnitude(classifier())).requires_grad


def test_random_depends_on_the_seed_alone():
    model, random_state = classifier(), torch.get_rng_state()
    once, again, other = (flat(importance.random(model, seed)) for seed in (1, 1, 2))
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert len(once.unique()) == len(once) == 14 + 47 + 16
    assert torch.equal(torch.get_rng_state(), random_state)


def test_the_whole_way_finds_the_parts_that_do_nothing():
    model, rng = classifier(), np.random.default_rng(3)
    heads = [some(rng, shape.num_heads, 1) for shape in SHAPES]
    neurons = [some(rng, shape.intermediate_size, 4) for shape in SHAPES]
    with torch.no_grad():  # all others give nothing to the residual stream
        for layer, (of_heads, of_neurons) in zip(model.encoder.layers, gates_of(model, heads, neurons), strict=True):
            layer.attention.output.weight *= of_heads.repeat_interleave(layer.attention.head_size)
            layer.feed_forward.output.weight *= of_neurons
    found = first_order(gradients(model, TRAIN))
    best = [slicing.top(scores, 1) for scores in found.heads], [slicing.top(scores, 4) for scores in found.neurons]
    assert best == (heads, neurons)
    assert close(logits_of(slicing.slice_model(model, None, *best)), logits_of(model))
