"""What a free server takes from the requests that wait: a policy looks at the queue and chooses a batch.

A policy knows no clock but the time it is given, so the same one decides in simulations (`queue_sim`, `capacity`) and
in the real `server`. Token budgets are those of the padded batch: its rows times the tokens of its longest request.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

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

    def fitting(self, positions: Iterable[int], max_tokens: int, max_padding: float = math.inf) -> list[int]:
        """Take from ``positions``, in their order, while the padded rectangle holds ``max_tokens`` (at least one).

        ``max_padding`` is how much larger than its texts that rectangle may be: 0.1 is a tenth.
        """
        taken: list[int] = []
        longest = tokens = 0
        for position in positions:
            longest, tokens = max(longest, self.length(position)), tokens + self.length(position)
            padded = longest * (len(taken) + 1)
            if taken and (padded > max_tokens or padded > (1 + max_padding) * tokens):
                break
            taken.append(position)
        return taken

    def waiting_lengths(self) -> np.ndarray:
        """Tokens of every request that waits, [waiting]."""
        return np.array([self.lengths[index] for index, _ in self.waiting], np.int64)

    def nearest(self, length: int) -> Iterable[int]:
        """All positions, those nearest to ``length`` first, the older one of two that are equally near."""
        return map(int, np.argsort(np.abs(self.waiting_lengths() - length), kind="stable"))


@dataclass(frozen=True)
class WaitUntil:
    """A policy's decision to leave its server idle until ``time_s`` on the queue's clock, or the next arrival."""

    time_s: float


# What a free server does: take these positions of the queue now, none of them before the next arrival ([]), or wait.
Policy = Callable[[Queue, float], list[int] | WaitUntil]


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


def like_lengths(max_tokens: int, max_padding: float = math.inf) -> Policy:
    """Make the policy that takes the oldest request and those nearest to it in length, up to a token budget.

    The oldest always goes, so no odd length waits for ever; in a long queue its company costs little padding. In a
    short one the nearest may be far: without a ``max_padding``, as in `Queue.fitting`, the server then gets slower
    just when a queue begins, which makes the queue grow.
    """

    def decide(queue: Queue, now_s: float) -> list[int]:
        return queue.fitting(queue.nearest(queue.length(0)), max_tokens, max_padding)

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
