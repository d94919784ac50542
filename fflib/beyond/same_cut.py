"""The same cut for both sides: what reading less gains for the served model, and what it gains for the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fflib.beyond.cascade import Cascade
from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.measure.race import Race
from fflib.measure.timing import Predictor, Variant

WHOLE = "whole"


def ways(
    predict: Predictor, first_reads: Sequence[int], requests: TokenizedSplit
) -> tuple[dict[str, Predictor], dict[str, np.ndarray]]:
    """Return a predictor that reads all of a text, and for each of ``first_reads`` one that reads so many tokens.

    And the logits [n, classes] that each gives to ``requests`` one by one, which it has to give again when it is timed.
    """
    made = {WHOLE: predict} | {f"first {tokens} alone": Cascade(predict, tokens, -np.inf) for tokens in first_reads}
    one_by_one = batching.in_order(requests.lengths, 1)
    return made, {name: Variant(name, way, one_by_one).logits(requests) for name, way in made.items()}


def rows(served: Race, reference: Race) -> list[dict[str, Any]]:
    """Set the gains of both sides beside each other; each race has `ways`, over the same requests.

    Returns:
        For each way the ``own`` gain, that of the ``reference``, what is ``left``, the first over the second, and the
        range of that: from ``low``, where the rounds are worst for the served model, to ``high``.
    """
    found = []
    for name in reference:
        own, theirs = (race.speedup(name, WHOLE) for race in (served, reference))
        (own_low, own_high), (low, high) = (race[name].speedup_interval(race[WHOLE]) for race in (served, reference))
        gains = {"own": own, "reference": theirs, "left": own / theirs}
        found.append({"both read": name} | gains | {"low": own_low / high, "high": own_high / low})
    return found


def told(found: Sequence[dict[str, Any]], requests: int, rounds: tuple[int, int]) -> str:
    """Say what the rows rest on, and which of them tell a difference.

    ``requests`` were the same for both sides; ``rounds`` are the served model's and the reference's.
    """
    words = f"Both sides answered the same {requests} requests, one by one: {rounds[0]} rounds of the served model, "
    words += (
        f"{rounds[1]} of the reference. So few texts gain by their own lengths; the ranges are of the rounds alone. "
    )
    cut = [row for row in found if row["both read"] != WHOLE]
    sides = {
        "the reference gains more": [row["both read"] for row in cut if row["high"] < 1],
        "the served model gains more": [row["both read"] for row in cut if row["low"] > 1],
        "the rounds cannot tell which gains more": [row["both read"] for row in cut if row["low"] <= 1 <= row["high"]],
    }
    said = [f"{side} ({', '.join(names)})" for side, names in sides.items() if names]
    return words + (f"Here {'; '.join(said)}." if said else "")
