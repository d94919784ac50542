"""Rungs and the ladder they make: the public table of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fflib.files import InputError, atomic_path, resolve
from fflib.measure import cost
from fflib.measure.timing import Check, Timing

COLUMNS = (  # of ladder.csv, a public interface: names and order stay
    "rung", "stacks_on", "model", "engine", "precision", "batching", "batch_size", "threads", "instances",
    "latency_p50_ms", "latency_p95_ms", "n_requests", "throughput_per_s",
    "speedup_step", "speedup_vs_padded", "speedup_vs_unpadded",
    "accuracy", "accuracy_low", "accuracy_high", "retention",
    "model_mb", "usd_per_100m", "energy_wh_per_1k", "energy_source", "status",
    "keeps_rule",
)  # fmt: skip
BELOW = "below the rule"  # what a page calls a rung whose `keeps_rule` is "no"
PADDED, UNPADDED = "reference padded", "reference unpadded"  # the two baselines every speed-up refers to
FLOOR = "floor: "  # how the names of rungs begin that no fine-tuned transformer stands behind
SYSTEM = "system: "  # how those begin that are more than the model alone: the headline is never one of them


@dataclass
class Rung:
    """One row of the ladder with its evidence. None means not measured; the relative columns come from `ladder`."""

    rung: str
    stacks_on: str
    model: str
    engine: str
    precision: str
    batching: str
    batch_size: int | None
    threads: int
    instances: int = 1
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    n_requests: int | None = None
    throughput_per_s: float | None = None
    paired_baseline_per_s: float | None = (
        None  # throughput of the rung below, timed again beside this one; see `ladder`
    )
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    retention: float | None = None
    model_mb: float | None = None
    usd_per_100m: float | None = None
    energy_wh_per_1k: float | None = None
    energy_source: str = ""
    status: str = "ok"
    keeps_rule: str = ""  # "yes" or "no": whether it keeps min_retention of the teacher's score on dev; "": not asked
    evidence: dict[str, Any] = field(default_factory=dict)

    def timed(self, timing: Timing, checked: Check | None, usd_per_hour: float) -> Rung:
        """Fill in what was measured, with the raw samples and the check behind it; return the rung itself."""
        self.latency_p50_ms, self.latency_p95_ms = timing.latency_p50_ms, timing.latency_p95_ms
        self.n_requests, self.throughput_per_s = timing.n_requests, timing.throughput_per_s
        self.usd_per_100m = cost.usd_per_100m(timing.throughput_per_s, usd_per_hour)
        self.energy_wh_per_1k = timing.wh_per_1k
        self.energy_source = "" if timing.wh_per_1k is None else cost.counted_by()
        self.evidence |= {
            "batch_seconds": np.round(timing.seconds, 6).tolist(),
            "batch_sizes": timing.batch_sizes.tolist(),
            "throughput_interval_per_s": timing.throughput_interval(),
            "check": asdict(checked) if checked else None,
        }
        return self

    def scored(self, accuracy: float, interval: tuple[float, float], teacher_accuracy: float | None) -> Rung:
        """Fill in the accuracy on the reported split, its interval and its share of the teacher's.

        None stands for a teacher of which no share is shown, since it is not clearly above the floors.
        """
        self.accuracy, (self.accuracy_low, self.accuracy_high) = accuracy, interval
        self.retention = kept(accuracy, teacher_accuracy) if teacher_accuracy else None
        return self


def kept(score: float, teacher_score: float) -> float:
    """Return the share of a teacher's score that is kept; NaN where it has none, as one that says no to everything."""
    return score / teacher_score if teacher_score else float("nan")


def kept_words(retention: float | None) -> str:
    """Write what share of its teacher's score a rung keeps; '' where none is shown: of none, or an unclear teacher."""
    return "" if retention is None or pd.isna(retention) else f"{retention:.1%}"


def ladder(rungs: Sequence[Mapping[str, Any]], watts_per_core: float | None = None) -> pd.DataFrame:
    """Return the ladder: one row a rung, the columns of `COLUMNS`; a speed-up is empty where one side is missing.

    With ``watts_per_core`` energy that was not counted is estimated, and labelled so.

    ``speedup_step`` is the ratio of throughputs to the rung named in ``stacks_on``, both timed in the same rounds: that
    rung's own throughput where they share a chapter, else ``paired_baseline_per_s``. The speed-ups against the two
    references are the products of these steps: a machine that is faster than an hour ago does not pass for a better
    rung.
    """
    by_name = {rung["rung"]: rung for rung in rungs}
    if len(by_name) < len(rungs):
        raise InputError("two rungs of the ladder have one name; every rung needs a name of its own")

    def step(rung: Mapping[str, Any]) -> float:
        paired = rung.get("paired_baseline_per_s")
        below = paired or by_name.get(rung["stacks_on"], {}).get("throughput_per_s")
        return rung["throughput_per_s"] / below if below and rung["throughput_per_s"] else np.nan

    def against(baseline: str, rung: Mapping[str, Any]) -> float:
        """Multiply the steps from ``rung`` down to the one that stacks on nothing."""
        if rung["stacks_on"]:
            below = by_name.get(rung["stacks_on"])
            return step(rung) * against(baseline, below) if below else np.nan
        ground = by_name.get(baseline, {}).get("throughput_per_s")
        return rung["throughput_per_s"] / ground if ground and rung["throughput_per_s"] else np.nan

    table = pd.DataFrame([{name: rung.get(name) for name in COLUMNS} for rung in rungs], columns=list(COLUMNS))
    table = table.astype({"accuracy": float, "retention": float})  # also where no rung has one
    table["keeps_rule"] = [rung.get("keeps_rule") or "" for rung in rungs]  # records of older code have none
    table["speedup_step"] = [step(rung) for rung in rungs]
    for column, baseline in (("speedup_vs_padded", PADDED), ("speedup_vs_unpadded", UNPADDED)):
        table[column] = [against(baseline, rung) for rung in rungs]
    return _with_energy(table, watts_per_core) if watts_per_core else table


def _with_energy(table: pd.DataFrame, watts_per_core: float) -> pd.DataFrame:
    guessed = table["energy_wh_per_1k"].isna() & table["throughput_per_s"].notna()
    values = [
        cost.estimated_wh_per_1k(watts_per_core, row.threads * row.instances, row.throughput_per_s)
        for row in table[guessed].itertuples()
    ]
    table["energy_wh_per_1k"] = table["energy_wh_per_1k"].astype(float)
    table.loc[guessed, "energy_wh_per_1k"] = values
    table.loc[guessed, "energy_source"] = cost.estimated(watts_per_core)
    return table


def stack(table: pd.DataFrame, last: str) -> list[str]:
    """Return the rungs that ``last`` stands on, from the ground up, and itself; all others are another way."""
    below, names = dict(zip(table["rung"], table["stacks_on"], strict=True)), [last]
    while below[names[0]]:
        names.insert(0, below[names[0]])
    return names


def ladder_markdown(table: pd.DataFrame) -> str:
    """Render the columns a reader compares, as a Markdown table; an empty cell was not measured."""
    shown = pd.DataFrame(
        {
            "rung": table["rung"],
            "p50 ms": _format(table["latency_p50_ms"], "{:.1f}"),
            "p95 ms": _format(table["latency_p95_ms"], "{:.1f}"),
            "requests/s": _format(table["throughput_per_s"], "{:.1f}"),
            "step": _format(table["speedup_step"], "{:.2f}x"),
            "vs padded": _format(table["speedup_vs_padded"], "{:.1f}x"),
            "vs unpadded": _format(table["speedup_vs_unpadded"], "{:.1f}x"),
            "accuracy (95 %)": [_accuracy(row) for row in table.itertuples()],
            "MB": _format(table["model_mb"], "{:.0f}"),
            "USD/100M": _format(table["usd_per_100m"], "{:.0f}"),
            "status": [_status(row) for row in table.itertuples()],
        }
    )
    return shown.to_markdown(index=False, disable_numparse=True, colalign=("left", *("right",) * 9, "left"))


def write_ladder(folder: str | Path, table: pd.DataFrame) -> None:
    """Write ``ladder.csv`` (the public interface) and ``ladder.md`` into a run's folder."""
    folder = resolve(folder)
    with atomic_path(folder / "ladder.csv") as temporary:
        table.to_csv(temporary, index=False)
    with atomic_path(folder / "ladder.md") as temporary:
        temporary.write_text(ladder_markdown(table) + "\n", encoding="utf-8")


def _format(column: pd.Series, pattern: str) -> list[str]:
    return ["" if pd.isna(value) else pattern.format(value) for value in column]


def _status(row: Any) -> str:
    return BELOW if row.status == "ok" and row.keeps_rule == "no" else row.status


def _accuracy(row: Any) -> str:
    if pd.isna(row.accuracy):
        return ""
    return f"{row.accuracy:.1%} ({row.accuracy_low:.1%} to {row.accuracy_high:.1%})"
