"""How fast at how much kept: for each share of the teacher's score the fastest way to serve that was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fflib.data.retention import ROUNDING
from fflib.runs import ladder as rungs

Point = Mapping[str, Any]  # rung, factor (times the padded reference), retention
# What stands above the columns of `best`. No two may be alike, so one ends in a space, which no reader sees.
HEADS = {
    "at least %": "keeps at least (%)",
    "model": "the fastest model",
    "model, times padded": "times as fast as the padded reference",
    "all": "the fastest of all",
    "all, times padded": "times as fast as the padded reference ",
}


def points(ladder: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rungs of a ladder that have both a factor over the padded reference and a retention."""
    floor_per_s = ladder.set_index("rung")["throughput_per_s"].get(rungs.PADDED)
    found = []
    for row in ladder.itertuples():
        factor = row.speedup_vs_padded
        if row.rung.startswith(rungs.FLOOR) and floor_per_s and pd.notna(row.throughput_per_s):
            factor = row.throughput_per_s / floor_per_s  # a floor stands on nothing, so it has no steps
        if pd.notna(factor) and pd.notna(row.retention):
            found.append({"rung": row.rung, "factor": float(factor), "retention": float(row.retention)})
    return found


def kind(rung: str) -> str:
    """Say what a point is: a "floor", a "system" or a "model"."""
    return "floor" if rung.startswith(rungs.FLOOR) else "system" if rung.startswith(rungs.SYSTEM) else "model"


def best(found: Sequence[Point], levels: Sequence[float]) -> list[dict[str, Any]]:
    """Return for each of ``levels`` the fastest model, and the fastest of all, that keep so much; None: none does."""
    rows = []
    for level in sorted(levels):
        able = [point for point in found if point["retention"] >= level - ROUNDING]
        of_models = [point for point in able if kind(point["rung"]) == "model"]
        row: dict[str, Any] = {"at least %": 100 * level}
        for name, among in (("model", of_models), ("all", able)):
            fastest = max(among, key=lambda point: point["factor"], default=None)
            row |= {name: fastest and fastest["rung"], f"{name}, times padded": fastest and fastest["factor"]}
        rows.append(row)
    return rows


def steps(found: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in both, from the slowest to the fastest."""
    kept: list[Point] = []
    for point in sorted(found, key=lambda each: (-each["factor"], -each["retention"])):
        if not kept or point["retention"] > kept[-1]["retention"]:
            kept.append(point)
    return kept[::-1]
