"""How many machines a given traffic needs, by simulated load on one of them.

A simulation takes seconds where a load test takes hours, and the answer is only as good as the simulated server: see
`simulation_check`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fflib.files import InputError
from fflib.serving.queue_sim import ServedLoad

SECONDS_PER_DAY = 86_400
LIGHT_PER_S = 1e-3  # even where a request takes a second, at most one in a thousand finds the machine busy
SPANS = 100  # times the bound that a simulation must last


@dataclass(frozen=True)
class Fleet:
    """The smallest fleet that holds a bound, and what each of its machines sees at the peak."""

    machines: int
    rate_per_machine_per_s: float
    p99_ms: float
    utilisation: float


def machines_needed(
    requests_per_day: float, peak_factor: float, p99_ms: float, simulate_one: Callable[[float], ServedLoad]
) -> Fleet:
    """Find the fewest machines that answer the peak with a 99th percentile of at most ``p99_ms`` and refuse nobody.

    A balancer that picks one of M machines at random splits a Poisson stream into M independent ones of 1/M of its rate
    (Kingman, Poisson Processes, 1993, the colouring theorem), so one machine at that rate stands for all.

    Args:
        requests_per_day: the mean traffic; at the peak it is ``peak_factor`` times as dense.
        simulate_one: the load on one machine at a rate per s, such as `ServerModel.poisson` with everything else given.

    Raises:
        InputError: no number of machines holds the bound, or the simulation is too short to tell.
    """
    if not 0 < requests_per_day < math.inf or not 1 <= peak_factor < math.inf or not 0 < p99_ms < math.inf:
        raise InputError(
            f"{requests_per_day} requests a day, peak {peak_factor}, bound {p99_ms} ms; give more than 0, a peak from 1"
        )
    peak_per_s = requests_per_day / SECONDS_PER_DAY * peak_factor
    low, high = 0, math.ceil(peak_per_s / LIGHT_PER_S)
    best = simulate_one(peak_per_s / high)
    if (alone_ms := _p99_ms(best)) > p99_ms:
        raise InputError(
            f"even at light load p99 is {alone_ms:.4g} ms, {alone_ms - p99_ms:.3g} ms too long; serve faster"
        )
    while high - low > 1:  # ``high`` machines hold the bound, ``low`` do not
        middle = max(low + 1, math.isqrt(low * high))  # halves the ratio, not the difference: high starts far off
        load = simulate_one(peak_per_s / middle)
        if _p99_ms(load) <= p99_ms:
            high, best = middle, load
        else:
            low = middle
    if best.span_s * 1e3 < SPANS * p99_ms:  # so short that a queue which grows for ever may still be within the bound
        needed = math.ceil(SPANS * p99_ms / 1e3 * peak_per_s / high)
        raise InputError(
            f"the simulation of {len(best.latency_ms):,} requests is too short to tell; "
            f"set n_simulated to {needed:,} or more"
        )
    return Fleet(high, peak_per_s / high, _p99_ms(best), best.utilisation)


def lower_bound(requests_per_day: float, peak_factor: float, capacity_per_s: float) -> int:
    """Return the fewest machines of ``capacity_per_s`` each that can answer the peak at all, however long it takes."""
    return math.ceil(requests_per_day / SECONDS_PER_DAY * peak_factor / capacity_per_s)


def fleets(
    requests_per_day: float,
    peak_factor: float,
    p99_ms: float,
    usd_per_hour: float,
    machines: Mapping[str, Callable[[float], ServedLoad]],
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Find the smallest fleet for each way to serve, given as the load on one machine at a rate per s.

    The other arguments are those of `machines_needed`, and the price of one machine.

    Returns:
        Rows for `figures.fleet`, and by way why no number of machines holds the bound.
    """
    rows, impossible = [], {}
    for way, simulate_one in machines.items():
        try:
            needed = machines_needed(requests_per_day, peak_factor, p99_ms, simulate_one)
        except InputError as error:
            impossible[way] = str(error)
            continue
        rows.append(
            {
                "way": way,
                "machines": needed.machines,
                "p99_ms": needed.p99_ms,
                "rate_per_machine_per_s": needed.rate_per_machine_per_s,
                "busy": needed.utilisation,
                "usd_per_day": needed.machines * 24 * usd_per_hour,
            }
        )
    return rows, impossible


def _p99_ms(load: ServedLoad) -> float:
    """Take the 99th percentile; who is refused waits for ever, so one refusal is too many for any bound."""
    return math.inf if load.refused else float(np.percentile(load.latency_ms, 99))
