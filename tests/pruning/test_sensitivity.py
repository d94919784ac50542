"""Sensitivity against models cut by hand, and divergence against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import examples_of
from scipy.special import rel_entr, softmax
from small_models import classifier

from fflib.files import InputError
from fflib.model import importance, slicing, training
from fflib.pruning import sensitivity

EXAMPLES = examples_of([5, 9, 12, 7], seed=2)

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


def test_divergence_is_scipys():
    ours, theirs = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    wanted = rel_entr(softmax(theirs, axis=1), softmax(ours, axis=1)).sum(1).mean()
    assert sensitivity.divergence(ours, theirs) == pytest.approx(wanted, rel=1e-5)
    assert sensitivity.divergence(theirs, theirs) == 0


def test_each_loss_is_that_of_a_model_cut_there_alone():
    model = classifier()
    scores = importance.first_order(importance.gradients(model, EXAMPLES))
    losses = sensitivity.measure(model, scores, EXAMPLES, heads=range(6), neurons=[0, 5])
    assert [sorted(layer) for layer in losses.attention] == [[0, 1, 2, 3, 4], [0, 1, 2, 3], [0, 1, 2], [*range(6)]]
    assert [sorted(layer) for layer in losses.feed_forward] == [[0, 5, 20], [0, 5, 12], [0, 5, 9], [0, 5, 6]]
    shapes = model.encoder.config.layers
    assert all(losses.attention[i][shape.num_heads] == 0 for i, shape in enumerate(shapes))
    whole = training.predict(model, EXAMPLES)

    def loss_of(**parts) -> float:
        return sensitivity.divergence(training.predict(slicing.slice_model(model, **parts), EXAMPLES), whole)

    heads = [list(range(shape.num_heads)) for shape in shapes]
    heads[1] = slicing.top(scores.heads[1], 2)
    assert losses.attention[1][2] == pytest.approx(loss_of(heads=heads), rel=1e-4)
    neurons = [list(range(shape.intermediate_size)) for shape in shapes]
    neurons[2] = slicing.top(scores.neurons[2], 5)
    assert losses.feed_forward[2][5] == pytest.approx(loss_of(neurons=neurons), rel=1e-4)
    assert losses.removed[3] == pytest.approx(loss_of(layers=[0, 1, 2]), rel=1e-4)
    assert min(losses.removed) > 0


def test_texts_to_choose_on_come_first_and_half_as_many_check():
    chosen_on, checked = sensitivity.texts_to_choose_on(EXAMPLES, 2)
    assert [*map(len, chosen_on.input_ids)] == [5, 9] and [*map(len, checked.input_ids)] == [12]
    chosen_on, checked = sensitivity.texts_to_choose_on(EXAMPLES, 3)
    assert (len(chosen_on), len(checked)) == (3, 1)


@pytest.mark.parametrize("count", [4, 100])
def test_where_there_are_few_texts_both_parts_are_smaller(count):
    chosen_on, checked = sensitivity.texts_to_choose_on(EXAMPLES, count)
    assert (len(chosen_on), len(checked)) == (2, 1)
    with pytest.raises(InputError, match=r"2 training texts are too few .* \(n_retrain\)"):
        sensitivity.texts_to_choose_on(EXAMPLES.take(range(2)), count)


def test_a_loss_is_computed_once_for_a_shape():
    asked = []
    loss_of = sensitivity.remembered(lambda counts: asked.append(counts) or float(len(asked)))
    first = [loss_of([(2, 8), None]), loss_of([(2, 8), (1, 8)])]
    assert [loss_of(((2, 8), None)), loss_of([(2, 8), (1, 8)])] == first == [1.0, 2.0]
    assert len(asked) == 2


def test_layers_without_a_price_are_not_cut():
    model = classifier()
    scores = importance.magnitude(model)
    of_first = sensitivity.measure(model, scores, EXAMPLES, [0, 1], [0, 5], priced=[0])
    of_all = sensitivity.measure(model, scores, EXAMPLES, [0, 1], [0, 5])
    assert of_first.attention[0] == of_all.attention[0] and of_first.removed == of_all.removed
    shapes = model.encoder.config.layers[1:]
    assert of_first.attention[1:] == [{shape.num_heads: 0.0} for shape in shapes]
    assert of_first.feed_forward[1:] == [{shape.intermediate_size: 0.0} for shape in shapes]
