"""Rungs and facts: what a chapter leaves for the chapters after it, and the ladder that is made of them.

A chapter's JSON is written last and atomically; that it exists is the only mark of "done".
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from fflib import cost, hardware, params, provenance
from fflib.files import InputError, atomic_path, resolve, write_json
from fflib.measure import Check, Timing

SCHEMA_VERSION = 1
COLUMNS = (  # of ladder.csv, a public interface: names and order stay
    "rung", "stacks_on", "model", "engine", "precision", "batching", "batch_size", "threads", "instances",
    "latency_p50_ms", "latency_p95_ms", "n_requests", "throughput_per_s",
    "speedup_step", "speedup_vs_padded", "speedup_vs_unpadded",
    "accuracy", "accuracy_low", "accuracy_high", "retention",
    "model_mb", "usd_per_100m", "energy_wh_per_1k", "energy_source", "status",
)  # fmt: skip
PADDED, UNPADDED = "reference padded", "reference unpadded"  # the two baselines every speed-up refers to


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
    anchor_per_s: float | None = None  # throughput of the rung below, timed again beside this one; see `ladder`
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    retention: float | None = None
    model_mb: float | None = None
    usd_per_100m: float | None = None
    energy_wh_per_1k: float | None = None
    energy_source: str = ""
    status: str = "ok"
    evidence: dict[str, Any] = field(default_factory=dict)

    def timed(self, timing: Timing, checked: Check | None, usd_per_hour: float) -> Rung:
        """Fill in what was measured, with the raw samples and the check behind it; return the rung itself."""
        self.latency_p50_ms, self.latency_p95_ms = timing.latency_p50_ms, timing.latency_p95_ms
        self.n_requests, self.throughput_per_s = timing.n_requests, timing.throughput_per_s
        self.usd_per_100m = cost.usd_per_100m(timing.throughput_per_s, usd_per_hour)
        self.evidence |= {
            "batch_seconds": np.round(timing.seconds, 6).tolist(),
            "batch_sizes": timing.batch_sizes.tolist(),
            "throughput_interval_per_s": timing.throughput_interval(),
            "check": asdict(checked) if checked else None,
        }
        return self

    def scored(self, accuracy: float, interval: tuple[float, float], teacher_accuracy: float) -> Rung:
        """Fill in the accuracy on the reported split, its interval and its share of the teacher's."""
        self.accuracy, (self.accuracy_low, self.accuracy_high) = accuracy, interval
        self.retention = accuracy / teacher_accuracy
        return self


class Chapter:
    """A chapter at work: where it writes, the rungs and facts it gathered. `save` marks it done."""

    def __init__(self, name: str, namespace: Mapping[str, Any]) -> None:
        self.name = name
        self.values = {key: params.check_value(p, namespace[key]) for key, p in params.declared(name).items()}
        self.folder = resolve(self.values["run_dir"])
        self.rungs: list[Rung] = []
        self.facts: dict[str, Any] = {}
        # Taken before anything runs: code that is edited meanwhile must not lend its name to these results.
        self._key = provenance.chapter_key(name, self.values)
        self._start = time.perf_counter()
        self._summary: Any = None

    def show_summary(self) -> None:
        """Show the chapter's table here, on top; `save` fills it in when the numbers are there."""
        self._summary = display(Markdown("*The chapter's rungs appear here when it has run.*"), display_id=True)

    def add(self, rung: Rung) -> None:
        """Add a rung; its name must be new in this chapter."""
        if rung.rung in [known.rung for known in self.rungs]:
            raise InputError(f"chapter {self.name} has two rungs named '{rung.rung}'")
        self.rungs.append(rung)

    def save_figure(self, figure: Figure, name: str) -> Path:
        """Write ``figures/<name>.png`` for the page and ``.svg`` for slides; return the PNG's path."""
        for kind in ("svg", "png"):
            path = self.folder / "figures" / f"{name}.{kind}"
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=kind, dpi=150)
        return path

    def save(self) -> Path:
        """Write ``results/<name>.json``: the rungs, the facts, and what they came from."""
        path = self.folder / "results" / f"{self.name}.json"
        record = {
            "schema_version": SCHEMA_VERSION,
            "chapter": self.name,
            "key": self._key,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._start, 1),
            "parameters": self.values,
            "machine": hardware.card(),
            "facts": self.facts,
            "rungs": [asdict(rung) for rung in self.rungs],
        }
        write_json(path, record)
        if self._summary and self.rungs:
            self._summary.update(Markdown(ladder_markdown(ladder(self._rungs_so_far()))))
        return path

    def _rungs_so_far(self) -> list[dict[str, Any]]:
        names = sorted(path.stem for path in (self.folder / "results").glob("*.json"))
        return [rung for name in names if name <= self.name for rung in read(self.folder, name)["rungs"]]


def read(folder: str | Path, chapter: str) -> dict[str, Any]:
    """Return what a chapter saved.

    Raises:
        InputError: the chapter has not run, its file is damaged, or it came from other code, packages or hardware.
    """
    path = resolve(folder) / "results" / f"{chapter}.json"
    if not path.exists():
        raise InputError(
            f"{path.name} is not in {path.parent}; run chapter {chapter} first, or the whole book (make book)"
        )
    try:
        record = loads(path.read_text(encoding="utf-8"))
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it and run again") from error
    if record.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"{path.name} has another schema than this code writes; delete it and run again")
    if record["key"] != provenance.chapter_key(chapter, record["parameters"]):
        raise InputError(f"{chapter} was measured with other code, packages or hardware than now; run the book again")
    return record


def set_aside(folder: Path, chapter: str, key: str) -> bool:
    """Rename a chapter's result to ``.old`` unless it has ``key``, so that it is made anew; say whether it was."""
    path = folder / "results" / f"{chapter}.json"
    try:
        current = loads(path.read_text(encoding="utf-8")).get("key") == key
    except FileNotFoundError:
        return False
    except (JSONDecodeError, UnicodeDecodeError):
        current = False
    if not current:
        path.replace(path.with_suffix(".json.old"))
    return not current


def read_all(folder: str | Path, before: str = "99") -> list[dict[str, Any]]:
    """Return the records of a run's chapters from 01 up to ``before``, each as `read` does; InputError: mixed data."""
    names = sorted(path.stem for path in (resolve(folder) / "results").glob("*.json") if "01" < path.stem < before)
    records = [read(folder, name) for name in names]
    fingerprints = [record["facts"]["data_fingerprint"] for record in records if "data_fingerprint" in record["facts"]]
    if any(fingerprint != fingerprints[0] for fingerprint in fingerprints):
        raise InputError("the chapters of this run saw different data; run the book again")
    return records


def ladder(rungs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the ladder: one row a rung, the columns of `COLUMNS`; a speed-up is empty where one side is missing.

    ``speedup_step`` is the ratio of throughputs to the rung named in ``stacks_on``, both timed in the same rounds: that
    rung's own throughput where they share a chapter, else ``anchor_per_s``. The speed-ups against the two references
    are the products of these steps: a machine that runs faster than an hour ago does not pass for a better rung.
    """
    by_name = {rung["rung"]: rung for rung in rungs}
    if len(by_name) < len(rungs):
        raise InputError("two rungs of the ladder have one name; every rung needs a name of its own")

    def step(rung: Mapping[str, Any]) -> float:
        below = rung.get("anchor_per_s") or by_name.get(rung["stacks_on"], {}).get("throughput_per_s")
        return rung["throughput_per_s"] / below if below and rung["throughput_per_s"] else np.nan

    def against(baseline: str, rung: Mapping[str, Any]) -> float:
        """Multiply the steps from ``rung`` down to the one that stacks on nothing."""
        if rung["stacks_on"]:
            below = by_name.get(rung["stacks_on"])
            return step(rung) * against(baseline, below) if below else np.nan
        ground = by_name.get(baseline, {}).get("throughput_per_s")
        return rung["throughput_per_s"] / ground if ground and rung["throughput_per_s"] else np.nan

    table = pd.DataFrame([{name: rung.get(name) for name in COLUMNS} for rung in rungs], columns=list(COLUMNS))
    table["speedup_step"] = [step(rung) for rung in rungs]
    for column, baseline in (("speedup_vs_padded", PADDED), ("speedup_vs_unpadded", UNPADDED)):
        table[column] = [against(baseline, rung) for rung in rungs]
    return table


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
            "status": table["status"],
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


def _accuracy(row: Any) -> str:
    if pd.isna(row.accuracy):
        return ""
    return f"{row.accuracy:.1%} ({row.accuracy_low:.1%} to {row.accuracy_high:.1%})"
