"""Accuracy against speed: the rungs of a ladder as points, and those of them that no other beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fflib.runs import ladder as rungs

Point = Mapping[str, Any]  # rung, throughput_per_s, accuracy, accuracy_low, accuracy_high (of 1), on_the_way, below
SPEED, ACCURACY = "throughput_per_s", "accuracy"


def points(ladder: pd.DataFrame, stack: Sequence[str], scale: float = 1.0) -> list[dict[str, Any]]:
    """Return the rungs that have both a throughput and an accuracy, in the order of the ladder.

    The throughput is the padded reference's times the product of the steps: what the machine drifted between chapters
    is not in it. ``on_the_way`` says whether a rung is of the ``stack``, ``below`` whether it is below the rule.
    ``scale`` is the last rung's measured factor over its product: so it stands at what was measured, and all others as
    many steps from it as they are.
    """
    padded_per_s = ladder.set_index("rung").loc[rungs.PADDED, SPEED]
    scored = ladder[ladder[ACCURACY].notna() & ladder[SPEED].notna()]
    return [
        {
            "rung": row.rung,
            SPEED: row.speedup_vs_padded * padded_per_s * scale,
            "on_the_way": row.rung in stack,
            ACCURACY: row.accuracy,
            "accuracy_low": row.accuracy_low,
            "accuracy_high": row.accuracy_high,
            "below": row.keeps_rule == "no",
        }
        for row in scored.itertuples()
    ]


def pareto(points: Sequence[Point]) -> list[str]:
    """Name the rungs that no other beats, from slow to fast; those without a throughput or an accuracy are left out.

    A rung is beaten by one that is at least as fast and at least as accurate, and better in one of the two.
    """
    known = [point for point in points if not pd.isna(point[SPEED]) and not pd.isna(point[ACCURACY])]
    known.sort(key=lambda point: (point[SPEED], point[ACCURACY], point["rung"]))
    return [point["rung"] for point in known if not any(_beats(other, point) for other in known)]


def keeps(accuracy: float, teacher_accuracy: float, retention: float | None) -> str:
    """Say beside what an accuracy stands; ``retention``, its share of the teacher's, is NaN where none is shown."""
    against = f"{accuracy:.1%} against {teacher_accuracy:.1%}"
    if share := rungs.kept_words(retention):
        return f"of whose accuracy it keeps {share}: {against}"
    return f"which is **not clearly above the floors of chapter 1**, so no share is shown as kept: {against}"


def _beats(one: Point, other: Point) -> bool:
    is_as_good = one[SPEED] >= other[SPEED] and one[ACCURACY] >= other[ACCURACY]
    return is_as_good and (one[SPEED] > other[SPEED] or one[ACCURACY] > other[ACCURACY])
