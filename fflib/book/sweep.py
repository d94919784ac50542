"""The steps of a sweep that the Makefile and the Snakefile call; which chapter runs when, snakemake decides.

python -m fflib.book.sweep check   --sweep superglue                               set aside what is outdated
python -m fflib.book.sweep chapter 01_baseline --run rte-minilm --sweep superglue  run a chapter, tell the time left
python -m fflib.book.sweep chapter 10_tables --sweep superglue                     run the closing chapter
python -m fflib.book.sweep show    --sweep superglue                               print the tables, and which failed
"""

from __future__ import annotations

import argparse
import sys
import time

from fflib.book import cluster, execute, lifeline
from fflib.book.execute import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, ChapterFailed
from fflib.files import InputError
from fflib.runs import cli, outlook, params, sweep_plan, times
from fflib.runs.params import Run
from fflib.runs.sweep_plan import Sweep


def check(sweep: Sweep) -> int:
    """Set aside what is outdated in each run, forget how runs failed the last time, and say how much there is to do."""
    from fflib.runs import records

    for run in sweep.runs:
        execute.keys(run)  # before anything changes: data of a later run may be missing
    for run in sweep.runs:
        sweep_plan.forget_failure(run.folder)
        if outdated := execute.check(run):
            _say(f"{run.folder.name}: run again, for what they depend on has changed: {', '.join(outdated)}")
    first = params.before(sweep.runs)
    for run in first:
        sweep_plan.forget_failure(run.folder)
    key = cluster.key(sweep.closing, params.TABLES)
    lacking = len(sweep_plan.wanted(sweep))
    records.set_aside(sweep.closing.folder, params.TABLES, "" if lacking or sweep_plan.went_on(sweep) else key)
    of = f"{lacking} of {len(first) + len(sweep.runs) * len(sweep_plan.order())} chapters to run"
    left = sweep_plan.seconds_left(sweep, times.here())
    _say(f"{sweep.name}: {len(sweep.runs)} runs, {of}", times.told(left))
    return 0


def chapter(sweep: Sweep, run: Run, name: str) -> int:
    """Run one chapter of one run, and say how long it took and what is left; a failure is kept for the end.

    An interrupted chapter says nothing: make does, once, whatever was going on.
    """
    sweep_plan.forget_failure(run.folder)
    start = time.perf_counter()
    try:
        execute.run_chapter(run, name, outlook.of_sweep(sweep, run, name))
    except (InputError, ChapterFailed) as error:
        code = error.code if isinstance(error, ChapterFailed) else EXIT_INPUT
        if code != EXIT_INTERRUPTED:
            sweep_plan.note_failure(run.folder, name, str(error))
            if name == params.BASELINE:
                _stop_those_after(sweep, run, error)
            _say(f"error: {run.folder.name}: {error}")
        return code
    took = time.perf_counter() - start
    left = sweep_plan.seconds_left(sweep, sweep_plan.machine_of(run.folder, name))
    _say(f"{run.folder.name} {name}: done in {took:.0f} s", times.told(left))
    return 0


def _run_of(sweep: Sweep, name: str, of: str) -> Run:
    """Return the run of a sweep, or before its runs, that a chapter ``of`` the book belongs to."""
    known = {run.name: run for run in [*params.before(sweep.runs), *sweep.runs]}
    if of == params.TABLES:
        return sweep.closing
    if name not in known:
        raise InputError(f"the sweep {sweep.name} has no run '{name}'; its runs are {', '.join(known)}")
    return known[name]


def _stop_those_after(sweep: Sweep, run: Run, error: Exception) -> None:
    """Note that what begins after ``run`` cannot begin, nor what begins after that."""
    why = f"{run.folder.name}, which it begins after, failed: {error}"
    for later in [*params.before(sweep.runs), *sweep.runs]:
        if run.folder in {each.folder for each in params.before([later])}:
            sweep_plan.note_failure(later.folder, params.BASELINE, why)


def show(sweep: Sweep) -> int:
    """Print the tables and where they are; then name each run that is not whole, with the reason."""
    folder = sweep.closing.folder
    reasons = {
        run.folder.name: sweep_plan.unfinished(run.folder, [params.BASELINE]) for run in params.before(sweep.runs)
    }
    reasons |= {run.folder.name: sweep_plan.unfinished(run.folder) for run in sweep.runs}
    reasons[folder.name] = sweep_plan.unfinished(folder, [params.TABLES])
    if not reasons[folder.name]:
        print((folder / "tables.md").read_text(encoding="utf-8"))
        print(f"tables: {folder / 'tables.csv'}\nbook:   {folder / 'book' / 'index.html'}")
    for name, reason in reasons.items():
        if reason:
            _say(f"error: {name}: {reason}")
    return EXIT_FAILED if any(reasons.values()) else 0


def _say(*parts: str) -> None:
    print(", ".join(part for part in parts if part), file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; every failure is one sentence on stderr and a non-zero status."""
    parser = argparse.ArgumentParser(prog="python -m fflib.book.sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=("check", "chapter", "show"))
    parser.add_argument("chapter", nargs="?", default="")
    parser.add_argument("--sweep", required=True, help="a file in params/sweeps")
    params.add_run_options(parser)
    cluster.add_option(parser)
    chosen = parser.parse_args(arguments)

    def act() -> int:
        cluster.enter(chosen.cluster)
        overrides = params.split_overrides(chosen.set)
        sweep = sweep_plan.load(chosen.sweep, chosen.size, chosen.hardware, overrides)
        if chosen.action == "chapter":
            return chapter(sweep, _run_of(sweep, chosen.run, chosen.chapter), chosen.chapter)
        return check(sweep) if chosen.action == "check" else show(sweep)

    if chosen.action == "chapter":
        lifeline.watch()
    try:
        with lifeline.stoppable():
            return cli.ended(act)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
