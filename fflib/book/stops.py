"""The ladder to touch, in the rendered book: a stop a rung, with what it is made of, its cost and its accuracy.

All texts are made here; the script ``theme/static/ladder.js`` only lays them out. Without JavaScript the table stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fflib.runs import ladder, run_folder
from fflib.story import factors

SCRIPT = "_static/ladder.js"
MADE_OF = ("model", "engine", "precision", "batching", "threads", "instances")
COSTS = {  # what is written -> column, how
    "requests/s": ("throughput_per_s", "{:,.1f}"),
    "median latency": ("latency_p50_ms", "{:,.1f} ms"),
    "vs the rung below": ("speedup_step", "{:.2f}x"),
    "vs padded": ("speedup_vs_padded", "{:,.1f}x"),
    "vs unpadded": ("speedup_vs_unpadded", "{:,.1f}x"),
    "size of the model": ("model_mb", "{:,.1f} MB"),
    "100 million requests": ("usd_per_100m", "{:,.0f} USD"),
    "1,000 requests": ("energy_wh_per_1k", "{:.3f} Wh"),
}


def markdown(folder: Path) -> str:
    """Return the cell that shows the stops of a run's folder. InputError: the run is not whole, or is damaged."""
    side = run_folder.load(folder)
    last = factors.last_rung([record for record in side.records if "01" < record["chapter"] < "09"])
    told = json.dumps(stops(side.ladder, last)).replace("</", "<\\/")
    data = f'<script type="application/json" id="ladder-data">{told}</script>'
    return f'```{{raw}} html\n<div id="ladder-stops" hidden></div>\n{data}\n<script src="{SCRIPT}"></script>\n```'


def stops(table: pd.DataFrame, last: str) -> list[dict[str, Any]]:
    """Return a stop for each rung of the ladder ``table`` that ran; ``taken`` are those that ``last`` stands on."""
    taken, rows = ladder.stack(table, last), {row["rung"]: row for row in table.to_dict("records")}
    return [_stop(row, rows.get(row["stacks_on"], {}), name in taken) for name, row in rows.items() if _is_known(row)]


def _is_known(row: Mapping[str, Any]) -> bool:
    return row["status"] == "ok" and row["speedup_vs_padded"] > 0


def _stop(row: Mapping[str, Any], below: Mapping[str, Any], taken: bool) -> dict[str, Any]:
    """Give each part with whether it is another one than that of the rung below."""
    made_of = [
        {"name": name, "text": _number(row[name], "{:g}"), "changed": bool(below) and row[name] != below[name]}
        for name in MADE_OF
    ]
    costs = [{"name": name, "text": _number(row[column], how)} for name, (column, how) in COSTS.items()]
    costs[-1]["text"] += " (estimated)" if row["energy_source"].startswith("estimated") else ""
    accuracy = _number(row["accuracy"], "{:.1%}")
    if pd.notna(row["accuracy_low"]):
        accuracy += f" (95 %: {row['accuracy_low']:.1%} to {row['accuracy_high']:.1%})"
    quality = [{"name": "accuracy", "text": accuracy}, {"name": "kept of its teacher's", "text": _kept(row)}]
    return {
        "rung": row["rung"],
        "what": factors.WHAT_IT_DOES.get(factors.technique_of(row["rung"]), "") if row["stacks_on"] else "",
        "below": row["stacks_on"],
        "taken": taken,
        "factor": row["speedup_vs_padded"],
        "factorText": f"{row['speedup_vs_padded']:,.1f}x",
        "madeOf": made_of,
        "costs": costs,
        "quality": quality,
    }


def _number(value: Any, how: str) -> str:
    if isinstance(value, str):
        return value
    return "not measured" if pd.isna(value) else how.format(value)


def _kept(row: Mapping[str, Any]) -> str:
    below = f", {ladder.BELOW}" if row["keeps_rule"] == "no" else ""
    return (ladder.kept_words(row["retention"]) or "not told") + below
