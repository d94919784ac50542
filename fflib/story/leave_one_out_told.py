"""What may be said of techniques that were left out, beside what they brought when they were added."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fflib.story.factors import is_one_by_one
from fflib.story.leave_one_out import without
from fflib.story.stacks import Stack


def served_otherwise(
    techniques: Sequence[str], full: Stack, cores: int, steps: Sequence[Mapping[str, Any]], ladder: pd.DataFrame
) -> str:
    """Say which of ``techniques`` were added with other batches or cores than ``full`` has; '' where none was.

    Both sides of a comparison count: the rung of a step beside ``full``, and the one below it beside the stack without
    the technique. ``steps`` are of `factors.factors`, ``ladder`` has their rungs.
    """
    by_name, unlike, then = ladder.set_index("rung"), [], []
    for technique in techniques:
        here = {_serving(full), _serving(without(technique, full, cores))}
        rungs = [step["rung"] for step in steps if step["technique"] == technique]
        there = {
            _words_of(row["batching"], row["instances"], row["threads"])
            for row in (by_name.loc[name] for rung in rungs for name in (rung, by_name.loc[rung, "stacks_on"]))
        }
        if more := sorted(there - here):
            unlike.append(f"*{technique}*")
            then += more
    if not unlike:
        return ""
    return (
        f"When they were added, {', '.join(unlike)} were timed with other batches or cores than here "
        f"(then: {'; '.join(dict.fromkeys(then))}; the full stack: {_serving(full)}). So what lies between their bars "
        "and diamonds may in part be this change of serving, and not the company of the other techniques."
    )


def _serving(stack: Stack) -> str:
    kind, size = stack.batches
    return _words_of(f"{kind} {size}", stack.instances, stack.threads)


def _words_of(batching: str, instances: int, threads: int) -> str:
    batches = "one request at a time" if is_one_by_one(batching) else batching.removesuffix(" tokens")
    return f"{batches}, {instances} x {threads} threads"


def products_told(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say whether single techniques multiply to more in the full stack than when they were added.

    ``rows`` hold factor, low, high (the range of the rounds) and added. The ends are multiplied as well: the product
    of all low ends is as low as these rounds allow.
    """
    in_stack, low, high, added = (math.prod(row[key] for row in rows) for key in ("factor", "low", "high", "added"))
    told = f"{len(rows)} techniques: {in_stack:.1f} in the full stack, {added:.1f} when added. "
    ends = f"The lower ends of the ranges of 9.6 multiply to {low:.1f}, the upper ones to {high:.1f}"
    if low <= added <= high:
        return f"{told}{ends}: within these ranges the two may not differ at all."
    if added < low:
        return (
            f"{told}{ends}, so the ranges do not explain it: the techniques need one another, or are served otherwise."
        )
    return (
        f"{told}{ends}, so the ranges do not explain it: the techniques do each other's work, or are served otherwise."
    )
