"""The tables of a sweep as text: each task beside FastFormers' Tables 1 and 4, and what a reader must know of them.

Plain functions of the rows of `tables`. An empty cell was not measured. (Longer than 200 lines: two tables, their
notes, and how each kind of number is written.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from fflib.data.registry import get_task
from fflib.files import atomic_path, resolve, write_text
from fflib.runs.ladder import kept_words
from fflib.story import fastformers
from fflib.story.tables import COLUMNS, OFFICIAL, SMOKE, Row, geometric_mean, machines

NO_TEACHER = "no teacher"  # stands where the share kept would, of a teacher that is not clearly above the floors
ABOUT = 0.94  # a smaller share of the official train less dev is a subset; dev is drawn, so its size varies


def accuracy_markdown(rows: Sequence[Row]) -> str:
    """Render Table 1: the models by each task's own metric, with intervals, beside the paper's."""
    theirs = {"BERT": "BERT teacher", "6 layers": "student of BERT, 6 layers, 768 wide"}
    with_floors = any(row["floor"] for row in rows)
    theirs |= {"4 layers": "student of BERT, 4 layers, 312 wide", "RoBERTa": "RoBERTa teacher"}
    cells = [
        {
            "task": name,
            "metric": row["metric"] or "",
            "trained on": _trained_on(row),
            "tested on": _tested_on(row),
            **({"best floor (95 %)": _floor(row), "teacher above it (95 %)": _above_floor(row)} if with_floors else {}),
            **{f"{model} (95 %)": _score(row, model) for model in ("teacher", "student", "served")},
            **{
                f"paper: {whose}": _percent(fastformers.TABLE_1[model].get(row["task"]))
                for whose, model in theirs.items()
            },
        }
        for name, row in zip(labels(rows), rows, strict=True)
    ]
    return _rendered(cells, texts=4)


def speed_markdown(rows: Sequence[Row]) -> str:
    """Render Table 4: accuracy kept, speed-ups, energy and cost by task, and the paper's CPU-only systems.

    What depends on the machine's seconds is left out where the runs come from several machines.
    """
    seconds = len(machines(rows)) == 1
    factors = ("speedup_vs_padded", "speedup_vs_unpadded", "speedup_vs_teacher", "energy_factor")
    means = {name: geometric_mean(rows, name) for name in factors}
    means["retention"] = geometric_mean([row for row in rows if not guesses(row)], "retention")
    count = sum(row["status"] == "ok" for row in rows)
    named = [*zip(labels(rows), rows, strict=True)]
    named += [("*geometric mean*", dict.fromkeys(COLUMNS) | means)] if count > 1 else []
    cells = []
    for name, row in named:
        absolute = {
            "Wh/1000": _number(row["energy_wh_per_1k"], 3),
            "USD/100M": _number(row["usd_per_100m"], 0),
            "requests/s": _number(row["throughput_per_s"], 1),
        }
        cells.append(
            {
                "task": name,
                "served (95 %)": _score(row, "served"),
                "kept": NO_TEACHER if has_no_teacher(row) else kept_words(row["retention"]),
                "vs padded": _factor(row["speedup_vs_padded"]),
                "vs unpadded": _factor(row["speedup_vs_unpadded"]),
                "vs own teacher": _factor(row["speedup_vs_teacher"]),
                "paper, CPU only": ", ".join(_factor(value) for value in papers(row["task"])),
                "energy": _factor(row["energy_factor"]),
                **(absolute if seconds else {}),
            }
        )
    return _rendered(cells, texts=1)


def papers(task: str) -> list[float]:
    """Return the speed-ups of the paper's CPU-only systems on a task, each once; [] where it is not in Table 4."""
    return list(dict.fromkeys(system.speedups[task] for system in fastformers.TABLE_4 if task in system.speedups))


def notes(rows: Sequence[Row]) -> list[str]:
    """Say in sentences what a reader of the tables must know: what is missing, what may not be compared, and why."""
    whole = [row for row in rows if row["status"] == "ok"]
    failed = [row for row in rows if row["status"].startswith("failed")]
    found = [f"No result: {_name(row)}: {row['status'].removeprefix('failed: ').rstrip('.')}." for row in failed]
    if absent := [row["task"] for row in rows if row["status"] == "no run"]:
        found.append(f"No run here is on {', '.join(absent)}: these rows hold the paper's numbers alone.")
    if smoke := [_name(row) for row in whole if row["size"] == SMOKE]:
        found.append(f"In smoke size, whose numbers mean nothing: {', '.join(smoke)}.")
    if len(machines(rows)) > 1:
        left_out = "requests/s, USD and watt-hours are left out, and only factors are comparable"
        found.append(f"The runs come from several machines ({'; '.join(machines(rows))}): {left_out}.")
    if multiplied := [_name(row) for row in whole if row["factors"] == "products"]:
        found.append(f"Factors that are products of steps, not measured side by side: {', '.join(multiplied)}.")
    if taught := [f"{_name(row)} after {row['after']}" for row in whole if row["after"]]:
        uncounted = "on texts that are not counted here"
        found.append(f"A teacher that had learnt another run's task before, {uncounted}: {', '.join(taught)}.")
    if unclear := [row for row in whole if has_no_teacher(row)]:
        shares = ", ".join(f"{_name(row)} ({_above_floor(row)} points above {row['floor']})" for row in unclear)
        found.append(f"No teacher: not clearly above the best floor on dev, so nothing is shown as kept: {shares}.")
    if guessing := [row for row in whole if guesses(row) and not has_no_teacher(row)]:
        shares = ", ".join(f"{_name(row)} ({row['most_frequent']:.1%})" for row in guessing)
        found.append(f"Not clearly above always giving the same answer, so what is kept of it means nothing: {shares}.")
    counted = [row for row in whole if not guesses(row) and row["retention"]]
    if counted and len(counted) < len(whole):
        found.append(
            f"The mean of what is kept is over {', '.join(_name(row) for row in counted)}, other means over all."
        )
    if any(str(row["energy_source"]).startswith("estimated") for row in whole):
        found.append("Energy is an estimate where the processor does not count it: there it follows the time.")
    return found


def write(folder: str | Path, rows: Sequence[Row]) -> None:
    """Write ``tables.csv`` (all columns; empty: not measured) and ``tables.md`` (both tables and the notes)."""
    folder = resolve(folder)
    with atomic_path(folder / "tables.csv") as temporary:
        pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(temporary, index=False)
    notes_list = "\n".join(f"- {note}" for note in notes(rows))
    parts = [
        "**Accuracy by task**",
        accuracy_markdown(rows),
        "**Speed and cost by task**",
        speed_markdown(rows),
        notes_list,
    ]
    write_text(folder / "tables.md", "\n\n".join(part for part in parts if part) + "\n")


def has_no_teacher(row: Row) -> bool:
    """Say whether the teacher of a run is not clearly above the floors; of older runs nobody knows."""
    return row["teacher_is_clear"] is False


def guesses(row: Row) -> bool:
    """Say whether what is served is not clearly above one answer for all by the task's metric, or has no teacher."""
    return has_no_teacher(row) or row["most_frequent"] is not None and (row["served_low"] or 0) <= row["most_frequent"]


def _name(row: Row) -> str:
    return f"{row['task']} ({row['run']})" if row["task"] else str(row["run"])


def labels(rows: Sequence[Row]) -> list[str]:
    """Name the rows; smoke size and why there is nothing are said there, and the run where a task has several."""
    names = [row["task"] or row["run"] for row in rows]
    several = {name for name in names if names.count(name) > 1}
    found = []
    for name, row in zip(names, rows, strict=True):
        said = [row["run"]] * (name in several) + ["smoke"] * (row["size"] == SMOKE)
        said += [] if row["status"] == "ok" else ["no run" if row["status"] == "no run" else "no result"]
        found.append(f"{name} ({', '.join(said)})" if said else name)
    return found


def figure_rows(rows: Sequence[Row]) -> list[dict]:
    """Return the rows as `table_figures.by_task` takes them: with a label, and whether their numbers mean anything."""
    return [
        {**row, "label": label, "smoke": row["size"] == SMOKE, "guesses": guesses(row), "unclear": has_no_teacher(row)}
        for label, row in zip(labels(rows), rows, strict=True)
    ]


def _official(row: Row, split: str) -> int:
    return OFFICIAL.get(row["task"], {}).get(split, 0)


def _trained_on(row: Row) -> str:
    if row["status"] != "ok" or row["n_train"] is None:
        return "" if row["status"] != "ok" else "all there was"
    official = _official(row, "train")
    is_subset = official and row["n_train"] < ABOUT * official * (1 - 1 / get_task(row["task"]).dev_one_in)
    return f"{row['n_train']:,}" + (f", a subset of {official:,}" if is_subset else "")


def _tested_on(row: Row) -> str:
    if row["status"] != "ok" or row["n_test"] is None:
        return "" if row["status"] != "ok" else "all there was"
    official = _official(row, "test")
    return f"{row['n_test']:,}" + (f" of {official:,}" if row["n_test"] < official else "")


def _score(row: Row, name: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return ""
    return f"{value:.1%}" + ("" if low is None or high is None else f" ({low:.1%} to {high:.1%})")


def _floor(row: Row) -> str:
    return f"{_score(row | {'floor': row['floor_score']}, 'floor')}, {row['floor']}" if row["floor"] else ""


def _above_floor(row: Row) -> str:
    points, low, high = (row[f"above_floor{end}"] for end in ("", "_low", "_high"))
    return "" if points is None else f"{points:+.1f} ({low:+.1f} to {high:+.1f})"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}%"


def _factor(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}x"


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:,.{decimals}f}"


def _rendered(cells: Sequence[Mapping[str, str]], texts: int) -> str:
    table = pd.DataFrame(cells)
    sides_of = ("left",) * texts + ("right",) * (len(table.columns) - texts)
    return table.to_markdown(index=False, disable_numparse=True, colalign=sides_of)
