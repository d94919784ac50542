"""The runs of a sweep side by side: accuracy, speed and cost by task, from what they left.

Plain functions; nothing is measured here. A run that is missing or failed has no number. `tables_markdown` renders.
(Longer than 200 lines: a function a column.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fflib.data import registry
from fflib.files import InputError, outputs_dir
from fflib.runs import ladder as rungs
from fflib.runs import param_files, params, records, run_folder, sweep_plan
from fflib.runs.run_folder import Side
from fflib.story import factors, fastformers, headline_told

WITHOUT_NUMBERS = ("00_introduction", "08_beyond")  # for these tables, which are of models and not of systems
Row = Mapping[str, Any]  # the columns of `COLUMNS`; None: not measured
STUDENT = "distilled student"
SMOKE = "smoke"  # the size whose numbers mean nothing
COLUMNS = (  # of tables.csv
    "task", "run", "after", "size", "metric", "n_train", "n_test", "teacher", "teacher_low", "teacher_high", "student",
    "student_low", "student_high", "rung", "served", "served_low", "served_high", "most_frequent", "retention",
    "speedup_vs_padded", "speedup_vs_unpadded", "speedup_vs_teacher", "energy_factor", "energy_wh_per_1k",
    "energy_source", "usd_per_100m", "throughput_per_s", "cpu", "cores", "status", "factors",
    "floor", "floor_score", "floor_low", "floor_high", "above_floor", "above_floor_low", "above_floor_high",
    "teacher_is_clear", "node",
)  # fmt: skip
# Examples of SuperGLUE's train and val (the book's test) by its paper, 1905.00537; COPA's and MultiRC's by answers. Of
# ReCoRD it tells the queries, and each of them is as many examples as its passage has entities: nothing to compare.
OFFICIAL = {
    "BoolQ": {"train": 9427, "test": 3270}, "CB": {"train": 250, "test": 56}, "COPA": {"train": 800, "test": 200},
    "MultiRC": {"train": 27243, "test": 4848},
    "RTE": {"train": 2490, "test": 277}, "WiC": {"train": 5428, "test": 638},
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One run of the tables: what it left, or the sentence that says why there is nothing to show."""

    name: str  # of its folder
    task: str  # '' where nothing tells it
    side: Side | None
    problem: str = ""


def gather(names: Sequence[str]) -> list[Entry]:
    """Read the runs in the folders ``names`` under outputs/, of any machine and code; a run may be missing or failed.

    InputError: no name, or one twice.
    """
    if not names or len({*names}) < len(names):
        raise InputError("give the folders of the runs, each once, e.g. runs=[boolq-minilm, rte-minilm]")
    return [_entry(outputs_dir() / name) for name in names]


def _entry(folder: Path) -> Entry:
    try:
        side, problem = run_folder.load(folder), ""
        needed = [chapter for chapter in params.chapters() if chapter not in WITHOUT_NUMBERS]
        if lacking := records.missing(side.records, needed):
            problem = f"{lacking[0]} is missing, or older than a chapter before it; run the run again"
    except InputError as error:
        side, problem = None, str(error)
    if not problem:
        return Entry(folder.name, _parameters(side).get("task", ""), side)
    return Entry(folder.name, _task_of(folder), None, sweep_plan.failure(folder) or problem)


def _task_of(folder: Path) -> str:
    """Name the task of a run that is not whole: by what it left, else by its file in params/."""
    try:
        return records.read_file(folder / "results" / "01_baseline.json")["parameters"].get("task", "")
    except InputError:
        known = [name for name in param_files.runs() if f"{folder.name}-".startswith(f"{name}-")]
        name = max(known, key=len, default="")  # with another size or hardware, the folder's name goes on
        return str(param_files.read_run(name).get("task", "")) if name else ""


def rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return a row of `COLUMNS` for each run, and for each task of the paper that no run is on, in its order."""
    there = {entry.task for entry in entries}
    absent = [{"task": task, "run": "", "status": "no run"} for task in fastformers.TASKS if task not in there]
    found = [*(_row(entry) for entry in entries), *absent]
    place = {task: i for i, task in enumerate(fastformers.TASKS)}
    found.sort(key=lambda row: place.get(row["task"], len(place)))
    return [{name: row.get(name) for name in COLUMNS} for row in found]


def _row(entry: Entry) -> dict[str, Any]:
    if entry.side is None:
        return {"task": entry.task, "run": entry.name, "status": f"failed: {entry.problem}"}
    ladder, parameters = entry.side.ladder.set_index("rung"), _parameters(entry.side)
    facts = {record["chapter"]: record["facts"] for record in entry.side.records}
    last = factors.last_rung([record for record in entry.side.records if record["chapter"] < "09_story"])
    end, teacher, padded = (_rung(ladder, name) for name in (last, factors.TEACHER, rungs.PADDED))
    headline = headline_told.of_records(entry.side.records)
    return {
        "task": entry.task, "run": entry.name, "after": _after(parameters), "size": parameters.get("size"),
        "metric": _metric(entry.task),
        **_counts(entry.side, facts), **_scores("teacher", teacher), **_scores("student", _rung(ladder, STUDENT)),
        "rung": last, **_scores("served", end),
        "retention": end.get("retention") if records.teacher_is_clear(facts["01_baseline"]) else None,
        "most_frequent": facts["09_story"].get("speedups", {}).get("most_frequent_answer"),
        "speedup_vs_padded": end.get("speedup_vs_padded"), "speedup_vs_unpadded": end.get("speedup_vs_unpadded"),
        "speedup_vs_teacher": _over_teacher(headline, end, teacher), "factors": "measured" if headline else "products",
        **_bill(end, padded), **_machine(entry.side), "status": "ok", **_floors(facts["01_baseline"]),
    }  # fmt: skip


def _over_teacher(headline: Row | None, end: Row, teacher: Row) -> float | None:
    """Return how many times as fast as the run's own teacher the last rung is: measured, else the product of steps."""
    if headline:
        return headline["against"][factors.AGAINST[3]]["factor"]
    return _over(end.get("speedup_vs_padded"), teacher.get("speedup_vs_padded"))


def _floors(baseline: Row) -> dict[str, Any]:
    """Return the best floor and by how many points the teacher is above it on test; {} of a run that had no floors."""
    if not (found := baseline.get("floors")):
        return {}
    best = next(row for row in found["rows"] if row["floor"] == found["best"])
    above = found["teacher_above_best"]
    return {
        "floor": found["best"],
        **{f"floor_{end}": best[name] for end, name in (("score", "test"), ("low", "low"), ("high", "high"))},
        **{f"above_floor{end}": above[name] for end, name in (("", "points"), ("_low", "low"), ("_high", "high"))},
        "teacher_is_clear": records.teacher_is_clear(baseline),
    }


def _bill(end: Row, padded: Row) -> dict[str, Any]:
    """Return what the last rung costs by the factors from the padded reference on, as in the story.

    So the machine's drift between chapters is in none of it.
    """
    per_s = _times(end.get("speedup_vs_padded"), padded.get("throughput_per_s"))
    drift = _over(end.get("throughput_per_s"), per_s)
    energy = _times(end.get("energy_wh_per_1k"), drift)
    return {
        "throughput_per_s": per_s,
        "usd_per_100m": _times(end.get("usd_per_100m"), drift),
        "energy_wh_per_1k": energy,
        "energy_factor": _over(padded.get("energy_wh_per_1k"), energy),
        "energy_source": end.get("energy_source"),
    }


def _machine(side: Side) -> dict[str, Any]:
    """Return the machine, or the machines: the chapters of one run may come from several."""
    machines = [record["machine"] for record in side.records if record["rungs"]]
    return {
        "cpu": ", ".join(dict.fromkeys(str(machine.get("cpu")) for machine in machines)),
        "cores": ", ".join(dict.fromkeys(str(machine.get("cores_available")) for machine in machines)),
        "node": ", ".join(dict.fromkeys(machine["node"] for machine in machines if machine.get("node"))),
    }


def _counts(side: Side, facts: Mapping[str, Row]) -> dict[str, int | None]:
    """Return how many examples were trained and tested on; None: all that its source held, which nothing counted."""
    counted, asked = facts["01_baseline"].get("n_examples", {}), _parameters(side)
    official = OFFICIAL.get(asked.get("task"), {})

    def limit(split: str) -> int | None:
        count = asked.get(f"n_{split}") or math.inf
        return count if count < official.get(split, math.inf) else None

    return {f"n_{split}": counted.get(split) or limit(split) for split in ("train", "test")}


def _after(parameters: Row) -> str:
    """Name the run whose teacher this run's began as, '' where it was no run's: see ``after`` in `params.load_run`."""
    *_, folder, models, name = ("", "", "", *Path(parameters.get("teacher", "")).parts)
    return folder if models == "models" and name.startswith("teacher-") else ""


def _parameters(side: Side) -> Row:
    return next(record["parameters"] for record in side.records if record["chapter"] == "01_baseline")


def _metric(task: str) -> str:
    try:
        return ", ".join(registry.get_task(task).metrics)
    except InputError:  # a run of other code may be on a task that is not known here
        return ""


def _rung(ladder: pd.DataFrame, name: str) -> dict[str, Any]:
    """Return a rung's cells without those that are empty; {} where the run has no such rung."""
    cells = ladder.loc[name].to_dict() if name in ladder.index else {}
    return {column: value for column, value in cells.items() if not pd.isna(value)}


def _scores(name: str, rung: Row) -> dict[str, float | None]:
    ends = {f"{name}_{end}": rung.get(f"accuracy_{end}") for end in ("low", "high")}
    return {name: rung.get("accuracy"), **ends}


def _times(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a * b


def _over(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b


def sources(entries: Sequence[Entry]) -> list[dict[str, str]]:
    """Say for each run where its numbers come from: teacher, size, seeds, machine, versions, date and commit."""
    found = []
    for entry in entries:
        cells = dict.fromkeys(("teacher", "size", "seeds", "machine", "PyTorch", "ONNX Runtime", "ended", "commit"), "")
        if entry.side:
            last, parameters = entry.side.records[-1], _parameters(entry.side)
            versions = last["machine"].get("versions", {})
            cells |= {name: str(parameters.get(name, "")) for name in ("teacher", "size", "seeds")}
            cells |= {"PyTorch": versions.get("torch", ""), "ONNX Runtime": versions.get("onnxruntime", "")}
            cells |= {"machine": _machine_words(_machine(entry.side))}
            cells |= {"ended": last["written"][:10], "commit": last["machine"].get("commit", "")}
        found.append({"run": entry.name, "task": entry.task} | cells)
    return found


def machines(rows: Sequence[Row]) -> list[str]:
    """Describe the machines that the runs come from, each once; two nodes of one kind are two machines."""
    return list(dict.fromkeys(_machine_words(row) for row in rows if row["status"] == "ok"))


def _machine_words(row: Row) -> str:
    node = f", node {row['node']}" if row.get("node") else ""  # of a cluster
    return f"{row['cpu']}, {row['cores']} cores{node}"


def geometric_mean(rows: Sequence[Row], column: str) -> float | None:
    """Return the geometric mean of factors; runs in smoke size count only where there are no others."""
    known = [row for row in rows if row[column]]
    known = [row for row in known if row["size"] != SMOKE] or known
    return math.exp(sum(math.log(row[column]) for row in known) / len(known)) if known else None
