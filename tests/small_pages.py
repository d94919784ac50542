"""A made-up run and made-up kept runs, for the tests of the pages that are made from records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from small_runs import MACHINE

from fflib.book.pages.sources import Book, Source
from fflib.runs import ladder
from fflib.runs.run_folder import Side

FIELDS = {"model": "m", "engine": "e", "precision": "fp32", "batching": "none", "batch_size": 1, "threads": 2}
FIELDS |= {"instances": 1, "status": "ok", "energy_source": ""}
BEFORE = {"01_baseline": {"teacher": {"accuracy": 0.8}}}


def rung(name: str, on: str, per_s: float | None, accuracy: float | None = None, **more: Any) -> dict[str, Any]:
    scores = {}
    if accuracy:
        scores = {"accuracy": accuracy, "accuracy_low": accuracy - 0.02, "accuracy_high": accuracy + 0.02}
        scores["retention"] = accuracy / 0.8
    times = {"throughput_per_s": per_s, "latency_p50_ms": per_s and 1e3 / per_s, "model_mb": 50.0}
    return FIELDS | {"rung": name, "stacks_on": on} | times | scores | more


ROWS = [
    rung(ladder.PADDED, "", 2.0),
    rung(ladder.UNPADDED, ladder.PADDED, 6.0),
    rung("teacher padded", ladder.PADDED, 10.0, 0.8),
    rung("teacher unpadded", "teacher padded", 40.0, 0.8),
    rung("floor: words", "", 900.0, 0.51, model_mb=None),
    rung("distilled student", "teacher unpadded", 90.0, 0.78, batch_size=4, keeps_rule="yes"),
    rung("pruned <b>", "distilled student", 180.0, 0.7, keeps_rule="no", model_mb=20.0, batch_size=4),
    rung("int8 broken", "distilled student", 400.0, 0.9, status="failed: not served"),
    rung("instances", "distilled student", 360.0, 0.77, keeps_rule="yes"),
]


def source(facts: dict[str, dict[str, Any]], label: str = "", rows: list | None = None, **about: str) -> Source:
    """Return a run of which chapters left ``facts``; its ladder is made of ``rows``."""
    chapters = BEFORE | {"07_serving": {"goes_on_from": "instances"}}
    chapters |= {name: chapters.get(name, {}) | own for name, own in facts.items()}
    machine = MACHINE | {"cpu": about.pop("cpu", MACHINE["cpu"])}
    records = [
        {
            "chapter": chapter, "facts": own, "rungs": [{"rung": "instances"}] if chapter == "07_serving" else [],
            "parameters": {"task": "docs", "min_retention": 0.98}, "machine": machine, "key": "now",
            "written": "2026-01-02T03:04:05+00:00",
        }
        for chapter, own in sorted(chapters.items())
    ]  # fmt: skip
    return Source(Side(label or "here", ladder.ladder(rows or ROWS), records), label, about)


def book(facts: dict[str, dict[str, Any]], *kept: Source, chapters: dict | None = None) -> Book:
    return Book(Path("outputs/made-up"), source(facts), kept, chapters or {})
