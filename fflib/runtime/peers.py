"""Race all engines that are installed on a finished run: the same requests, batches, threads and rounds for each.

python -m fflib.runtime.peers --run docs-cpu     writes outputs/docs-cpu/peers.json and prints its tables

Every way is checked against the labels of its model before it is timed, see `peer_race`. Let nothing else run on the
machine meanwhile: what ran just before is in the record.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fflib.files import InputError, check_known, shown, write_json
from fflib.measure import hardware
from fflib.measure.timing import Check
from fflib.runs import cli, params
from fflib.runtime import peer_race, peers_table
from fflib.runtime.peer_engines import ENGINES
from fflib.runtime.peer_race import OURS
from fflib.runtime.peer_run import STUDENT, TEACHER, Field, FinishedRun, Way

ROUNDS, CHECKED = 5, 400
LEAST_REQUESTS = 2
PATH = re.compile(r"(?:/[\w.+-]+){2,}")


def race(run: FinishedRun, rounds: int, n_requests: int, n_checked: int, engines: Sequence[str]) -> dict[str, Any]:
    """Race ``engines`` (keys of `ENGINES`) on a finished run and return the record.

    Args:
        n_requests: texts of test that are timed. 0: as many as the run's chapter 6 takes in batches.
        n_checked: texts of test on which the labels are counted.

    Raises:
        InputError: a number is too small, no such engine, or something of the run is missing or damaged.
    """
    check_known("engine", engines, ENGINES)
    n_requests = n_requests or run.values["n_busy_requests"]
    if rounds < 1 or n_requests < LEAST_REQUESTS or n_checked < 1:
        raise InputError(f"give at least 1 round, {LEAST_REQUESTS} requests and 1 text to check")
    load, threads = os.getloadavg()[0], hardware.set_threads(run.values["threads"])
    with tempfile.TemporaryDirectory() as folder:
        field = _field(run, n_requests, n_checked, threads, Path(folder))
        ways, missing = _ready(run, field, engines)
        together, alone = peer_race.timed(run, ways, rounds)
    rows = [peer_race.row(way, check, together, alone, run) for way, check in ways]
    baseline, serving = run.records["01_baseline"], run.records[peers_table.CHAPTER]
    return {
        "schema_version": peers_table.SCHEMA_VERSION,
        "run": run.run.name,
        "task": str(Path(run.values["task"]).name),
        "run_written": serving["written"],
        "run_commit": serving["machine"].get("commit", ""),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": hardware.card(),
        "versions": list(dict.fromkeys(way.version for way, _ in ways)),
        "load_before": load,  # of the machine, as its system counts it: 0 where nothing else ran
        "seed": peer_race.SEED,
        "rounds": rounds,
        "n_requests": n_requests,
        "n_checked": len(field.final.checked),
        "threads": threads,
        "min_agreement": run.values["min_agreement"],
        "ways": rows,
        "missing": missing,
        "floors": peer_race.rounded(peers_table.floors_of(baseline["rungs"])),
    }


def _field(run: FinishedRun, n_requests: int, n_checked: int, threads: int, folder: Path) -> Field:
    chosen = run.served["model"]
    subjects = {name: run.subject(name, n_requests, n_checked) for name in {chosen, STUDENT, TEACHER}}
    final = subjects[chosen]
    groups = [*run.plan(final.requests.lengths), *run.plan(final.checked.lengths)]
    longest = max(int(texts.lengths.max()) for texts in (final.requests, final.checked))
    graph = "first-token graph" if run.served["first_token"] else "whole graph"
    return Field(
        final, subjects[STUDENT], subjects[TEACHER], run.served_file(final.model), graph, run.served["recipe"], threads,
        folder, (max(map(len, groups)), longest),
    )  # fmt: skip


def _ready(run: FinishedRun, field: Field, engines: Sequence[str]) -> tuple[list[tuple[Way, Check]], dict[str, str]]:
    """Return the ways that were checked, with their checks; and of what is not there, the reason."""
    ready, missing = [], {name: "it was not asked for" for name in ENGINES if name not in engines}
    for name in (each for each in ENGINES if each in engines):
        if why := ENGINES[name].missing():
            missing[name] = why
            continue
        print(f"{name}: loading and checking", file=sys.stderr, flush=True)
        ways = ENGINES[name].ways(field)
        while True:
            try:
                way = next(ways, None)
            except Exception as error:  # another engine's packages raise whatever they like; it is told, not fatal
                missing[name] = f"it failed here: {_sentence(error)}"
                break
            if way is None:
                break
            try:
                ready.append((way, peer_race.checked(way, run)))
            except Exception as error:
                missing[way.name] = f"it is not timed: {_sentence(error)}"
    if not any(way.engine == OURS for way, _ in ready):
        raise InputError(
            f"{OURS} is not fit to be compared with ({missing}); ask for onnxruntime, or run the book again"
        )
    return ready, missing


def _sentence(error: Exception) -> str:
    """Return what an error says, in a line and without paths, which are of this machine alone."""
    said = PATH.sub("<path>", (str(error).strip().splitlines() or [""])[0])[:200]
    is_ours = isinstance(error, InputError | AssertionError)
    return said if is_ours and said else f"{type(error).__name__}, {said}".rstrip(", ")


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fflib.runtime.peers", description=(__doc__ or "").splitlines()[0])
    params.add_run_options(parser)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="interleaved rounds")
    parser.add_argument("--requests", type=int, default=0, help="texts that are timed; 0: as many as chapter 6 takes")
    parser.add_argument("--checked", type=int, default=CHECKED, help="texts on which labels are counted before")
    parser.add_argument("--engines", default=",".join(ENGINES), help="which, with commas between them")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; what the user can mend is one sentence on stderr and status 2."""
    options = _arguments(arguments)

    def race_all() -> None:
        run, engines = params.run_of(options), [name for name in options.engines.split(",") if name]
        record = race(FinishedRun(run), options.rounds, options.requests, options.checked, engines)
        path = run.folder / peers_table.FILE
        write_json(path, record)
        print(peers_table.markdown(record, run.name))
        print(f"\npeers: {shown(path)}")

    return cli.ended(race_all)


if __name__ == "__main__":
    sys.exit(main())
