import time

import numpy as np
import pytest

from fflib import online

LENGTHS = np.array([10, 10, 10, 30, 10])


def sleeping(seconds):
    def run(indices):
        time.sleep(seconds)
        return np.array(indices)

    return run


def test_one_by_one_is_a_queue_that_adds_up():
    arrivals = np.array([0.0, 0.0, 1.0])
    served = online.serve(arrivals, LENGTHS[:3], online.one_by_one, sleeping(0.01))
    first, second, third = served.latency_ms
    assert first == pytest.approx(10, abs=4)
    assert second == pytest.approx(2 * first, rel=0.4)  # it waited for the first
    assert third == pytest.approx(10, abs=4)  # the queue was empty again: virtual time passed, real time did not
    assert served.batch_sizes.tolist() == [1, 1, 1]
    assert served.span_s == pytest.approx(1.01, abs=0.01)


def test_every_request_is_answered_once_and_by_its_own_answer():
    arrivals = online.poisson_arrivals(500, 200, np.random.default_rng(0))
    lengths = np.random.default_rng(1).integers(5, 60, 200)
    served = online.serve(arrivals, lengths, online.adaptive(256, 0.002), lambda indices: np.array(indices))
    assert {index: int(answer) for index, answer in served.answers.items()} == {i: i for i in range(200)}
    assert served.batch_sizes.sum() == 200
    assert (served.latency_ms >= 0).all()


def test_adaptive_is_one_by_one_when_idle_and_batches_a_queue():
    idle = online.serve(np.array([0.0, 1.0, 2.0]), LENGTHS[:3], online.adaptive(100, 0), sleeping(0.001))
    assert idle.batch_sizes.tolist() == [1, 1, 1]
    queue = online.serve(np.zeros(3), LENGTHS[:3], online.adaptive(100, 0), sleeping(0.001))
    assert queue.batch_sizes.tolist() == [3]


def test_the_budget_counts_the_padded_rectangle():
    served = online.serve(np.zeros(5), LENGTHS, online.adaptive(60, 0), sleeping(0))
    assert served.batch_sizes.tolist() == [3, 2]  # a fourth of 30 tokens would make 4 x 30 > 60


def test_like_lengths_takes_the_oldest_and_its_neighbours_in_length():
    lengths = np.array([50, 10, 48, 12, 52, 11])
    served = online.serve(np.zeros(6), lengths, online.like_lengths(160), lambda indices: np.array(indices))
    assert served.batch_sizes.tolist() == [3, 3]
    order = online.like_lengths(160)(online.Queue([(i, 0.0) for i in range(6)], lengths), 0.0)
    assert sorted(order) == [0, 2, 4]
    assert {index: int(answer) for index, answer in served.answers.items()} == {i: i for i in range(6)}


def test_an_odd_length_is_not_left_behind():
    lengths = np.array([500, *[10] * 50])
    arrivals = np.array([0.001, *np.linspace(0, 0.5, 50)])
    order = np.argsort(arrivals)
    served = online.serve(arrivals[order], lengths[order], online.like_lengths(40), sleeping(0.001))
    assert served.latency_ms[1] < 20  # the long one is the second to arrive


def test_the_patient_batcher_waits_no_longer_than_its_limit():
    served = online.serve(np.array([0.0]), LENGTHS[:1], online.adaptive(100, 0.05), sleeping(0.001))
    assert served.latency_ms[0] == pytest.approx(51, abs=5)
    company = online.serve(np.array([0.0, 0.02]), LENGTHS[:2], online.adaptive(100, 0.05), sleeping(0.001))
    assert company.batch_sizes.tolist() == [2]


def test_a_full_batch_does_not_wait():
    served = online.serve(np.zeros(3), LENGTHS[:3], online.adaptive(20, 10.0), sleeping(0.001))
    assert served.batch_sizes.tolist()[0] == 2
    assert served.latency_ms[0] < 50


def test_poisson_arrivals_have_the_rate_and_the_spread():
    gaps = np.diff(online.poisson_arrivals(50, 20_000, np.random.default_rng(0)))
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)  # exponential gaps: standard deviation = mean
