"""Does a simulated server do what the real one did? The same requests at the same times, percentile by percentile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fflib.files import InputError
from fflib.serving.loadgen import Load
from fflib.serving.scheduling import Policy
from fflib.serving.server_model import Occupied, ServerModel

WITHIN = 1.25  # a simulation claims to hit the measured 95th percentile within this factor
REPEATS = 10  # simulations of the same requests: only what batches take is drawn anew
BLOCKS = 40  # pieces of a load that a bootstrap draws from: in each, requests wait for one another


def check_loads(measured: Sequence[float], checked: Sequence[float]) -> None:
    """Refuse ``checked_loads`` that leave nothing to learn from, or nothing to check: by InputError."""
    if not checked or not set(checked) < set(measured):
        raise InputError(
            f"checked_loads {list(checked)} are to be some of server_loads {list(measured)}, but not all; change either"
        )


def percentile_interval(
    latency_ms: np.ndarray, q: float = 95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of percentile ``q`` of the latencies [n], in the order of their arrival.

    Neighbours in a queue wait together, so whole stretches are drawn (Künsch 1989, the moving block bootstrap), of
    n / `BLOCKS` requests. Latencies that are NaN belong to refused requests.
    """
    count = len(latency_ms)
    if count < BLOCKS:
        raise InputError(f"{count} requests are too few for an interval; send {BLOCKS} at least")
    rng, length = np.random.default_rng(seed), count // BLOCKS
    starts = rng.integers(0, count - length + 1, (resamples, BLOCKS))
    drawn = latency_ms[(starts[..., None] + np.arange(length)).reshape(resamples, -1)]
    low, high = np.percentile(np.nanpercentile(drawn, q, axis=1), (2.5, 97.5))
    return float(low), float(high)


def examine(
    server: ServerModel,
    load: Load,
    lengths: np.ndarray,
    policy: Policy | Sequence[Policy],
    queue_limit: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Simulate the requests of a measured load on ``server`` and set its percentiles beside the measured ones.

    ``lengths`` [examples] are in tokens; ``policy`` and ``queue_limit`` those of the measurement.

    Returns:
        The load's summary with ``p95_interval_ms`` and ``busy``, the part of the time that the instances were occupied;
        ``simulated``, the same of the simulations; and ``ratio``, the simulated 95th percentile over the measured one.
    """
    due_s, tokens = load.due_s - load.due_s[0], lengths[load.order]
    rngs = np.random.default_rng(seed).spawn(REPEATS)
    again = [server.replay(due_s, tokens, policy, queue_limit, rng).summary(load.offered_per_s) for rng in rngs]
    simulated = {name: float(np.mean([one[name] for one in again])) for name in again[0]}
    busy = Occupied.of(load.log).seconds.sum() / server.instances / load.span_s
    measured = load.summary | {"p95_interval_ms": percentile_interval(load.latency_ms), "busy": float(busy)}
    return measured | {"simulated": simulated, "ratio": simulated["p95_ms"] / load.percentile_ms(95)}


def holds(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether a simulation, by the rows of `examine`, does all that it claims: p95 `WITHIN` the measured one.

    A load whose generator was late examines nothing; without any row it was not examined, and does not hold.
    """
    return len(rows) > 0 and all(row["valid"] and 1 / WITHIN <= row["ratio"] <= WITHIN for row in rows)


def table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of `examine`, each with the name of its policy, as a table shows them; times in ms."""
    return [
        {
            "policy": row["policy"],
            "offered/s": f"{row['offered_per_s']:.0f}",
            "busy %": f"{100 * row['busy']:.0f}",
            "simulated busy %": f"{100 * row['simulated']['busy']:.0f}",
            "p50 ms": row["p50_ms"],
            "simulated p50 ms": row["simulated"]["p50_ms"],
            "p95 ms": row["p95_ms"],
            "p95: 95 % interval": "{:.3g} to {:.3g}".format(*row["p95_interval_ms"]),
            "simulated p95 ms": row["simulated"]["p95_ms"],
            "ratio of p95": row["ratio"],
        }
        for row in rows
    ]
