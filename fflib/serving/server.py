"""A server in one process: requests come one by one, wait in a bounded queue, and are answered in padded batches.

Each predictor (an instance) has a thread. When its instance is free, the thread asks its policy, one of `scheduling`,
what to take from the queue that all share; batches form while the instances are busy. A full queue refuses, so that the
latency of what it holds stays bounded. (Longer than 200 lines: the queue's lock has to be reasoned about in one place.)
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import NamedTuple

import numpy as np

from fflib.data import batching
from fflib.data.metrics import Gold
from fflib.data.splits import TokenizedSplit
from fflib.files import InputError
from fflib.measure.timing import Predictor
from fflib.serving.scheduling import Policy, Queue, WaitUntil

CLOSED = "this server is closed; send the request to another, or open a new one"


class Batch(NamedTuple):
    """What a server's log keeps of a batch, also of one that failed; times are `time.perf_counter`'s, in s.

    ``length`` is that of its longest request, ``queued_s`` [rows] when each was queued, ``taken_s`` when the instance
    took them, ``done_s`` when it had given the last answer away and was free again.
    """

    instance: int
    length: int
    queued_s: tuple[float, ...]
    taken_s: float
    done_s: float

    def later(self, seconds: float) -> Batch:
        """Return the batch as if all of it had been ``seconds`` later."""
        queued_s = tuple(at + seconds for at in self.queued_s)
        return self._replace(queued_s=queued_s, taken_s=self.taken_s + seconds, done_s=self.done_s + seconds)


class Refused(RuntimeError):
    """The server did not take a request, or closed before its turn came. One sentence, as for an InputError."""


class Server:
    """Answers requests until it is closed, which the end of its ``with`` block does.

    Args:
        predictors: one for each instance; where one raises, the requests of that batch fail and the server goes on.
        policy: what a free instance takes, or one policy for each instance. A free instance asks its policy again
            after every arrival and after every batch that another one takes. A policy that raises, or names a place
            that the queue does not have, fails all that waits.
        queue_limit: how many requests may wait; those being answered do not count.
        pad_token_id: fills up the shorter rows of a batch.

    Attributes:
        batch_sizes: requests of each batch, in the order in which the batches began.
        log: every batch that has ended, see `Batch`, in the order in which they ended.

    Raises:
        InputError: no predictors, another number of policies, or a queue that holds nothing.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor],
        policy: Policy | Sequence[Policy],
        queue_limit: int,
        pad_token_id: int = 0,
    ):
        policies = [policy] * len(predictors) if callable(policy) else list(policy)
        if not predictors or len(policies) != len(predictors):
            raise InputError(f"{len(predictors)} predictors and {len(policies)} policies; give each predictor one")
        if queue_limit < 1:
            raise InputError(f"queue_limit is {queue_limit}; give at least 1")
        self.batch_sizes: list[int] = []
        self.log: list[Batch] = []
        self._answered = np.zeros(len(predictors), np.int64)  # of each instance, so that no two threads write one place
        self._predictors, self._pad_token_id = list(predictors), pad_token_id
        self._queue = _SharedQueue(policies, queue_limit)
        # Daemons: a predictor that never returns must not keep the interpreter from ending.
        for instance in range(len(predictors)):
            threading.Thread(target=self._work, args=(instance,), daemon=True).start()

    @property
    def answered(self) -> int:
        """How many requests have got their logits."""
        return int(self._answered.sum())

    @property
    def waiting(self) -> int:
        """How many requests wait now."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Whether nothing happens before the next arrival: no batch runs, and no policy takes what may wait."""
        return self._queue.left_alone()

    def submit(self, input_ids: np.ndarray, token_type_ids: np.ndarray, wait: bool = False) -> Future[np.ndarray]:
        """Queue one text, two integer arrays [length], and return the future of its logits [labels].

        The future gets the logits, the predictor's error, or `Refused` if the server closes first; what no policy ever
        takes waits until then. With ``wait`` a full queue is waited for, unless no policy takes any of it.

        Raises:
            Refused: the queue is full, or the server is closed.
            InputError: no tokens, or arrays of unlike shape.
        """
        if np.ndim(input_ids) != 1 or len(input_ids) == 0 or np.shape(input_ids) != np.shape(token_type_ids):
            shapes = f"{np.shape(input_ids)} and {np.shape(token_type_ids)}"
            raise InputError(f"input_ids and token_type_ids have the shapes {shapes}; give both [length], at least 1")
        request = _Request(input_ids, token_type_ids, Future())
        self._queue.put(request, wait)
        return request.future

    def close(self, drain: bool = True) -> None:
        """Take no more requests, answer those that wait (without ``drain`` refuse them), and send the instances home.

        Batches that run are finished, so a predictor must return or raise. Policies are told that the time is
        infinite, since nobody is to come any more; what they leave even so is refused. Ctrl-C refuses what still waits.
        """
        try:
            self._queue.close()
            if not drain:
                self._refuse_waiting()
            self._queue.wait_until_over()  # once interrupted, Python 3.11's Thread.join takes a running thread for dead
            self._refuse_waiting()
        except BaseException:
            if drain:
                self.close(drain=False)
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(drain=kind is None)

    def _refuse_waiting(self) -> None:
        _fail(self._queue.take_all(), Refused(CLOSED))

    def _work(self, instance: int) -> None:
        while True:
            try:
                batch = self._queue.take(instance)
            except BaseException as error:  # the policy's: asked again about the same queue, it would raise again
                _fail(self._queue.take_all(), error)
                continue
            if not batch:
                return
            taken_s = time.perf_counter()
            batch = [request for request in batch if request.future.set_running_or_notify_cancel()]
            if batch:
                self._answer(instance, batch)
                length, queued_s = max(len(request.input_ids) for request in batch), (r.queued_s for r in batch)
                self.log.append(Batch(instance, length, tuple(queued_s), taken_s, time.perf_counter()))

    def _answer(self, instance: int, batch: list[_Request]) -> None:
        self.batch_sizes.append(len(batch))
        try:
            logits = self._predict(instance, batch)
        except BaseException as error:  # also SystemExit: what ends a batch must not end the thread
            _fail(batch, error)
            return
        self._answered[instance] += len(batch)
        for request, row in zip(batch, logits, strict=True):
            request.future.set_result(row)

    def _predict(self, instance: int, batch: list[_Request]) -> np.ndarray:
        ids, types = ([request[field] for request in batch] for field in (0, 1))
        texts = TokenizedSplit(ids, types, Gold(np.zeros(len(batch), np.int64)), fingerprint="")
        inputs = batching.collate(texts, range(len(batch)), pad_token_id=self._pad_token_id).inputs
        logits = self._predictors[instance](inputs)
        if len(logits) != len(batch):
            raise RuntimeError(f"a predictor gave {len(logits)} answers to {len(batch)} requests; mend the predictor")
        return logits


class _Request(NamedTuple):
    input_ids: np.ndarray
    token_type_ids: np.ndarray
    future: Future[np.ndarray]
    queued_s: float = math.nan


class _SharedQueue:
    """Requests that wait, and the one lock under which they come, and policies choose and take them."""

    def __init__(self, policies: list[Policy], limit: int):
        self._policies, self._limit = policies, limit
        self._requests: dict[int, _Request] = {}  # by the number under which policies know them
        self._lengths: dict[int, int] = {}
        self._seen = Queue([], self._lengths)  # what policies see
        self._count = 0
        self._closed = False
        self._over = False  # closed, and every instance has come back and wants nothing: nothing is taken any more
        self._passed: set[int] = set()  # instances that sleep because they want nothing of the queue as it is
        lock = threading.RLock()
        self._changed = threading.Condition(lock)  # instances wait for it: other requests wait, or the queue closed
        self._room = threading.Condition(lock)  # senders wait for it: a place may be free, or never will be

    def __len__(self) -> int:
        return len(self._seen.waiting)

    def put(self, request: _Request, wait: bool) -> None:
        """Let ``request`` wait; `Refused` where it cannot."""
        with self._room:
            if wait:
                self._room.wait_for(lambda: self._closed or len(self) < self._limit or self.left_alone())
            if self._closed:
                raise Refused(CLOSED)
            if len(self) >= self._limit:
                raise Refused(f"{len(self)} requests wait already and the queue holds no more; send this one later")
            self._count += 1
            now_s = time.perf_counter()
            self._requests[self._count] = request._replace(queued_s=now_s)
            self._lengths[self._count] = len(request.input_ids)
            self._seen.waiting.append((self._count, now_s))
            self._ask_all_again()

    def take(self, instance: int) -> list[_Request]:
        """Sleep until the policy of ``instance`` takes requests; [] once the queue is closed and nobody takes more."""
        with self._changed:
            while not (decision := self._decide(instance)):
                self._passed.add(instance)
                if self.left_alone():
                    self._room.notify_all()
                    self._over = self._closed
                if self._over:
                    self._changed.notify_all()
                    return []
                self._changed.wait()
            return self._remove(decision)

    def take_all(self) -> list[_Request]:
        """Empty the queue."""
        with self._changed:
            return self._remove(range(len(self)))

    def close(self) -> None:
        """Let nothing more in."""
        with self._changed:
            if not self._closed:
                self._room.notify_all()
                self._ask_all_again()
                self._closed = True  # last, so that a close that Ctrl-C cut short is made good by the next

    def wait_until_over(self) -> None:
        """Sleep, once the queue is closed, until every instance has come back and wants nothing more."""
        with self._changed:
            self._changed.wait_for(lambda: self._over)

    def left_alone(self) -> bool:
        """Whether every instance sleeps and wants nothing of what waits."""
        return len(self._passed) == len(self._policies)

    def _decide(self, instance: int) -> list[int]:
        """Ask the policy until it does not want to wait for a time; [] where it wants nothing of the present queue."""
        while len(self) and not self._over:
            now_s = math.inf if self._closed else time.perf_counter()
            decision = self._policies[instance](self._seen, now_s)
            if not isinstance(decision, WaitUntil):
                return decision
            if self._closed:
                break
            self._changed.wait(min(decision.time_s - now_s, threading.TIMEOUT_MAX))
        return []

    def _remove(self, positions: Sequence[int]) -> list[_Request]:
        waiting = self._seen.waiting
        if len(set(positions)) < len(positions) or not all(0 <= position < len(waiting) for position in positions):
            raise IndexError(f"a policy took a place twice, or one that a queue of {len(waiting)} does not have")
        numbers = [waiting[position][0] for position in positions]
        for position in sorted(positions, reverse=True):  # from the end, so that the places before it keep their number
            del waiting[position]
        if waiting:  # what an instance wants of the shorter queue may be another thing
            self._ask_all_again()
        self._room.notify_all()
        for number in numbers:
            del self._lengths[number]
        return [self._requests.pop(number) for number in numbers]

    def _ask_all_again(self) -> None:
        self._passed.clear()
        self._changed.notify_all()


def _fail(requests: Sequence[_Request], error: BaseException) -> None:
    for request in requests:
        if request.future.running() or request.future.set_running_or_notify_cancel():
            request.future.set_exception(error)
