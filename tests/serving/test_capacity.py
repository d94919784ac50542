"""Fleets: sizes that queueing theory can check."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fflib.files import InputError
from fflib.serving import capacity, queue_sim
from fflib.serving.server_model import ServerModel
from fflib.serving.service_times import ServiceTimes

CONSTANT = ServiceTimes(0.01, 0.0, 0.0, np.ones(1))  # 10 ms, 100 per s
EXPONENTIAL = ServiceTimes(0.01, 0.0, 0.0, -np.log((np.arange(1000) + 0.5) / 1000))  # the same on average
LENGTHS = np.array([8, 20, 32, 100])
NONE = np.zeros(0)


def machine(service):
    return ServerModel(service, 1, NONE, NONE)


def test_each_way_has_its_fleet_or_a_reason():
    def one(service):
        return lambda rate: machine(service).poisson(rate, 20_000, LENGTHS)

    machines = {"fast": one(CONSTANT), "slow": one(ServiceTimes(10.0, 0.0, 0.0, np.ones(1)))}
    rows, impossible = capacity.fleets(86_400 * 500, 2.0, 100.0, 0.5, machines)
    (row,) = rows
    assert row["way"] == "fast" and row["usd_per_day"] == row["machines"] * 12
    assert row["p99_ms"] <= 100 and row["machines"] * row["rate_per_machine_per_s"] == pytest.approx(1000)
    assert list(impossible) == ["slow"] and "even at light load" in impossible["slow"]


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
    return machine(EXPONENTIAL).poisson(rate_per_s, 5000, LENGTHS, seed=3)


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
        return machine(CONSTANT).poisson(rate_per_s, 20, LENGTHS)

    with pytest.raises(InputError, match="of 20 requests is too short to tell; set n_simulated to 8,000"):
        capacity.machines_needed(400 * capacity.SECONDS_PER_DAY, 1.0, 200.0, short)


@pytest.mark.parametrize(
    ("day", "peak", "bound_ms"), [(0, 1, 9), (1e6, 0.5, 9), (math.inf, 1, 9), (1e6, 1, math.nan), (1e6, 1, -1)]
)
def test_traffic_that_is_none(day, peak, bound_ms):
    with pytest.raises(InputError, match="give more than 0"):
        capacity.machines_needed(day, peak, bound_ms, formula)


def test_no_fleet_is_smaller_than_what_can_answer_the_peak_at_all():
    assert capacity.lower_bound(86_400_000, 2, 500) == 4  # 2,000 a second at the peak
    assert capacity.lower_bound(86_400_000, 2, 501) == 4
    assert capacity.lower_bound(86_400_000, 2, 499) == 5
    assert capacity.lower_bound(10, 1, 500) == 1
