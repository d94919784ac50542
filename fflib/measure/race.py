"""Comparing ways to serve: each is checked against the answers it has to give, then all are timed in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from IPython.display import Markdown

from fflib import display
from fflib.data import batching
from fflib.data.batching import Plan
from fflib.data.splits import TokenizedSplit
from fflib.measure import timing
from fflib.measure.timing import Predictor, Timing, Together, Variant

LONG_NAME = 24  # characters of the name of a way that would make a column wider than its numbers
Expected = np.ndarray | Mapping[str, np.ndarray]  # logits [n, classes], the same for all ways or those of each


class Race(dict[str, Timing]):
    """The timings of ways that were compared, by name; each carries its check."""

    @property
    def largest_difference(self) -> float:
        """By how much a logit of any way differs from the one it should be, at most."""
        return max(way.checked.max_abs_difference for way in self.values())

    @property
    def labels_kept(self) -> str:
        """Say how many labels are those expected; what differs may lie between two that are as good as equal."""
        least = min(way.checked.label_agreement for way in self.values())
        return (
            "every label is the same" if least == 1 else f"{least:.2%} of the labels are the same, the others are ties"
        )

    def speedup(self, name: str, over: str) -> float:
        """How many times the throughput of ``over`` the way ``name`` has."""
        return self[name].throughput_per_s / self[over].throughput_per_s

    def rows(self, over: str = "") -> list[dict[str, object]]:
        """A row a way: what it is called, its latencies and its throughput, also against that of ``over``."""
        factor = self._factor(over)
        return [
            {"way": name} | way.row | ({factor: self.speedup(name, over)} if over else {}) for name, way in self.items()
        ]

    def ratios(self, over: str) -> Markdown:
        """Show how many times as fast as ``over`` each way is, and no requests per second.

        For what is measured again only to be compared: one configuration has one number, where it was measured first.
        """
        factor = self._factor(over)
        return display.table([{"way": name, factor: self.speedup(name, over)} for name in self])

    def _factor(self, over: str) -> str:
        """The head of a column of ratios; a long name is not repeated where it stands in the first row."""
        is_first = next(iter(self)) == over
        return f"times as fast as {'the first row' if is_first and len(over) > LONG_NAME else over}"

    def table(self, over: str = "") -> Markdown:
        """Show `rows` as a table."""
        return display.table(self.rows(over))


def race(
    ways: Mapping[str, Predictor | Variant],
    requests: TokenizedSplit,
    expected: Expected,
    rounds: int,
    plan: Plan | None = None,
    tolerance: float = 1e-3,
    agreement: float = 1.0,
    seed: int = 0,
) -> Race:
    """Check every way, then time all of them interleaved, see `timing.time_interleaved`.

    Args:
        ways: a predictor, which is given the batches of ``plan`` (none: one request at a time), or a `Variant` with a
            plan, padding or tokens of its own; one that was checked already is not checked again.
        requests: what they are asked.
        expected: the logits they have to give.
        tolerance, agreement: by how much a logit may differ, and how many labels have to stay, see `timing.check`.

    Raises:
        AssertionError: a way does not give the answers expected; nothing is timed then.
    """
    variants = [_variant(name, way, plan or batching.in_order(requests.lengths, 1)) for name, way in ways.items()]
    checked = [
        variant if variant.checked else _check(variant, requests, expected, tolerance, agreement)
        for variant in variants
    ]
    return timed(checked, requests, rounds, seed)


def race_at_once(
    ways: Mapping[str, Together],
    requests: TokenizedSplit,
    expected: Expected,
    rounds: int,
    plans: batching.Plan | Mapping[str, batching.Plan],
    tolerance: float = 1e-3,
    seed: int = 0,
) -> Race:
    """Let every way answer all batches of its plan at the same time, way by way, see `timing.time_at_once`.

    Args:
        ways: what answers a whole plan, such as several instances.
        requests: what they are asked.
        expected: the logits they have to give, in every round.
        plans: the batches, the same for all ways or those of each.
        tolerance: by how much a logit may differ.

    Raises:
        AssertionError: a way does not give the answers expected; nothing is returned then.
    """
    plan_of = plans if isinstance(plans, Mapping) else dict.fromkeys(ways, plans)
    expected_of = expected if isinstance(expected, Mapping) else dict.fromkeys(ways, expected)
    return Race(timing.time_at_once(ways, requests, plan_of, expected_of, rounds, tolerance, seed))


def timed(variants: Sequence[Variant], requests: TokenizedSplit, rounds: int, seed: int = 0) -> Race:
    """Time variants that were checked already; InputError: one was not."""
    timings = timing.time_interleaved(variants, requests, rounds, seed)
    return Race({variant.name: replace(timings[variant.name], checked=variant.checked) for variant in variants})


def _variant(name: str, way: Predictor | Variant, plan: Plan) -> Variant:
    return replace(way, name=name) if isinstance(way, Variant) else Variant(name, way, plan)


def _check(
    variant: Variant, requests: TokenizedSplit, expected: Expected, tolerance: float, agreement: float
) -> Variant:
    wanted = expected[variant.name] if isinstance(expected, Mapping) else expected
    return timing.check(variant, variant.examples or requests, wanted, tolerance, agreement)
