"""Which first reading and which threshold: a small grid, priced by operations, chosen on dev under the rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fflib.beyond import cascade
from fflib.data import metrics
from fflib.data.metrics import Gold
from fflib.data.retention import Retention, rule_holds

NEAR = 0.1
CASCADE, ALL_HARD = "cascade", "cascade, all hard"
THIRDS = ("the shortest third", "the middle third", "the longest third")


@dataclass(frozen=True, eq=False)
class Readings:
    """What the served model says to a split: to the whole texts, and to their first tokens.

    Attributes:
        whole: logits [n, classes].
        first: by the number of tokens, logits [n, classes].
        lengths: of the whole texts, [n].
        gold: what is right.
    """

    whole: np.ndarray
    first: Mapping[int, np.ndarray]
    lengths: np.ndarray
    gold: Gold

    def answers(self, first: int, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the answers [n, classes] of a cascade, and which texts it reads again [n]."""
        return cascade.combined(self.first[first], self.whole, self.lengths > first, threshold)

    def take(self, indices: np.ndarray) -> Readings:
        """Return the same of some texts."""
        first = {tokens: logits[indices] for tokens, logits in self.first.items()}
        return Readings(self.whole[indices], first, self.lengths[indices], self.gold.take(indices))


def row(
    seen: Readings,
    first: int,
    threshold: float,
    kept: Callable[[np.ndarray], Retention] | None,
    operations: Callable[[int], float],
) -> dict[str, Any]:
    """Say what a cascade does on a split.

    Args:
        kept: what logits [n, classes] keep of the teacher's score; None where that is not asked.
        operations: of a text of that many tokens, by which readings are priced.

    Returns:
        ``first`` and ``threshold``; ``sent``, the share that is read again; ``agreement``, the share of labels that
        the whole reading gives too; ``n`` texts; ``factor``, the operations of whole readings over the cascade's;
        ``retention``, and what is left of it ``without_luck``, both also with the ends of the interval, as ``.._low``
        and ``.._high``, each NaN where there is none.
    """
    logits, again = seen.answers(first, threshold)
    price = {length: operations(int(length)) for length in {*seen.lengths.tolist(), first}}
    whole = np.array([price[length] for length in seen.lengths.tolist()])
    little = np.minimum(whole, price[first])
    keeps, surely = (kept(logits), kept(cascade.without_luck(logits, seen.whole, seen.gold))) if kept else (None, None)
    return {
        "first": first,
        "threshold": float(threshold),
        "sent": float(again.mean()),
        "agreement": metrics.kept(logits, seen.whole, seen.gold),
        "n": len(seen.lengths),
        "factor": float(whole.sum() / (little.sum() + whole[again].sum())),
        **_shares("retention", keeps),
        **_shares("without_luck", surely),
    }


def _shares(name: str, keeps: Retention | None) -> dict[str, float]:
    value, low, high = (keeps.value, keeps.low, keeps.high) if keeps else [math.nan] * 3
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def grid(
    seen: Readings, shares: Sequence[float], kept: Callable[[np.ndarray], Retention], operations: Callable[[int], float]
) -> list[dict[str, Any]]:
    """Return a `row` for each first reading and each of ``shares`` of the texts that it cuts, sent on.

    A threshold is the margin below which that share of them lies on this split. Where nothing is cut there is one row.
    """
    rows = []
    for first, logits in seen.first.items():
        of_cut = cascade.margins(logits)[seen.lengths > first]
        tried = np.quantile(of_cut, sorted(shares)) if len(of_cut) else [-np.inf]
        if len(of_cut) and 0 in shares:
            tried[0] = -np.inf  # the first reading alone
        rows += [row(seen, first, threshold, kept, operations) for threshold in tried]
    return rows


def fit(rows: Sequence[Mapping[str, Any]], min_retention: float, min_agreement: float) -> Mapping[str, Any] | None:
    """Return the row to serve of those that keep the rule and the served model's labels and cost no more; None: none.

    A part of a text may score better than the whole by luck, and of many rows the luckiest looks best. So the rule is
    asked of what is left without luck, and as many labels have to stay as of any other way to serve the same model. Of
    rows that cost about as few operations (within `NEAR`) the one that sends the fewest texts on is taken: it depends
    least on its threshold, and the fewest requests are read twice.
    """
    of_rule = "without_luck", "without_luck_low", "n"
    keeping = [each for each in rows if rule_holds(*(each[key] for key in of_rule), min_retention)]
    fitting = [each for each in keeping if each["agreement"] >= min_agreement and each["factor"] >= 1]
    best = max((each["factor"] for each in fitting), default=0.0)
    near = [each for each in fitting if each["factor"] >= (1 - NEAR) * best]
    return min(near, key=lambda each: (each["sent"], -each["factor"]), default=None)


def frontier(rows: Sequence[Mapping[str, Any]], levels: Sequence[float]) -> list[Mapping[str, Any]]:
    """Return the rows that need the fewest operations for one of the ``levels`` of retention, the cheapest first."""
    best = [
        max((r for r in rows if r["retention"] >= level), key=lambda r: r["factor"], default=None) for level in levels
    ]
    unlike = {(each["first"], each["threshold"]): each for each in best if each}
    return sorted(unlike.values(), key=lambda each: -each["factor"])


def to_time(
    rows: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any], levels: Sequence[float]
) -> dict[str, Mapping[str, Any]]:
    """Return by names the chosen row, also where all texts are hard, each first reading alone, and the `frontier`."""
    found: dict[str, Mapping[str, Any]] = {CASCADE: chosen, ALL_HARD: {**chosen, "threshold": np.inf}}
    for each in [*(each for each in rows if each["threshold"] == -np.inf), *frontier(rows, levels)]:
        again = f", {each['sent']:.0%} again" if each["threshold"] > -np.inf else " alone"
        if each is not chosen:
            name = f"first {each['first']}{again}"
            if name in found and found[name]["threshold"] != each["threshold"]:
                name += f" (threshold {each['threshold']:.3g})"
            found[name] = each
    return found


class Confidence:
    """How likely a first answer is that of the whole text, by its margin: Platt's sigmoid (1999), fitted on dev."""

    def __init__(self, margins: np.ndarray, agrees: np.ndarray) -> None:
        """Fit it on the margins [n] of texts that were cut, and whether both readings agree about them [n]."""
        from sklearn.linear_model import LogisticRegression  # only here: it takes a second to load

        self._constant, self._model = float(agrees.mean()) if len(agrees) else 1.0, None
        if len(np.unique(agrees)) == 2:
            self._model = LogisticRegression(C=1e3).fit(margins[:, None], agrees)

    @classmethod
    def of(cls, seen: Readings, first: int) -> Confidence:
        """Fit it on the texts of a split that a first reading cuts."""
        is_cut = seen.lengths > first
        agrees = metrics.answers(seen.first[first], seen.gold) == metrics.answers(seen.whole, seen.gold)
        return cls(cascade.margins(seen.first[first])[is_cut], agrees[is_cut])

    def __call__(self, margins: np.ndarray) -> np.ndarray:
        """Return a probability for each of some margins [n]."""
        if self._model is None:
            return np.full(len(margins), self._constant)
        return self._model.predict_proba(np.clip(margins, -1e6, 1e6)[:, None])[:, 1]

    def agreement(self, seen: Readings, first: int, threshold: float) -> float:
        """Predict the share of labels that a cascade keeps on a split: those read again are kept for certain."""
        certain = (seen.lengths <= first) | seen.answers(first, threshold)[1]
        return float(np.where(certain, 1.0, self(cascade.margins(seen.first[first]))).mean())


def by_length(
    seen: Readings,
    chosen: Mapping[str, Any],
    kept_of: Callable[[np.ndarray, np.ndarray], Retention],
    operations: Callable[[int], float],
) -> list[dict[str, Any]]:
    """Say what a chosen cascade does where traffic drifts to short, middle or long texts alone: a `row` for each third.

    ``kept_of`` is what logits [m, classes] of the texts at indices [m] keep of the teacher's score.
    """  # fmt: skip
    order, rows = np.argsort(seen.lengths, kind="stable"), []
    for name, third in zip(THIRDS, np.array_split(order, 3), strict=True):
        if len(third):
            keeps = lambda logits, third=third: kept_of(logits, third)  # noqa: E731
            part = row(seen.take(third), chosen["first"], chosen["threshold"], keeps, operations)
            rows.append({"texts": name, "mean tokens": float(seen.lengths[third].mean())} | part)
    return rows


def finite(value: Any) -> Any:
    """Return what a record can hold: facts in which a number without end, or none at all, has become None."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
