"""How many instances, with how many threads each: every division of the cores is tried, the best one kept.

FastFormers (2010.13382, table 2) does so for two models by hand. Which division is best depends on the model: a large
product keeps many threads busy, a small one hardly two.

python -m fflib.tuner --run docs-cpu --goal latency --write my-laptop    write params/hardware/my-laptop.yaml
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fflib import params, results
from fflib.files import InputError, atomic_path, check_known, shown

GOALS = ("throughput", "latency")
CHAPTER = "06_runtime"


def divisions(cores: int) -> list[tuple[int, int]]:
    """Return (instances, threads of each): all that use every core evenly, and one instance on fewer threads."""
    sizes = [threads for threads in range(1, cores + 1) if cores % threads == 0]
    return [(1, threads) for threads in sizes] + [(cores // threads, threads) for threads in sizes if threads < cores]


def best(rows: Sequence[Mapping[str, Any]], goal: str) -> Mapping[str, Any]:
    """Return the row of the study with the most ``throughput_per_s``, or the least ``p95_ms`` (goal "latency").

    Those with ``hyper_threads`` are left out: instances are pinned to physical cores.
    """
    check_known("goal", [goal], GOALS)
    rows = [row for row in rows if not row.get("hyper_threads")]
    if not rows:
        raise InputError("no division was measured; run chapter 6 first")
    return max(rows, key=lambda row: row["throughput_per_s"] if goal == "throughput" else -row["p95_ms"])


def write_hardware(name: str, row: Mapping[str, Any], base: Mapping[str, Any], goal: str, machine: str) -> Path:
    """Write ``params/hardware/<name>.yaml``: ``base``, the run's hardware values, with the division of ``row``.

    InputError: the name is no plain file name, or the file is there already, which may be somebody's work.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise InputError(f"{name!r} is no name for a file; give letters, digits and hyphens")
    path = params.PARAMS / "hardware" / f"{name}.yaml"
    if path.exists():
        raise InputError(f"{shown(path)} is there already; give another name, or delete it first")
    values = dict(base) | {"instances": row["instances"], "instance_threads": row["threads"]}
    told = f"# {machine}: the division of its cores with the best {goal}, as chapter 6 measured it.\n"
    with atomic_path(path) as temporary:
        temporary.write_text(told + yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the hardware parameters from what a run measured; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fflib.tuner", description=__doc__.splitlines()[0])
    for option, value, told in (
        ("--run", "docs-cpu", "a file in params/"),
        ("--size", "", "empty: the run's own"),
        ("--hardware", "", "empty: the run's own"),
        ("--goal", "throughput", "throughput or latency"),
    ):
        parser.add_argument(option, default=value, help=told)
    parser.add_argument("--write", required=True, metavar="NAME", help="the new file, params/hardware/NAME.yaml")
    asked = parser.parse_args(arguments)
    try:
        run = params.load_run(asked.run, asked.size, asked.hardware)
        record = results.read(run.folder, CHAPTER)
        row = best(record["facts"]["divisions"], asked.goal)
        path = write_hardware(asked.write, row, run.hardware_values(), asked.goal, record["machine"]["cpu"])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{shown(path)}: {row['instances']} x {row['threads']} threads; now: make book HARDWARE={asked.write}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
