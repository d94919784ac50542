"""A server that is fitted to its log: logs by hand, queueing theory, and a made-up server that it has to foretell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fflib.files import InputError
from fflib.serving import scheduling
from fflib.serving.loadgen import Load
from fflib.serving.server import Batch
from fflib.serving.server_model import Occupied, ServerModel
from fflib.serving.service_times import ServiceTimes

CALL_S, TOKEN_S, PAIR_S = 2e-3, 5e-5, 4e-7
SERVICE = ServiceTimes(CALL_S, TOKEN_S, PAIR_S, np.ones(1))
CONSTANT = ServiceTimes(0.01, 0.0, 0.0, np.ones(1))  # 10 ms, 100 per s
EXPONENTIAL = ServiceTimes(0.01, 0.0, 0.0, -np.log((np.arange(1000) + 0.5) / 1000))  # the same on average
LENGTHS = np.array([8, 20, 32, 100])
NONE = np.zeros(0)


def test_a_log_by_hand():
    """Instance 0 wakes up, comes back to a queue, then sleeps; instance 1 computes beside its second batch."""
    log = [
        Batch(0, 9, (1.0,), 1.25, 2.0),  # slept, woke up in 0.25
        Batch(0, 7, (1.5, 1.75), 2.125, 3.0),  # was waited for from 2.0 on: the way back to the queue is part of it
        Batch(1, 5, (2.5,), 2.75, 3.5),  # beside the second
        Batch(0, 4, (8.0,), 8.5, 9.0),
    ]
    occupied = Occupied.of(log)
    assert occupied.rows.tolist() == [1, 2, 1, 1] and occupied.length.tolist() == [9, 7, 5, 4]
    assert occupied.seconds.tolist() == [0.75, 1.0, 0.75, 0.5]
    assert occupied.company.tolist() == [0, 0, 1, 0]
    np.testing.assert_array_equal(occupied.wake_s, [0.25, np.nan, 0.25, 0.5])
    assert Occupied.of(log[::-1][:1]).company.tolist() == [0]


def load(log, due_s, refused=()):
    """What the generator saw of a server with this log; nothing else of it matters here."""
    off, nothing = np.isin(np.arange(len(due_s)), refused), np.zeros(len(due_s))
    return Load(1.0, nothing, np.zeros((len(due_s), 2)), off, off & False, 1.0, nothing, nothing, np.array(due_s), log)


def test_a_model_learns_lags_and_wakes_of_loads_and_batches_of_floods_too():
    log = [
        Batch(0, 10, (1.0,), 1.25, 1.5),
        Batch(0, 30, (4.0, 3.5), 4.25, 5.0),  # the younger one first: sent in order all the same
        Batch(0, 20, (8.0,), 8.5, 9.0),
    ]
    flood = [Batch(0, 40, (0.0, 0.0, 0.0), 0.5, 1.5)]
    due_s = [0.5, 3.25, 3.75, 3.8, 7.0]
    model = ServerModel.of_loads([load(log, due_s, refused=[3])], 1, [load(flood, [0.0] * 3)])
    assert model.lags_s.tolist() == [0.5, 0.25, 0.25, 1.0]
    assert model.wakes_s.tolist() == [0.25, 0.75, 0.5]  # of the poisson load alone
    assert len(model.service.ratios) == 4 and model.instances == 1


def test_lag_and_wake_are_in_the_latency_of_who_does_not_wait():
    due_s = np.arange(5) * 10.0
    model = server(CONSTANT, lags_s=np.array([0.25]), wakes_s=np.array([0.5]))
    served = model.replay(due_s, np.full(5, 9), scheduling.one_by_one, None, np.random.default_rng(0))
    np.testing.assert_allclose(served.latency_ms, 250 + 500 + 10)


def test_who_waits_anyway_waits_no_longer_for_a_lag():
    """All at once: the first wakes the instance up, the others are served when it is free, lag or no lag."""
    model = server(CONSTANT, lags_s=np.array([0.001]), wakes_s=np.array([0.002]))
    served = model.replay(np.zeros(4), np.full(4, 9), scheduling.one_by_one, None, np.random.default_rng(0))
    np.testing.assert_allclose(served.latency_ms, [13, 23, 33, 43])


def test_a_late_sender_holds_up_those_behind():
    """Lags of 0 or 1 s for requests 1 ms apart: nobody overtakes."""
    model = server(ServiceTimes(1e-6, 0.0, 0.0, np.ones(1)), 9, lags_s=np.array([0.0, 1.0]))
    due_s = np.arange(50) * 1e-3
    served = model.replay(due_s, np.full(50, 9), scheduling.one_by_one, None, np.random.default_rng(1))
    answered_s = due_s + served.latency_ms / 1e3
    assert (np.diff(answered_s) > -1e-5).all() and answered_s.max() > 1


def test_company_slows_simulated_batches_down():
    service = ServiceTimes(1.0, 0.0, 0.0, np.ones(1), beside_s=(0.5, 0.0, 0.0))
    served = server(service, 2).replay(
        np.array([0.0, 0.25, 9.0]), np.full(3, 9), scheduling.one_by_one, None, np.random.default_rng(0)
    )
    np.testing.assert_allclose(served.latency_ms, [1000, 1500, 1000])


def server(service, instances=1, lags_s=NONE, wakes_s=NONE):
    return ServerModel(service, instances, lags_s, wakes_s)


@pytest.mark.parametrize(
    ("service", "instances", "wait"),
    [
        (CONSTANT, 1, 0.5),  # Pollaczek and Khinchine: half of what exponential times make
        (EXPONENTIAL, 1, 1.0),
        (EXPONENTIAL, 2, 1 / 3),  # Erlang C
    ],
)
def test_simulated_waits_are_those_of_theory(service, instances, wait):
    """At half of capacity, in units of one service; within 3 standard errors or more."""
    load = server(service, instances).poisson(50 * instances, 20_000, LENGTHS)
    assert load.latency_ms.mean() / 10 - 1 == pytest.approx(wait, abs=0.15)
    assert load.utilisation == pytest.approx(0.5, rel=0.05)
    assert len(load.answers) == 20_000


def test_everybody_is_answered_or_refused():
    policy = scheduling.adaptive(256)
    load = server(SERVICE, 2).poisson(1000, 5000, LENGTHS, policy, queue_limit=20)
    assert load.refused > 0
    assert load.batch_sizes.sum() == len(load.answers) == 5000 - load.refused


def test_a_request_alone_takes_as_long_as_its_length():
    load = server(SERVICE).poisson(1e-3, 200, LENGTHS)
    alone_ms = sorted(SERVICE.seconds(1, length) * 1e3 for length in LENGTHS)
    np.testing.assert_allclose(np.unique(load.latency_ms.round(4)), alone_ms, atol=1e-4)


def test_a_batch_takes_as_long_as_its_padded_shape():
    def all_at_once(queue, now_s):
        return list(range(200)) if len(queue.waiting) == 200 else scheduling.WaitUntil(math.inf)

    service = ServiceTimes(CALL_S, TOKEN_S, PAIR_S, np.array([2.0]))
    load = server(service).poisson(1000, 200, LENGTHS, all_at_once)
    assert load.busy_s.sum() == pytest.approx(2 * service.seconds(200, 100))


def test_the_seed_decides():
    first, same, other = (server(EXPONENTIAL).poisson(60, 500, LENGTHS, queue_limit=9, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.latency_ms, same.latency_ms)
    assert (first.latency_ms != other.latency_ms).any()


def test_less_traffic_makes_nobody_wait_longer():
    """The same requests farther apart: one by one, each of them is served no later."""
    latency_ms = [server(EXPONENTIAL).poisson(rate, 3000, LENGTHS).latency_ms for rate in (95, 80, 40, 1e-3)]
    for dense, thin in zip(latency_ms, latency_ms[1:], strict=False):
        assert (thin <= dense + 1e-3).all()
    assert latency_ms[-1].mean() == pytest.approx(10, rel=0.1)  # hardly anybody waits


@pytest.mark.parametrize("changed", [{"rate_per_s": 0}, {"rate_per_s": math.nan}, {"count": 0}, {"lengths": []}])
def test_a_simulation_of_nothing(changed):
    with pytest.raises(InputError, match="more than 0 of each"):
        server(CONSTANT).poisson(**{"rate_per_s": 1.0, "count": 10, "lengths": LENGTHS, **changed})


def test_the_summary_of_a_simulation():
    load = server(CONSTANT).poisson(500.0, 2000, LENGTHS, queue_limit=5)
    row, answered = load.summary(500.0), load.latency_ms[~np.isnan(load.latency_ms)]
    assert row["offered_per_s"] == 500.0 and row["p95_ms"] == pytest.approx(np.percentile(answered, 95))
    assert row["refused_share"] == pytest.approx(1 - len(answered) / 2000) and 0.7 < row["refused_share"] < 0.9
    assert row["answered_per_s"] == pytest.approx(100, rel=0.05)
