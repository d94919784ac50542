"""Sub-networks that share weights, against what they must equal: the same sub-networks cut out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import examples_of, tiny_classifier
from small_classifier import classifier

from fflib.data import batching
from fflib.distillation import losses, teacher
from fflib.files import InputError
from fflib.model import slicing, training
from fflib.model.encoder import Classifier, EncoderConfig, LayerShape
from fflib.model.training import Recipe
from fflib.pruning import dynabert
from fflib.pruning.dynabert import ElasticDistillation, SubNetwork

SHAPES = (LayerShape(4, 3, 20), LayerShape(3, 5, 12), LayerShape(2, 7, 9), LayerShape(5, 2, 6))
EXAMPLES = examples_of([4 + i % 7 for i in range(24)], seed=5)
GROUP = np.array([3, 0, 9, 4])
NETS = dynabert.sub_networks((1.0, 0.5, 0.25), (1.0, 0.75, 0.5))
TOLERANCE = 1e-5

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path))


def uneven(seed=0, position_offset=0) -> Classifier:
    """Four layers of unlike shape, with weights large enough for attention to be far from uniform."""
    config = EncoderConfig(50, 16, SHAPES, max_position_embeddings=64, position_offset=position_offset)
    model = Classifier(config, 2).eval()
    torch.manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.05, 0.3)
    return model


def norms_of(model):
    """An importance that is read off the weights: of a head's values, of a neuron's column."""
    layers = [*zip(model.encoder.layers, model.encoder.config.layers, strict=True)]
    heads = [
        layer.attention.value.weight.unflatten(0, (s.num_heads, s.head_size)).norm(dim=(1, 2)) for layer, s in layers
    ]
    return SimpleNamespace(heads=heads, neurons=[layer.feed_forward.output.weight.norm(dim=0) for layer, _ in layers])


def inputs():
    batch = batching.collate(EXAMPLES, GROUP)
    return {name: torch.from_numpy(array) for name, array in batch.inputs.items()}


def loss_of(model, the_teacher, nets, **weights) -> ElasticDistillation:
    """With the teacher's states computed anew: those on disk have half precision."""
    return ElasticDistillation(model, teacher.TeacherOutputs(the_teacher, EXAMPLES, cache_gb=0.0), nets, **weights)


def loss_of_cut(small, the_teacher, kept, weight_hidden):
    """The loss of one sub-network that has been cut out, step by step."""
    with torch.no_grad():
        theirs = the_teacher(**inputs(), output_hidden_states=True)
    ours, mask = small(**inputs(), output_hidden_states=True), inputs()["attention_mask"]
    value = losses.soft_cross_entropy(ours.logits, theirs.logits)
    states = [*(theirs.hidden_states[i] for i in kept), theirs.hidden_states[-1]]
    for state, target in zip(ours.hidden_states, states, strict=True):
        value = value + weight_hidden * losses.state_loss(state, target, mask)
    return value


def places_of(model, net) -> dict[str, tuple[str, torch.Tensor]]:
    """Find where each weight of a sub-network comes from: a model whose every weight is its own number is cut."""
    numbered, names, start = uneven().double(), [], 0
    for name, parameter in numbered.named_parameters():
        parameter.data = torch.arange(start, start + parameter.numel(), dtype=torch.float64).view_as(parameter)
        names.append((name, start, parameter.numel()))
        start += parameter.numel()
    places = {}
    for small_name, numbers in dynabert.cut(numbered, net).named_parameters():
        first = int(numbers.min())
        (name, begin) = next((name, begin) for name, begin, size in names if begin <= first < begin + size)
        places[small_name] = name, numbers.long() - begin
    return places


def test_the_layers_of_dynabert():
    assert dynabert.kept_layers(12, 1.0) == list(range(12))
    assert dynabert.kept_layers(12, 0.75) == [0, 1, 2, 4, 5, 6, 8, 9, 10], "the paper drops 3, 7, 11"
    assert dynabert.kept_layers(12, 0.5) == [0, 2, 4, 6, 8, 10], "the paper drops the odd ones"


def test_layers_of_any_number_are_evenly_spaced():
    assert dynabert.kept_layers(6, 0.5) == [0, 2, 4] and dynabert.kept_layers(6, 1 / 3) == [0, 3]
    assert dynabert.kept_layers(4, 0.1) == [0] and dynabert.kept_layers(1, 0.5) == [0]
    for layers in range(1, 50):
        for kept in range(1, layers + 1):  # exact in whole numbers, whatever the share's rounding
            assert dynabert.kept_layers(layers, kept / layers) == [i * layers // kept for i in range(kept)]
        for depth in np.linspace(0.01, 1, 57):
            chosen = dynabert.kept_layers(layers, depth)
            assert chosen == sorted(set(chosen)) and chosen[0] == 0 and chosen[-1] < layers


def test_sub_networks_are_all_pairs_the_largest_first():
    nets = dynabert.sub_networks((0.5, 1.0, 0.5), (0.5, 1.0))
    assert nets == [SubNetwork(1.0, 1.0), SubNetwork(0.5, 1.0), SubNetwork(1.0, 0.5), SubNetwork(0.5, 0.5)]
    assert str(SubNetwork(0.5)) == "width 50 %, depth 100 %" and str(SubNetwork(0.125)).startswith("width 12.5 %")


def test_rewiring_sorts_by_importance_and_changes_no_answer():
    model = uneven()
    sorted_model = dynabert.rewired(model, norms_of(model))
    with torch.no_grad():
        torch.testing.assert_close(
            sorted_model(**inputs()).logits, model(**inputs()).logits, rtol=TOLERANCE, atol=TOLERANCE
        )
    before, after = norms_of(model), norms_of(sorted_model)
    moved = 0
    for old, new in zip(before.heads + before.neurons, after.heads + after.neurons, strict=True):
        torch.testing.assert_close(new, old.sort(descending=True).values)
        moved += not torch.equal(old, new)
    assert moved > 4, "the model was sorted before, so nothing is tested"


def test_a_cut_keeps_the_first_heads_and_neurons():
    model = uneven()
    small = dynabert.cut(model, SubNetwork(0.5, 0.5))
    assert small.encoder.config.layers == (LayerShape(2, 3, 10), LayerShape(1, 7, 4))  # layers 0 and 2
    attention, theirs = small.encoder.layers[1].attention, model.encoder.layers[2].attention
    assert torch.equal(attention.query.weight, theirs.query.weight[:7])
    assert torch.equal(attention.output.weight, theirs.output.weight[:, :7])
    least = dynabert.cut(model, SubNetwork(0.01, 0.01))
    assert least.encoder.config.layers == (LayerShape(1, 3, 0),) and least(**inputs()).logits.isfinite().all()
    headless = slicing.slice_model(model, heads=[[], [0], [0], [0]])
    assert dynabert.cut(headless, SubNetwork(0.5)).encoder.config.layers[0].num_heads == 0
    assert torch.equal(dynabert.cut(model, SubNetwork())(**inputs()).logits, model(**inputs()).logits)


@pytest.mark.parametrize("net", NETS, ids=str)
def test_shared_weights_give_the_loss_and_the_gradients_of_the_cut_model(net):
    model, the_teacher = uneven(1), uneven(2)
    small = dynabert.cut(model, net)
    wanted = loss_of_cut(small, the_teacher, dynabert.kept_layers(4, net.depth), weight_hidden=0.3)
    got = loss_of(model, the_teacher, [net], weight_hidden=0.3)(model, inputs(), GROUP)
    torch.testing.assert_close(got, wanted, rtol=TOLERANCE, atol=TOLERANCE)
    wanted.backward()
    got.backward()
    expected = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    outside = {name: torch.ones_like(parameter, dtype=torch.bool) for name, parameter in model.named_parameters()}
    for small_name, (name, places) in places_of(model, net).items():
        expected[name].view(-1)[places] = small.get_parameter(small_name).grad
        outside[name].view(-1)[places] = False  # inside, a key's bias has a gradient of rounding alone
    for name, parameter in model.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=TOLERANCE, msg=name)
        assert not gradient[outside[name]].any(), f"{name} has a gradient outside the sub-network"


def test_the_loss_is_the_sum_over_the_sub_networks():
    model, the_teacher = uneven(1), uneven(2)
    together = loss_of(model, the_teacher, NETS)
    singles = [loss_of(model, the_teacher, [net])(model, inputs(), GROUP) for net in NETS]
    assert [*together.losses(model, inputs(), GROUP)] == NETS
    torch.testing.assert_close(together(model, inputs(), GROUP), torch.stack(singles).sum())


def test_the_parts_have_their_weights():
    model, the_teacher = uneven(1), uneven(2)

    def value(**weights):
        return loss_of(model, the_teacher, NETS[:2], **weights)(model, inputs(), GROUP)

    logits, hidden = value(weight_logits=1.0, weight_hidden=0.0), value(weight_logits=0.0, weight_hidden=1.0)
    torch.testing.assert_close(value(weight_logits=2.0, weight_hidden=0.5), 2 * logits + 0.5 * hidden)
    assert not loss_of(model, the_teacher, NETS, weight_hidden=0.0)._wanted, "states nobody asks for are prepared"
    itself = loss_of(model, model, [SubNetwork()], weight_logits=0.0)
    assert itself(model, inputs(), GROUP).item() == pytest.approx(0, abs=1e-9)


def test_sub_networks_follow_the_mode_and_the_dropout_of_the_model():
    model, the_teacher, net = uneven(1), uneven(2), SubNetwork(0.5, 0.5)
    loss = loss_of(model, the_teacher, [net])
    for training_mode, dropout in ((True, 0.4), (True, 0.0), (False, 0.4), (True, 0.2)):
        model.train(training_mode)
        training._set_dropout(model, dropout)
        small = dynabert.cut(model, net).train(training_mode)
        training._set_dropout(small, dropout)
        torch.manual_seed(3)
        wanted = loss_of_cut(small, the_teacher, [0, 2], weight_hidden=0.1)
        torch.manual_seed(3)
        torch.testing.assert_close(loss(model, inputs(), GROUP), wanted, rtol=TOLERANCE, atol=TOLERANCE)


def test_positions_are_numbered_as_in_the_model():
    model, the_teacher, net = uneven(1, position_offset=1), uneven(2), SubNetwork(0.5)
    wanted = loss_of_cut(dynabert.cut(model, net), the_teacher, range(4), weight_hidden=0.1)
    torch.testing.assert_close(loss_of(model, the_teacher, [net])(model, inputs(), GROUP), wanted)


def test_training_brings_every_sub_network_closer_to_the_teacher():
    model, the_teacher = classifier(4, heads=4, seed=1), classifier(4, heads=4, seed=2)
    nets = dynabert.sub_networks((1.0, 0.5), (1.0, 0.5))
    outputs = teacher.TeacherOutputs(the_teacher, EXAMPLES)
    loss = ElasticDistillation(model, outputs, nets, weight_hidden=1.0)
    assert not [*loss.parameters()] and not loss.state_dict(), "placeholders would reach the optimizer"

    def distances():
        answers = [training.predict(dynabert.cut(model, net), EXAMPLES) for net in nets]
        return [float((torch.from_numpy(a).softmax(1) - outputs.logits.softmax(1)).abs().mean()) for a in answers]

    before = distances()
    recipe = Recipe(epochs=12, batch_size=8, learning_rate=1e-2, dropout=0.0, evaluations_per_epoch=0)
    training.fit(model, EXAMPLES, EXAMPLES, loss, lambda *_: 1 / 0, recipe)
    after = distances()
    assert all(a < 0.7 * b for a, b in zip(after, before, strict=True)), (before, after)


def test_frozen_words_stay():
    model, the_teacher = classifier(4, seed=1), classifier(4, seed=2)
    words, loss = model.encoder.embeddings.word.weight.clone(), loss_of(model, the_teacher, [SubNetwork(0.5, 0.5)])
    dropped = model.encoder.layers[1].feed_forward.intermediate.weight.clone()
    recipe = Recipe(epochs=1, batch_size=8, freeze_words=True, evaluations_per_epoch=0)
    training.fit(model, EXAMPLES, EXAMPLES, loss, lambda *_: 1 / 0, recipe)
    assert torch.equal(model.encoder.embeddings.word.weight, words)
    assert torch.equal(model.encoder.layers[1].feed_forward.intermediate.weight, dropped), "no sub-network has it"


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, 75.0, float("nan")])
def test_shares_that_are_none_are_refused(share):
    for make in (
        lambda: dynabert.sub_networks((1.0, share), (1.0,)),
        lambda: dynabert.sub_networks((1.0,), (share,)),
        lambda: dynabert.kept_layers(12, share),
    ):
        with pytest.raises(InputError, match="above 0 and up to 1"):
            make()


def test_what_does_not_fit_is_refused():
    model, outputs = uneven(), teacher.TeacherOutputs(uneven(2), EXAMPLES)
    for widths, depths in (((), (1.0,)), ((1.0,), ())):
        with pytest.raises(InputError, match="at least one of each"):
            dynabert.sub_networks(widths, depths)
    with pytest.raises(InputError, match="name at least one"):
        ElasticDistillation(model, outputs, [])
    for other, says in (
        (classifier(3), "3 layers, its teacher 4"),
        (classifier(4, hidden=8), "8 hidden units, its teacher 16"),
        (classifier(4, num_labels=3), "3 labels, its teacher 2"),
    ):
        with pytest.raises(InputError, match=says):
            ElasticDistillation(other, outputs, NETS)
    for other in (tiny_classifier(), classifier(4)):
        with pytest.raises(InputError, match="compute it on this one"):
            dynabert.rewired(model, norms_of(other))
