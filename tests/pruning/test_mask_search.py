"""Masks against brute force, least squares solved outright, and models with parts that others can stand in for."""

from __future__ import annotations

import copy
import itertools
import time

import numpy as np
import pytest
import torch
from conftest import examples_of
from torch import Tensor

from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.files import InputError
from fflib.model import importance, slicing
from fflib.model.encoder import Classifier, EncoderConfig, LayerGates, LayerShape
from fflib.model.importance import Gradients
from fflib.model.slicing import Kept
from fflib.pruning import mask_search

SHAPES = (LayerShape(4, 3, 20), LayerShape(3, 5, 12))
TRAIN = examples_of([5, 9, 12, 7, 3, 11, 6, 8] * 3, seed=4)
TINY = 1e-10  # a damping that does nothing but to stand in for none
HALVES = [(layer, half) for layer in (0, 1) for half in ("attention", "feed_forward")]

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


def classifier(shapes=SHAPES, seed=0, **others) -> Classifier:
    """A model in double precision with weights so large that attention is far from uniform, and tokens unlike."""
    config = EncoderConfig(50, 16, tuple(shapes), max_position_embeddings=64, **others)
    model = Classifier(config, 3).eval().double()
    torch.manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.05, 0.3)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            torch.nn.init.normal_(module.weight, 1, 0.1)
    return model


def inputs_of(group, pad_to=None) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in vars(batching.collate(TRAIN, group, pad_to)).items()}


def logits_of(model: Classifier, **options) -> Tensor:
    with torch.no_grad():
        return model(**inputs_of(range(len(TRAIN)), 14), **options).logits


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    assert a.shape == b.shape
    return bool((a - b).abs().max() <= tolerance * max(1, b.abs().max()))


def all_but(heads: dict | None = None, neurons: dict | None = None, shapes=SHAPES) -> Kept:
    """Keep all but the named heads and neurons: of a layer, a list."""

    def rest(size: int, gone: list[int]) -> tuple[int, ...]:
        return tuple(i for i in range(size) if i not in gone)

    return Kept(
        tuple(range(len(shapes))),
        tuple(rest(shape.num_heads, (heads or {}).get(i, [])) for i, shape in enumerate(shapes)),
        tuple(rest(shape.intermediate_size, (neurons or {}).get(i, [])) for i, shape in enumerate(shapes)),
    )


def half_of(layer: int, half: str) -> Kept:
    """Keep about half of one half layer, and all else."""
    return all_but(heads={layer: [0, 2]}) if half == "attention" else all_but(neurons={layer: [0, 2, 3, 7, 8, 9, 11]})


def sums_of(model: Classifier, layer: int, half: str) -> Tensor:
    """What goes into a LayerNorm, by running unpadded texts one by one through the whole model: [tokens, hidden]."""
    seen = []
    norm = getattr(model.encoder.layers[layer], f"{half}_norm")
    handle = norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][0]))
    with torch.no_grad():
        for i in range(len(TRAIN)):
            model(**inputs_of([i]))
    handle.remove()
    return torch.cat(seen)


def slopes_of(sizes: list[tuple[int, int]], seed: int, n: int = 7) -> Gradients:
    """Random slopes for layers of so many heads and neurons, the units of very unlike size."""
    generator = torch.Generator().manual_seed(seed)

    def draw(units: int) -> Tensor:
        return torch.randn(n, units, generator=generator) * torch.rand(units, generator=generator)

    heads, neurons = (tuple(draw(size[kind]) for size in sizes) for kind in (0, 1))
    return Gradients(heads, neurons, neurons, draw(4))


def form(slopes: Tensor, kept) -> float:
    """(1-m)^T F (1-m), from its definition."""
    removed = [i for i in range(slopes.shape[1]) if i not in set(kept)]
    return float(slopes[:, removed].double().sum(1).square().mean())


def test_fisher_losses_are_half_the_squares_of_the_worst_units():
    slopes = torch.tensor([[1.0, 0.0, 3.0], [-1.0, 2.0, 1.0]])  # mean squares 1, 2, 5
    assert mask_search.fisher_losses(slopes).tolist() == [4.0, 1.5, 0.5, 0.0]
    assert mask_search.fisher_losses(torch.zeros(2, 0)).tolist() == [0.0]
    losses = mask_search.fisher_losses(slopes_of([(1, 30)], 0).neurons[0])
    assert len(losses) == 31 and losses[-1] == 0 and (losses.diff() < 0).all()


def subsets(scores: np.ndarray) -> list[tuple[int, float]]:
    """Of every choice of units: how many they are, and the sum of the scores of the others."""
    choices = itertools.product((0, 1), repeat=len(scores))
    return [(sum(choice), float(scores @ (1 - np.array(choice)))) for choice in choices]


@pytest.mark.parametrize("seed", range(6))
def test_search_finds_the_best_of_all_masks(seed):
    """Of all 2^13 masks, not only those that are made of the best heads and the best neurons."""
    sizes = [(2, 3), (0, 4), (3, 1)]
    slopes = slopes_of(sizes, seed)
    scores = [torch.cat(units, 1).double().square().mean(0).numpy() / 2 for units in (slopes.heads, slopes.neurons)]
    for head_cost, neuron_cost, budget in ((3.0, 1.0, 9.0), (1.0, 2.5, 8.0), (0.7, 0.1, 1.5), (5.0, 4.0, 3.0)):
        best = min(
            head_loss + neuron_loss
            for heads, head_loss in subsets(scores[0])
            for neurons, neuron_loss in subsets(scores[1])
            if heads * head_cost + neurons * neuron_cost <= budget + 1e-12
        )
        counts = mask_search.search(slopes, head_cost, neuron_cost, budget)
        assert sum(h * head_cost + n * neuron_cost for h, n in counts) <= budget + 1e-6
        losses = [
            float(mask_search.fisher_losses(units[layer].double())[count[kind]])
            for kind, units in enumerate((slopes.heads, slopes.neurons))
            for layer, count in enumerate(counts)
        ]
        assert sum(losses) == pytest.approx(best, rel=1e-9)


def test_search_spends_what_it_is_given():
    sizes = [(2, 30), (4, 10)]
    slopes = slopes_of(sizes, 1)
    assert mask_search.search(slopes, 0.7, 0.1, 6 * 0.7 + 40 * 0.1) == sizes  # a sum that is not exact in binary
    assert mask_search.search(slopes, 7, 1, float("inf")) == sizes
    assert mask_search.search(slopes, 7, 1, 0.5) == mask_search.search(slopes, 7, 1, 0) == [(0, 0), (0, 0)]
    assert sum(neurons for _, neurons in mask_search.search(slopes, 1e6, 0.1, 0.1 * 3)) == 3  # 0.1 * 3 > 0.3
    assert sum(neurons for _, neurons in mask_search.search(slopes, 1e6, 0.1, 0.3)) == 3


@pytest.mark.parametrize("costs", [(1, 1, -1), (0, 1, 5), (1, 0, 5), (1, -1, 5), (1, 1, float("nan"))])
def test_search_refuses_what_cannot_be_paid(costs):
    with pytest.raises(InputError, match="give costs above 0"):
        mask_search.search(slopes_of([(2, 3)], 0), *costs)


def test_rearranged_is_never_worse_than_the_diagonal_and_mostly_the_best():
    """In at least 40 of 50 cases a chain of best swaps ends at the best of all choices; never above where it began."""
    reached = improved = 0
    for seed in range(50):
        slopes = slopes_of([(0, 8)], seed, n=3 + seed % 4).neurons[0]
        count = 2 + seed % 5
        kept = mask_search.rearranged(slopes, count)
        assert kept == sorted(set(kept)) and len(kept) == count
        start = form(slopes, slicing.top(slopes.square().mean(0), count))
        least = min(form(slopes, choice) for choice in itertools.combinations(range(8), count))
        assert form(slopes, kept) <= start * (1 + 1e-9)
        reached += form(slopes, kept) <= least * (1 + 1e-9) + 1e-15
        improved += form(slopes, kept) < start * (1 - 1e-6)
    assert reached >= 40 and improved >= 25


def test_no_single_swap_makes_the_rearranged_choice_better():
    slopes = slopes_of([(0, 40)], 3, n=60).neurons[0]
    kept = mask_search.rearranged(slopes, 15)
    found, removed = form(slopes, kept), [i for i in range(40) if i not in kept]
    for gone, back in itertools.product(kept, removed):
        assert form(slopes, {*kept} - {gone} | {back}) >= found * (1 - 1e-9)
    forms = [form(slopes, mask_search.rearranged(slopes, 15, rounds=n)) for n in range(5)]
    assert forms == sorted(forms, reverse=True) and forms[0] > forms[1]
    assert mask_search.rearranged(slopes, 15, rounds=0) == slicing.top(slopes.square().mean(0), 15)


def test_neurons_that_cancel_are_removed_together():
    """Units 1 and 4 have opposite slopes: without both the loss stays as it is. The diagonal keeps one of them."""
    size = torch.tensor([9.0, 5.0, 0.1, 8.0, 5.0, 0.2])
    slopes = torch.randn(7, 6, generator=torch.Generator().manual_seed(5)).sign() * size
    slopes[:, 4] = -slopes[:, 1]
    assert slicing.top(slopes.square().mean(0), 4) == [0, 1, 3, 4]
    assert slicing.top(slopes.square().mean(0), 3) == [0, 1, 3]
    assert mask_search.rearranged(slopes, 3) == [0, 3, 5]
    assert form(slopes, [0, 2, 3, 5]) == pytest.approx(0, abs=1e-12)
    assert mask_search.rearranged(slopes, 4) == [0, 1, 3, 4]  # both are kept, and one exchange removes only one


@pytest.mark.parametrize(("count", "expected"), [(0, []), (5, [0, 1, 2, 3, 4])])
def test_rearranging_none_or_all(count, expected):
    assert mask_search.rearranged(torch.randn(3, 5), count) == expected
    assert mask_search.rearranged(torch.randn(3, 0), 0) == []
    with pytest.raises(InputError, match="cannot keep 6 of 5"):
        mask_search.rearranged(torch.randn(3, 5), 6)


def test_rearranging_a_wide_layer_is_fast():
    slopes = slopes_of([(0, 3072)], 0, n=128).neurons[0]
    start = time.monotonic()
    mask_search.rearranged(slopes, 2900, rounds=100)
    assert time.monotonic() - start < 10  # less than one; the machine may have other things to do


def test_keep_rearranges_every_half_layer():
    slopes = slopes_of([(4, 9), (3, 7), (2, 8)], 2)
    kept = mask_search.keep(slopes, [(2, 4), None, (0, 8)])
    assert kept.layers == (0, 2) and kept.counts == [(2, 4), (0, 8)]
    assert kept.heads[0] == tuple(mask_search.rearranged(slopes.heads[0], 2))
    assert kept.neurons == (tuple(mask_search.rearranged(slopes.neurons[0], 4)), tuple(range(8)))
    assert mask_search.keep(slopes, [None] * 3) == Kept((), (), ())
    with pytest.raises(InputError, match="counts are given for 2 layers, but the model has 3"):
        mask_search.keep(slopes, [(2, 4), None])


def test_mask_values_solve_the_least_squares_problem():
    """Against one large matrix with a column of outputs for each unit."""
    rng = torch.Generator().manual_seed(0)
    z, w, y = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((40, 6), (6, 5), (40, 5)))
    gram, errors = z.T @ z, z.T @ (y - z @ w)
    for size in (1, 2, 3):
        columns = torch.stack([(z[:, u : u + size] @ w[u : u + size]).flatten() for u in range(0, 6, size)], 1)
        expected = torch.linalg.lstsq(columns, y.flatten()[:, None]).solution[:, 0]
        assert close(mask_search.mask_values(gram, errors, w, size, TINY), expected, 1e-7)
        ridge = 0.5 * columns.square().sum(0).mean()
        shifted = columns.T @ y.flatten() + ridge  # (G + ridge) m = c + ridge * 1
        expected = torch.linalg.solve(columns.T @ columns + ridge * torch.eye(6 // size), shifted)
        assert close(mask_search.mask_values(gram, errors, w, size, 0.5), expected, 1e-7)
    assert mask_search.mask_values(gram, 100 * errors, w, 2, TINY).tolist() == [1, 1, 1]  # beyond 10
    assert close(mask_search.mask_values(gram, errors, w, 2, 1e9), torch.ones(3), 1e-6)
    assert mask_search.mask_values(0 * gram, 0 * errors, w, 2, 0.1).tolist() == [1, 1, 1]  # nothing ever active


@pytest.mark.parametrize("what", mask_search.TUNINGS)
@pytest.mark.parametrize("double", [True, False])
def test_where_nothing_is_removed_nothing_changes(what, double):
    model = classifier() if double else classifier().float()
    tuned = mask_search.tune(model, all_but(), TRAIN, what)
    tolerance = 1e-9 if double else 1e-4
    assert tuned.classifier.weight.dtype == model.classifier.weight.dtype
    assert close(logits_of(tuned), logits_of(model), tolerance)
    assert all(close(tensor, model.state_dict()[name], tolerance) for name, tensor in tuned.state_dict().items())


def test_without_tuning_the_model_is_the_slice():
    kept = mask_search.keep(importance.gradients(classifier(), TRAIN), [(2, 9), (1, 4)])
    tuned, sliced = mask_search.tune(classifier(), kept, TRAIN, "none"), slicing.slice_model(classifier(), *kept)
    assert all(torch.equal(tensor, sliced.state_dict()[name]) for name, tensor in tuned.state_dict().items())


def factors(tuned: Classifier, sliced: Classifier, layer: int, half: str, tolerance: float = 1e-8) -> Tensor:
    """Of each unit, what its columns of the output matrix were multiplied by."""
    new, old = (getattr(model.encoder.layers[layer], half).output.weight.detach() for model in (tuned, sliced))
    size = SHAPES[layer].head_size if half == "attention" else 1
    ratios = (new / old).unflatten(1, (-1, size))
    assert close(ratios, ratios[:1, :, :1].expand_as(ratios), tolerance)  # one number a unit
    return ratios[0, :, 0]


def test_tuned_masks_are_gates_of_the_whole_model():
    model, kept = classifier(), all_but({0: [1], 1: [0]}, {0: [2, 3, 5, 9, 10, 17], 1: [0, 8]})
    tuned, sliced = mask_search.tune(model, kept, TRAIN), slicing.slice_model(model, *kept)
    gates = []
    for i, shape in enumerate(SHAPES):
        gate = LayerGates(torch.zeros(shape.num_heads).double(), torch.zeros(shape.intermediate_size).double())
        gate.heads[list(kept.heads[i])] = factors(tuned, sliced, i, "attention")
        gate.neurons[list(kept.neurons[i])] = factors(tuned, sliced, i, "feed_forward")
        assert ((gate.neurons != 0) & (gate.neurons != 1)).sum() == len(kept.neurons[i])  # all are tuned
        gates.append(gate)
    assert close(logits_of(tuned), logits_of(model, gates=gates))
    assert not close(logits_of(tuned), logits_of(sliced), 1e-2)
    biases = [name for name in sliced.state_dict() if name.endswith("bias")]
    assert all(torch.equal(tuned.state_dict()[name], sliced.state_dict()[name]) for name in biases)


@pytest.mark.parametrize("what", ["masks", "weights"])
def test_a_twin_stands_in_for_a_removed_neuron_and_head(what):
    model = classifier()
    with torch.no_grad():
        into, out = model.encoder.layers[0].feed_forward.intermediate, model.encoder.layers[0].feed_forward.output
        into.weight[5], into.bias[5], out.weight[:, 5] = into.weight[2], into.bias[2], out.weight[:, 2]
        attention = model.encoder.layers[1].attention
        for linear in (attention.query, attention.key, attention.value):
            linear.weight[10:15], linear.bias[10:15] = linear.weight[0:5].clone(), linear.bias[0:5].clone()
        attention.output.weight[:, 10:15] = attention.output.weight[:, 0:5].clone()
    kept = all_but({1: [2]}, {0: [5]})
    tuned, sliced = mask_search.tune(model, kept, TRAIN, what, TINY), slicing.slice_model(model, *kept)
    assert close(logits_of(tuned), logits_of(model), 1e-6) and not close(logits_of(sliced), logits_of(model), 1e-2)
    twice = torch.ones(19).double()
    twice[2] = 2
    assert close(factors(tuned, sliced, 0, "feed_forward", 1e-4), twice, 1e-4)
    assert close(factors(tuned, sliced, 1, "attention", 1e-4), torch.tensor([2.0, 1.0]).double(), 1e-4)


def test_weights_recover_a_neuron_that_others_can_express():
    """With ReLU and large biases all neurons are linear, so that one can be the sum of others; no mask can do that."""
    model = classifier(activation="relu")
    feed_forward = model.encoder.layers[1].feed_forward
    with torch.no_grad():
        feed_forward.intermediate.bias += 20
        weight, bias = feed_forward.intermediate.weight, feed_forward.intermediate.bias
        weight[4], bias[4] = weight[0] + 0.5 * weight[7] + weight[9], bias[0] + 0.5 * bias[7] + bias[9] + 3
    kept = all_but(neurons={1: [4]})
    untuned, scaled, fitted = (
        logits_of(mask_search.tune(model, kept, TRAIN, what, TINY)) for what in ("none", "masks", "weights")
    )
    assert close(fitted, logits_of(model), 1e-5)
    assert not close(scaled, logits_of(model), 1e-4) and not close(untuned, logits_of(model), 1e-2)


@pytest.mark.parametrize(("layer", "half"), HALVES)
def test_the_more_is_tuned_the_closer_to_the_whole_model(layer, half):
    model, target = classifier(), sums_of(classifier(), layer, half)
    errors = {}
    for what in mask_search.TUNINGS:
        tuned = mask_search.tune(model, half_of(layer, half), TRAIN, what, TINY)
        errors[what] = float((sums_of(tuned, layer, half) - target).square().mean())
    assert errors["weights"] < 0.99 * errors["masks"] < 0.99 * errors["none"]


@pytest.mark.parametrize("what", ["masks", "weights"])
def test_each_half_is_fitted_on_top_of_what_is_tuned_below(what):
    """At the last half layer a fit done again, with everything else as it was tuned, has nothing left to change."""
    model, kept = classifier(), all_but({0: [1], 1: [0]}, {0: [2, 3, 5, 9, 10, 17], 1: [0, 8]})
    tuned, target = mask_search.tune(model, kept, TRAIN, what, TINY), sums_of(model, 1, "feed_forward")
    error = float((sums_of(tuned, 1, "feed_forward") - target).square().mean())
    for column in range(10):
        for factor in (0.999, 1.001):
            other = copy.deepcopy(tuned)
            with torch.no_grad():
                other.encoder.layers[1].feed_forward.output.weight[:, column] *= factor
            assert float((sums_of(other, 1, "feed_forward") - target).square().mean()) > error


@pytest.mark.parametrize(("layer", "half"), HALVES)
def test_a_half_layer_without_units(layer, half):
    """Only its bias is left, which with "weights" becomes the mean of what the half layer gave; masks have no bias."""
    units = {layer: list(range(20))}
    model, kept = classifier(), all_but(heads=units) if half == "attention" else all_but(neurons=units)
    target = sums_of(model, layer, half)
    for what, unbiased in (("masks", False), ("weights", True)):
        missing = (target - sums_of(mask_search.tune(model, kept, TRAIN, what), layer, half)).mean(0)
        assert (missing.abs().max() < 1e-9) == unbiased
    nothing = Kept((), (), ())
    assert close(
        logits_of(mask_search.tune(model, nothing, TRAIN, what)), logits_of(slicing.slice_model(model, *nothing))
    )


@pytest.mark.parametrize("what", ["masks", "weights"])
def test_a_layer_makes_up_for_the_removed_one_below(what):
    model = classifier()
    kept = Kept((1,), (tuple(range(3)),), (tuple(range(12)),))
    tuned, sliced, target = (
        mask_search.tune(model, kept, TRAIN, what),
        slicing.slice_model(model, *kept),
        sums_of(model, 1, "attention"),
    )
    before, after = ((sums_of(m, 0, "attention") - target).square().mean() for m in (sliced, tuned))
    assert after < before


@pytest.mark.parametrize("what", ["masks", "weights"])
@pytest.mark.parametrize("family", [{}, {"pad_token_id": 1, "position_offset": 2}])
def test_padding_has_no_part_in_it(what, family):
    model, kept = classifier(**family), all_but({0: [1], 1: [0]}, {0: [2, 3, 5, 9, 10, 17], 1: [0, 8]})
    padded, unpadded = (mask_search.tune(model, kept, TRAIN, what, batch_size=n).state_dict() for n in (len(TRAIN), 1))
    assert all(close(padded[name], unpadded[name], 1e-8) for name in padded)


def test_the_model_is_left_as_it_was():
    model = classifier().train()
    model.encoder.embeddings.requires_grad_(False)
    state, flags = copy.deepcopy(model.state_dict()), [p.requires_grad for p in model.parameters()]
    kept, random_state = half_of(0, "feed_forward"), torch.get_rng_state()
    for what in mask_search.TUNINGS:
        tuned = mask_search.tune(model, kept, TRAIN, what)
        quiet = mask_search.tune(classifier(), kept, TRAIN, what)
        assert all(torch.equal(quiet.state_dict()[name], tensor) for name, tensor in tuned.state_dict().items())
        assert not tuned.training and all(parameter.requires_grad for parameter in tuned.parameters())
        assert not any(module._forward_pre_hooks for module in [*model.modules(), *tuned.modules()])
        tuned(**inputs_of([0])).logits.sum().backward()  # it can be trained on
    assert all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == flags
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())


def test_the_whole_way():
    """From slopes to a model whose last states are closer to the whole one's the more is tuned."""
    model = classifier()
    slopes = importance.gradients(model, TRAIN)
    kept = mask_search.keep(slopes, mask_search.search(slopes, 3.0, 1.0, 35.0))
    assert 34 < sum(3 * heads + neurons for heads, neurons in kept.counts) <= 35
    target = sums_of(model, 1, "feed_forward")
    tuned = [
        sums_of(mask_search.tune(model, kept, TRAIN, what), 1, "feed_forward") for what in ("none", "masks", "weights")
    ]
    errors = [float((sums - target).square().mean()) for sums in tuned]
    assert errors[0] > errors[1] > errors[2]


def bad(**others) -> dict:
    return {"examples": TRAIN, "kept": all_but()} | others


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (bad(what="biases"), "tuning 'biases' is unknown; use one of masks, weights, none"),
        (bad(examples=TRAIN.take([])), "needs an example"),
        (bad(damping=0), "a damping above 0"),
        (bad(kept=Kept((1, 0), ((0,), (0,)), ((0,), (0,)))), "layers in ascending order"),
        (bad(kept=Kept((0,), ((7,),), ((0,),))), "heads of layer 0: there is no 7"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(InputError, match=words):
        mask_search.tune(classifier(), **arguments)


def test_too_few_examples_for_too_little_damping():
    one: TokenizedSplit = examples_of([2])
    with pytest.raises(InputError, match="lost in the rounding"):
        mask_search.tune(classifier(), half_of(0, "feed_forward"), one, "weights", damping=1e-30)


def test_the_repair_is_taken_after_which_other_examples_move_least():
    model, kept = classifier(), all_but({0: [1]}, {1: [2, 5]})
    made = {way: mask_search.tune(model, kept, TRAIN, way) for way in mask_search.TUNINGS}
    expected = {way: logits_of(tuned) for way, tuned in made.items()}
    for wanted in mask_search.TUNINGS:

        def loss(tuned: Classifier, wanted: str = wanted) -> float:
            return float((logits_of(tuned) - expected[wanted]).abs().max())

        assert mask_search.best_tuning(model, kept, TRAIN, mask_search.TUNINGS, loss) == (wanted, 0.0)
