"""Pruning against what it must equal: gates, finite differences, the gradients of weights, models grown by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import examples_of
from torch import Tensor
from torch.nn import functional as F

from fflib import batching, checkpoints, pruning
from fflib.data import TokenizedSplit
from fflib.encoder import Classifier, EncoderConfig, LayerGates, LayerShape
from fflib.files import InputError

SHAPES = (LayerShape(4, 3, 20), LayerShape(3, 5, 12), LayerShape(2, 7, 9), LayerShape(5, 2, 6))
TOLERANCE = 1e-5
TRAIN = examples_of([5, 9, 12, 7, 3, 11, 6, 8], seed=4)
STEP = 1e-5  # of the finite differences, which are central and in double precision

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


def classifier(shapes=SHAPES, hidden=16, num_labels=3, seed=0, **others) -> Classifier:
    """A model whose weights are large enough for attention to be far from uniform."""
    config = EncoderConfig(50, hidden, tuple(shapes), max_position_embeddings=64, **others)
    model = Classifier(config, num_labels).eval()
    torch.manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.05, 0.3)
    return model


def double(**others) -> Classifier:
    return classifier(SHAPES[:2], **others).double()


def inputs_of(examples: TokenizedSplit, group=None, pad_to=None, pad_token_id=0) -> dict[str, Tensor]:
    group = range(len(examples)) if group is None else group
    batch = batching.collate(examples, group, pad_to, pad_token_id)
    return {name: torch.from_numpy(array) for name, array in batch.inputs.items()}


def logits_of(model: Classifier, **options) -> Tensor:
    with torch.no_grad():
        return model(**inputs_of(TRAIN, pad_to=14), **options).logits


def gates_of(model: Classifier, heads=None, neurons=None) -> list[LayerGates]:
    """Gates of one, or of one for the named parts and zero for the others."""
    gates = []
    for i, shape in enumerate(model.encoder.config.layers):
        pair = []
        for size, kept in ((shape.num_heads, heads), (shape.intermediate_size, neurons)):
            chosen = range(size) if kept is None else kept[i]
            pair.append(torch.tensor([float(k in chosen) for k in range(size)], dtype=model.classifier.weight.dtype))
        gates.append(LayerGates(*pair))
    return gates


def some(rng: np.random.Generator, size: int, count: int | None = None) -> list[int]:
    count = rng.integers(size + 1) if count is None else count
    return sorted(rng.permutation(size)[:count].tolist())


def flat(values: pruning.Importance) -> Tensor:
    return torch.cat([*values.heads, *values.neurons, values.hidden])


def close(a: Tensor, b: Tensor, tolerance: float = TOLERANCE) -> bool:
    assert a.shape == b.shape
    return bool((a - b).abs().max() <= tolerance * max(1, b.abs().max()))


@pytest.mark.parametrize("seed", range(8))
def test_a_sliced_model_equals_a_gated_one(seed, tmp_path):
    rng, model = np.random.default_rng(seed), classifier(seed=seed)
    heads = [some(rng, shape.num_heads) for shape in SHAPES]
    neurons = [some(rng, shape.intermediate_size) for shape in SHAPES]
    heads[seed % 4], neurons[(seed + seed // 4) % 4] = [], []  # the same layer in the first half, two in the second
    sliced = pruning.slice_model(model, heads=heads, neurons=neurons)
    gated = logits_of(model, gates=gates_of(model, heads, neurons))
    assert close(logits_of(sliced), gated) and not close(gated, logits_of(model), 1e-3)
    assert [(s.num_heads, s.intermediate_size) for s in sliced.encoder.config.layers] == [
        (len(h), len(n)) for h, n in zip(heads, neurons, strict=True)
    ]
    checkpoints.save(sliced, tmp_path / "sliced")
    loaded = checkpoints.load(tmp_path / "sliced")
    assert torch.equal(logits_of(loaded), logits_of(sliced))
    assert loaded.encoder.config == sliced.encoder.config


def grow(small: Classifier, shapes: list[LayerShape], hidden: int, index_of: Callable[[str, int], list[int]]):
    """A larger random model that holds ``small``: along each dimension that grew, where ``index_of`` says.

    ``index_of`` gets the name of the weight and the large size. No table of dimensions is needed, for every size occurs
    once: what differs in size is what grew.
    """
    big = classifier(shapes, hidden, seed=99)
    with torch.no_grad():
        for name, weight in small.state_dict().items():
            target = big.state_dict()[name]
            dims = zip(weight.shape, target.shape, strict=True)
            indices = [list(range(n)) if n == m else index_of(name, m) for n, m in dims]
            target[np.ix_(*indices)] = weight
    return big


def test_slicing_undoes_growth_in_all_directions_at_once():
    """Hidden units cannot be gated, since LayerNorm takes the mean over those that are left."""
    rng = np.random.default_rng(7)
    small = classifier([LayerShape(2, 3, 13), LayerShape(1, 5, 8)], hidden=11)
    shapes = [LayerShape(4, 3, 20), LayerShape(3, 5, 14)]  # 12 and 15 rows in the heads
    hidden, heads = some(rng, 17, 11), [[1, 3], [2]]
    neurons = [some(rng, 20, 13), some(rng, 14, 8)]

    def index_of(name: str, size: int) -> list[int]:
        rows = [[3, 4, 5, 9, 10, 11], [10, 11, 12, 13, 14]]
        return {17: hidden, 12: rows[0], 15: rows[1], 20: neurons[0], 14: neurons[1]}[size]

    big = grow(small, shapes, 17, index_of)
    found = pruning.slice_model(big, heads=heads, neurons=neurons, hidden=hidden)
    assert found.encoder.config == small.encoder.config
    assert all(torch.equal(found.state_dict()[name], weight) for name, weight in small.state_dict().items())
    assert torch.equal(logits_of(found), logits_of(small))


@pytest.mark.parametrize("layers", [[0, 2], [3], [0, 1, 2, 3], [2, 1], []])
def test_layers_are_kept_in_the_order_given_and_others_left_out(layers):
    model = classifier()
    by_hand = copy.deepcopy(model)
    by_hand.encoder.layers = torch.nn.ModuleList(by_hand.encoder.layers[i] for i in layers)
    sliced = pruning.slice_model(model, layers)
    assert torch.equal(logits_of(sliced), logits_of(by_hand))
    assert sliced.encoder.config.layers == tuple(SHAPES[i] for i in layers)


def test_lists_belong_to_the_kept_layers():
    model, layers, heads, neurons = classifier(), [1, 3], [[0, 2], [4]], [[11], []]
    at_once = pruning.slice_model(model, layers, heads, neurons)
    one_by_one = pruning.slice_model(pruning.slice_model(model, layers), heads=heads, neurons=neurons)
    assert torch.equal(logits_of(at_once), logits_of(one_by_one))
    assert at_once.encoder.config.layers == (LayerShape(2, 5, 1), LayerShape(1, 2, 0))


@pytest.mark.parametrize("family", [{}, {"pad_token_id": 1, "position_offset": 2, "type_vocab_size": 1}])
def test_keeping_all_is_the_identity_bit_for_bit(family):
    model = classifier(**family)
    sliced = pruning.slice_model(model)
    assert torch.equal(logits_of(sliced), logits_of(model))
    assert sliced.encoder.config == model.encoder.config


def test_any_order_of_units_computes_the_same():
    model, rng = classifier(), np.random.default_rng(0)
    heads = [rng.permutation(shape.num_heads) for shape in SHAPES]
    neurons = [rng.permutation(shape.intermediate_size) for shape in SHAPES]
    turned = pruning.slice_model(model, None, heads, neurons, rng.permutation(16))
    assert close(logits_of(turned), logits_of(model))
    assert not torch.equal(turned.encoder.pooler.weight, model.encoder.pooler.weight)


def test_the_slice_is_a_model_of_its_own():
    model = classifier().train()
    state, random_state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    sliced = pruning.slice_model(model)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model.training and not any(module.training for module in sliced.modules())
    with torch.no_grad():
        for parameter in sliced.parameters():
            assert parameter.requires_grad
            parameter.fill_(7)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())
    sliced.train()(**inputs_of(TRAIN)).logits.sum().backward()  # it can be trained on
    assert pruning.slice_model(model.double()).classifier.weight.dtype == torch.float64


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"layers": [0, 4]}, "layers: there is no 4; there are 4"),
        ({"layers": [-1]}, "layers: there is no -1"),
        ({"layers": [1, 1]}, "layers: 1 stands twice"),
        ({"heads": [[0], [0], [0]]}, "heads are given for 3 layers, but 4 are kept"),
        ({"layers": [1], "neurons": [[0]] * 4}, "neurons are given for 4 layers, but 1 are kept"),
        ({"layers": [2], "heads": [[2]]}, "heads of layer 2: there is no 2; there are 2"),
        ({"layers": [2, 0], "neurons": [[3], [5, 5]]}, "neurons of layer 0: 5 stands twice"),
        ({"hidden": [16]}, "hidden units: there is no 16"),
        ({"hidden": [3, 3]}, "hidden units: 3 stands twice"),
        ({"hidden": []}, "keep at least one"),
    ],
)
def test_bad_indices_are_named(parts, words):
    with pytest.raises(InputError, match=words):
        pruning.slice_model(classifier(), **parts)


def loss_of(model: Classifier, group, **options) -> Tensor:
    return F.cross_entropy(model(**inputs_of(TRAIN, group), **options).logits, torch.from_numpy(TRAIN.labels[group]))


def slope(loss: Callable[[float], Tensor]) -> float:
    with torch.no_grad():
        return float(loss(1 + STEP) - loss(1 - STEP)) / (2 * STEP)


@pytest.mark.parametrize("kind", ["heads", "neurons"])
def test_importance_is_the_mean_of_the_absolute_slope_by_a_gate(kind):
    model = double()
    plan = [np.array([0, 3]), np.array([1, 2, 5]), np.array([6])]
    found = getattr(pruning.importance(model, TRAIN, plan=plan), kind)
    for layer, part in ((0, 1), (0, 3), (1, 0), (1, 2)):

        def loss(gate: float, group, layer=layer, part=part) -> Tensor:
            gates = gates_of(model)
            getattr(gates[layer], kind)[part] = gate
            return loss_of(model, group, gates=gates)

        slopes = [abs(slope(lambda gate, group=group, loss=loss: loss(gate, group))) for group in plan]
        assert found[layer][part].item() == pytest.approx(np.mean(slopes), rel=1e-5, abs=1e-10)


@pytest.mark.parametrize("unit", [0, 6, 15])
def test_hidden_importance_is_the_slope_by_a_factor_on_every_hidden_state(unit):
    model = double()
    plan = [np.array([0, 3]), np.array([1, 2, 5])]
    found = pruning.importance(model, TRAIN, plan=plan).hidden[unit].item()
    encoder, factor = model.encoder, torch.ones(16, dtype=torch.float64)
    encoder.embeddings.register_forward_hook(lambda module, inputs, states: states * factor)
    for layer in encoder.layers:
        layer.register_forward_hook(lambda module, inputs, output: (output[0] * factor, output[1]))

    def loss(gate: float, group) -> Tensor:
        factor[unit] = gate
        return loss_of(model, group)

    slopes = [abs(slope(lambda gate, group=group: loss(gate, group))) for group in plan]
    assert found == pytest.approx(np.mean(slopes), rel=1e-5, abs=1e-10)


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_importance_is_the_sum_of_weights_times_their_gradients(activation):
    """As DynaBERT writes it; by the weights *into* a neuron it comes to the same only where the activation is linear
    on each side of 0, so for ReLU and not for GELU."""
    model, group = double(activation=activation), np.arange(len(TRAIN))
    found = pruning.importance(model, TRAIN, plan=[group])
    loss_of(model, group).backward()
    for i, layer in enumerate(model.encoder.layers):
        out, into = layer.feed_forward.output, layer.feed_forward.intermediate
        assert close(found.neurons[i], (out.weight * out.weight.grad).sum(0).abs(), 1e-10)
        by_input = (into.weight * into.weight.grad).sum(1) + into.bias * into.bias.grad
        assert close(found.neurons[i], by_input.abs(), 1e-10) == (activation == "relu")
        out, shape = layer.attention.output, SHAPES[i]
        by_column = (out.weight * out.weight.grad).sum(0)
        assert close(found.heads[i], by_column.view(shape.num_heads, shape.head_size).sum(1).abs(), 1e-10)


def opposite_pair() -> tuple[TokenizedSplit, list[np.ndarray]]:
    """One text under two labels: of two classes, the gradients by the logits have opposite signs."""
    ids, types = [TRAIN.input_ids[1]] * 2, [TRAIN.token_type_ids[1]] * 2
    return TokenizedSplit(ids, types, np.array([0, 1]), "opposite"), [np.array([0]), np.array([1])]


def test_batches_do_not_add_up_before_the_absolute_value():
    model = double(num_labels=2)
    examples, (first, second) = opposite_pair()
    alone = [flat(pruning.importance(model, examples, plan=[group])) for group in (first, second)]
    both = flat(pruning.importance(model, examples, plan=[first, second]))
    together = flat(pruning.importance(model, examples, batch_size=2))  # here the signs do cancel
    assert close(both, (alone[0] + alone[1]) / 2, 1e-10)
    assert torch.all(both > 1.01 * together)
    assert close(together, (alone[0] - alone[1]).abs() / 2, 1e-10)  # hence the signs were opposite
    assert close(flat(pruning.importance(model, examples, batch_size=1)), both, 1e-10)


def test_neither_an_earlier_batch_nor_an_earlier_call_leaves_a_trace():
    model, plan = double(), [np.array([0, 1]), np.array([2, 3, 4]), np.array([5])]
    forward, backward = (flat(pruning.importance(model, TRAIN, plan=p)) for p in (plan, plan[::-1]))
    assert close(forward, backward, 1e-12)
    assert torch.equal(forward, flat(pruning.importance(model, TRAIN, plan=plan)))


@pytest.mark.parametrize("family", [{}, {"pad_token_id": 1, "position_offset": 2}])
def test_padding_has_no_part_in_it(family):
    """The padded batch of unlike lengths against unpadded examples, one by one and with their signs."""
    model = double(**family)
    found = pruning.importance(model, TRAIN, plan=[np.arange(len(TRAIN))])
    sums = torch.zeros(16, dtype=torch.float64)
    for i in range(len(TRAIN)):
        output = model(**inputs_of(TRAIN, [i]), output_hidden_states=True)
        for state in output.hidden_states:
            state.retain_grad()
        F.cross_entropy(output.logits, torch.from_numpy(TRAIN.labels[[i]])).backward()
        sums += sum((state * state.grad).sum((0, 1)) for state in output.hidden_states).detach()
    assert close(found.hidden, sums.abs() / len(TRAIN), 1e-10)


def test_the_default_batches_cover_all_examples_alike():
    model = double()
    alone = [flat(pruning.importance(model, TRAIN, plan=[np.array([i])])) for i in range(len(TRAIN))]
    assert close(flat(pruning.importance(model, TRAIN, batch_size=1)), torch.stack(alone).mean(0), 1e-10)
    assert torch.equal(flat(pruning.importance(model, TRAIN)), flat(pruning.importance(model, TRAIN)))


def test_parts_that_change_nothing_do_not_matter():
    model = classifier()
    with torch.no_grad():
        model.encoder.layers[0].attention.output.weight[:, 3:6] = 0  # head 1 of size 3
        model.encoder.layers[2].feed_forward.output.weight[:, 4] = 0
    found = pruning.importance(model, TRAIN)
    assert found.heads[0][1] == 0 and (found.heads[0] > 0).sum() == 3
    assert found.neurons[2][4] == 0 and (found.neurons[2] > 0).sum() == 8


def test_a_pruned_model_can_be_asked_again():
    heads, neurons = [[], [0, 2], [1], []], [[3], [], [0, 1], []]
    model = pruning.slice_model(classifier(), heads=heads, neurons=neurons, hidden=[1, 5, 6])
    for values in (pruning.importance(model, TRAIN), pruning.magnitude(model), pruning.random(model, 0)):
        assert [len(scores) for scores in values.heads] == [0, 2, 1, 0]
        assert [len(scores) for scores in values.neurons] == [1, 0, 2, 0]
        assert values.hidden.shape == (3,) and torch.isfinite(flat(values)).all()
    no_layers = pruning.slice_model(model, [])
    assert pruning.importance(no_layers, TRAIN).heads == pruning.magnitude(no_layers).heads == ()


def test_the_model_is_left_as_it_was():
    model = classifier().train()
    model.encoder.pooler.eval()  # a mode of its own
    model.encoder.embeddings.requires_grad_(False)
    model.classifier.weight.grad = torch.full_like(model.classifier.weight, 3.0)
    state, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    flags, random_state = [p.requires_grad for p in model.parameters()], torch.get_rng_state()
    with torch.no_grad():  # whose caller's setting it does not depend on
        found = pruning.importance(model, TRAIN)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"classifier.weight"}
    assert torch.all(model.classifier.weight.grad == 3)
    plain = pruning.importance(classifier(), TRAIN)  # neither dropout nor frozen weights make a difference
    assert torch.equal(flat(found), flat(plain))
    assert not flat(found).requires_grad


def test_importance_needs_examples():
    with pytest.raises(InputError, match="at least one"):
        pruning.importance(classifier(), TRAIN.take([]))


def test_magnitude_is_the_norm_of_what_slicing_takes_away():
    """Without biases and LayerNorms, the squares of all weights fall by a part's squared norm when it is removed."""
    model = classifier(SHAPES[:2], hidden=6).double().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.zero_()
        if name == "encoder.pooler.weight":
            parameter.fill_diagonal_(0)  # the weights that stand in a unit's row and in its column
    found = pruning.magnitude(model)

    def squares(parts: dict) -> float:
        return sum(float(weight.square().sum()) for weight in pruning.slice_model(model, **parts).state_dict().values())

    def norms_of(scores: Tensor, parts_of: Callable[[list[int]], dict]) -> Tensor:
        left = [squares(parts_of([i for i in range(len(scores)) if i != part])) for part in range(len(scores))]
        return (squares({}) - torch.tensor(left, dtype=torch.float64)).sqrt()

    assert close(found.hidden, norms_of(found.hidden, lambda kept: {"hidden": kept}))
    for kind in ("heads", "neurons"):
        first, second = getattr(found, kind)
        keep_all = [list(range(len(scores))) for scores in (first, second)]
        assert close(first, norms_of(first, lambda kept, kind=kind, rest=keep_all[1]: {kind: [kept, rest]}))
        assert close(second, norms_of(second, lambda kept, kind=kind, rest=keep_all[0]: {kind: [rest, kept]}))
    assert not flat(pruning.magnitude(classifier())).requires_grad


def test_random_depends_on_the_seed_alone():
    model, random_state = classifier(), torch.get_rng_state()
    once, again, other = (flat(pruning.random(model, seed)) for seed in (1, 1, 2))
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert len(once.unique()) == len(once) == 14 + 47 + 16
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, []), (1, [1]), (2, [1, 3]), (3, [0, 1, 3]), (4, [0, 1, 2, 3]), (5, [0, 1, 2, 3, 4])],
)
def test_top_keeps_the_largest_and_of_equals_the_first(count, expected):
    assert pruning.top(torch.tensor([2.0, 9.0, 2.0, 3.0, 2.0]), count) == expected


def test_top_of_many_equals():
    assert pruning.top(torch.zeros(3000), 1000) == list(range(1000))


@pytest.mark.parametrize("count", [-1, 4])
def test_top_refuses_what_is_not_there(count):
    with pytest.raises(InputError, match=f"cannot keep {count} of 3"):
        pruning.top(torch.zeros(3), count)


def test_the_whole_way_finds_the_parts_that_do_nothing():
    model, rng = classifier(), np.random.default_rng(3)
    heads = [some(rng, shape.num_heads, 1) for shape in SHAPES]
    neurons = [some(rng, shape.intermediate_size, 4) for shape in SHAPES]
    with torch.no_grad():  # all others give nothing to the residual stream
        for layer, (of_heads, of_neurons) in zip(model.encoder.layers, gates_of(model, heads, neurons), strict=True):
            layer.attention.output.weight *= of_heads.repeat_interleave(layer.attention.head_size)
            layer.feed_forward.output.weight *= of_neurons
    found = pruning.importance(model, TRAIN)
    best = [pruning.top(scores, 1) for scores in found.heads], [pruning.top(scores, 4) for scores in found.neurons]
    assert best == (heads, neurons)
    assert close(logits_of(pruning.slice_model(model, None, *best)), logits_of(model))
