"""Requests that arrive one by one: a batcher in front of one instance, or of several that share its queue.

The model really computes every batch and its time is measured; only the *waiting* is virtual. The clock of the queue is
moved on by arrivals and by service times, so an hour of light traffic costs no hour, and the result is what instances
with this batcher would have shown. Queueing theory calls this a trace-driven simulation. Service times may also be
given, which `server_model` does.
"""

from __future__ import annotations

import heapq
import math
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fflib.files import InputError
from fflib.serving.scheduling import Policy, Queue, WaitUntil

# Serves the requests with these indices as one batch, while so many other instances compute: their answers, and the
# seconds it took.
Service = Callable[[list[int], int], tuple[Sequence[Any], float]]


@dataclass(frozen=True)
class ServedLoad:
    """What one load test saw.

    Latencies [n] are in ms, waiting included, NaN where a request was refused; ``span_s`` is from the first arrival to
    the last answer, ``busy_s`` [instances] the time each instance computed, ``answers`` by the index of the request.
    """

    latency_ms: np.ndarray
    batch_sizes: np.ndarray
    span_s: float
    busy_s: np.ndarray
    answers: dict[int, Any]

    @property
    def refused(self) -> int:
        """Requests that found the queue full."""
        return int(np.isnan(self.latency_ms).sum())

    @property
    def throughput_per_s(self) -> float:
        """Answered requests per second of the queue's clock."""
        return (len(self.latency_ms) - self.refused) / self.span_s

    def summary(self, offered_per_s: float) -> dict[str, float]:
        """What figures show of a load, as `loadgen.Load.summary`."""
        p50, p95, p99 = (float(np.nanpercentile(self.latency_ms, q)) for q in (50, 95, 99))
        row = {"offered_per_s": offered_per_s, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}
        row["answered_per_s"] = self.throughput_per_s
        return row | {"refused_share": self.refused / len(self.latency_ms), "busy": self.utilisation}

    @property
    def utilisation(self) -> float:
        """Part of the span in which an instance computed, the mean of all instances."""
        return float(self.busy_s.mean()) / self.span_s


def poisson_arrivals(rate_per_s: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``count`` arrival times in s with independent exponential gaps of mean ``1 / rate_per_s``."""
    return np.cumsum(rng.exponential(1 / rate_per_s, count))


class _LongQueue(Queue):
    """A queue that may get very long: the lengths of those that wait are kept, not gathered for every decision."""

    def __init__(self, lengths: Sequence[int]) -> None:
        super().__init__([], lengths)
        self._tokens = array("q")

    def waiting_lengths(self) -> np.ndarray:
        return np.array(self._tokens)

    def add(self, index: int, arrived_s: float) -> None:
        self.waiting.append((index, arrived_s))
        self._tokens.append(self.lengths[index])

    def take(self, positions: list[int]) -> list[tuple[int, float]]:
        """Remove the requests at ``positions`` and return them in that order."""
        taken = [self.waiting[position] for position in positions]
        for position in sorted(set(positions), reverse=True):
            del self.waiting[position], self._tokens[position]
        return taken


def serve(
    arrivals_s: np.ndarray,
    lengths: np.ndarray,
    policy: Policy | Sequence[Policy],
    run: Callable[[list[int]], Sequence[Any]],
    instances: int = 1,
    queue_limit: int | None = None,
) -> ServedLoad:
    """Serve requests on a model whose time is measured, and return every latency.

    ``run`` computes the answers [batch, ...] of the requests with the given indices. Several instances are measured one
    at a time, as if none slowed another down. Everything else is as in `replay`.
    """

    def service(indices: list[int], company: int) -> tuple[Sequence[Any], float]:
        start = time.perf_counter()
        results = run(indices)
        return results, time.perf_counter() - start

    return replay(arrivals_s, lengths, policy, service, instances, queue_limit)


def replay(
    arrivals_s: np.ndarray,
    lengths: np.ndarray,
    policy: Policy | Sequence[Policy],
    service: Service,
    instances: int = 1,
    queue_limit: int | None = None,
    wakes_s: np.ndarray | None = None,
) -> ServedLoad:
    """Move the queue's clock through requests ``0..n-1`` and return every latency.

    Args:
        arrivals_s: arrival times in s, ascending, [n].
        lengths: tokens of each request, [n].
        policy: called with the queue and the time when an instance is free and requests wait, see `scheduling.Policy`.
            One for all instances, or a sequence with one for each.
        service: serves a batch and says how long that took.
        instances: how many share the queue; the first to be free acts first.
        queue_limit: how many may wait; who finds the queue full is refused. None: all may.
        wakes_s: how long after each request came an instance that sleeps takes it, [n]. None: at once.

    Raises:
        InputError: bad arguments, a policy that waits for a time that has passed, or requests that no policy takes.
    """
    if wakes_s is not None and len(wakes_s) != len(arrivals_s):
        raise InputError(f"{len(wakes_s)} wakes_s for {len(arrivals_s)} arrivals; give each request one")
    policies = [policy] * instances if callable(policy) else list(policy)
    _check(arrivals_s, lengths, policies, instances, queue_limit)
    arrivals = [*np.asarray(arrivals_s, float).tolist(), math.inf]  # the last one never comes
    wakes = [0.0] * len(arrivals) if wakes_s is None else [*np.asarray(wakes_s, float).tolist(), 0.0]
    queue, pending, end_s = _LongQueue(np.asarray(lengths).tolist()), 0, arrivals[0]
    latency_ms, busy_s, free_s = np.full(len(arrivals_s), np.nan), np.zeros(instances), [-math.inf] * instances
    sizes: list[int] = []
    answers: dict[int, Any] = {}
    acting = [
        (arrivals[0] + wakes[0], instance) for instance in range(instances)
    ]  # a heap: when each instance looks at the queue next
    while acting:
        now, instance = heapq.heappop(acting)
        while arrivals[pending] <= now:
            if queue_limit is None or len(queue.waiting) < queue_limit:
                queue.add(pending, arrivals[pending])
            pending += 1
        decision = policies[instance](queue, now) if queue.waiting else []
        if isinstance(decision, WaitUntil):
            if not decision.time_s > now:
                raise InputError(f"a policy waits until {decision.time_s} s at {now} s; let it take a request instead")
            acts_s = min(decision.time_s, arrivals[pending] + wakes[pending])
        elif decision:
            taken = queue.take(decision)
            company = sum(free > now for free in free_s)
            results, seconds = service([index for index, _ in taken], company)
            acts_s = free_s[instance] = now + seconds
            for (index, arrived), result in zip(taken, results, strict=True):
                latency_ms[index], answers[index] = (acts_s - arrived) * 1e3, result
            sizes.append(len(taken))
            busy_s[instance] += seconds
            end_s = max(end_s, acts_s)
        else:
            acts_s = arrivals[pending] + wakes[pending]
        if acts_s < math.inf:
            heapq.heappush(acting, (acts_s, instance))
    if queue.waiting:
        raise InputError(f"no policy takes a request of {queue.length(0)} tokens; give an instance one that does")
    return ServedLoad(latency_ms, np.array(sizes), end_s - arrivals[0], busy_s, answers)


def _check(
    arrivals_s: np.ndarray, lengths: np.ndarray, policies: list[Policy], instances: int, queue_limit: int | None
) -> None:
    if not len(arrivals_s) or len(arrivals_s) != len(lengths):
        raise InputError(f"{len(arrivals_s)} arrivals for {len(lengths)} lengths; give as many, and at least one")
    if not np.isfinite(arrivals_s).all() or (np.diff(arrivals_s) < 0).any():
        raise InputError("arrival times go back or are not finite; sort them")
    if instances < 1 or len(policies) != instances:
        raise InputError(
            f"{len(policies)} policies for {instances} instances; give an instance or more, and one policy each"
        )
    if queue_limit is not None and queue_limit < 1:
        raise InputError(f"queue_limit is {queue_limit}, so all are refused; give at least 1, or None")
