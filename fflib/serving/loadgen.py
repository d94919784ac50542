"""Load on a running server, in real time, as MLPerf inference defines it (Reddi et al., 1911.02549, section IV).

Single stream asks for latency without company, offline for throughput, and Poisson arrivals (MLPerf's server scenario)
for what users see at a given rate. Every request must have exactly one outcome: answered, refused or failed.
(Longer than 200 lines: three scenarios that share one record.)
"""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from fflib import progress
from fflib.data.splits import TokenizedSplit
from fflib.files import InputError
from fflib.serving import queue_sim
from fflib.serving.server import Batch, Refused, Server

LATE_SHARE = 0.2  # a load of whose latency more than this is the generator's lateness tells little of the server
STALL_S = 5.0  # after so long without an outcome the server is asked whether there will be any


@dataclass(frozen=True, eq=False)
class Load:
    """What ``n`` requests met, in the order in which they were sent; request ``i`` is the example at ``order[i]``.

    ``latency_ms`` [n] counts from when a request was due until its answer; it is NaN where there is none, and so is
    its row of ``answers`` [n, labels] (no columns where nothing was answered). ``lateness_ms`` [n] is how long after it
    was due the generator turned to a request. ``span_s`` reaches from the first that was due to the last outcome.
    ``due_s`` [n] are times of `time.perf_counter`, as those in the server's ``log`` of batches, which `LoadTest` adds.
    """

    offered_per_s: float | None  # None: the server itself sets the pace
    latency_ms: np.ndarray
    answers: np.ndarray
    refused: np.ndarray
    failed: np.ndarray
    span_s: float
    lateness_ms: np.ndarray
    order: np.ndarray
    due_s: np.ndarray
    log: Sequence[Batch] = ()

    @property
    def answered(self) -> int:
        """How many requests got their logits."""
        return int((~np.isnan(self.latency_ms)).sum())

    @property
    def throughput_per_s(self) -> float:
        """Answered requests per second of the span."""
        return self.answered / self.span_s

    @property
    def late_share(self) -> float:
        """Part of the mean latency that is the generator's own, which sent late; no fault of the server."""
        return float(self.lateness_ms.mean() / np.nanmean(self.latency_ms)) if self.answered else float("nan")

    @property
    def valid(self) -> bool:
        """Whether the generator of a Poisson load kept up: at most `LATE_SHARE` of the latency is its own."""
        return self.late_share <= LATE_SHARE

    @property
    def refused_share(self) -> float:
        """Part of the requests that the server refused, from 0 to 1."""
        return float(self.refused.mean())

    @property
    def summary(self) -> dict[str, float | bool | None]:
        """What figures show of a load; the 99th percentile only where five requests or more are beyond it."""
        return {
            "offered_per_s": self.offered_per_s,
            "p50_ms": self.percentile_ms(50),
            "p95_ms": self.percentile_ms(95),
            "p99_ms": self.percentile_ms(99) if self.answered >= 500 else None,
            "answered_per_s": self.throughput_per_s,
            "refused_share": self.refused_share,
            "late_share": self.late_share,
            "valid": self.valid,
        }

    def p95_by_length(self, lengths: np.ndarray, middle: int) -> dict[str, float]:
        """Return the 95th percentile of requests under ``middle`` tokens and of the others, of ``lengths`` [n].

        Where all are of one kind, every one of them stands for both.
        """
        is_short = lengths < middle
        kinds = {"short_p95_ms": is_short, "long_p95_ms": ~is_short}
        return {
            name: float(np.nanpercentile(self.latency_ms[mine if mine.any() else ~mine], 95))
            for name, mine in kinds.items()
        }

    def percentile_ms(self, q: float) -> float:
        """Latency that ``q`` % of the answered requests stay below; NaN where none was answered."""
        return float(np.nanpercentile(self.latency_ms, q)) if self.answered else float("nan")


def single_stream(server: Server, examples: TokenizedSplit, order: Sequence[int]) -> Load:
    """Send the examples at the indices ``order`` [n], each when the one before is answered; due when it is sent."""
    trial = _Trial(server, examples, order)
    with progress.bar(len(order), "single stream", "request") as bar:
        for i in range(len(order)):
            trial.send(i, time.perf_counter())
            trial.await_outcome()
            bar.update()
    return trial.load(offered_per_s=None)


def offline(server: Server, examples: TokenizedSplit, order: Sequence[int]) -> Load:
    """Send the examples at the indices ``order`` [n] as fast as the queue takes them; all are due at the start."""
    trial = _Trial(server, examples, order)
    start_s = time.perf_counter()
    with progress.bar(len(order), "offline", "request") as bar:
        for i in range(len(order)):
            trial.send(i, start_s, wait=True)
            bar.update()
    return trial.load(offered_per_s=None)


def poisson(
    server: Server, examples: TokenizedSplit, order: Sequence[int], rate_per_s: float, rng: np.random.Generator
) -> Load:
    """Send the examples at the indices ``order`` [n] at the times of a Poisson process, whatever has been answered.

    A request is due at its drawn time, also if the generator comes late: else a stall would hide from the latencies of
    those it holds up ("coordinated omission", Tene).
    """
    if not 0 < rate_per_s < float("inf"):
        raise InputError(f"rate_per_s is {rate_per_s}; give a positive number of requests a second")
    trial = _Trial(server, examples, order)
    start_s = time.perf_counter()
    due_s = start_s + queue_sim.poisson_arrivals(rate_per_s, len(order), rng)
    with progress.bar(len(order), f"{rate_per_s:.4g} requests/s", "request") as bar:
        for i in range(len(order)):
            time.sleep(max(0.0, due_s[i] - time.perf_counter()))
            trial.send(i, due_s[i])
            bar.update()
    # What was really offered: a drawn stream is a little denser or thinner than its rate.
    return trial.load(len(order) / float(due_s[-1] - start_s))


def joined(parts: Sequence[Load]) -> Load:
    """Make one load of several: each part begins when the last outcome of the one before is there."""
    logs, due_s, end_s = [], [], 0.0
    for part in parts:
        later_s = end_s - float(part.due_s.min())
        due_s.append(part.due_s + later_s)
        logs += [batch.later(later_s) for batch in part.log]
        end_s += part.span_s
    names = ("latency_ms", "refused", "failed", "lateness_ms", "order")
    whole = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    answers = np.full((len(whole["order"]), max(part.answers.shape[1] for part in parts)), np.nan, np.float32)
    first = 0
    for part in parts:
        answers[first : first + len(part.order), : part.answers.shape[1]] = part.answers
        first += len(part.order)
    paces = [part.offered_per_s for part in parts]
    sending_s = sum(len(part.order) / pace for part, pace in zip(parts, paces, strict=True) if pace)
    return Load(
        len(whole["order"]) / sending_s if all(paces) else None,
        span_s=end_s,
        due_s=np.concatenate(due_s),
        answers=answers,
        log=tuple(logs),
        **whole,
    )


def knee(loads: Sequence[Load]) -> int:
    """Return the index of the load with the most power, throughput over mean latency (Kleinrock 1979).

    ("Power and deterministic rules of thumb for probabilistic problems in computer communications".) A load with
    refusals counts only where all have some, since a short queue keeps latency low by turning requests away.
    """
    if not loads:
        raise InputError("there are no loads to find the knee of; give at least one")
    whole = [i for i, load in enumerate(loads) if not load.refused.any()]
    return max(whole or range(len(loads)), key=lambda i: _power(loads[i]))


class _Trial:
    """Sends requests and notes when each was due, sent and ended, and how."""

    def __init__(self, server: Server, examples: TokenizedSplit, order: Sequence[int]):
        if not len(order) or min(order) < 0 or max(order) >= len(examples):
            raise InputError(f"order must hold at least one index, each from 0 to {len(examples) - 1}")
        self._server, self._examples, self._order = server, examples, order
        self._due_s, self._sent_s = np.zeros(len(order)), np.zeros(len(order))
        # What ended: (request, when, logits or error). The server's threads only put it here: it costs them little.
        self._ended: queue.SimpleQueue[tuple[int, float, np.ndarray | BaseException]] = queue.SimpleQueue()
        self._outcomes: list[tuple[int, float, np.ndarray | BaseException]] = []

    def send(self, i: int, due_s: float, wait: bool = False) -> None:
        """Send request ``i``; a refusal is its outcome."""
        self._due_s[i], self._sent_s[i] = due_s, time.perf_counter()
        ids, types = (arrays[self._order[i]] for arrays in (self._examples.input_ids, self._examples.token_type_ids))

        def note(future: Future[np.ndarray]) -> None:
            self._ended.put((i, time.perf_counter(), future.exception() or future.result()))

        try:
            future = self._server.submit(ids, types, wait)
        except Refused as error:
            self._ended.put((i, time.perf_counter(), error))
        else:
            future.add_done_callback(note)

    def await_outcome(self) -> None:
        """Sleep until one more request has ended."""
        while True:
            try:
                self._outcomes.append(self._ended.get(timeout=STALL_S))
                return
            except queue.Empty:
                if self._server.idle and self._ended.empty():
                    left = self._server.waiting
                    assert left, f"a request was lost: the server rests, but only {len(self._outcomes)} have ended"
                    message = f"{left} requests wait and no policy takes them; give an instance a policy that does"
                    raise InputError(message) from None

    def load(self, offered_per_s: float | None) -> Load:
        """Wait for every outcome, check that each request has one, and add up."""
        n = len(self._order)
        while len(self._outcomes) < n or not self._ended.empty():
            self.await_outcome()
        counts = np.bincount([i for i, _, _ in self._outcomes], minlength=n)
        assert counts.max() == 1, f"{(counts > 1).sum()} requests were answered twice, the first is {counts.argmax()}"
        assert counts.min() == 1, f"{(counts < 1).sum()} requests were lost, the first is {counts.argmin()}"
        ended_s = np.empty(n)
        refused, failed, logits = np.zeros(n, bool), np.zeros(n, bool), {}
        for i, at_s, outcome in self._outcomes:
            ended_s[i] = at_s
            refused[i] = isinstance(outcome, Refused)
            failed[i] = isinstance(outcome, BaseException) and not refused[i]
            if not refused[i] and not failed[i]:
                logits[i] = outcome
        answers = np.full((n, len(next(iter(logits.values()), ()))), np.nan, np.float32)
        for i, row in logits.items():
            answers[i] = row
        return Load(
            offered_per_s=offered_per_s,
            latency_ms=np.where(refused | failed, np.nan, ended_s - self._due_s) * 1e3,
            answers=answers,
            refused=refused,
            failed=failed,
            span_s=float(ended_s.max() - self._due_s.min()),
            lateness_ms=(self._sent_s - self._due_s) * 1e3,
            order=np.asarray(self._order),
            due_s=self._due_s,
        )


def _power(load: Load) -> float:
    return load.throughput_per_s / float(np.nanmean(load.latency_ms)) if load.answered else 0.0
