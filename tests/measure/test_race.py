"""A race: every way is checked and timed, and each timing carries its check."""

import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import predictors
from fflib.measure import race
from fflib.measure.timing import Variant

EXAMPLES = examples_of([4, 9, 6, 12])
ONE_BY_ONE = batching.in_order(EXAMPLES.lengths, 1)
IN_PAIRS = batching.sorted_by_length(EXAMPLES.lengths, 2)


@pytest.fixture
def predict():
    return predictors.torch_predictor(tiny_classifier())


@pytest.fixture
def expected(predict):
    return Variant("alone", predict, ONE_BY_ONE).logits(EXAMPLES)


def test_instances_at_once_carry_their_check(predict, expected):
    ways = {"one": predictors.together([predict]), "two": predictors.together([predict] * 2)}
    found = race.race_at_once(ways, EXAMPLES, expected, 2, ONE_BY_ONE)
    assert list(found) == ["one", "two"] and found.largest_difference < 1e-5
    assert all(timing.checked.n == 4 and timing.checked.label_agreement == 1 for timing in found.values())
    assert found.speedup("two", "two") == 1 and found["one"].wall_s.shape == (2,)


def test_ways_at_once_may_have_batches_and_answers_of_their_own(predict, expected):
    ways = dict.fromkeys(("alone", "in pairs"), predictors.together([predict]))
    plans = {"alone": ONE_BY_ONE, "in pairs": IN_PAIRS}
    found = race.race_at_once(ways, EXAMPLES, dict.fromkeys(ways, expected), 1, plans)
    assert [timing.batch_sizes.tolist() for timing in found.values()] == [[1] * 4, [2, 2]]
    wrong = {"alone": expected, "in pairs": expected + 1}
    with pytest.raises(AssertionError, match="in pairs: a logit is off by 1"):
        race.race_at_once(ways, EXAMPLES, wrong, 1, plans)
