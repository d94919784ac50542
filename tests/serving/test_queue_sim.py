"""The queue's clock: against hand-made cases, loop references and the formulas of queueing theory."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from fflib.files import InputError
from fflib.serving import queue_sim, scheduling

LENGTHS = np.array([10, 10, 10, 30, 10])


def taking(seconds):
    """A service that answers a request with its index and takes as long as the largest of ``seconds`` [n] in it."""
    return lambda indices, company: (indices, float(np.max(np.asarray(seconds)[indices])))


def test_one_by_one_is_a_queue_that_adds_up():
    served = queue_sim.replay(np.array([0.0, 0.0, 1.0]), LENGTHS[:3], scheduling.one_by_one, taking([0.01, 0.02, 0.03]))
    np.testing.assert_allclose(served.latency_ms, [10, 30, 30])  # the second waited, at the third the queue was empty
    assert served.batch_sizes.tolist() == [1, 1, 1]
    assert served.span_s == pytest.approx(1.03)
    assert served.busy_s == pytest.approx([0.06])


def test_computing_is_measured_and_waiting_is_skipped():
    spans = []

    def run(indices):
        start = time.perf_counter()
        time.sleep(0.005)
        spans.append(time.perf_counter() - start)
        return np.array(indices)

    start = time.perf_counter()
    served = queue_sim.serve(np.array([0.0, 5000.0, 5000.0]), LENGTHS[:3], scheduling.one_by_one, run)
    wall_s = time.perf_counter() - start
    assert sum(spans) <= served.busy_s.sum() <= wall_s < 1000
    assert (served.latency_ms >= np.array([spans[0], spans[1], spans[1] + spans[2]]) * 1e3).all()
    assert served.latency_ms.sum() <= 2 * wall_s * 1e3
    assert served.span_s == pytest.approx(5000 + served.latency_ms[2] / 1e3)


def test_every_request_is_answered_once_and_by_its_own_answer():
    arrivals = queue_sim.poisson_arrivals(500, 200, np.random.default_rng(0))
    lengths = np.random.default_rng(1).integers(5, 60, 200)
    served = queue_sim.serve(arrivals, lengths, scheduling.adaptive(256, 0.002), lambda indices: np.array(indices))
    assert {index: int(answer) for index, answer in served.answers.items()} == {i: i for i in range(200)}
    assert served.batch_sizes.sum() == 200
    assert (served.latency_ms >= 0).all()


def test_adaptive_is_one_by_one_when_idle_and_batches_a_queue():
    idle = queue_sim.replay(np.array([0.0, 1.0, 2.0]), LENGTHS[:3], scheduling.adaptive(100, 0), taking(np.ones(3) / 2))
    assert idle.batch_sizes.tolist() == [1, 1, 1]
    queue = queue_sim.replay(np.zeros(3), LENGTHS[:3], scheduling.adaptive(100, 0), taking(np.ones(3)))
    assert queue.batch_sizes.tolist() == [3]


def test_the_budget_counts_the_padded_rectangle():
    served = queue_sim.replay(np.zeros(5), LENGTHS, scheduling.adaptive(60, 0), taking(np.ones(5)))
    assert served.batch_sizes.tolist() == [3, 2]  # a fourth of 30 tokens would make 4 x 30 > 60


def test_like_lengths_takes_the_oldest_and_its_neighbours_in_length():
    lengths = np.array([50, 10, 48, 12, 52, 11])
    served = queue_sim.serve(np.zeros(6), lengths, scheduling.like_lengths(160), lambda indices: np.array(indices))
    assert served.batch_sizes.tolist() == [3, 3]
    assert {index: int(answer) for index, answer in served.answers.items()} == {i: i for i in range(6)}


def test_an_odd_length_is_not_left_behind():
    """The long one is the second to arrive, and the server is never idle after it."""
    arrivals, lengths = np.array([0.0, *np.linspace(0.001, 0.05, 50)]), np.array([10, 500, *[10] * 49])
    served = queue_sim.replay(arrivals, lengths, scheduling.like_lengths(40), taking(np.full(51, 0.01)))
    assert served.latency_ms[1] == pytest.approx(19)  # the rest of the first one's 10 ms, and its own


def test_the_patient_batcher_waits_no_longer_than_its_limit():
    served = queue_sim.replay(np.array([0.0]), LENGTHS[:1], scheduling.adaptive(100, 0.05), taking([0.001]))
    assert served.latency_ms[0] == pytest.approx(51)
    company = queue_sim.replay(np.array([0.0, 0.02]), LENGTHS[:2], scheduling.adaptive(100, 0.05), taking([0.001] * 2))
    assert company.batch_sizes.tolist() == [2]
    np.testing.assert_allclose(company.latency_ms, [51, 31])


def test_a_full_batch_does_not_wait():
    served = queue_sim.replay(np.zeros(3), LENGTHS[:3], scheduling.adaptive(20, 10.0), taking(np.full(3, 0.001)))
    assert served.batch_sizes.tolist() == [2, 1]
    np.testing.assert_allclose(served.latency_ms, [1, 1, 10_001])


def test_poisson_arrivals_have_the_rate_and_the_spread():
    gaps = np.diff(queue_sim.poisson_arrivals(50, 20_000, np.random.default_rng(0)))
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)  # exponential gaps: standard deviation = mean


# Several instances, a bounded queue, and the formulas


def random_load(seed, count=20_000, rate_per_s=1.0):
    rng = np.random.default_rng(seed)
    return queue_sim.poisson_arrivals(rate_per_s, count, rng), rng.integers(5, 60, count), rng.exponential(1.0, count)


def first_come_first_served(arrivals_s, seconds, instances):
    """Latency in ms by Kiefer and Wolfowitz's recursion: each request goes to the server that is free first."""
    free_s, latency_ms = np.zeros(instances), []
    for arrived, service in zip(arrivals_s, seconds, strict=True):
        first = free_s.argmin()
        free_s[first] = max(free_s[first], arrived) + service
        latency_ms.append((free_s[first] - arrived) * 1e3)
    return latency_ms


@pytest.mark.parametrize("instances", [1, 2, 5])
def test_one_by_one_is_first_come_first_served(instances):
    arrivals, lengths, seconds = random_load(seed=instances, count=3000, rate_per_s=0.9 * instances)
    served = queue_sim.replay(arrivals, lengths, scheduling.one_by_one, taking(seconds), instances)
    np.testing.assert_allclose(served.latency_ms, first_come_first_served(arrivals, seconds, instances))
    assert served.busy_s.shape == (instances,)
    assert served.busy_s.sum() == pytest.approx(seconds.sum())
    assert served.span_s == pytest.approx((arrivals + served.latency_ms / 1e3).max() - arrivals[0])
    assert served.utilisation == pytest.approx(seconds.sum() / served.span_s / instances)
    assert served.answers == {i: i for i in range(3000)}


def waiting_s(served, seconds):
    return float((served.latency_ms / 1e3 - seconds).mean())


def erlang_c(instances, load):
    """The chance of having to wait in M/M/c, by Erlang's formula; ``load`` is offered work per instance."""
    offered = instances * load
    terms = [offered**k / math.factorial(k) for k in range(instances)]
    all_busy = offered**instances / math.factorial(instances) / (1 - load)
    return all_busy / (sum(terms) + all_busy)


@pytest.mark.parametrize("load", [0.5, 0.7])
@pytest.mark.parametrize("instances", [1, 2, 4])
def test_waits_in_an_m_m_c_queue_are_those_of_erlang(instances, load):
    """Services of 1 s on average: P(wait > t) = C exp(-c (1 - load) t), so mean and percentiles are known.

    Eight streams of 20,000: the tolerance is four standard errors of their mean, which the streams themselves tell, and
    which have to be small: a twentieth of each value, or 5 ms.
    """
    found = []
    for seed in range(8):
        arrivals, lengths, seconds = random_load(seed=[instances, seed], count=20_000, rate_per_s=load * instances)
        served = queue_sim.replay(arrivals, lengths, scheduling.one_by_one, taking(seconds), instances)
        waits_s = served.latency_ms / 1e3 - seconds
        found.append([waits_s.mean(), (waits_s > 1e-9).mean(), *np.percentile(waits_s, (90, 95, 99))])
    wait, rate = erlang_c(instances, load), instances * (1 - load)
    theory = [wait / rate, wait, *(max(0.0, math.log(wait / beyond) / rate) for beyond in (0.1, 0.05, 0.01))]
    error = np.std(found, axis=0, ddof=1) / math.sqrt(len(found))
    assert (error <= 0.05 * np.array(theory) + 0.005).all(), "the streams are long enough to tell"
    np.testing.assert_array_less(np.abs(np.mean(found, axis=0) - theory), 4 * error + 1e-9)


def test_erlangs_formula_by_hand():
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 0.5) == pytest.approx(1 / 3)  # 2 load² / (1 + load)


@pytest.mark.parametrize("load", [0.5, 0.7])
def test_waits_for_constant_services_are_those_of_pollaczek_and_khinchine(load):
    """M/D/1: half the mean wait of M/M/1, load / (2 (1 - load)), within four standard errors of eight streams."""
    found = []
    for seed in range(8):
        arrivals, lengths, _ = random_load(seed=[9, seed], count=20_000, rate_per_s=load)
        served = queue_sim.replay(arrivals, lengths, scheduling.one_by_one, taking(np.ones(20_000)))
        found.append(served.latency_ms.mean() / 1e3 - 1)
    error = np.std(found, ddof=1) / math.sqrt(len(found))
    theory = load / (1 - load) / 2
    assert error < 0.03 * theory
    assert np.mean(found) == pytest.approx(theory, abs=4 * error)


def test_a_sleeping_instance_takes_a_request_when_it_has_woken_up():
    """The first finds both asleep. The second comes to a busy server with one asleep; the third waits for its end."""
    arrivals, wakes = np.array([0.0, 0.5, 0.6]), np.array([0.1, 0.2, 0.3])
    served = queue_sim.replay(arrivals, np.full(3, 9), scheduling.one_by_one, taking(np.ones(3)), 2, wakes_s=wakes)
    np.testing.assert_allclose(served.latency_ms, [1100, 1200, 1500])  # begun at 0.1, 0.7, and 1.1
    assert served.busy_s.sum() == 3


def test_a_request_that_comes_while_an_instance_wakes_up_is_taken_with_the_first():
    arrivals, wakes = np.array([0.0, 0.05]), np.array([0.1, 0.1])
    served = queue_sim.replay(arrivals, np.full(2, 9), scheduling.adaptive(100), taking(np.ones(2)), wakes_s=wakes)
    assert served.batch_sizes.tolist() == [2]
    np.testing.assert_allclose(served.latency_ms, [1100, 1050])


def test_each_request_has_a_time_to_wake_up():
    with pytest.raises(InputError, match="2 wakes_s for 3 arrivals; give each request one"):
        queue_sim.replay(np.zeros(3), np.full(3, 9), scheduling.one_by_one, taking(np.ones(3)), wakes_s=np.ones(2))


def test_a_service_is_told_how_many_others_compute():
    told = []

    def service(indices, company):
        told.append(company)
        return indices, 1.0

    arrivals = np.array([0.0, 0.1, 0.2, 1.15, 9.0])
    queue_sim.replay(arrivals, np.full(5, 9), scheduling.one_by_one, service, instances=3)
    assert told == [0, 1, 2, 1, 0]


def test_a_bounded_queue_refuses_as_the_loss_formula_says():
    """M/M/1/K: of K + 1 states the last is the one in which a request is refused."""
    load, limit = 0.8, 3
    arrivals, lengths, seconds = random_load(seed=1, count=20_000, rate_per_s=load)
    served = queue_sim.replay(arrivals, lengths, scheduling.one_by_one, taking(seconds), queue_limit=limit)
    states = load ** np.arange(limit + 2)  # one more than the queue holds is being served
    assert served.refused / 20_000 == pytest.approx(states[-1] / states.sum(), rel=0.12)
    assert len(served.answers) + served.refused == 20_000
    assert served.throughput_per_s == pytest.approx(len(served.answers) / served.span_s)


def test_littles_law():
    """Requests left behind at the start of a service, as the policy sees them, are rate times mean wait."""
    load, behind = 0.7, []
    arrivals, lengths, seconds = random_load(seed=2, count=20_000, rate_per_s=load)

    def watching(queue, now_s):
        behind.append(len(queue.waiting) - 1)
        return [0]

    served = queue_sim.replay(arrivals, lengths, watching, taking(seconds))
    assert np.mean(behind) == pytest.approx(load * waiting_s(served, seconds), rel=0.05)


def test_a_bounded_queue_by_hand():
    arrivals = np.array([0.0, 0.1, 0.2, 0.3, 1.5])
    served = queue_sim.replay(arrivals, np.full(5, 9), scheduling.one_by_one, taking(np.ones(5)), queue_limit=1)
    np.testing.assert_allclose(served.latency_ms, [1000, 1900, math.nan, math.nan, 1500])
    assert served.refused == 2
    assert sorted(served.answers) == [0, 1, 4]
    assert (served.span_s, served.throughput_per_s, served.utilisation) == (3.0, 1.0, 1.0)


def test_two_instances_by_hand():
    arrivals, seconds = np.array([0.0, 0.0, 0.5, 0.6]), np.array([1.0, 3.0, 1.0, 1.0])
    served = queue_sim.replay(arrivals, np.full(4, 9), scheduling.one_by_one, taking(seconds), instances=2)
    np.testing.assert_allclose(served.latency_ms, [1000, 3000, 1500, 2400])
    assert served.busy_s.tolist() == [3.0, 3.0]


def test_measured_instances_share_the_queue_too():
    served = queue_sim.serve(np.zeros(4), LENGTHS[:4], scheduling.one_by_one, np.array, instances=2, queue_limit=3)
    assert served.refused == 1
    assert {index: int(answer) for index, answer in served.answers.items()} == {0: 0, 1: 1, 2: 2}
    assert served.busy_s.min() > 0


def test_a_patient_server_leaves_the_queue_to_one_that_has_waited():
    """The first batch is taken at the oldest's deadline, by one server; the other then sees the newcomer alone."""
    arrivals = np.array([0.0, 0.02, 0.06])
    served = queue_sim.replay(arrivals, LENGTHS[:3], scheduling.adaptive(100, 0.05), taking(np.ones(3)), instances=2)
    np.testing.assert_allclose(served.latency_ms, [1050, 1030, 1050])
    assert served.batch_sizes.tolist() == [2, 1]


def test_each_server_has_its_class_of_lengths():
    """Two instances that share a queue by length are two queues: each is as if the other did not exist."""
    arrivals, lengths, seconds = random_load(seed=3, count=2000)
    by_length = [scheduling.within(200, 0, 30), scheduling.within(200, 30, 10**9)]
    served = queue_sim.replay(arrivals, lengths, by_length, taking(seconds), instances=2)
    for server, mine in enumerate([lengths < 30, lengths >= 30]):
        alone = queue_sim.replay(arrivals[mine], lengths[mine], scheduling.adaptive(200), taking(seconds[mine]))
        np.testing.assert_allclose(served.latency_ms[mine], alone.latency_ms)
        assert served.busy_s[server] == pytest.approx(alone.busy_s[0])


def test_patience_bounds_the_wait_of_a_long_request():
    """One long request before a stream of short ones that keeps the server busy: 10 ms each, one every 9 ms."""
    count = 300
    arrivals = np.concatenate([[0.0, 0.0], 0.009 * np.arange(1, count - 1)])
    lengths = np.array([10, 500, *[10] * (count - 2)])
    seconds = np.full(count, 0.01)
    starved = queue_sim.replay(arrivals, lengths, scheduling.short_first(10, math.inf), taking(seconds))
    assert starved.latency_ms[1] == starved.latency_ms.max() == pytest.approx(10 * count)
    patient = queue_sim.replay(arrivals, lengths, scheduling.short_first(10, 0.1), taking(seconds))
    assert 100 <= patient.latency_ms[1] <= 120  # patience, then at most the rest of one service, and its own


def test_short_first_without_patience_is_like_lengths():
    arrivals, lengths, seconds = random_load(seed=4, count=1000, rate_per_s=3.0)
    first, second = (
        queue_sim.replay(arrivals, lengths, policy, taking(seconds))
        for policy in (scheduling.short_first(160, 0.0), scheduling.like_lengths(160))
    )
    assert (first.latency_ms == second.latency_ms).all()


def test_shortest_first_has_the_lower_mean_latency():
    arrivals, lengths, _ = random_load(seed=5, count=5000, rate_per_s=0.9)
    seconds = lengths / lengths.mean()
    in_order = queue_sim.replay(arrivals, lengths, scheduling.one_by_one, taking(seconds)).latency_ms
    short = queue_sim.replay(arrivals, lengths, scheduling.short_first(1, math.inf), taking(seconds)).latency_ms
    assert short.mean() < 0.95 * in_order.mean()
    assert short.max() > in_order.max()


def test_the_long_queue_keeps_its_lengths_in_step():
    arrivals, lengths, seconds = random_load(seed=6, count=2000, rate_per_s=4.0)
    policy, seen = scheduling.short_first(100, 50.0), []

    def watching(queue, now_s):
        plain = scheduling.Queue(queue.waiting, queue.lengths)
        assert queue.waiting_lengths().tolist() == plain.waiting_lengths().tolist()
        assert queue.waiting == sorted(queue.waiting)
        seen.append(len(queue.waiting))
        return policy(queue, now_s)

    served = queue_sim.replay(arrivals, lengths, watching, taking(seconds), instances=2, queue_limit=300)
    assert max(seen) == 300
    assert sorted(served.answers) == np.flatnonzero(~np.isnan(served.latency_ms)).tolist()


def test_requests_that_no_policy_takes():
    with pytest.raises(InputError, match="no policy takes a request of 30 tokens"):
        queue_sim.replay(np.zeros(5), LENGTHS, scheduling.within(100, 0, 20), taking(np.ones(5)))
    with pytest.raises(InputError, match="no policy takes a request of 10 tokens"):  # it waits for company for ever
        queue_sim.replay(np.zeros(2), LENGTHS[:2], scheduling.adaptive(100, math.inf), taking(np.ones(2)))


def test_waiting_for_ever_ends_with_the_next_arrival():
    def in_pairs(queue, now_s):
        return [1, 0] if len(queue.waiting) == 2 else scheduling.WaitUntil(math.inf)

    served = queue_sim.replay(np.array([0.0, 2.0]), LENGTHS[:2], in_pairs, taking(np.ones(2)))
    np.testing.assert_allclose(served.latency_ms, [3000, 1000])
    assert served.answers == {0: 0, 1: 1}


@pytest.mark.parametrize("until_s", [0.0, 0.5, math.nan])
def test_waiting_for_now_or_the_past_is_refused(until_s):
    with pytest.raises(InputError, match=f"waits until {until_s} s at 0.5 s"):
        queue_sim.replay(
            np.array([0.5]), LENGTHS[:1], lambda queue, now: scheduling.WaitUntil(until_s), taking(np.ones(1))
        )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"arrivals_s": np.zeros(0), "lengths": LENGTHS[:0]}, "0 arrivals"),
        ({"arrivals_s": np.zeros(4)}, "4 arrivals for 5 lengths"),
        ({"arrivals_s": np.array([0, 1, 2, 3, 2.9])}, "sort them"),
        ({"arrivals_s": np.array([0, 1, 2, 3, math.nan])}, "sort them"),
        ({"instances": 0}, "0 instances"),
        ({"instances": 3, "policy": [scheduling.one_by_one] * 2}, "2 policies for 3 instances"),
        ({"queue_limit": 0}, "queue_limit is 0"),
    ],
)
def test_bad_input(changed, message):
    given = {"arrivals_s": np.zeros(5), "lengths": LENGTHS, "policy": scheduling.one_by_one, "run": np.array}
    with pytest.raises(InputError, match=message):
        queue_sim.serve(**{**given, **changed})


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_a_run_raises_ends_the_test(error):
    def run(indices):
        raise error

    with pytest.raises(error):
        queue_sim.serve(np.zeros(2), LENGTHS[:2], scheduling.one_by_one, run)
