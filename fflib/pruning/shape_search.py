"""How many heads and neurons each layer should keep, so that a model is fast enough and loses the least.

As in ZipLM (2302.04089) the latencies come from a table that was measured, the losses from an estimate, and taking one
option of each layer is a knapsack problem. Losses add up only roughly, so it is solved again for estimates varied at
random (SPDY, 2201.13096), and each answer's true loss is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from fflib import progress
from fflib.files import InputError
from fflib.model import flops
from fflib.model.config import EncoderConfig, LayerShape
from fflib.model.slicing import Counts
from fflib.pruning.latency_table import VECTOR, LatencyTable

BINS = 2000  # into which the budget is divided; rounding wastes less than one of them for each choice
SPREAD = 0.5  # standard deviation of the logarithm of the random factors
DRAWS = 10  # at most, for each candidate: many draws lead to a candidate that is known already
ROUNDING = 1e-9  # share of the budget, for sums of the same numbers in another order


@dataclass(frozen=True)
class LayerOption:
    """A way to keep a layer: how many heads and neurons (None: remove it), its cost in ms, and its halves' losses."""

    counts: Counts
    cost: float
    attention_loss: float
    feed_forward_loss: float

    @property
    def loss(self) -> float:
        """The estimate for both halves."""
        return self.attention_loss + self.feed_forward_loss


Choices = Sequence[Sequence[LayerOption]]
Shape = tuple[LayerOption, ...]  # an option for each layer
ByCount = Sequence[Mapping[int, float]]  # of each layer {units kept: loss}


def options(
    table: LatencyTable, lengths: np.ndarray, attention: ByCount, feed_forward: ByCount, removed: Sequence[float] | None
) -> list[list[LayerOption]]:
    """Return the ways to keep each layer, at their mean latency over requests of ``lengths`` tokens.

    The losses are estimates for half a layer where all else is whole, and for a layer that is ``removed``, biases and
    LayerNorms too (None: none may be). The latter's is put on both halves alike. A last layer that is free costs
    nothing here, whatever it keeps, and stays: without it the layer before it would be the last.
    """
    choices: list[list[LayerOption]] = []
    priced = table.priced(len(attention))
    for i, (by_heads, by_neurons) in enumerate(zip(attention, feed_forward, strict=True)):
        ms = partial(table.half_ms, lengths=lengths) if i in priced else lambda kind, count: 0.0
        heads = [(n, ms("attention", n), loss) for n, loss in by_heads.items()]
        neurons = [(n, ms("feed_forward", n), loss) for n, loss in by_neurons.items()]
        choices.append([LayerOption((h, n), a + b, x, y) for h, a, x in heads for n, b, y in neurons])
    for i, (choice, loss) in enumerate(zip(choices, removed or [], strict=removed is not None)):
        if i in priced:
            choice.append(LayerOption(None, 0.0, loss / 2, loss / 2))
    return choices


def solve(
    choices: Sequence[Sequence], budget: float, fixed: float = 0.0, losses: Sequence[np.ndarray] | None = None
) -> tuple:
    """Return one option of each choice: the least sum of losses whose costs, with ``fixed``, are within ``budget``.

    An option has a ``cost`` and a ``loss``; ``losses`` take the place of the latter. ``fixed`` is spent in any case: a
    model without layers. Costs are rounded up to bins, so a loss may be missed that needs the very last of the budget.
    InputError: not even the cheapest options fit.
    """
    costs = [np.array([option.cost for option in choice]) for choice in choices]
    losses = losses or [np.array([option.loss for option in choice]) for choice in choices]
    least, most = (fixed + sum(f(cost) for cost in costs) for f in (np.min, np.max))
    limit = budget * (1 + ROUNDING)
    if least > limit:
        raise InputError(_too_slow(budget, least))
    spare = min(limit, most) - least
    bins = BINS + len(choices)  # some more: true costs are less than the rounded ones
    best, steps = np.zeros(bins + 1), []  # best[b]: the least loss of the choices so far that take at most b bins
    for cost, loss in zip(costs, losses, strict=True):
        order = np.lexsort((loss, cost))
        before = np.minimum.accumulate(np.concatenate([[np.inf], loss[order][:-1]]))
        useful = order[loss[order] < before]  # the others lose no less than a cheaper one
        extra = cost[useful] - cost.min()
        useful, extra = useful[extra <= spare], extra[extra <= spare]
        weights = np.ceil(extra / (spare or 1.0) * BINS).astype(int)
        padded = np.concatenate([np.full(bins, np.inf), best])  # before the first bin: more than there is
        totals = padded[bins - weights[:, None] + np.arange(bins + 1)] + loss[useful, None]
        first, best = totals.argmin(0), totals.min(0)
        steps.append((useful[first], weights[first]))
    for most_bins in range(bins, -1, -1):
        left, answer = most_bins, []
        for choice, (chosen, weights) in zip(reversed(choices), reversed(steps), strict=True):
            answer.append(choice[chosen[left]])
            left -= weights[left]
        if fixed + sum(option.cost for option in answer) <= limit:
            break
    return tuple(reversed(answer))


def search(
    choices: Choices,
    budget: float,
    evaluate: Callable[[Shape], float],
    n_candidates: int,
    seed: int,
    fixed: float = 0.0,
) -> tuple[Shape, dict[Shape, float]]:
    """Solve for the estimates, then with a random factor on the losses of each half layer, and keep the truly best.

    ``evaluate`` measures the loss, on *train*, of up to ``n_candidates`` distinct candidates, each once. Returned are
    the best, and the loss of every one; the first is the plain estimate's.
    """
    rng, tried = np.random.default_rng(seed), dict.fromkeys([solve(choices, budget, fixed)], np.inf)
    losses = [np.array([(option.attention_loss, option.feed_forward_loss) for option in choice]) for choice in choices]
    for _ in range(DRAWS * n_candidates):
        if len(tried) < n_candidates:
            factors = np.exp(SPREAD * rng.standard_normal((len(choices), 2)))
            varied = [loss @ factor for loss, factor in zip(losses, factors, strict=True)]
            tried[solve(choices, budget, fixed, varied)] = np.inf
    with progress.bar(len(tried), "shapes", "candidate") as bar:
        for candidate in tried:
            tried[candidate] = evaluate(candidate)
            bar.update()
    return min(tried, key=tried.__getitem__), tried


def counts(shape: Shape) -> list[Counts]:
    """Return how many (heads, neurons) each layer keeps; None: it goes."""
    return [option.counts for option in shape]


def by_operations(
    choices: Sequence[Sequence[LayerOption]],
    config: EncoderConfig,
    lengths: np.ndarray,
    budget: float,
    fixed: float = 0.0,
    steps: int = 100,
) -> list[Counts]:
    """Return the shape of least estimated loss whose price is operations: the control of a search by time.

    The budget of operations is the largest, of ``steps`` equal parts of all, whose shape is predicted to stay within
    ``budget`` ms, so that only the price differs. ``config`` is that of the unpruned model.
    """
    tokens = round(float(np.mean(lengths)))

    def operations(option: LayerOption, shape: LayerShape) -> float:
        if option.counts is None or not option.cost:  # what is free by the clock is free here too
            return 0.0
        kept = replace(shape, num_heads=option.counts[0], intermediate_size=option.counts[1])
        return flops.forward_flop(replace(config, layers=(kept,)), tokens)

    priced = [
        [replace(option, cost=operations(option, shape)) for option in choice]
        for choice, shape in zip(choices, config.layers, strict=True)
    ]
    ms = [{option.counts: option.cost for option in choice} for choice in choices]
    total = sum(max(option.cost for option in choice) for choice in priced)
    for part in range(steps, -1, -1):  # at last a budget of none, for the cheapest layers
        try:
            wanted = counts(solve(priced, total * part / steps))
        except InputError:  # not even the cheapest layers
            break
        if fixed + sum(of[count] for of, count in zip(ms, wanted, strict=True)) <= budget * (1 + ROUNDING):
            return wanted
    raise InputError(_too_slow(budget, fixed + sum(min(of.values()) for of in ms)))


def uniform_at(
    table: LatencyTable, lengths: np.ndarray, shapes: Sequence[LayerShape], budget: float, steps: int = 100
) -> list[tuple[int, int]]:
    """Return the counts of the slowest model within ``budget`` ms that keeps one share of all heads and neurons.

    Shares are multiples of 1/``steps``; neurons are rounded to whole vectors. InputError: none is fast enough.
    """
    found = _uniform(table, lengths, shapes, steps)
    if min(found)[0] > budget * (1 + ROUNDING):
        raise InputError(_too_slow(budget, min(found)[0]))
    return max(pair for pair in found if pair[0] <= budget * (1 + ROUNDING))[1]


def least_uniform_ms(table: LatencyTable, lengths: np.ndarray, shapes: Sequence[LayerShape]) -> float:
    """Return the least that `uniform_at` can reach: what a model costs whose layers have no heads or neurons left."""
    return min(_uniform(table, lengths, shapes, 100))[0]


def _uniform(
    table: LatencyTable, lengths: np.ndarray, shapes: Sequence[LayerShape], steps: int
) -> list[tuple[float, list[tuple[int, int]]]]:
    """Time and counts of the model that keeps each of ``steps`` + 1 shares, from none to all."""
    found, whole = [], [(s.num_heads, s.intermediate_size) for s in shapes]
    for share in np.linspace(0, 1, steps + 1):
        kept = [(round(share * h), min(n, round(share * n / VECTOR) * VECTOR)) for h, n in whole]
        sizes = [LayerShape(h, s.head_size, n) for (h, n), s in zip(kept, shapes, strict=True)]
        found.append((table.model_ms(sizes, lengths), kept))
    return found


def _too_slow(budget: float, least: float) -> str:
    return f"no shape is within {budget:.4g} ms, the fastest takes {least:.4g} ms; ask for less speed-up"
