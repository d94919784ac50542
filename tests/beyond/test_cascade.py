"""A cascade: what is read first, when it reads on, and that it says what its two readings say."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import examples_of, tiny_classifier

from fflib.beyond import cascade
from fflib.beyond.cascade import Cascade
from fflib.data import batching
from fflib.data.metrics import Gold
from fflib.data.splits import TokenizedSplit
from fflib.engine import predictors
from fflib.files import InputError
from fflib.measure.timing import Variant


def pair(first, second, marked=()):
    types = np.array([0] * first + [1] * second)
    types[list(marked)] += 2
    return types


@pytest.mark.parametrize(
    ("types", "first", "places"),
    [
        (pair(5, 0), 8, [0, 1, 2, 3, 4]),  # short enough
        (pair(9, 0), 4, [0, 1, 2, 8]),  # one text: its beginning and what ends it
        (pair(4, 8), 8, [0, 1, 2, 3, 4, 5, 6, 11]),  # the first of a pair whole
        (pair(9, 9), 8, [0, 1, 2, 8, 9, 10, 11, 17]),  # both too long: half each
        (pair(12, 3), 8, [0, 1, 2, 3, 11, 12, 13, 14]),  # a short second text stays whole
        (pair(4, 8, marked=[5]), 8, [0, 1, 2, 3, 4, 5, 6, 11]),  # the mark is within
        (pair(4, 8, marked=[9]), 8, [*range(12)]),  # it would be lost
    ],
)
def test_what_is_read_first(types, first, places):
    assert cascade.first_places(types, first).tolist() == places


def test_a_first_reading_of_nothing_is_refused():
    with pytest.raises(InputError, match="leaves no text"):
        cascade.first_places(pair(9, 9), 3)


def test_the_margin_is_between_the_two_highest():
    assert cascade.margins(np.array([[1.0, 4.0, 3.5], [2.0, 2.0, 0.0]])).tolist() == [0.5, 0.0]


def told_by_length(inputs):
    """Sure about readings that end in an even token, unsure about others; the answer is how long the reading is."""
    lengths = inputs["attention_mask"].sum(1)
    last = inputs["input_ids"][np.arange(len(lengths)), lengths - 1]
    return np.stack([lengths, lengths + np.where(last % 2, 0.1, 5.0)], 1).astype(np.float32)


def texts(*ends, length=20):
    ids = [np.append(np.arange(1, length), end).astype(np.int32) for end in ends]
    return TokenizedSplit(ids, [np.zeros(length, np.int32)] * len(ids), Gold(np.zeros(len(ids), int)), "x")


def test_only_what_is_unsure_is_read_again_and_all_of_it():
    asked, seen = texts(2, 3, 4, 5), []

    def spy(inputs):
        seen.append(inputs["attention_mask"].sum(1).tolist())
        return told_by_length(inputs)

    said = Cascade(spy, 6, 1.0)(batching.collate(asked, range(4)).inputs)
    assert said[:, 0].tolist() == [6, 20, 6, 20]
    assert seen == [[6, 6, 6, 6], [20], [20]], "the second reading goes one by one without a plan"
    together = Cascade(spy, 6, np.inf, lambda lengths: batching.in_order(lengths, 4))
    assert together(batching.collate(asked, range(4)).inputs)[:, 0].tolist() == [20] * 4 and seen[-1] == [20] * 4
    assert Cascade(spy, 6, -np.inf)(batching.collate(asked, range(4)).inputs)[:, 0].tolist() == [6] * 4
    seen.clear()
    assert Cascade(spy, 30, np.inf)(batching.collate(asked, range(4)).inputs)[0, 0] == 20 and len(seen) == 1


def test_it_says_what_the_two_readings_of_a_real_model_say():
    model = predictors.torch_predictor(tiny_classifier())
    asked = examples_of((5, 9, 30, 12, 25, 3))
    plan = batching.token_budget(asked.lengths, 40)
    whole = Variant("whole", model, plan).logits(asked)
    first = Variant("first", Cascade(model, 8, -np.inf), plan).logits(asked)
    threshold = float(np.median(cascade.margins(first)[asked.lengths > 8]))
    right, again = cascade.combined(first, whole, asked.lengths > 8, threshold)
    assert 0 < again.sum() < (asked.lengths > 8).sum()
    way = predictors.together([Cascade(model, 8, threshold)] * 2)
    np.testing.assert_allclose(cascade.logits_of(way, asked, plan), right, atol=1e-5)
    assert whole[asked.lengths <= 8] == pytest.approx(first[asked.lengths <= 8], abs=1e-5)
