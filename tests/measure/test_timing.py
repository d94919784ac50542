import time

import numpy as np
import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.data.metrics import Gold
from fflib.engine import predictors
from fflib.files import InputError
from fflib.measure import operators
from fflib.measure import timing as measure

EXAMPLES = examples_of([4, 9, 6, 12])
PLAN = batching.in_order(EXAMPLES.lengths, 2)


def constant(value, seconds=0.0):
    def predict(inputs):
        time.sleep(seconds)
        return np.tile([0.0, value], (len(inputs["input_ids"]), 1))

    return predict


def test_an_unchecked_variant_is_not_timed():
    with pytest.raises(InputError, match="not checked"):
        measure.time_interleaved([measure.Variant("raw", constant(1), PLAN)], EXAMPLES, rounds=1)


def test_check_catches_wrong_logits_and_wrong_labels():
    wanted = np.tile([0.0, 1.0], (4, 1))
    with pytest.raises(AssertionError, match="off by"):
        measure.check(measure.Variant("off", constant(1.1), PLAN), EXAMPLES, wanted)
    with pytest.raises(AssertionError, match="labels agree"):
        measure.check(measure.Variant("flipped", constant(-0.5), PLAN), EXAMPLES, wanted, tolerance=9)


def test_check_compares_each_example_with_its_own_logits():
    model = predictors.torch_predictor(tiny_classifier())
    alone = measure.Variant("alone", model, batching.in_order(EXAMPLES.lengths, 1)).logits(EXAMPLES)
    shuffled = [np.array([3, 0]), np.array([2, 1])]
    passed = measure.check(measure.Variant("shuffled", model, shuffled), EXAMPLES, alone)
    assert passed.checked.max_abs_difference < 1e-5 and passed.checked.n == 4
    with pytest.raises(AssertionError):
        measure.check(measure.Variant("shuffled", model, shuffled), EXAMPLES, alone[::-1], tolerance=1e-4)


def test_a_check_may_cover_a_part_of_the_examples():
    model = predictors.torch_predictor(tiny_classifier())
    alone = measure.Variant("alone", model, batching.in_order(EXAMPLES.lengths, 1)).logits(EXAMPLES)
    part = measure.check(measure.Variant("part", model, [np.array([2]), np.array([1])], pad_to=20), EXAMPLES, alone)
    assert part.checked.n == 2


def test_timing_measures_what_was_slept():
    wanted = np.tile([0.0, 1.0], (4, 1))
    variants = [
        measure.check(measure.Variant(name, constant(1, seconds), PLAN), EXAMPLES, wanted)
        for name, seconds in (("fast", 0.025), ("slow", 0.1))  # long enough for a busy machine
    ]
    timings = measure.time_interleaved(variants, EXAMPLES, rounds=3)
    assert timings["slow"].latency_p50_ms == pytest.approx(100, rel=0.3)
    ratio = timings["fast"].throughput_per_s / timings["slow"].throughput_per_s
    assert ratio == pytest.approx(4, rel=0.35)
    assert timings["fast"].n_requests == 4 * 3


def test_percentiles_and_throughput_by_hand():
    timing = measure.Timing(np.array([[0.1, 0.3], [0.1, 0.5], [0.2, 0.3]]), np.array([1, 3]))
    assert timing.latencies_ms.tolist() == pytest.approx([100, 300, 300, 300, 100, 500, 500, 500, 200, 300, 300, 300])
    assert timing.latency_p50_ms == pytest.approx(300)
    assert timing.throughput_per_s == pytest.approx(4 / (0.1 + 0.3))  # medians of each batch over the rounds
    low, high = timing.throughput_interval()
    assert 4 / 0.7 <= low <= timing.throughput_per_s <= high <= 4 / 0.4 + 1e-9


def test_the_profile_finds_the_matrix_product():
    import torch

    a = torch.randn(256, 256)
    profile = operators.operator_profile(lambda: a @ a, repeats=2)
    assert next(iter(profile)) == "aten::mm"


def test_a_variant_with_tokens_of_its_own_is_checked_and_timed_on_them():
    own = examples_of([5, 8, 7, 11], seed=3)
    seen = []

    def predict(inputs):
        seen.append(inputs["input_ids"].shape[1])
        return np.zeros((len(inputs["input_ids"]), 2))

    variant = measure.Variant("own", predict, batching.in_order(own.lengths, 1), examples=own)
    checked = measure.check(variant, EXAMPLES, np.zeros((4, 2)))
    measure.time_interleaved([checked], EXAMPLES, rounds=1)
    assert seen == [5, 8, 7, 11, 11, 5, 8, 7, 11]  # the check, the longest as a warm-up, the round


def test_at_once_each_round_is_checked_and_medians_count():
    """Known walls, one of them disturbed and the first, to warm up, forgotten; a way that errs later is found."""
    plan = [np.array([3, 1]), np.array([0])]
    order, calls = [], {"fast": iter([9.0, 1.0, 7.0, 1.0]), "slow": iter([9.0, 3.0, 3.0, 3.0])}

    def way(name):
        def answer(examples, given):
            assert examples is EXAMPLES
            order.append(name)
            wall = next(calls[name])
            return [right[name][group] for group in given], wall, [wall / 2, wall / 4]

        return answer

    right = {name: np.arange(8.0).reshape(4, 2) + i for i, name in enumerate(calls)}
    ways, plans = {name: way(name) for name in calls}, dict.fromkeys(calls, plan)
    found = measure.time_at_once(ways, EXAMPLES, plans, right, rounds=3)
    assert {name: timing.throughput_per_s for name, timing in found.items()} == {"fast": 3 / 1.0, "slow": 3 / 3.0}
    fast = found["fast"]
    assert [*fast.row.values()] == [fast.throughput_per_s, fast.latency_p50_ms, fast.latency_p95_ms]
    requests = np.repeat([[0.5, 0.25], [3.5, 1.75], [0.5, 0.25]], [2, 1], axis=1)  # a batch of two, and one of one
    assert found["fast"].latency_p95_ms == 1e3 * np.percentile(requests, 95) and found["fast"].n_requests == 9
    low, high = found["fast"].throughput_interval()
    assert (low, high) == (3 / 7.0, 3 / 1.0)
    assert fast.checked == measure.Check(0.0, 1.0, 3)
    assert {tuple(order[i : i + 2]) for i in range(0, 8, 2)} == {("fast", "slow"), ("slow", "fast")}
    calls["fast"] = iter([1.0] * 4)
    with pytest.raises(AssertionError, match="fast: a logit is off by 0.25, more than 0.1"):
        wrong = {"fast": right["fast"] + 0.25}
        measure.time_at_once({"fast": ways["fast"]}, EXAMPLES, plans, wrong, 1, tolerance=0.1)


def test_the_interval_of_a_ratio_knows_only_what_the_rounds_do_not_share():
    sizes, drift = np.array([1, 1]), np.array([[1.0], [3.0], [2.0], [5.0]])  # a machine that is now slow, now fast
    slow, fast = measure.Timing(drift * [[4.0, 4.0]], sizes), measure.Timing(drift * [[1.0, 1.0]], sizes)
    assert fast.speedup_interval(slow) == pytest.approx((4.0, 4.0)), "the drift is in both"
    low, high = fast.speedup_interval(measure.Timing(slow.seconds[:3], sizes))
    assert low < 4.0 < high, "of other rounds it is not"
    half = measure.Timing(drift * [[2.0]], np.array([1]))  # half as many requests in half the batches
    assert fast.speedup_interval(half) == pytest.approx((2.0, 2.0))


def test_a_tie_excuses_its_own_example_and_no_other():
    """Five of ten answers are as good as equal and right; the five others are clear, and all are wrong."""
    expected = np.array([[0.0, 0.001]] * 5 + [[0.0, 5.0]] * 5)
    answers = np.array([[0.0, 0.001]] * 5 + [[5.0, 0.0]] * 5)
    gold = Gold(np.zeros(10, np.int64))
    assert measure.tied(expected, gold).tolist() == [True] * 5 + [False] * 5
    assert measure.agreeing(answers, expected, gold) == 0.5
    assert measure.agreeing(np.array([[0.001, 0.0]] * 5 + [[0.0, 5.0]] * 5), expected, gold) == 1


def test_of_answers_that_compete_those_to_one_question_may_be_tied():
    """The two answers to the first question are the same words; each by itself is far from a tie."""
    gold = Gold(np.array([1, 0, 1, 0]), questions=np.array([0, 0, 1, 1]), one_right=True)
    expected = np.array([[0.0, 3.0], [0.0, 3.0 - 1e-6], [0.0, 3.0], [0.0, 1.0]])
    other = expected + np.array([[0.0, -1e-5], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    assert measure.tied(expected, gold).tolist() == [True, True, False, False]
    assert measure.agreeing(other, expected, gold) == 1
    assert measure.agreeing(other[:, ::-1], expected, gold) < 1
