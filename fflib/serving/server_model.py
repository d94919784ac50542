"""A server as its own log tells it: fitted to batches under load, then run on other requests.

What a batch takes when it is timed by itself is not what it takes in a server: who sends, who queues and who computes
share the cores. So everything here comes from `Server.log` at loads of its own: how long an instance is occupied by a
batch, its answers and the way back to the queue; how long a request is under way to the queue; and how long an instance
that sleeps needs to take it. Simulated are the same requests at the same times as those measured, so chance in the
arrivals is in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fflib.files import InputError
from fflib.serving import queue_sim, scheduling
from fflib.serving.loadgen import Load
from fflib.serving.queue_sim import ServedLoad
from fflib.serving.scheduling import Policy
from fflib.serving.server import Batch
from fflib.serving.service_times import ServiceTimes


@dataclass(frozen=True, eq=False)
class Occupied:
    """What a log says of its batches, arrays [batches].

    ``seconds`` is how long the instance was occupied: from when it took the batch, or, where it came back to a queue
    that waited, from the end of its last one; ``company`` how many other instances were occupied when that began;
    ``wake_s`` how long the oldest request lay before an instance that slept; NaN where none slept.
    """

    rows: np.ndarray
    length: np.ndarray
    seconds: np.ndarray
    company: np.ndarray
    wake_s: np.ndarray

    @classmethod
    def of(cls, log: Sequence[Batch]) -> Occupied:
        """Read a log."""
        instance, length, taken, done = (
            np.array([getattr(batch, name) for batch in log]) for name in ("instance", "length", "taken_s", "done_s")
        )
        first = np.array([min(batch.queued_s) for batch in log])
        began, slept = taken.copy(), np.ones(len(log), bool)
        of_instance = {one: np.flatnonzero(instance == one) for one in np.unique(instance)}  # in order of time
        for own in of_instance.values():
            last_done = np.concatenate([[-np.inf], done[own][:-1]])
            slept[own] = first[own] > last_done
            # No instance takes a batch before its last one is done, but loads that were joined may overlap.
            began[own] = np.where(slept[own] | (last_done > taken[own]), taken[own], last_done)
        company = np.zeros(len(log), int)
        for one, own in of_instance.items():
            before = np.searchsorted(began[own], began, side="right") - 1
            occupied = (before >= 0) & (began < done[own][before])
            company += occupied & (instance != one)
        rows = np.array([len(batch.queued_s) for batch in log])
        return cls(rows, length, done - began, company, np.where(slept, taken - first, np.nan))


@dataclass(frozen=True, eq=False)
class ServerModel:
    """A server with ``instances``: its `ServiceTimes`, and what a request meets outside of its batch, in s.

    ``lags_s`` [n] are from when a request was due until it was queued, ``wakes_s`` [m] from then until an instance that
    slept took it. One of each is drawn for every simulated request; empty arrays: none.
    """

    service: ServiceTimes
    instances: int
    lags_s: np.ndarray
    wakes_s: np.ndarray

    @classmethod
    def of_loads(cls, loads: Sequence[Load], instances: int, floods: Sequence[Load] = ()) -> ServerModel:
        """Fit to Poisson ``loads`` on a server with ``instances``: others than those the model shall be checked at.

        The batches of ``floods`` count too, offline loads under any policy, so that every shape of batch is known.
        """
        logs = [Occupied.of(load.log) for load in (*loads, *floods)]
        rows, length, seconds, company = (
            np.concatenate([getattr(log, name) for log in logs]) for name in ("rows", "length", "seconds", "company")
        )
        service = ServiceTimes.fit(rows, length, seconds, company / max(1, instances - 1))
        lags_s = np.concatenate([_lags_s(load) for load in loads])
        wakes_s = np.concatenate([log.wake_s for log in logs[: len(loads)]])
        return cls(service, instances, lags_s, wakes_s[~np.isnan(wakes_s)])

    def replay(
        self,
        due_s: np.ndarray,
        tokens: np.ndarray,
        policy: Policy | Sequence[Policy],
        queue_limit: int | None,
        rng: np.random.Generator,
    ) -> ServedLoad:
        """Simulate requests of ``tokens`` [n] that are due at ``due_s`` [n], ascending; latencies count from then."""

        def drawn(values: np.ndarray) -> np.ndarray:
            return rng.choice(values, len(due_s)) if len(values) else np.zeros(len(due_s))

        def serve(indices: list[int], company: int) -> tuple[list[int], float]:
            part = company / max(1, self.instances - 1)
            return indices, self.service.draw(len(indices), int(tokens[indices].max()), rng, part)

        # One sender sends them all: who is due while it is late is late too.
        queued_s = np.maximum.accumulate(due_s + drawn(self.lags_s))
        wakes_s = drawn(self.wakes_s)
        load = queue_sim.replay(queued_s, tokens, policy, serve, self.instances, queue_limit, wakes_s)
        return replace(load, latency_ms=load.latency_ms + (queued_s - due_s) * 1e3)

    def poisson(
        self,
        rate_per_s: float,
        count: int,
        lengths: np.ndarray,
        policy: Policy | Sequence[Policy] = scheduling.one_by_one,
        queue_limit: int | None = None,
        seed: int = 0,
    ) -> ServedLoad:
        """Simulate ``count`` requests that come as a Poisson stream.

        Args:
            rate_per_s: arrivals per second.
            count: how many.
            lengths: tokens of real requests, from which the simulated ones are drawn, [m].
            policy: as in `queue_sim.replay`; an answer is the index of its request.
            queue_limit: as in `queue_sim.replay`.
            seed: with the same one two rates see the same requests, nearer or farther apart.
        """
        if not 0 < rate_per_s < math.inf or count < 1 or not len(lengths):
            raise InputError(
                f"rate {rate_per_s} per s, {count} requests, {len(lengths)} lengths; give more than 0 of each"
            )
        rng = np.random.default_rng(seed)
        due_s, tokens = queue_sim.poisson_arrivals(rate_per_s, count, rng), rng.choice(lengths, count)
        return self.replay(due_s, tokens, policy, queue_limit, rng)


def _lags_s(load: Load) -> np.ndarray:
    """Return how long after it was due each request was queued, [queued]; one sender, so they are queued in order."""
    queued_s = np.sort(np.concatenate([batch.queued_s for batch in load.log]))
    return queued_s - load.due_s[~load.refused]
