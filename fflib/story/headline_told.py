"""What the story keeps of its headline, what others read of it, and how it is told beside the product of the steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from fflib.plotting import times
from fflib.runs.ladder import PADDED
from fflib.story.factors import AGAINST
from fflib.story.headline import Headline

Fact = dict[str, Any]  # what `fact` returns, from a run of this code
MOVES = "moves the factor by"


def fact(headline: Headline, rung: str, start_by_name: Mapping[str, str], products: Mapping[str, float]) -> Fact:
    """Return what the story keeps for others.

    Args:
        rung: the name of the last rung.
        start_by_name: the names of `factors.AGAINST` that were measured, and which start each is.
        products: what the ladder's steps multiply to, by the same names.
    """
    against = {}
    for name, start in start_by_name.items():
        factor = headline.factors[start]
        against[name] = {"factor": factor.value, "low": factor.low, "high": factor.high, "product": products[name]}
        against[name] |= {"by_round": factor.by_round.tolist(), "requests/s": headline.per_s[start]}
    return {"rung": rung, "rounds": headline.rounds, "requests/s": headline.last_per_s, "against": against}


def of_records(records: Sequence[Mapping[str, Any]]) -> Fact | None:
    """Return the `fact` that the story left among ``records``; None: it did not run, or its code measured none."""
    return next((record["facts"]["headline"] for record in records if record["facts"].get("headline")), None)


def in_ladder(ladder: pd.DataFrame, headline: Fact | None) -> pd.DataFrame:
    """Return the ladder with the measured factors of the headline's rung.

    A rung that was tried on top of it (and not taken) is that factor times its own step, so that no two rungs of one
    way are told on two scales. Those of all others stay products of steps.
    """
    if headline is None:
        return ladder
    changed, last = ladder.copy(), ladder["rung"] == headline["rung"]
    on_top = ladder["rung"].isin(_on_top(ladder, headline["rung"]))
    for column, factor in zip(("speedup_vs_padded", "speedup_vs_unpadded"), _pair(headline, _factor), strict=True):
        changed.loc[on_top, column] *= factor / ladder.loc[last, column].item()
        changed.loc[last, column] = factor
    return changed


def _on_top(ladder: pd.DataFrame, last: str) -> set[str]:
    """Return the rungs above ``last``, however many lie between; a rung comes after the one it stands on."""
    found = {last}
    for rung, below in zip(ladder["rung"], ladder["stacks_on"], strict=True):
        if below in found:
            found.add(rung)
    return found - {last}


def _factor(row: Mapping[str, Any]) -> float:
    return row["factor"]


def factor_words(against: Mapping[str, Any]) -> str:
    """Write a factor of a `fact` with its interval: "592x (570x to 610x)"."""
    value, low, high = (times(against[key]) for key in ("factor", "low", "high"))
    return f"{value} ({low} to {high})"


def plain(headline: Fact | None) -> str:
    """Return `sentence` for a page without Markdown."""
    return sentence(headline).replace("**", "")


def rows(headline: Fact) -> list[dict[str, str]]:
    """Return a row a starting point: the measured factor, and beside it what the steps multiply to."""
    return [
        {
            "against": name,
            "measured (range of the rounds)": factor_words(against),
            "product of the steps": times(against["product"]),
            "requests/s of that start": f"{against['requests/s']:,.1f}",
        }
        for name, against in headline["against"].items()
    ]


def sentence(headline: Fact | None) -> str:
    """Say how many times as fast the last rung is, and how its factors in the ladder came about."""
    if headline is None:
        return "The last rung's factors are products of steps, like those of all rungs: this run measured no headline."
    (padded, unpadded), products = _pair(headline, factor_words), _pair(headline, lambda row: times(row["product"]))
    return (
        f"The last rung is **{padded}** as fast as the padded reference and **{unpadded}** as fast as the unpadded "
        f"one, measured side by side in {headline['rounds']} rounds. "
        f"Its steps multiply to {products[0]} and {products[1]}."
    )


def _pair(headline: Fact, of: Callable[[Mapping[str, Any]], Any]) -> list[Any]:
    """Return something of both references, padded and unpadded."""
    return [of(headline["against"][name]) for name in AGAINST[:2]]


def explanation(headline: Fact, again: Sequence[Mapping[str, Any]]) -> str:
    """Say for which starting points the product of the steps is the measured factor, and what else lies between.

    ``again`` is of `timed_again`. The range is that of the measured rounds alone: every step has a noise of its own,
    which no range of the product is made of, so a product outside it is no proof that the two differ.
    """
    outside = {
        name: row for name, row in headline["against"].items() if not row["low"] <= row["product"] <= row["high"]
    }
    if not outside:
        return (
            "For every starting point the product of the steps lies within the range of the rounds, so these cannot "
            "tell the two apart."
        )
    missed = "; ".join(f"{name}, {row['factor'] / row['product']:.2f}" for name, row in outside.items())
    return (
        f"The product of the steps lies outside the range of the rounds for {len(outside)} of "
        f"{len(headline['against'])} starting points. What was measured there, over the product: {missed}. That range "
        f"is of the measured rounds alone. The product has its own noise, some of every step, so this does not prove "
        f"that the two differ. {_moves(again)}"
    )


def _moves(again: Sequence[Mapping[str, Any]]) -> str:
    """Say what the rows of `timed_again` do to the factor against the padded reference."""
    largest = max(again, key=lambda row: abs(math.log(row[MOVES])))
    together = math.prod(row[MOVES] for row in again)
    up, down = sum(row[MOVES] > 1 for row in again), sum(row[MOVES] < 1 for row in again)
    return (
        f"The table lists the rungs that were timed again, minutes later and with other requests, and what they do to "
        f"the factor against {AGAINST[0]}: {up} raise it and {down} lower it, together by {together:.2f}. The largest "
        f"single move is *{largest['rung']}*, timed again {largest['timed again']}: {largest[MOVES]:.2f}."
    )


def timed_again(rungs: Sequence[Mapping[str, Any]], stack: Sequence[str], headline: Headline) -> list[dict[str, Any]]:
    """Say what lies between the product of the steps and the measured factor against the padded reference.

    A step is taken over the rung below as it was *timed again* beside the new one; the ends are timed again by
    `measure`. What a rung answered then, over what it answered when it was added, moves the measured factor away from
    the product, and nothing else does: the product of all `MOVES` is measured factor over product of steps.

    Args:
        rungs: of the records of all chapters.
        stack: the names of the rungs from the padded reference up to the last one.
    """
    by_name = {rung["rung"]: rung for rung in rungs}
    first, last = by_name[stack[0]], by_name[stack[-1]]
    rows = [_again(first, "for the headline", headline.per_s[PADDED], is_divisor=True)]
    for below, name in zip(stack, stack[1:], strict=False):
        if paired := by_name[name].get("paired_baseline_per_s"):
            rows.append(_again(by_name[below], f"beside {name}", paired))
    return [*rows, _again(last, "for the headline", headline.last_per_s)]


def _again(rung: Mapping[str, Any], where: str, per_s: float, is_divisor: bool = False) -> dict[str, Any]:
    added = rung["throughput_per_s"]
    moves = added / per_s if is_divisor else per_s / added
    row = {"rung": rung["rung"], "requests/s when added": added, "timed again": where, "requests/s then": per_s}
    return row | {MOVES: moves}
