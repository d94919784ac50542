"""Requests that arrive one by one: an adaptive batcher in front of one model.

The model really computes every batch and its time is measured; only the *waiting* is virtual. The clock of the queue is
moved on by arrivals and by measured service times, so an hour of light traffic costs no hour, and the result is what a
single server with this batcher would have shown. Queueing theory calls this a trace-driven simulation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np


@dataclass
class Queue:
    """Requests that wait: (index of the request, arrival time in s), oldest first, and all lengths in tokens."""

    waiting: list[tuple[int, float]]
    lengths: np.ndarray

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


@dataclass(frozen=True)
class WaitUntil:
    """A policy's decision to leave the model idle until ``time_s`` on the queue's clock, or the next arrival."""

    time_s: float


Policy = Callable[[Queue, float], list[int] | WaitUntil]


@dataclass(frozen=True)
class ServedLoad:
    """What one load test saw: latency of each request [n] in ms (waiting included), batch sizes, and the span in s."""

    latency_ms: np.ndarray
    batch_sizes: np.ndarray
    span_s: float
    busy_s: float
    answers: dict[int, np.ndarray]

    @property
    def throughput_per_s(self) -> float:
        """Answered requests per second of the queue's clock."""
        return len(self.latency_ms) / self.span_s

    @property
    def utilisation(self) -> float:
        """Part of the span in which the model computed."""
        return self.busy_s / self.span_s


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
        positions = sorted(range(len(queue.waiting)), key=lambda i: (abs(queue.length(i) - queue.length(0)), i))
        return queue.fitting(positions, max_tokens)

    return decide


def serve(
    arrivals_s: np.ndarray, lengths: np.ndarray, policy: Policy, run: Callable[[list[int]], np.ndarray]
) -> ServedLoad:
    """Serve requests ``0..n-1`` on one model and return every latency.

    Args:
        arrivals_s: arrival times in s, ascending, [n].
        lengths: tokens of each request, [n].
        policy: called with the queue and the time when the model is free; returns the positions in the queue to take
            now, or until when to wait (an arrival before that asks it again).
        run: computes the answers [batch, ...] of the requests with the given indices; its time is measured.
    """
    queue, pending, now = Queue([], lengths), 0, 0.0
    latency, sizes, answers, busy = np.empty(len(arrivals_s)), [], {}, 0.0
    while pending < len(arrivals_s) or queue.waiting:
        if not queue.waiting:
            now = max(now, float(arrivals_s[pending]))
        while pending < len(arrivals_s) and arrivals_s[pending] <= now:
            queue.waiting.append((pending, float(arrivals_s[pending])))
            pending += 1
        decision = policy(queue, now)
        if isinstance(decision, WaitUntil):
            more_to_come = pending < len(arrivals_s)
            now = min(decision.time_s, float(arrivals_s[pending])) if more_to_come else decision.time_s
            continue
        taken = [queue.waiting[position] for position in decision]
        queue.waiting = [request for i, request in enumerate(queue.waiting) if i not in set(decision)]
        start = time.perf_counter()
        results = run([index for index, _ in taken])
        service = time.perf_counter() - start
        now, busy = now + service, busy + service
        sizes.append(len(taken))
        for (index, arrived), result in zip(taken, results, strict=True):
            latency[index], answers[index] = (now - arrived) * 1e3, result
    return ServedLoad(latency, np.array(sizes), now - float(arrivals_s[0]), busy, answers)
