"""The same recipes in kept runs, on other processors or with training, beside what this run measured.

A kept run is told here by its facts alone, the dict of a chapter's record, and by a letter that the legend explains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fflib.quantization.study import FLOAT

Row = dict[str, Any]
Facts = Mapping[str, Any]
PREDICTION = {
    "share of the products": "share of products",
    "their speed-up in int8": "their speed-up",
    "predicted speed-up": "predicted",
    "measured speed-up": "measured",
}
PEER = {
    "engine": "engine",
    "mean ms": "ms a request",
    "times our int8": "times our int8",
    "labels kept %": "labels kept %",
    "answers": "answers",
    "two at once, requests/s": "two at once, requests/s",
}


def legend(labels: Mapping[str, str], facts: Mapping[str, Facts]) -> str:
    """Say what each letter stands for: a kept run, and the instruction set that its products took."""
    lines = [
        f"**{letter}**: {label}; int8 by {facts[letter]['int8']['instructions']}" for letter, label in labels.items()
    ]
    return "*Kept for comparison, not measured today.* " + ". ".join(lines) + "." if lines else ""


def recipes_beside(own: Sequence[Facts], kept: Mapping[str, Facts], model: str) -> list[Row]:
    """Set the recipes of ``own``, rows of the fact "recipes", beside those of ``kept`` runs, for one of the models.

    Returns:
        A row a recipe, with how many times as fast as fp32 it is, and what share of the labels it keeps, in each run;
        a run that did not try it leaves its columns empty. No row where no kept run has the model.
    """
    runs = {"here": own} | {letter: facts.get("recipes", []) for letter, facts in kept.items()}
    by_run = {run: {row["recipe"]: row for row in rows if row["model"] == model} for run, rows in runs.items()}
    names = dict.fromkeys(name for rows in by_run.values() for name in rows if name != FLOAT)
    if not any(by_run[letter] for letter in kept):
        return []
    columns = {"speed-up": "speed-up", "labels kept %": "labels kept %"}
    return [
        {"recipe": name}
        | {
            f"{head}, {run}": rows.get(name, {}).get(key)
            for head, key in columns.items()
            for run, rows in by_run.items()
        }
        for name in names
    ]


def processors_beside(own: Facts, kept: Mapping[str, Facts]) -> list[Row]:
    """Set the gain of int8 in each model beside what ``kept`` runs found on their processors.

    ``own`` and ``kept`` have the facts "int8" and "predicted".
    """
    return [
        {"run": run, "instructions": facts["int8"]["instructions"]}
        | {"limit": f"{facts['int8']['most that int8 can gain in a product']:g}", "model": row["model"]}
        | {head: row.get(key) for key, head in PREDICTION.items()}
        for run, facts in {"here": own, **kept}.items()
        for row in facts.get("predicted", [])
    ]


def training_beside(facts: Facts) -> list[Row]:
    """Say of a kept run with training what each recipe loses on dev before and after it has learned with the rounding.

    Returns:
        A row a recipe, or none where the run did not train, or did not note what was lost without training.
    """
    learned, lost = facts.get("quantized_training"), facts.get("lost_points")
    if not learned or not lost:
        return []
    rows = {name: row for name, row in learned.items() if isinstance(row, dict) and name in lost and "dev %" in row}
    after = {row["rung"].removeprefix("int8 "): row["dev points lost"] for row in facts["rungs"]}
    in_fp32 = next((row["dev %"] + after[name] for name, row in rows.items() if row.get("served")), None)
    return [
        {
            "recipe": name,
            "points lost, rounded only": lost[name],
            "points lost, trained with the rounding": None
            if in_fp32 is None
            else round(in_fp32 - row["dev %"], 3) + 0.0,
            "labels kept % after training": row["labels kept %"],
            "may be served": "yes" if row.get("served") else "no",
        }
        for name, row in rows.items()
    ]


def peers(facts: Facts) -> list[Row]:
    """Return the rows of a kept comparison with OpenVINO as a table shows them; none where there is no such fact."""
    return [{head: row[key] for key, head in PEER.items() if key in row} for row in facts.get("peer", [])]
