"""Pruning against what it must equal: gated models, and models grown by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from small_models import SHAPES, TRAIN, classifier, close, gates_of, inputs_of, logits_of, some

from fflib.files import InputError
from fflib.model import checkpoints, slicing
from fflib.model.encoder import Classifier, LayerShape

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


@pytest.mark.parametrize("seed", range(8))
def test_a_sliced_model_equals_a_gated_one(seed, tmp_path):
    rng, model = np.random.default_rng(seed), classifier(seed=seed)
    heads = [some(rng, shape.num_heads) for shape in SHAPES]
    neurons = [some(rng, shape.intermediate_size) for shape in SHAPES]
    heads[seed % 4], neurons[(seed + seed // 4) % 4] = [], []  # the same layer in the first half, two in the second
    sliced = slicing.slice_model(model, heads=heads, neurons=neurons)
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
    found = slicing.slice_model(big, heads=heads, neurons=neurons, hidden=hidden)
    assert found.encoder.config == small.encoder.config
    assert all(torch.equal(found.state_dict()[name], weight) for name, weight in small.state_dict().items())
    assert torch.equal(logits_of(found), logits_of(small))


@pytest.mark.parametrize("layers", [[0, 2], [3], [0, 1, 2, 3], [2, 1], []])
def test_layers_are_kept_in_the_order_given_and_others_left_out(layers):
    model = classifier()
    by_hand = copy.deepcopy(model)
    by_hand.encoder.layers = torch.nn.ModuleList(by_hand.encoder.layers[i] for i in layers)
    sliced = slicing.slice_model(model, layers)
    assert torch.equal(logits_of(sliced), logits_of(by_hand))
    assert sliced.encoder.config.layers == tuple(SHAPES[i] for i in layers)


def test_lists_belong_to_the_kept_layers():
    model, layers, heads, neurons = classifier(), [1, 3], [[0, 2], [4]], [[11], []]
    at_once = slicing.slice_model(model, layers, heads, neurons)
    one_by_one = slicing.slice_model(slicing.slice_model(model, layers), heads=heads, neurons=neurons)
    assert torch.equal(logits_of(at_once), logits_of(one_by_one))
    assert at_once.encoder.config.layers == (LayerShape(2, 5, 1), LayerShape(1, 2, 0))


@pytest.mark.parametrize("family", [{}, {"pad_token_id": 1, "position_offset": 2, "type_vocab_size": 1}])
def test_keeping_all_is_the_identity_bit_for_bit(family):
    model = classifier(**family)
    sliced = slicing.slice_model(model)
    assert torch.equal(logits_of(sliced), logits_of(model))
    assert sliced.encoder.config == model.encoder.config


def test_any_order_of_units_computes_the_same():
    model, rng = classifier(), np.random.default_rng(0)
    heads = [rng.permutation(shape.num_heads) for shape in SHAPES]
    neurons = [rng.permutation(shape.intermediate_size) for shape in SHAPES]
    turned = slicing.slice_model(model, None, heads, neurons, rng.permutation(16))
    assert close(logits_of(turned), logits_of(model))
    assert not torch.equal(turned.encoder.pooler.weight, model.encoder.pooler.weight)


def test_the_slice_is_a_model_of_its_own():
    model = classifier().train()
    state, random_state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    sliced = slicing.slice_model(model)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model.training and not any(module.training for module in sliced.modules())
    with torch.no_grad():
        for parameter in sliced.parameters():
            assert parameter.requires_grad
            parameter.fill_(7)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())
    sliced.train()(**inputs_of(TRAIN)).logits.sum().backward()  # it can be trained on
    assert slicing.slice_model(model.double()).classifier.weight.dtype == torch.float64


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
        slicing.slice_model(classifier(), **parts)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, []), (1, [1]), (2, [1, 3]), (3, [0, 1, 3]), (4, [0, 1, 2, 3]), (5, [0, 1, 2, 3, 4])],
)
def test_top_keeps_the_largest_and_of_equals_the_first(count, expected):
    assert slicing.top(torch.tensor([2.0, 9.0, 2.0, 3.0, 2.0]), count) == expected


def test_top_of_many_equals():
    assert slicing.top(torch.zeros(3000), 1000) == list(range(1000))


@pytest.mark.parametrize("count", [-1, 4])
def test_top_refuses_what_is_not_there(count):
    with pytest.raises(InputError, match=f"cannot keep {count} of 3"):
        slicing.top(torch.zeros(3), count)


SCORES = [torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 2.0])], [torch.tensor([1.0, 4.0, 3.0])] * 2


def test_keep_top_keeps_the_best_of_each_layer_and_leaves_layers_out():
    kept = slicing.keep_top(*SCORES, [(2, 1), (0, 3)])
    assert kept == ((0, 1), ((0, 2), ()), ((1,), (0, 1, 2))) and kept.counts == [(2, 1), (0, 3)]
    assert slicing.keep_top(*SCORES, [None, (1, 0)]) == ((1,), ((1,),), ((),))


def test_keep_top_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="counts are given for 1 layers, but the model has 2"):
        slicing.keep_top(*SCORES, [(1, 1)])
    with pytest.raises(InputError, match="cannot keep 4 of 3"):
        slicing.keep_top(*SCORES, [(4, 1), (1, 1)])


def test_uniform_takes_the_same_share_of_every_layer():
    shapes = [LayerShape(12, 32, 1536), LayerShape(12, 26, 1200), LayerShape(3, 32, 10)]
    assert slicing.uniform("25/25", shapes) == [(9, 1152), (9, 900), (2, 8)]
    assert slicing.uniform("33/50", shapes)[1] == (8, 600), "as in FastFormers' Table 3"
    assert slicing.uniform("0/100", shapes) == [(12, 0), (12, 0), (3, 0)]


@pytest.mark.parametrize("text", ["25", "25/", "-1/50", "120/50", "a/b", "25/25/25", "2.5/10"])
def test_uniform_refuses_what_is_no_shape(text):
    with pytest.raises(InputError, match="per cent to remove from 0 to 100"):
        slicing.uniform(text, SHAPES)


def test_a_model_without_units_is_made_and_loaded_without_a_warning(recwarn, tmp_path):
    small = slicing.slice_model(classifier(), heads=[[], [0], [], []], neurons=[[], [], [0], []])
    checkpoints.save(small, tmp_path / "small")
    checkpoints.load(tmp_path / "small")
    assert not [warning for warning in recwarn if "zero-element" in str(warning.message)]


def test_a_pruned_checkpoint_is_not_taken_for_a_whole_one(tmp_path):
    small = slicing.slice_model(classifier(num_labels=2), heads=[[0], [0, 1], [1], [0]])
    checkpoints.save(small, tmp_path / "small")
    again = checkpoints.load_classifier(tmp_path / "small", num_labels=2)
    assert again.encoder.config.layers == small.encoder.config.layers, "the shape comes from the file"
    with pytest.raises(InputError, match="cannot hold a pruned model"):
        checkpoints.to_transformers(again)
