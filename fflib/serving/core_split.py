"""How many instances, with how many threads each: every division of the cores is tried, the best one kept.

FastFormers (2010.13382, table 2) does so for two models by hand. Which division is best depends on the model: a large
product keeps many threads busy, a small one hardly two.

python -m fflib.serving.core_split --run docs-cpu --goal latency --write my-laptop  write params/hardware/my-laptop.yaml
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.engine import predictors
from fflib.files import InputError, atomic_path, check_known, shown
from fflib.measure import cores, race
from fflib.runs import cli, param_files, params, records
from fflib.serving import instances

GOALS = ("throughput", "latency")
CHAPTER = "07_serving"


def divisions(cores: int, also: Sequence[tuple[int, int]] = ()) -> list[tuple[int, int]]:
    """Return (instances, threads of each): all that use every core evenly, and one instance on fewer threads.

    ``also``: others that are wanted, of which (0, threads) is none.
    """
    sizes = [threads for threads in range(1, cores + 1) if cores % threads == 0]
    even = [(1, threads) for threads in sizes] + [(cores // threads, threads) for threads in sizes if threads < cores]
    return even + [division for division in dict.fromkeys(also) if division[0] and division not in even]


def study(
    graph: str | Path,
    examples: TokenizedSplit,
    expected: np.ndarray,
    kinds: Sequence[str],
    rounds: int,
    tolerance: float,
    hyper_threads: bool = False,
    also: Sequence[tuple[int, int]] = (),
) -> list[dict[str, Any]]:
    """Time every division of the cores, one request at a time for each instance, all instances busy.

    Args:
        graph: an ONNX file; its logits for ``examples`` must be the ``expected`` [n, labels] to within ``tolerance``.
        kinds: what an instance is, some of `instances.KINDS`.
        hyper_threads: also try an instance for each half of a core.
        also: further divisions, see `divisions`.

    Returns:
        Rows with instances, threads (of each), kind, hyper_threads, throughput_per_s, p50_ms and p95_ms.
    """
    plan = batching.in_order(examples.lengths, 1)
    wanted = divisions(len(cores.physical_cores()), also)
    tried = [(*division, kind, False) for division in wanted for kind in kinds]
    if hyper_threads:
        tried += [(len(cores.logical_cpus()), 1, kind, True) for kind in kinds]
    with ExitStack() as stack:
        ways = {}
        for count, each, kind, halves in tried:
            started = instances.start(graph, count, each, kind, hyper_threads=halves)
            ways[str((count, each, kind, halves))] = predictors.together(stack.enter_context(started))
        timings = race.race_at_once(ways, examples, expected, rounds, plan, tolerance)
    rows = []
    for division in tried:
        row = dict(zip(("instances", "threads", "kind", "hyper_threads"), division, strict=True))
        timing = timings[str(division)]
        row |= {"throughput_per_s": timing.throughput_per_s, "p50_ms": timing.latency_p50_ms}
        rows.append(row | {"p95_ms": timing.latency_p95_ms})
    return rows


def best(rows: Sequence[Mapping[str, Any]], goal: str) -> Mapping[str, Any]:
    """Return the row of the study with the most ``throughput_per_s``, or the least ``p95_ms`` (goal "latency").

    Those with ``hyper_threads`` are left out: instances are pinned to physical cores.
    """
    check_known("goal", [goal], GOALS)
    rows = [row for row in rows if not row.get("hyper_threads")]
    if not rows:
        raise InputError("no division was measured; run chapter 7 first")
    return max(rows, key=lambda row: row["throughput_per_s"] if goal == "throughput" else -row["p95_ms"])


def chosen(rows: Sequence[Mapping[str, Any]], goal: str, instances: int, threads: int) -> Mapping[str, Any]:
    """Return the row of ``instances`` with ``threads`` each if it was measured, else the `best` for the goal."""
    asked = [row for row in rows if (row["instances"], row["threads"]) == (instances, threads)]
    return best(asked or rows, goal)


def gain(rows: Sequence[Mapping[str, Any]], threads: int) -> float | None:
    """Return how many times as much the best of several instances answer as one on ``threads``; None: one core only."""
    several = [row["throughput_per_s"] for row in rows if row["instances"] > 1]
    one = max(row["throughput_per_s"] for row in rows if (row["instances"], row["threads"]) == (1, threads))
    return max(several) / one if several else None


def over_one(rows: Sequence[Mapping[str, Any]], threads: int) -> list[dict[str, Any]]:
    """Return the rows of the study with each ``throughput_per_s`` as a multiple of one instance on ``threads``.

    What the rungs answer a second is measured elsewhere, on other requests; here only the ratios count.
    """
    one = max(row["throughput_per_s"] for row in rows if (row["instances"], row["threads"]) == (1, threads))
    return [dict(row) | {"throughput_per_s": row["throughput_per_s"] / one} for row in rows]


def of_the_bound(rows: Sequence[Mapping[str, Any]], kind: str) -> float:
    """Return what an instance of ``kind`` on each core answers, as a share of what as many would that share nothing.

    1 on a machine with one core.
    """
    single = [row for row in rows if row["threads"] == 1 and row["kind"] == kind and not row.get("hyper_threads")]
    answered = {row["instances"]: row["throughput_per_s"] for row in single}
    most = max(answered)
    return answered[most] / (most * answered[1])


def write_hardware(name: str, row: Mapping[str, Any], base: Mapping[str, Any], goal: str, machine: str) -> Path:
    """Write ``params/hardware/<name>.yaml``: ``base``, the run's hardware values, with the division of ``row``.

    InputError: the name is no plain file name, or the file is there already, which may be somebody's work.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise InputError(f"{name!r} is no name for a file; give letters, digits and hyphens")
    path = param_files.folder("hardware") / f"{name}.yaml"
    if path.exists():
        raise InputError(f"{shown(path)} is there already; give another name, or delete it first")
    values = dict(base) | {"instances": row["instances"], "instance_threads": row["threads"]}
    header = f"# {machine}: the division of its cores with the best {goal}, as chapter 7 measured it.\n"
    with atomic_path(path) as temporary:
        temporary.write_text(header + yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the hardware parameters from what a run measured; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fflib.serving.core_split", description=__doc__.splitlines()[0])
    params.add_run_options(parser)
    parser.add_argument("--goal", default="throughput", help="throughput or latency")
    parser.add_argument("--write", required=True, metavar="NAME", help="the new file, params/hardware/NAME.yaml")
    asked = parser.parse_args(arguments)

    def keep() -> None:
        run = params.run_of(asked)
        record = records.current(run.folder, CHAPTER)
        row = best(record["facts"]["divisions"], asked.goal)
        path = write_hardware(asked.write, row, run.hardware_values(), asked.goal, record["machine"]["cpu"])
        print(f"{shown(path)}: {row['instances']} x {row['threads']} threads; now: make book HARDWARE={asked.write}")

    return cli.ended(keep)


if __name__ == "__main__":
    sys.exit(main())
