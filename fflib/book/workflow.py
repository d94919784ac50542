"""What `make book` and `make sweep` do: nothing is changed before all is known to be sound and nobody else is at work.

python -m fflib.book.workflow book --run docs-cpu
python -m fflib.book.workflow sweep --sweep superglue
"""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
import sys
from collections.abc import Callable, Mapping

from fflib import environment, hub
from fflib.book import cluster, execute, lifeline, lock, snake
from fflib.book import sweep as sweeps
from fflib.files import ROOT, InputError, cache_root, check_known, outputs_dir, remove_partial, shown
from fflib.measure import cores
from fflib.runs import cli, nodes, params, sweep_plan

VARIABLES = ("SIZE", "HARDWARE", "SWEEP", "CLUSTER")  # of make: those with names that can be told from others
LEAST_FREE_GB = 0.2  # a book in smoke size leaves about that
KEPT = "what is done is kept: mend it and run make again"


def config(chosen: argparse.Namespace) -> dict[str, str]:
    """Return what the Snakefile is told of a command line."""
    sweep = getattr(chosen, "sweep", "")
    told = {"run": chosen.run, "size": chosen.size, "hardware": chosen.hardware, "set": chosen.set.strip()}
    return told | ({"sweep": sweep} if sweep else {}) | {"cluster": nodes.on_cluster()}


def book(chosen: argparse.Namespace) -> int:
    """Run what a run lacks, render it, and print its ladder."""
    run = params.run_of(chosen)
    check_machine(run)
    check_models(run)
    with lock.of_book(f"make book RUN={run.name}"):
        check_room()
        clean(run)
        if outdated := execute.check(run):
            _say(f"run again, for what they depend on has changed: {', '.join(outdated)}")
        if status := snake.run(config(chosen)):
            _say(f"make: the book stopped; {KEPT}")
            return status
        print(execute.show(run))
    return 0


def sweep(chosen: argparse.Namespace) -> int:
    """Run every run of a sweep, then the tables over them; a run that fails stops no other."""
    found = sweep_plan.load(chosen.sweep, chosen.size, chosen.hardware, params.split_overrides(chosen.set))
    for run in found.runs:
        check_machine(run)
    with lock.of_book(f"make sweep SWEEP={found.name}"):
        check_room()
        for run in [*found.runs, found.closing]:
            clean(run)
        sweeps.check(found)
        snake.run(config(chosen), "--keep-going")
        snake.run(config(chosen), targets=("tables",))
        return sweeps.show(found)


def clean(run: params.Run) -> None:
    """Remove what killed processes left half-written; on a cluster a job may still be at work, and does so itself."""
    if not nodes.on_cluster():
        remove_partial(run.folder)
    else:
        sweep_plan.forget_failure(run.folder)


def check_machine(run: params.Run) -> None:
    """Raise InputError where a run asks for a device or more cores than this machine has; a cluster's nodes tell."""
    if nodes.on_cluster():
        return
    run.check_device()
    cores.resolve_threads(run.values.get("threads", 0))
    if instances := run.values.get("instances", 0):
        cores.divide(instances, run.values.get("instance_threads", 1))


def check_models(run: params.Run) -> None:
    """Raise InputError where a model that a run names is nowhere; what another run leaves is there in its turn."""
    known = {name: value for chapter in run.chapters for name, value in run.chapter_values(chapter).items()}
    for name in ("teacher", "student_from"):
        model = known.get(name)
        if model and model != "teacher" and not (run.before and model == run.values.get("teacher")):
            hub.resolve(model)
    reference, usual = (known.get("reference", "").partition("@")[0], params.declared(params.BASELINE).get("reference"))
    if usual and reference != usual.default:
        from fflib.model import hf_names  # only now, for it takes seconds to import

        check_known("architecture of a reference", [reference], hf_names.KNOWN_CONFIGS)


def check_room() -> None:
    """Raise InputError where the folders that a run writes to cannot be written or named, or are nearly full."""
    outputs = outputs_dir()
    named = outputs.relative_to(ROOT) if outputs.is_relative_to(ROOT) else outputs  # as Snakemake is told it
    if signs := [sign for sign in "{},\n" if sign in str(named)]:
        raise InputError(f"FFLIB_OUTPUTS has {signs[0]!r} in its path ({outputs}), a sign of Snakemake's; name another")
    for folder in (outputs_dir(), ROOT, cache_root()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".room.tmp").write_bytes(bytes(1 << 16))
            (folder / ".room.tmp").unlink()
            free_gb = shutil.disk_usage(folder).free / 1e9
        except OSError as error:
            why = error.strerror or error
            raise InputError(f"{shown(folder)} cannot be written ({why}); give room and rights there") from error
        if free_gb < LEAST_FREE_GB:
            raise InputError(f"{shown(folder)} has {free_gb:.1f} GB free, but a run wants {LEAST_FREE_GB:g}; make room")


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable in front of make that looks like one of its own: it counts for nothing."""
    near = {name: difflib.get_close_matches(name.upper(), VARIABLES, 1, 0.75) for name in environ}
    found = {name: close[0] for name, close in near.items() if close and abs(len(name) - len(close[0])) <= 1}
    return [
        f"{name}={environ[name]!r} counts for nothing; for {close} write {close}={environ[name]}"
        for name, close in sorted(found.items())
        if name not in VARIABLES
    ]


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def stopped(action: Callable[[], int | None]) -> int:
    """Do ``action``; where it is asked to stop, say so, and return the status that shells give for the signal."""
    try:
        with lifeline.stoppable():
            return cli.ended(action)
    except lifeline.Stopped as error:
        _say("make: stopped; what is done is kept: run make again to go on")
        return 128 + error.number


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; every failure is one sentence on stderr and a non-zero status."""
    parser = argparse.ArgumentParser(prog="python -m fflib.book.workflow", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=("book", "sweep"))
    parser.add_argument("--sweep", default="", help="a file in params/sweeps")
    params.add_run_options(parser)
    cluster.add_option(parser)
    chosen = parser.parse_args(arguments)
    for told in filter(None, [environment.told(), *misspelt(os.environ)]):
        _say(f"make: {told}")
    lifeline.hand_down(*lifeline.make_above())
    lifeline.watch()

    def act() -> int:
        cluster.enter(chosen.cluster)
        if chosen.cluster:
            cluster.check(chosen.cluster)
        return {"book": book, "sweep": sweep}[chosen.action](chosen)

    return stopped(act)


if __name__ == "__main__":
    sys.exit(main())
