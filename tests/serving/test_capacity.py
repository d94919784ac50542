"""Fleets: fits that recover what was made up, simulations and sizes that queueing theory can check."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fflib.files import InputError
from fflib.serving import capacity, queue_sim, scheduling
from fflib.serving.capacity import ServiceTimes

CALL_S, TOKEN_S, PAIR_S = 2e-3, 5e-5, 4e-7
CONSTANT = ServiceTimes(0.01, 0.0, 0.0, np.ones(1))  # 10 ms, 100 per s
EXPONENTIAL = ServiceTimes(0.01, 0.0, 0.0, -np.log((np.arange(1000) + 0.5) / 1000))  # the same on average
LENGTHS = np.array([8, 20, 32, 100])


def made_up(seed, noise, count=60):
    """Batches of 1 to 32 texts of 8 to 128 tokens that take what the coefficients say, up to a relative noise."""
    rng = np.random.default_rng(seed)
    rows, lengths = rng.integers(1, 33, count), rng.integers(8, 129, count)
    seconds = CALL_S + rows * lengths * TOKEN_S + rows * lengths**2 * PAIR_S
    return rows, lengths, seconds * (1 + noise * rng.uniform(-1, 1, count))


def test_fit_recovers_the_coefficients():
    fitted = ServiceTimes.fit(*made_up(0, noise=0.0))
    np.testing.assert_allclose([fitted.call_s, fitted.token_s, fitted.pair_s], [CALL_S, TOKEN_S, PAIR_S], rtol=1e-6)
    assert fitted.ratios == pytest.approx(1)
    assert fitted.seconds(4, 10) == pytest.approx(CALL_S + 40 * TOKEN_S + 400 * PAIR_S)


@pytest.mark.parametrize("seed", range(3))
def test_fit_bears_noise_and_keeps_its_spread(seed):
    rows, lengths, seconds = made_up(seed, noise=0.1, count=200)
    fitted = ServiceTimes.fit(rows, lengths, seconds)
    for shape in ((1, 8), (1, 128), (32, 8), (32, 128)):
        truth = CALL_S + shape[0] * shape[1] * (TOKEN_S + shape[1] * PAIR_S)
        assert fitted.seconds(*shape) == pytest.approx(truth, rel=0.15)
    assert fitted.ratios.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.15)  # a uniform distribution's
    rng = np.random.default_rng(seed)
    drawn = np.array([fitted.draw(4, 64, rng) for _ in range(4000)]) / fitted.seconds(4, 64)
    assert set(drawn.round(9)) <= set(fitted.ratios.round(9))
    assert drawn.mean() == pytest.approx(fitted.ratios.mean(), rel=0.01)


def test_the_small_batches_count_as_much_as_the_large():
    """The large batches say, with one outlier, that there is no cost of a call; the small ones know better."""
    rows, lengths, seconds = made_up(1, noise=0.0)
    seconds[(rows * lengths).argmax()] *= 1.3
    fitted = ServiceTimes.fit(rows, lengths, seconds)
    assert fitted.call_s == pytest.approx(CALL_S, rel=0.1)
    assert fitted.ratios.max() == pytest.approx(1.3, rel=0.05)  # a slow batch is drawn as slow


def test_no_coefficient_is_negative():
    rows, lengths, _ = made_up(2, noise=0.0)
    fitted = ServiceTimes.fit(rows, lengths, 1e-3 + 1e-4 * np.sqrt(rows * lengths))  # would want pairs below 0
    assert min(fitted.call_s, fitted.token_s, fitted.pair_s) == 0
    assert fitted.call_s > 0


def test_the_fit_takes_the_batches_of_plans_by_their_medians():
    rows, lengths, seconds = made_up(0, noise=0.0, count=12)
    of_texts, plans = [], []
    for count, length in zip(rows, lengths, strict=True):
        plans.append(np.arange(len(of_texts), len(of_texts) + count))
        of_texts += [length] * count
    halves = (plans[:5], seconds[:5]), (plans[5:], seconds[5:])
    timed = [(plan, np.stack([9 * own, own, own / 9])) for plan, own in halves]
    fitted = ServiceTimes.of_batches(np.array(of_texts), timed)
    np.testing.assert_allclose([fitted.call_s, fitted.token_s, fitted.pair_s], [CALL_S, TOKEN_S, PAIR_S], rtol=1e-6)


def test_a_simulation_holds_only_where_it_was_checked_and_is_near():
    assert capacity.holds([1.0, 1.4, 0.7])
    assert not capacity.holds([1.0, 1.6]) and not capacity.holds([0.6]) and not capacity.holds([])


def test_each_way_has_its_fleet_or_a_reason():
    def one(service):
        return lambda rate: capacity.simulate(rate, 20_000, LENGTHS, service)

    machines = {"fast": one(CONSTANT), "slow": one(ServiceTimes(10.0, 0.0, 0.0, np.ones(1)))}
    rows, impossible = capacity.fleets(86_400 * 500, 2.0, 100.0, 0.5, machines)
    (row,) = rows
    assert row["way"] == "fast" and row["usd_per_day"] == row["machines"] * 12
    assert row["p99_ms"] <= 100 and row["machines"] * row["rate_per_machine_per_s"] == pytest.approx(1000)
    assert list(impossible) == ["slow"] and "even at light load" in impossible["slow"]


@pytest.mark.parametrize(
    ("rows", "lengths", "seconds", "message"),
    [
        ([1, 2], [8, 8, 9], [1, 1, 1], "2, 3 and 3 values"),
        ([1, 2, 3], [8, 9, 10], [1, 0, 1], "not all positive"),
        ([1, 2, 3], [8, 9, 10], [1, math.nan, 1], "not all positive"),
        ([1, 2, 4, 8], [16, 16, 16, 16], [1, 2, 3, 4], "too alike"),
        ([1, 2], [8, 9], [1, 2], "too alike"),
        ([], [], [], "too alike"),
    ],
)
def test_what_cannot_be_fitted(rows, lengths, seconds, message):
    with pytest.raises(InputError, match=message):
        ServiceTimes.fit(np.array(rows), np.array(lengths), np.array(seconds))


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
    load = capacity.simulate(50 * instances, 20_000, LENGTHS, service, instances)
    assert load.latency_ms.mean() / 10 - 1 == pytest.approx(wait, abs=0.15)
    assert load.utilisation == pytest.approx(0.5, rel=0.05)
    assert len(load.answers) == 20_000


def test_everybody_is_answered_or_refused():
    policy = scheduling.adaptive(256)
    load = capacity.simulate(1000, 5000, LENGTHS, ServiceTimes.fit(*made_up(3, noise=0.1)), 2, policy, queue_limit=20)
    assert load.refused > 0
    assert load.batch_sizes.sum() == len(load.answers) == 5000 - load.refused


def test_a_request_alone_takes_as_long_as_its_length():
    service = ServiceTimes(CALL_S, TOKEN_S, PAIR_S, np.ones(1))
    load = capacity.simulate(1e-3, 200, LENGTHS, service)
    alone_ms = sorted(service.seconds(1, length) * 1e3 for length in LENGTHS)
    np.testing.assert_allclose(np.unique(load.latency_ms.round(4)), alone_ms, atol=1e-4)


def test_a_batch_takes_as_long_as_its_padded_shape():
    def all_at_once(queue, now_s):
        return list(range(200)) if len(queue.waiting) == 200 else scheduling.WaitUntil(math.inf)

    service = ServiceTimes(CALL_S, TOKEN_S, PAIR_S, np.array([2.0]))
    load = capacity.simulate(1000, 200, LENGTHS, service, policy=all_at_once)
    assert load.busy_s.sum() == pytest.approx(2 * service.seconds(200, 100))


def test_the_seed_decides():
    first, same, other = (
        capacity.simulate(60, 500, LENGTHS, EXPONENTIAL, queue_limit=9, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.latency_ms, same.latency_ms)
    assert (first.latency_ms != other.latency_ms).any()


def test_less_traffic_makes_nobody_wait_longer():
    """The same requests farther apart: one by one, each of them is served no later."""
    latency_ms = [capacity.simulate(rate, 3000, LENGTHS, EXPONENTIAL).latency_ms for rate in (95, 80, 40, 1e-3)]
    for dense, thin in zip(latency_ms, latency_ms[1:], strict=False):
        assert (thin <= dense + 1e-3).all()
    assert latency_ms[-1].mean() == pytest.approx(10, rel=0.1)  # hardly anybody waits


@pytest.mark.parametrize("changed", [{"rate_per_s": 0}, {"rate_per_s": math.nan}, {"count": 0}, {"lengths": []}])
def test_a_simulation_of_nothing(changed):
    with pytest.raises(InputError, match="more than 0 of each"):
        capacity.simulate(**{"rate_per_s": 1.0, "count": 10, "lengths": LENGTHS, "service": CONSTANT, **changed})


def formula(rate_per_s, capacity_per_s=100.0, refused=False):
    """M/M/1 by its formula: latencies are exponential of rate capacity - rate; every one is the 99th percentile."""
    spare = capacity_per_s - rate_per_s
    p99_ms = math.log(100) / spare * 1e3 if spare > 0 else 1e9
    latency_ms = np.full(100, p99_ms)
    latency_ms[0] = math.nan if refused else p99_ms
    return queue_sim.ServedLoad(latency_ms, np.ones(100), 1e6, np.array([1e6 * rate_per_s / capacity_per_s]), {})


@pytest.mark.parametrize(("per_s", "bound_ms"), [(1000, 100), (1000, 47), (70, 200), (3e5, 60), (1e-4, 50), (53, 100)])
def test_the_fleet_is_the_smallest_that_holds_the_bound(per_s, bound_ms):
    found = capacity.machines_needed(per_s / 2 * capacity.SECONDS_PER_DAY, 2.0, bound_ms, formula)
    each = 100 - math.log(100) / (bound_ms / 1e3)  # what a machine may get, from the formula
    assert found.machines == math.ceil(per_s / each)
    assert found.rate_per_machine_per_s == pytest.approx(per_s / found.machines)
    assert found.p99_ms == pytest.approx(math.log(100) / (100 - found.rate_per_machine_per_s) * 1e3)
    assert found.utilisation == pytest.approx(found.rate_per_machine_per_s / 100)


def simulated(rate_per_s):
    return capacity.simulate(rate_per_s, 5000, LENGTHS, EXPONENTIAL, seed=3)


def test_a_simulated_fleet_is_near_the_formula_and_minimal():
    found = capacity.machines_needed(1000 * capacity.SECONDS_PER_DAY, 1.0, 100.0, simulated)
    assert found.machines == pytest.approx(1000 / (100 - math.log(100) / 0.1), rel=0.3)
    p99_ms = [np.percentile(simulated(1000 / (found.machines + more)).latency_ms, 99) for more in (-1, 0, 1, 5)]
    assert p99_ms[0] > 100 >= p99_ms[1] >= p99_ms[2] >= p99_ms[3]
    assert found.p99_ms == p99_ms[1]


def test_a_tighter_bound_and_more_traffic_need_no_fewer_machines():
    needed = [
        capacity.machines_needed(day * capacity.SECONDS_PER_DAY, 1.0, bound_ms, formula).machines
        for day, bound_ms in ((500, 200), (500, 100), (500, 60), (900, 60))
    ]
    assert needed == sorted(needed)
    assert needed[0] < needed[-1]


def test_the_search_is_exact_for_every_size():
    each = 100 - math.log(100) / 0.1
    for machines in range(1, 40):
        found = capacity.machines_needed((machines - 0.5) * each * capacity.SECONDS_PER_DAY, 1.0, 100.0, formula)
        assert found.machines == machines


def test_one_refusal_is_too_many():
    def refusing(rate_per_s):
        return formula(rate_per_s, refused=rate_per_s > 10)

    assert capacity.machines_needed(1000 * capacity.SECONDS_PER_DAY, 1.0, 200.0, refusing).machines == 100
    with pytest.raises(InputError, match="p99 is inf ms"):
        capacity.machines_needed(1e6, 1.0, 200.0, lambda rate_per_s: formula(rate_per_s, refused=True))


def test_a_bound_that_no_number_of_machines_holds():
    with pytest.raises(InputError, match=r"p99 is 46\.05 ms, 6\.05 ms too long"):
        capacity.machines_needed(1e6, 1.0, 40.0, formula)


def test_a_simulation_must_last_for_many_bounds():
    """20 requests of 10 ms at four times the capacity still are within 200 ms: no answer instead of a wrong one."""

    def short(rate_per_s):
        return capacity.simulate(rate_per_s, 20, LENGTHS, CONSTANT)

    with pytest.raises(InputError, match="of 20 requests is too short; simulate about 8000"):
        capacity.machines_needed(400 * capacity.SECONDS_PER_DAY, 1.0, 200.0, short)


@pytest.mark.parametrize(
    ("day", "peak", "bound_ms"), [(0, 1, 9), (1e6, 0.5, 9), (math.inf, 1, 9), (1e6, 1, math.nan), (1e6, 1, -1)]
)
def test_traffic_that_is_none(day, peak, bound_ms):
    with pytest.raises(InputError, match="give more than 0"):
        capacity.machines_needed(day, peak, bound_ms, formula)


def test_a_slower_machine_takes_longer_for_everything():
    service = ServiceTimes(CALL_S, TOKEN_S, PAIR_S, np.ones(3)).slowed(1.5)
    for rows, length in ((1, 1), (4, 100)):
        assert service.seconds(rows, length) == pytest.approx(
            1.5 * (CALL_S + rows * length * (TOKEN_S + length * PAIR_S))
        )
    assert service.ratios.tolist() == [1, 1, 1]


def test_the_summary_of_a_simulation():
    load = capacity.simulate(500.0, 2000, LENGTHS, CONSTANT, queue_limit=5)
    row, answered = load.summary(500.0), load.latency_ms[~np.isnan(load.latency_ms)]
    assert row["offered_per_s"] == 500.0 and row["p95_ms"] == pytest.approx(np.percentile(answered, 95))
    assert row["refused_share"] == pytest.approx(1 - len(answered) / 2000) and 0.7 < row["refused_share"] < 0.9
    assert row["answered_per_s"] == pytest.approx(100, rel=0.05)
