"""A load test: a server is opened on instances, a scenario of `loadgen` runs on it, and its answers are compared."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeVar

import numpy as np

from fflib.data.splits import TokenizedSplit
from fflib.measure.timing import Predictor
from fflib.serving import loadgen
from fflib.serving.loadgen import Load
from fflib.serving.scheduling import Policy
from fflib.serving.server import Server

FEWEST = 40  # requests of a load: fewer tell nothing
Key = TypeVar("Key")
Policies = Policy | Sequence[Policy]  # one for all instances, or one for each


@dataclass(frozen=True, eq=False)
class LoadTest:
    """The same requests for every policy and every scenario.

    Attributes:
        instances: the predictors that share the queue.
        examples, order: request ``i`` is the example at ``order[i]``, [n].
        labels: the label that each example has to get, [examples].
        at_least: the share of so many answered requests that have to get it, from 0 to 1: chance is larger in few.
        queue_limit: how many requests may wait.
        seed: of the arrivals.
    """

    instances: Sequence[Predictor]
    examples: TokenizedSplit
    order: np.ndarray
    labels: np.ndarray
    at_least: Callable[[int], float]
    queue_limit: int
    seed: int = 0

    def anew(self, count: int, seed: int) -> LoadTest:
        """Return this test with ``count`` other requests, at other times."""
        order = np.random.default_rng([seed, 1]).integers(len(self.examples), size=count)  # not the arrivals' stream
        return replace(self, order=order, seed=seed)

    def offline(self, policy: Policies) -> Load:
        """Send everything as fast as the queue takes it."""
        return self._run(policy, lambda server: loadgen.offline(server, self.examples, self.order), self.queue_limit)

    def single_stream(self, policy: Policies) -> Load:
        """Send a third of the requests, each when the one before is answered."""
        first_third = self.order[: max(2, len(self.order) // 3)]
        return self._run(
            policy, lambda server: loadgen.single_stream(server, self.examples, first_third), self.queue_limit
        )

    def poisson(self, policy: Policies, rate_per_s: float, queue_limit: int = 0) -> Load:
        """Send the requests as a Poisson process, the same in each test but for its rate.

        ``queue_limit`` 0 is that of the test.
        """
        rng = np.random.default_rng(self.seed)
        return self._run(
            policy,
            lambda server: loadgen.poisson(server, self.examples, self.order, rate_per_s, rng),
            queue_limit or self.queue_limit,
        )

    def in_turn(
        self, loads: Mapping[Key, tuple[Policies, float]], count: int, seconds: float, rounds: int
    ) -> dict[Key, Load]:
        """Offer ``loads``, each a policy and a rate per s, in turn: a part of each in every one of ``rounds``.

        So a machine that drifts is in all of them alike. Each has requests of its own: ``count``, or as many as are
        due in ``seconds``, `FEWEST` at least.
        """
        parts: dict[Key, list[Load]] = {name: [] for name in loads}
        for turn, (name, (policy, rate_per_s)) in product(range(rounds), loads.items()):
            wanted = max(FEWEST, min(count, int(seconds * rate_per_s)))
            seed = self.seed + 1 + turn + rounds * list(loads).index(name)
            parts[name].append(self.anew(-(-wanted // rounds), seed).poisson(policy, rate_per_s))
        return {name: loadgen.joined(own) for name, own in parts.items()}

    def _run(self, policy: Policies, scenario: Callable[[Server], Load], queue_limit: int) -> Load:
        """Run a scenario. AssertionError: fewer answers than ``at_least`` are those of the model."""
        _set_garbage_aside()
        with Server(self.instances, policy, queue_limit) as server:
            load = scenario(server)
        answered = ~(load.refused | load.failed)
        wanted = self.labels[self.order[: len(answered)][answered]]
        if not len(wanted):  # all were refused: nothing can be wrong
            return replace(load, log=tuple(server.log))
        same = float((load.answers[answered].argmax(1) == wanted).mean())
        assert same >= self.at_least(len(wanted)), f"only {same:.1%} of the server's answers are the model's"
        return replace(load, log=tuple(server.log))


def _set_garbage_aside() -> None:
    """Keep Python's garbage collector from looking through what was there before, as servers do.

    With the libraries of a notebook that takes it a fifth of a second, in which no thread runs: one such stall makes
    the 95th percentile of a short load. What is set aside stays so, or each load would begin with that search.
    """
    gc.collect()
    gc.freeze()
