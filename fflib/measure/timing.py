"""The timing protocol: check first, then interleave, keep every sample, report medians with an interval.

The timed region of every variant is the same: from a list of token ids to logits, padding included, tokenising not.
(Longer than 200 lines: the whole protocol is one page.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fflib import progress, spent
from fflib.data import batching, metrics
from fflib.data.splits import TokenizedSplit
from fflib.files import InputError
from fflib.measure import cost, device

TIED = 2e-3  # between two logits that may each be off by the tolerance of fp32
Predictor = Callable[[dict[str, np.ndarray]], np.ndarray]
# Requests and a plan to the logits of its batches, the seconds from the first start to the last end, and of each batch
Together = Callable[[TokenizedSplit, batching.Plan], tuple[list[np.ndarray], float, list[float]]]


@dataclass(frozen=True)
class Check:
    """How a variant's logits compare with those of the model it stands for, on ``n`` examples."""

    max_abs_difference: float
    label_agreement: float
    n: int


@dataclass(frozen=True)
class Variant:
    """One way to serve: a predictor, the groups it is given, and how they are padded. Only a checked one is timed.

    ``examples`` are the same requests in its own tokens, where its model reads other tokens than the rest.
    """

    name: str
    predict: Predictor
    plan: batching.Plan
    pad_to: int | None = None
    checked: Check | None = None
    examples: TokenizedSplit | None = None

    def logits(self, examples: TokenizedSplit) -> np.ndarray:
        """Return the logits [n, classes] of the plan's examples, in ascending order of their index."""
        examples = self.examples or examples
        parts = [self.predict(batch.inputs) for batch in batching.batches(examples, self.plan, self.pad_to)]
        return np.concatenate(parts)[np.argsort(np.concatenate(self.plan))]


@dataclass(frozen=True)
class Timing:
    """Raw samples of one variant: seconds of each batch [rounds, batches], and how many requests each batch held.

    ``wall_s`` [rounds] is from the first start to the last end, where batches are computed at the same time.
    ``joules`` [rounds] is what the processor's counters say that each round took; None where it has none.
    ``checked`` says how its answers compared with those expected, where the timing is one of a `race`.
    """

    seconds: np.ndarray
    batch_sizes: np.ndarray
    wall_s: np.ndarray | None = None
    joules: np.ndarray | None = None
    checked: Check | None = None

    @property
    def latencies_ms(self) -> np.ndarray:
        """Latency of every request of every round: a request is answered when its batch is."""
        return np.repeat(self.seconds, self.batch_sizes, axis=1).ravel() * 1e3

    @property
    def latency_p50_ms(self) -> float:
        """Median latency of a request."""
        return float(np.percentile(self.latencies_ms, 50))

    @property
    def latency_p95_ms(self) -> float:
        """Latency that 95 % of the requests stay below."""
        return float(np.percentile(self.latencies_ms, 95))

    @property
    def row(self) -> dict[str, float]:
        """What tables show of a timing."""
        return {"requests/s": self.throughput_per_s, "p50 ms": self.latency_p50_ms, "p95 ms": self.latency_p95_ms}

    @property
    def n_requests(self) -> int:
        """How many latencies stand behind the percentiles."""
        return self.latencies_ms.size

    @property
    def throughput_per_s(self) -> float:
        """Requests per second: each batch counts with its median over the rounds, so one disturbed round does not.

        Of batches at the same time it is the median round.
        """
        return float(self.batch_sizes.sum() / np.median(self._parts, axis=0).sum())

    @property
    def wh_per_1k(self) -> float | None:
        """Watt-hours of a thousand requests, of the median round; None where nothing counts energy."""
        return None if self.joules is None else cost.wh_per_1k(np.median(self.joules), self.batch_sizes.sum())

    def throughput_interval(
        self, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
    ) -> tuple[float, float]:
        """Bootstrap the rounds of each batch: the interval tells the machine's noise, not the choice of requests.

        Of few rounds it is little more than from the smallest to the largest: of three, this holds the median of many
        in three cases of four. So tables call it the range of rounds; `story.headline` times six and may say 95 %.
        """
        rng, parts = np.random.default_rng(seed), self._parts
        rounds, count = parts.shape
        totals = [
            np.median(np.take_along_axis(parts, rng.integers(rounds, size=(rounds, count)), 0), axis=0).sum()
            for _ in range(resamples)
        ]
        low, high = np.quantile(totals, [(1 + confidence) / 2, (1 - confidence) / 2])
        return float(self.batch_sizes.sum() / low), float(self.batch_sizes.sum() / high)

    def speedup_interval(
        self, over: Timing, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
    ) -> tuple[float, float]:
        """Bootstrap the rounds of both: how many times the throughput of ``over`` this is, from and to.

        Timings of as many rounds are taken for those of one race, round beside round: what disturbs a round disturbs
        both, and is in each draw twice or not at all.
        """
        rng = np.random.default_rng(seed)
        mine, theirs = self._parts, over._parts
        first = rng.integers(len(mine), size=(resamples, len(mine)))
        second = first if len(mine) == len(theirs) else rng.integers(len(theirs), size=(resamples, len(theirs)))
        seconds = [np.median(parts[drawn], axis=1).sum(axis=1) for parts, drawn in ((mine, first), (theirs, second))]
        ratios = seconds[1] / over.batch_sizes.sum() * self.batch_sizes.sum() / seconds[0]
        low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)

    @property
    def _parts(self) -> np.ndarray:
        """What one round's time is the sum of, [rounds, parts]."""
        return self.seconds if self.wall_s is None else self.wall_s[:, None]


@spent.on("prediction")
def check(
    variant: Variant, examples: TokenizedSplit, expected: np.ndarray, tolerance: float = 1e-3, agreement: float = 1.0
) -> Variant:
    """Run ``variant`` and compare its logits with ``expected`` [n, classes]; return it marked as checked.

    Raises:
        AssertionError: a logit differs by more than ``tolerance``, or `metrics.kept` is less than ``agreement``; a
            label between two logits that are as good as equal is not counted against it.
    """
    which = np.sort(np.concatenate(variant.plan))
    answers, gold = variant.logits(examples), examples.gold.take(which)
    checked = compared(answers, expected[which], gold)
    off, same = checked.max_abs_difference, checked.label_agreement
    assert off <= tolerance, f"{variant.name}: a logit is off by {off:.2g}, more than {tolerance:.2g}"
    agrees = agreeing(answers, expected[which], gold) >= agreement
    assert agrees, f"{variant.name}: only {same:.1%} of the labels agree"
    return replace(variant, checked=checked)


@spent.on("timing")
def time_interleaved(
    variants: Sequence[Variant], examples: TokenizedSplit, rounds: int, seed: int = 0
) -> dict[str, Timing]:
    """Time every variant in every round, in an order drawn anew each round, after one warm-up batch each.

    A machine that slows down for a while thus slows all variants, and their ratios stay. A graphics card chooses or
    compiles its kernels at the first batch of a shape, so on one every batch is a warm-up once. A predictor returns an
    array of the processor's memory, for which the card has to be done: the clock is a synchronised one.
    """
    for variant in variants:
        if variant.checked is None:
            raise InputError(f"variant '{variant.name}' was not checked; call timing.check before timing it")
        lengths = (variant.examples or examples).lengths
        longest = max(variant.plan, key=lambda group: lengths[group].max())
        for group in variant.plan if device.is_card() else [longest]:
            _time_batch(variant, examples, group)
    rng = np.random.default_rng(seed)
    samples: dict[str, list[list[float]]] = {variant.name: [] for variant in variants}
    spent = cost.Tally(samples)
    bar = progress.bar(rounds * len(variants), "time", "pass")
    for _ in range(rounds):
        for i in rng.permutation(len(variants)):
            variant = variants[i]
            with spent.counted(variant.name):
                samples[variant.name].append([_time_batch(variant, examples, group) for group in variant.plan])
            bar.update()
    bar.close()
    return {
        v.name: Timing(np.array(samples[v.name]), np.array([len(g) for g in v.plan]), joules=spent.last(v.name, rounds))
        for v in variants
    }


@spent.on("timing")
def time_at_once(
    ways: Mapping[str, Together],
    examples: TokenizedSplit,
    plans: Mapping[str, batching.Plan],
    expected: Mapping[str, np.ndarray],
    rounds: int,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> dict[str, Timing]:
    """Let every way answer all batches of its plan in every round, in an order drawn anew each round.

    A round to warm up comes before. The answers of every round are compared with the ``expected`` logits [n, classes]
    of their way; that round whose answers are furthest off is the check of the timing. A request waits for its own
    batch only: that of a busy machine, not of a queue.

    Raises:
        AssertionError: a logit differs by more than ``tolerance``; nothing is returned then.
    """
    rng = np.random.default_rng(seed)
    walls, seconds, spent = {name: [] for name in ways}, {name: [] for name in ways}, cost.Tally(ways)
    checks: dict[str, list[Check]] = {name: [] for name in ways}
    bar = progress.bar((rounds + 1) * len(ways), "time at once", "pass")
    for warm in range(rounds + 1):
        for name in rng.permutation(list(ways)):
            with spent.counted(name):
                answers, wall, each = ways[name](examples, plans[name])
            which = np.concatenate(plans[name])
            checks[name].append(_compared(np.concatenate(answers), examples, which, expected[name]))
            off = checks[name][-1].max_abs_difference
            assert off <= tolerance, f"{name}: a logit is off by {off:.2g}, more than {tolerance:.2g}"
            if warm:
                walls[name].append(wall)
                seconds[name].append(each)
            bar.update()
    bar.close()
    sizes = {name: np.array([len(group) for group in plans[name]]) for name in ways}
    worst = {name: max(checks[name], key=lambda check: check.max_abs_difference) for name in ways}
    return {
        name: Timing(np.array(seconds[name]), sizes[name], np.array(walls[name]), spent.last(name, rounds), worst[name])
        for name in ways
    }


def agreeing(logits: np.ndarray, expected: np.ndarray, gold: metrics.Gold) -> float:
    """Return the share of n examples with the same answer by ``logits`` as by those ``expected``, both [n, classes].

    An answer between two that are as good as equal is not counted against them: another order of sums may swap it.
    """
    same = metrics.answers(logits, gold) == metrics.answers(expected, gold)
    return float((same | tied(expected, gold)).mean())


def tied(logits: np.ndarray, gold: metrics.Gold) -> np.ndarray:
    """Return for each of n examples whether the two best answers by ``logits`` [n, classes] are as good as equal, [n].

    Where answers compete for a question, these are two answers to it; of one whose rivals are not there, two classes.
    """
    second, first = np.sort(logits, axis=1)[:, -2:].T
    found = first - second <= TIED
    if gold.one_right:
        likelihood, numbers = logits[:, 1] - logits[:, 0], gold.numbered()
        for number in np.flatnonzero(np.bincount(numbers) > 1):
            rivals = numbers == number
            second, first = np.sort(likelihood[rivals])[-2:]
            found[rivals] = first - second <= TIED
    return found


def compared(logits: np.ndarray, expected: np.ndarray, gold: metrics.Gold) -> Check:
    """Return how ``logits`` compare with those ``expected``, both [n, classes], of the same examples."""
    return Check(float(np.abs(logits - expected).max()), metrics.kept(logits, expected, gold), len(logits))


def _compared(answers: np.ndarray, examples: TokenizedSplit, which: np.ndarray, expected: np.ndarray) -> Check:
    """Compare the logits [m, classes] of the examples ``which`` [m] with those ``expected`` of all [n, classes]."""
    return compared(answers, expected[which], examples.gold.take(which))


def _time_batch(variant: Variant, examples: TokenizedSplit, group: np.ndarray) -> float:
    examples = variant.examples or examples
    start = time.perf_counter()
    variant.predict(batching.collate(examples, group, variant.pad_to).inputs)
    return time.perf_counter() - start
