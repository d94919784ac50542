"""The simulation's own check: a made-up server is foretold from its log, and not from batches timed by themselves."""

from __future__ import annotations

import math

import made_up_server
import numpy as np
import pytest

from fflib.files import InputError
from fflib.serving import scheduling, simulation_check
from fflib.serving.server_model import Occupied, ServerModel
from fflib.serving.service_times import ServiceTimes

LENGTHS = np.random.default_rng(0).lognormal(4.8, 0.5, 400).clip(10, 512).astype(int)  # some long ones, as texts have
LIMIT, COUNT = 64, 3000
POLICIES = {
    "one by one": scheduling.one_by_one,
    "adaptive": scheduling.adaptive(1024),
    "like lengths": scheduling.like_lengths(1024, 0.1),
}


def load_of(rate_per_s, policy, seed):
    order = np.random.default_rng([seed, 1]).integers(len(LENGTHS), size=COUNT)
    return made_up_server.serve(LENGTHS, order, rate_per_s, policy, LIMIT, seed)


def timed_alone():
    """A model of batches that are timed by themselves: no neighbour, no server around them."""
    rng = np.random.default_rng(0)
    rows, lengths = rng.integers(1, 9, 300), rng.choice(LENGTHS, 300)
    seconds = np.array([made_up_server.batch_s(*shape) for shape in zip(rows, lengths, strict=True)])
    service = ServiceTimes.fit(rows, lengths, seconds * rng.lognormal(0.0, 0.1, 300))
    return ServerModel(service, 2, np.zeros(0), np.zeros(0))


@pytest.fixture(scope="module", params=POLICIES)
def served(request):
    """A policy, its capacity, and the models fitted at 0.3 and 0.85 of it and to batches timed alone."""
    policy = POLICIES[request.param]
    capacity_per_s = load_of(2000.0, policy, 1).throughput_per_s
    learned = [load_of(share * capacity_per_s, policy, 2 + i) for i, share in enumerate((0.3, 0.85))]
    return policy, capacity_per_s, ServerModel.of_loads(learned, 2)


@pytest.mark.parametrize("share", [0.5, 0.7])
def test_a_server_that_is_known_from_its_log_is_foretold(served, share):
    policy, capacity_per_s, model = served
    load = load_of(share * capacity_per_s, policy, 7)
    row = simulation_check.examine(model, load, LENGTHS, policy, LIMIT)
    assert simulation_check.holds([row]), row
    low, high = row["p95_interval_ms"]
    assert low < row["p95_ms"] < high < 2 * low
    assert row["simulated"]["p50_ms"] == pytest.approx(row["p50_ms"], rel=0.2)
    assert row["simulated"]["busy"] == pytest.approx(row["busy"], abs=0.05)


def test_one_that_is_known_from_batches_timed_alone_is_not(served):
    policy, capacity_per_s, _ = served
    row = simulation_check.examine(timed_alone(), load_of(0.7 * capacity_per_s, policy, 7), LENGTHS, policy, LIMIT)
    assert not simulation_check.holds([row])
    assert row["ratio"] < 0.6


def test_a_simulation_holds_only_where_it_was_checked_and_is_near():
    def rows(*ratios, valid=True):
        return [{"ratio": ratio, "valid": valid} for ratio in ratios]

    assert simulation_check.holds(rows(1.0, 1.24, 0.81))
    assert not simulation_check.holds(rows(1.0, 1.26)) and not simulation_check.holds(rows(0.79))
    assert not simulation_check.holds([]), "it was not checked"
    assert not simulation_check.holds(rows(1.0, valid=False)), "the generator was late"
    assert not simulation_check.holds(rows(math.nan))


def test_the_interval_of_a_percentile_covers_the_truth():
    """Latencies that hang together: in 100 loads the truth lies within the 95 % interval about as often as it says."""
    rng, length = np.random.default_rng(0), 2000
    covered = widths = single = 0
    for _ in range(100):
        noise, state = rng.normal(size=length), np.zeros(length)
        for i in range(1, length):
            state[i] = 0.8 * state[i - 1] + 0.6 * noise[i]  # of variance 1
        low, high = simulation_check.percentile_interval(state, resamples=200)
        covered += low <= 1.645 <= high
        widths += high - low
        alone = simulation_check.percentile_interval(rng.permutation(state), resamples=200)
        single += alone[1] - alone[0]
    assert 85 <= covered <= 99
    assert widths > 1.5 * single, "what hangs together tells less than as many that do not"


def test_an_interval_needs_requests_and_bears_refusals():
    with pytest.raises(InputError, match="39 requests are too few for an interval; send 40 at least"):
        simulation_check.percentile_interval(np.ones(39))
    latency_ms = np.where(np.arange(400) % 4, 5.0, np.nan)
    assert simulation_check.percentile_interval(latency_ms) == (5.0, 5.0)


@pytest.mark.parametrize("checked", [[], [0.3, 0.5], [0.4]])
def test_loads_to_learn_from_and_loads_to_check(checked):
    with pytest.raises(InputError, match=r"checked_loads .* are to be some of server_loads"):
        simulation_check.check_loads([0.3, 0.5], checked)
    simulation_check.check_loads([0.3, 0.5], [0.5])


def test_the_table_has_both_sides(served):
    policy, capacity_per_s, model = served
    load = load_of(0.5 * capacity_per_s, policy, 3)
    row = {"policy": "mine"} | simulation_check.examine(model, load, LENGTHS, policy, LIMIT)
    (shown,) = simulation_check.table([row])
    assert shown["policy"] == "mine" and shown["p95 ms"] == np.percentile(load.latency_ms, 95)
    assert shown["busy %"] == f"{100 * Occupied.of(load.log).seconds.sum() / 2 / load.span_s:.0f}"
    assert shown["simulated p95 ms"] / shown["p95 ms"] == pytest.approx(shown["ratio of p95"])
