"""Recorded graphs: the lengths that texts are padded up to, and their answers; recording itself needs a card."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import examples_of, tiny_classifier

from fflib.card import graphs
from fflib.data import batching
from fflib.measure import device
from fflib.model import training

TEXTS = examples_of([5, 8, 9, 17])


def answers(predict):
    return np.concatenate([predict(batching.collate(TEXTS, [i]).inputs) for i in range(len(TEXTS))])


def test_texts_are_padded_up_to_the_multiples_that_are_needed():
    assert graphs.sizes(TEXTS.lengths, 8) == [8, 16, 24] and graphs.sizes([1], 64) == [64]


def test_the_answers_are_those_without_blanks_and_each_length_is_one_shape():
    model, seen = tiny_classifier(), set()

    def recording(model):
        model.register_forward_pre_hook(
            lambda module, args, kwargs: seen.add(tuple(kwargs["input_ids"].shape)), with_kwargs=True
        )
        return model

    predict = graphs.predictor(model, TEXTS.lengths, 8, compile=recording)
    assert np.abs(answers(predict) - training.predict(tiny_classifier(), TEXTS)).max() <= 1e-5
    assert seen == {(1, 8), (1, 16), (1, 24)}


def test_without_a_card_it_says_why():
    assert "this run's device is the processor" in graphs.lacking()


@pytest.mark.skipif(bool(why := device.lacking("cuda")), reason=why)
def test_recorded_graphs_answer_as_the_model_does():
    device.use("cuda")
    try:
        predict = graphs.predictor(device.placed(tiny_classifier()), TEXTS.lengths, 8)
        assert np.abs(answers(predict) - training.predict(tiny_classifier(), TEXTS)).max() <= 1e-3
    finally:
        device.use("cpu")
