"""How fast at how much kept: for each share of the teacher's score the fastest way to serve that was tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fflib.data.retention import ROUNDING
from fflib.runs import ladder as rungs

Point = Mapping[str, Any]  # rung, factor (times the padded reference), retention, and its interval: low, high
OF_THE_TEACHER = ("teacher padded", "teacher unpadded")
# What stands above the columns of `best`. No two may be alike, so one ends in a space, which no reader sees.
HEADS = {
    "at least %": "keeps at least (%)",
    "model": "the fastest model",
    "model, kept": "what it keeps (95 %)",
    "model, times padded": "times as fast as the padded reference",
    "all": "the fastest of all",
    "all, kept": "what it keeps (95 %) ",
    "all, times padded": "times as fast as the padded reference ",
}


def points(ladder: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rungs of a ladder that have both a factor over the padded reference and a retention.

    The interval of a retention is that of the rung's own score, as if the teacher's were exact. A rung that is the
    teacher itself keeps all of its score, and no draw can change that.
    """
    teachers = {*ladder.loc[ladder["rung"].isin(OF_THE_TEACHER), "model"]}
    floor_per_s = ladder.set_index("rung")["throughput_per_s"].get(rungs.PADDED)
    found = []
    for row in ladder.itertuples():
        factor = row.speedup_vs_padded
        if row.rung.startswith(rungs.FLOOR) and floor_per_s and pd.notna(row.throughput_per_s):
            factor = row.throughput_per_s / floor_per_s  # a floor stands on nothing, so it has no steps
        if pd.notna(factor) and pd.notna(row.retention):
            is_teacher = row.model in teachers and row.retention == 1
            ends = [row.accuracy] * 2 if is_teacher else [row.accuracy_low, row.accuracy_high]
            known = row.accuracy and pd.notna(row.accuracy)  # a score of 0 tells nothing of the teacher's
            low, high = (row.retention * end / row.accuracy if known else math.nan for end in ends)
            point = {"rung": row.rung, "factor": float(factor), "retention": float(row.retention)}
            found.append(point | {"low": float(low), "high": float(high)})
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
            row |= {name: fastest and fastest["rung"], f"{name}, kept": fastest and kept_words(fastest)}
            row[f"{name}, times padded"] = fastest and fastest["factor"]
        rows.append(row)
    return rows


def kept_words(point: Point) -> str:
    """Write what a point keeps, with its interval where it has one of some width."""
    value, low, high = point["retention"], point["low"], point["high"]
    return f"{value:.1%} ({low:.1%} to {high:.1%})" if low < high else f"{value:.1%}"


def told(found: Sequence[Point], rows: Sequence[Mapping[str, Any]], served: str) -> str:
    """Say how far the rows of `best` are to be trusted.

    That is: how uncertain a share is, which faster model may keep as much by the upper end of its interval, and which
    systems keep more than ``served``, the model that answers in them, although they only read less.
    """
    halves = [50 * (point["high"] - point["low"]) for point in found if point["low"] < point["high"]]
    if not halves:
        return ""
    words = ["Each was picked by the value on test alone."]
    words.append(f"A share is uncertain by about **{np.median(halves):.1f} points** to each side.")
    for name, levels in _may_keep(found, rows).items():
        factor = next(point["factor"] for point in found if point["rung"] == name)
        words.append(f"By the upper end of its interval *{name}* ({factor:,.0f} times) may keep {levels}.")
    kept = {point["rung"]: point["retention"] for point in found}
    for name in dict.fromkeys(row["all"] for row in rows):
        if name and kind(name) == "system" and kept[name] > kept.get(served, math.inf):
            more = f"keeps {kept[name]:.1%}, and *{served}*, the same model reading everything, {kept[served]:.1%}"
            words.append(f"*{name}* {more}: by 8.3 such a gain is chance.")
    return " ".join(words)


def _may_keep(found: Sequence[Point], rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return which models would be the fastest of a level if the upper ends counted, and the levels that they miss."""
    missed: dict[str, list[str]] = {}
    for row in rows:
        models = [point for point in found if kind(point["rung"]) == "model"]
        able = [point for point in models if 100 * point["high"] >= row["at least %"]]
        fastest = max(able, key=lambda point: point["factor"], default=None)
        if fastest and fastest["rung"] != row["model"]:
            missed.setdefault(fastest["rung"], []).append(f"{row['at least %']:.4g}%")
    return {name: " and ".join([", ".join(each[:-1]), each[-1]][len(each) == 1 :]) for name, each in missed.items()}


def steps(found: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in both, from the slowest to the fastest."""
    kept: list[Point] = []
    for point in sorted(found, key=lambda each: (-each["factor"], -each["retention"])):
        if not kept or point["retention"] > kept[-1]["retention"]:
            kept.append(point)
    return kept[::-1]
