"""Requests that arrive one by one: a batcher in front of one server, or of several that share its queue.

The model really computes every batch and its time is measured; only the *waiting* is virtual. The clock of the queue is
moved on by arrivals and by service times, so an hour of light traffic costs no hour, and the result is what servers
with this batcher would have shown. Queueing theory calls this a trace-driven simulation. Service times may also be
given, which `fleet` does.
"""

from __future__ import annotations

import heapq
import math
import time
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fflib.files import InputError


@dataclass
class Queue:
    """Requests that wait: (index of the request, arrival time in s), oldest first; and lengths in tokens by index."""

    waiting: list[tuple[int, float]]
    lengths: Sequence[int] | Mapping[int, int] | np.ndarray

    def length(self, position: int) -> int:
        """Tokens of the request at ``position``; 0 is the oldest."""
        return int(self.lengths[self.waiting[position][0]])

    def fitting(self, positions: Iterable[int], max_tokens: int) -> list[int]:
        """Take from ``positions``, in their order, while the padded rectangle holds ``max_tokens`` (at least one)."""
        taken: list[int] = []
        longest = 0
        for position in positions:
            longest = max(longest, self.length(position))
            if taken and longest * (len(taken) + 1) > max_tokens:
                break
            taken.append(position)
        return taken

    def waiting_lengths(self) -> np.ndarray:
        """Tokens of every request that waits, [waiting]."""
        return np.array([self.lengths[index] for index, _ in self.waiting], np.int64)

    def nearest(self, length: int) -> Iterable[int]:
        """All positions, those nearest to ``length`` first, the older one of two that are equally near."""
        return map(int, np.argsort(np.abs(self.waiting_lengths() - length), kind="stable"))


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


@dataclass(frozen=True)
class WaitUntil:
    """A policy's decision to leave its server idle until ``time_s`` on the queue's clock, or the next arrival."""

    time_s: float


# What a free server does: take these positions of the queue now, none of them before the next arrival ([]), or wait.
Policy = Callable[[Queue, float], list[int] | WaitUntil]
# Serves the requests with these indices as one batch: their answers, and the seconds it took.
Service = Callable[[list[int]], tuple[Sequence[Any], float]]


@dataclass(frozen=True)
class ServedLoad:
    """What one load test saw.

    Latencies [n] are in ms, waiting included, NaN where a request was refused; ``span_s`` is from the first arrival to
    the last answer, ``busy_s`` [servers] the time each server computed, ``answers`` by the index of the request.
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

    @property
    def utilisation(self) -> float:
        """Part of the span in which a server computed, the mean of all servers."""
        return float(self.busy_s.mean()) / self.span_s


def poisson_arrivals(rate_per_s: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``count`` arrival times in s with independent exponential gaps of mean ``1 / rate_per_s``."""
    return np.cumsum(rng.exponential(1 / rate_per_s, count))


def one_by_one(queue: Queue, now_s: float) -> list[int]:
    """The policy of no batching: the oldest request, at once."""
    return [0]


def adaptive(max_tokens: int, max_wait_s: float = 0.0) -> Policy:
    """Make the policy that takes the oldest requests, up to a token budget, or waits up to ``max_wait_s`` for more.

    With ``max_wait_s=0`` it never holds a request back while the model is idle: batches form only out of a queue that
    is there anyway, so light traffic runs at batch 1 and heavy traffic at the budget.
    """

    def decide(queue: Queue, now_s: float) -> list[int] | WaitUntil:
        taken = queue.fitting(range(len(queue.waiting)), max_tokens)
        deadline = queue.waiting[0][1] + max_wait_s
        full = len(taken) < len(queue.waiting)
        return taken if full or now_s >= deadline else WaitUntil(deadline)

    return decide


def like_lengths(max_tokens: int) -> Policy:
    """Make the policy that takes the oldest request and those nearest to it in length, up to a token budget.

    The oldest always goes, so no odd length waits for ever; its company costs little padding.
    """

    def decide(queue: Queue, now_s: float) -> list[int]:
        return queue.fitting(queue.nearest(queue.length(0)), max_tokens)

    return decide


def short_first(max_tokens: int, patience_s: float) -> Policy:
    """Make the policy that takes the shortest request and those nearest to it in length, up to a token budget.

    Shortest job first has the lowest mean latency of all orders, but lets the long ones starve under load: whenever
    the oldest has waited ``patience_s``, it goes first instead, with those nearest to it.
    """

    def decide(queue: Queue, now_s: float) -> list[int]:
        overdue = now_s - queue.waiting[0][1] >= patience_s
        length = queue.length(0) if overdue else int(queue.waiting_lengths().min())
        return queue.fitting(queue.nearest(length), max_tokens)

    return decide


def within(max_tokens: int, low: int, high: int) -> Policy:
    """Make the policy of a server for one class of lengths: the oldest of ``low`` to ``high - 1`` tokens, at once.

    Takes up to a token budget, and leaves all others to another server, whose policy must take them.
    """
    if low >= high:
        raise InputError(f"no length is in [{low}, {high}); give a low that is below high")

    def decide(queue: Queue, now_s: float) -> list[int]:
        lengths = queue.waiting_lengths()
        return queue.fitting(np.flatnonzero((low <= lengths) & (lengths < high)).tolist(), max_tokens)

    return decide


def serve(
    arrivals_s: np.ndarray,
    lengths: np.ndarray,
    policy: Policy | Sequence[Policy],
    run: Callable[[list[int]], Sequence[Any]],
    servers: int = 1,
    queue_limit: int | None = None,
) -> ServedLoad:
    """Serve requests on a model whose time is measured, and return every latency.

    ``run`` computes the answers [batch, ...] of the requests with the given indices. Several servers are measured one
    at a time, as if none slowed another down. Everything else is as in `replay`.
    """

    def service(indices: list[int]) -> tuple[Sequence[Any], float]:
        start = time.perf_counter()
        results = run(indices)
        return results, time.perf_counter() - start

    return replay(arrivals_s, lengths, policy, service, servers, queue_limit)


def replay(
    arrivals_s: np.ndarray,
    lengths: np.ndarray,
    policy: Policy | Sequence[Policy],
    service: Service,
    servers: int = 1,
    queue_limit: int | None = None,
) -> ServedLoad:
    """Move the queue's clock through requests ``0..n-1`` and return every latency.

    Args:
        arrivals_s: arrival times in s, ascending, [n].
        lengths: tokens of each request, [n].
        policy: called with the queue and the time when a server is free and requests wait, see `Policy`. One for
            all servers, or a sequence with one for each.
        service: serves a batch and says how long that took.
        servers: how many share the queue; the first to be free acts first.
        queue_limit: how many may wait; who finds the queue full is refused. None: all may.

    Raises:
        InputError: bad arguments, a policy that waits for a time that has passed, or requests that no policy takes.
    """
    policies = [policy] * servers if callable(policy) else list(policy)
    _check(arrivals_s, lengths, policies, servers, queue_limit)
    arrivals = [*np.asarray(arrivals_s, float).tolist(), math.inf]  # the last one never comes
    queue, pending, end_s = _LongQueue(np.asarray(lengths).tolist()), 0, arrivals[0]
    latency_ms, busy_s = np.full(len(arrivals_s), np.nan), np.zeros(servers)
    sizes: list[int] = []
    answers: dict[int, Any] = {}
    acting = [(arrivals[0], server) for server in range(servers)]  # a heap: when each server looks at the queue next
    while acting:
        now, server = heapq.heappop(acting)
        while arrivals[pending] <= now:
            if queue_limit is None or len(queue.waiting) < queue_limit:
                queue.add(pending, arrivals[pending])
            pending += 1
        decision = policies[server](queue, now) if queue.waiting else []
        if isinstance(decision, WaitUntil):
            if not decision.time_s > now:
                raise InputError(f"a policy waits until {decision.time_s} s at {now} s; let it take a request instead")
            acts_s = min(decision.time_s, arrivals[pending])
        elif decision:
            taken = queue.take(decision)
            results, seconds = service([index for index, _ in taken])
            acts_s = now + seconds
            for (index, arrived), result in zip(taken, results, strict=True):
                latency_ms[index], answers[index] = (acts_s - arrived) * 1e3, result
            sizes.append(len(taken))
            busy_s[server] += seconds
            end_s = max(end_s, acts_s)
        else:
            acts_s = arrivals[pending]
        if acts_s < math.inf:
            heapq.heappush(acting, (acts_s, server))
    if queue.waiting:
        raise InputError(f"no policy takes a request of {queue.length(0)} tokens; give a server one that does")
    return ServedLoad(latency_ms, np.array(sizes), end_s - arrivals[0], busy_s, answers)


def _check(
    arrivals_s: np.ndarray, lengths: np.ndarray, policies: list[Policy], servers: int, queue_limit: int | None
) -> None:
    if not len(arrivals_s) or len(arrivals_s) != len(lengths):
        raise InputError(f"{len(arrivals_s)} arrivals for {len(lengths)} lengths; give as many, and at least one")
    if not np.isfinite(arrivals_s).all() or (np.diff(arrivals_s) < 0).any():
        raise InputError("arrival times go back or are not finite; sort them")
    if servers < 1 or len(policies) != servers:
        raise InputError(f"{len(policies)} policies for {servers} servers; give a server or more, and one policy each")
    if queue_limit is not None and queue_limit < 1:
        raise InputError(f"queue_limit is {queue_limit}, so all are refused; give at least 1, or None")
