"""Races: every way is checked before any is timed, each against its own answers, and keeps its check."""

import numpy as np
import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import predictors
from fflib.files import InputError
from fflib.measure import race
from fflib.measure.timing import Timing, Variant

REQUESTS = examples_of((5, 9, 3, 12))
EXAMPLES = examples_of([4, 9, 6, 12])
ONE_BY_ONE = batching.in_order(EXAMPLES.lengths, 1)
IN_PAIRS = batching.sorted_by_length(EXAMPLES.lengths, 2)
RIGHT = np.arange(8, dtype=np.float32).reshape(4, 2)


def answering(logits, calls=None, name=""):
    """A predictor that knows each request by its length; it notes how many it was given."""
    by_length = dict(zip(REQUESTS.lengths, logits, strict=True))

    def predict(inputs):
        if calls is not None:
            calls.append((name, len(inputs["input_ids"])))
        return np.array([by_length[row.sum()] for row in inputs["attention_mask"]])

    return predict


def test_ways_are_checked_and_timed_and_compared():
    found = race.race({"a": answering(RIGHT), "b": answering(RIGHT + 1e-4)}, REQUESTS, RIGHT, rounds=3)
    assert list(found) == ["a", "b"] and found["a"].seconds.shape == (3, 4)
    assert found["a"].checked.max_abs_difference == 0 and found["a"].checked.n == 4
    assert found.largest_difference == pytest.approx(1e-4, rel=0.01)
    assert found.speedup("a", "b") == found["a"].throughput_per_s / found["b"].throughput_per_s
    (first, second) = found.rows(over="b")
    assert second["times as fast as b"] == 1 and first["way"] == "a" and "requests/s" in found.table().data


def test_nothing_is_timed_if_any_way_answers_wrongly():
    calls = []
    ways = {"right": answering(RIGHT, calls, "right"), "wrong": answering(RIGHT[::-1], calls, "wrong")}
    with pytest.raises(AssertionError, match="wrong: a logit is off"):
        race.race(ways, REQUESTS, RIGHT, rounds=50)
    assert len(calls) == 8, "each was asked once, for the check"


def test_each_way_has_its_own_answers_plan_and_tolerance():
    pairs = batching.in_order(REQUESTS.lengths, 2)
    ways = {"one": Variant("other name", answering(RIGHT), pairs), "two": answering(-RIGHT)}
    found = race.race(ways, REQUESTS, {"one": RIGHT, "two": -RIGHT}, rounds=2)
    assert found["one"].batch_sizes.tolist() == [2, 2] and found["two"].batch_sizes.tolist() == [1] * 4
    found = race.race({"far": answering(RIGHT + 1)}, REQUESTS, RIGHT, 1, plan=pairs, tolerance=np.inf)
    assert found["far"].checked.max_abs_difference == 1 and found["far"].checked.label_agreement == 1
    with pytest.raises(AssertionError, match="labels agree"):
        race.race({"x": answering(RIGHT[:, ::-1])}, REQUESTS, RIGHT, 1, tolerance=np.inf, agreement=0.5)


def test_what_was_not_checked_is_not_timed():
    with pytest.raises(InputError, match="not checked"):
        race.timed([Variant("x", answering(RIGHT), batching.in_order(REQUESTS.lengths, 1))], REQUESTS, 1)


def at_once(logits, wall_s=1.0):
    def answer(examples, plan):
        return [logits[group] for group in plan], wall_s, [wall_s / len(plan)] * len(plan)

    return answer


def test_ways_that_answer_at_once_take_one_plan_or_each_their_own():
    pairs, single = (batching.in_order(REQUESTS.lengths, size) for size in (2, 1))
    ways = {"one": at_once(RIGHT, 2.0), "two": at_once(RIGHT, 1.0)}
    found = race.race_at_once(ways, REQUESTS, RIGHT, 3, pairs)
    assert list(found) == ["one", "two"] and found["one"].batch_sizes.tolist() == [2, 2]
    assert found.speedup("two", "one") == 2 and found["two"].wall_s.tolist() == [1.0] * 3
    expected = {"one": RIGHT, "two": RIGHT + 0.5}
    with pytest.raises(AssertionError, match="two: a logit is off by 0.5"):
        race.race_at_once(ways, REQUESTS, expected, 1, {"one": pairs, "two": single})
    own = race.race_at_once(ways, REQUESTS, expected, 1, {"one": pairs, "two": single}, tolerance=1.0, seed=3)
    assert own["two"].batch_sizes.tolist() == [1] * 4


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


def test_where_only_ratios_count_no_requests_per_second_are_shown():
    timings = {name: Timing(np.array([[seconds]]), np.array([1])) for name, seconds in (("a", 0.004), ("b", 0.001))}
    shown = race.Race(timings).ratios(over="a").data
    assert "times as fast as a" in shown and "4.00" in shown and "250" not in shown and "1,000" not in shown


def test_a_long_name_is_not_repeated_above_the_ratios_where_it_stands_in_the_first_row():
    names = first, second = "a way with its batches, token budget 512", "another way with its batches, in order"
    found = race.Race({name: Timing(np.array([[0.004]]), np.array([1])) for name in names})
    assert "| times as fast as the first row" in found.ratios(over=first).data
    assert f"times as fast as {second}" in found.rows(over=second)[0]
