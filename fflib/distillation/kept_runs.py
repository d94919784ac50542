"""What kept runs measured in chapter 3, as tables that stand beside the few points of a run that saves minutes.

Chapter 4 shows what the same runs found.

Their numbers are of other machines and of the code and data of their day, so each table says which and when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from IPython.display import Markdown

from fflib import display
from fflib.distillation.students import TEACHER

LONGER = "docs-cpu-long"  # params/docs-cpu-long.yaml: every route and change that these chapters know
RUNS: Mapping[str, str] = {  # and how their task differs from that of the default run
    LONGER: "the default task, with every student, route and change tried",
    "docs-cpu": "the default run",
    "docs-cpu-three-seeds": "an earlier version of the default task, which is easier",
    "boolq-after-docs": "BoolQ, a task of SuperGLUE, whose teacher had first learnt that earlier version",
}
HOW_TO = (
    f"`make book RUN={LONGER}` measures the longer table (hours on two cores, in a folder of its own), and "
    f"`.venv/bin/python -m fflib.book.reference --run {LONGER} --numbers` keeps it; from then on it stands here."
)


class KeptRun(Protocol):
    """The record of this chapter in a kept run, see ``Bench.kept``."""

    facts: Mapping[str, Any]
    label: str  # machine, date and commit


def opened(kept: Callable[[str], KeptRun | None]) -> dict[str, KeptRun]:
    """Return those of `RUNS` that there are; ``kept`` finds one by its name."""
    found = {name: kept(name) for name in RUNS}
    return {name: run for name, run in found.items() if run is not None}


def by_split(grid: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """Split the students that a run tried into a table of dev, where one is chosen, and one of test."""
    on_dev = {
        "student": "student",
        "MB": "size (MB)",
        "minutes of training": "training (min)",
        "dev": "dev score",
        "of the teacher's": "share of the teacher's score",
        "keeps the rule": "keeps the rule",
    }
    on_test = {"student": "student", "test": "test score", "95 % from": "95 % from", "to": "to"}
    on_test |= {"of the teacher's on test": "share of the teacher's score"}
    return [[{heads[key]: row[key] for key in heads} for row in grid] for heads in (on_dev, on_test)]


def students(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each student that was tried."""
    return [
        {
            "student": row["student"],
            "dev": row["dev"],
            "share of teacher's": row["of the teacher's"],
            "test": row["test"],
            "share of teacher's on test": row["of the teacher's on test"],
        }
        for row in facts.get("grid", [])
        if row["student"] != TEACHER
    ]


def routes(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each other route, with what it scores above the two stages on test."""
    return [
        {
            "route": row["route"],
            "test (%)": row["test %"],
            "difference (points)": row["against two stages, points"],
            "from": row["95 % from"],
            "to": row["to"],
        }
        for row in facts.get("routes", [])
        if row["route"] != "two stages"
    ]


def changes(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each change to the recipe, with what it scores above the recipe on dev."""
    ablation = facts.get("ablation", {})
    return [
        {
            "change": row["name"],
            "texts": str(ablation["n_train"]),
            "recipe on dev (%)": 100 * ablation["base"],
            "difference (points)": 100 * row["difference"],
            "from": 100 * row["low"],
            "to": 100 * row["high"],
        }
        for row in ablation.get("rows", [])
    ]


def curve(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each number of training texts."""
    return [
        {"texts": f"{count:,}", "dev (%)": 100 * value, "from": 100 * low, "to": 100 * high}
        for count, value, low, high in facts.get("data_curve", [])
    ]


def table(
    kept: Mapping[str, KeptRun],
    rows: Callable[[Mapping[str, Any]], list[dict[str, Any]]],
    here: Mapping[str, Any],
    in_full: bool = False,
) -> Markdown:
    """Show what this run found, ``here`` (its facts), above what each kept run did, and below it which runs these are.

    ``in_full``: also how their tasks differ, and how to get the longer table where there is none.
    """
    found = {"this run": rows(here)} | {name: rows(run.facts) for name, run in kept.items()}
    lines = [{"run": name} | row for name, each in found.items() for row in each]
    about = [f"- {run.label}" + f": {RUNS[name]}" * in_full for name, run in kept.items() if found[name]]
    missing = [HOW_TO] if in_full and LONGER not in kept else []
    shown = [display.table(lines, decimals=1).data] if lines else []
    return Markdown("\n\n".join([*shown, "\n".join(about), *missing]))
