"""The headline: how many times as fast the last rung is as what the story starts from, all timed in the same rounds.

The product of a ladder's steps is made of ratios from different minutes and of different requests. Here the starting
points and the last rung are timed beside each other. In every round other requests are drawn from the texts, as many of
each length as there are; the last rung answers all of them, in its own batches and with all its instances, and a
starting point a few that stand for all. The last rung is timed before and after each starting point, and the factor is
taken from these neighbours: a machine that gets slower within a round changes no factor. What is kept of it, and how it
is told: `headline_told`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fflib import progress
from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.files import InputError
from fflib.measure.timing import Together

MISSED = 0.05  # the interval may leave out the median as often, where there are rounds enough


@dataclass(frozen=True)
class Way:
    """What takes part in the rounds.

    Attributes:
        answer: what answers the batches of a plan, see `timing.Together`.
        expected: gives the logits [n, classes] that the answers to some texts have to be.
        tolerance: by how much a logit may differ.
        plan: makes its batches, of the lengths [n]; one request at a time where it is left out.
        count: how many of a round's requests it gets; 0: all.
    """

    answer: Together
    expected: Callable[[TokenizedSplit], np.ndarray]
    tolerance: float = 1e-3
    plan: Callable[[np.ndarray], batching.Plan] = lambda lengths: batching.in_order(lengths, 1)
    count: int = 0


@dataclass(frozen=True)
class Factor:
    """How many times as fast the last rung is: the middle round's, with an interval, and each round's [rounds]."""

    value: float
    low: float
    high: float
    by_round: np.ndarray

    @classmethod
    def of(cls, by_round: np.ndarray) -> Factor:
        """Return the median of the rounds with its interval.

        Half of all rounds lie below the true median, so how many of n do is binomial: the interval goes from one
        round to another such that it misses the median in a share `MISSED` of cases at most, whatever the
        distribution. Fewer than six rounds cannot promise that; there it goes from the least to the largest.
        """
        from scipy.stats import binom  # only now: it takes a second to load

        ordered = np.sort(by_round)
        outside = max(0, int(binom.ppf(MISSED / 2, len(ordered), 0.5)) - 1)
        return cls(float(np.median(ordered)), float(ordered[outside]), float(ordered[-1 - outside]), by_round)

    def holds(self, value: float) -> bool:
        """Say whether ``value`` lies in the interval."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Headline:
    """What `measure` found.

    Attributes:
        factors: against each start.
        per_s: requests per second of each start, the median round.
        last_per_s: those of the last rung.
        rounds: how many there were.
    """

    factors: Mapping[str, Factor]
    per_s: Mapping[str, float]
    last_per_s: float
    rounds: int


def representatives(lengths: np.ndarray, count: int) -> np.ndarray:
    """Pick ``count`` indices that stand for all: of as many groups of like lengths, the one nearest to its mean.

    Their mean length is that of all, up to the gaps between neighbours.
    """
    order = np.argsort(lengths, kind="stable")
    groups = np.array_split(order, min(count, len(order)))
    return np.sort([group[np.abs(lengths[group] - lengths[group].mean()).argmin()] for group in groups])


def drawn(lengths: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``count`` indices, one of each of as many groups of like lengths: each text is as likely as any other."""
    shuffled = rng.permutation(len(lengths))  # ties in length fall into groups by chance
    order = shuffled[np.argsort(lengths[shuffled], kind="stable")]
    return np.sort([rng.choice(group) for group in np.array_split(order, min(count, len(order)))])


def measure(
    last: Way, starts: Mapping[str, Way], texts: TokenizedSplit, count: int, rounds: int, seed: int = 0
) -> Headline:
    """Time the last rung against each of ``starts``; all are checked first, and again in every round.

    Args:
        texts: what requests are drawn from.
        count: requests of a round.
        rounds: how often; six or more make the interval one of 95 %.
        seed: of the draws, and of the order of the starts.

    Raises:
        AssertionError: a logit is not what it should be; nothing is returned then.
        InputError: no rounds, or no starts.
    """
    if rounds < 1 or not starts:
        raise InputError(f"{rounds} rounds of {len(starts)} starting points give no headline; give one of each or more")
    rng = np.random.default_rng(seed)
    seconds: dict[str, list[float]] = {name: [] for name in starts}
    beside: dict[str, list[float]] = {name: [] for name in starts}
    bar = progress.bar((rounds + 1) * len(starts), "headline", "pass")
    for is_timed in [False, *[True] * rounds]:  # the first round checks, and warms up
        requests = texts.take(drawn(texts.lengths, count, rng))
        asked = {name: _share(way, requests) for name, way in starts.items()}
        right = {name: way.expected(asked[name]) for name, way in starts.items()}
        last_right = last.expected(requests)
        before = _last(last, requests, last_right)
        for name in rng.permutation(list(starts)):
            taken = _seconds_each(name, starts[name], asked[name], right[name])
            after = _last(last, requests, last_right)
            if is_timed:
                seconds[name].append(taken)
                beside[name].append((before + after) / 2)
            before = after
            bar.update()
    bar.close()
    found = {name: Factor.of(np.array(seconds[name]) / beside[name]) for name in starts}
    per_s = {name: 1 / float(np.median(taken)) for name, taken in seconds.items()}
    return Headline(found, per_s, 1 / float(np.median([*beside.values()])), rounds)


def _share(way: Way, requests: TokenizedSplit) -> TokenizedSplit:
    return requests.take(representatives(requests.lengths, way.count)) if way.count else requests


def _last(last: Way, requests: TokenizedSplit, right: np.ndarray) -> float:
    """Return the seconds of a request by the last rung, once what ran before it has left the caches."""
    _seconds_each("the last rung", last, requests, right)
    return _seconds_each("the last rung", last, requests, right)


def _seconds_each(name: str, way: Way, requests: TokenizedSplit, right: np.ndarray) -> float:
    plan = way.plan(requests.lengths)
    answers, wall_s, _ = way.answer(requests, plan)
    off = float(np.abs(np.concatenate(answers) - right[np.concatenate(plan)]).max())
    assert off <= way.tolerance, f"{name}: a logit is off by {off:.2g}, more than {way.tolerance:.2g}"
    return wall_s / len(requests)
