"""What `make plan` prints: each step that would run, why, and how long it will take.

python -m fflib.book.plan --run docs-cpu                 of what `snakemake --dry-run` says
python -m fflib.book.plan --sweep superglue --nodes 4    and how long that takes on four nodes of a cluster
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fflib.book import cluster, execute, farm, scale, snake, workflow
from fflib.files import InputError, shown
from fflib.runs import params, records, sweep_plan, times
from fflib.runs.params import Run
from fflib.runs.times import Estimate

MOST_NODES = 10_000


@dataclass(frozen=True)
class Step:
    """A file that is to be made, and why."""

    file: str
    reason: str

    @property
    def chapter(self) -> str:
        """Its chapter, or `times.BOOK`."""
        return Path(self.file).stem if Path(self.file).suffix == ".json" else times.BOOK

    @property
    def folder(self) -> str:
        """The name of its run's folder."""
        return Path(self.file).parent.parent.name


def steps(said: str) -> list[Step]:
    """Return what a dry run of snakemake is going to make, in its order."""
    found, file = [], ""
    for line in said.splitlines():
        name, _, rest = line.strip().partition(": ")
        if name == "output":
            file = rest.partition(",")[0]
        elif name.lower() == "reason" and file:
            found.append(Step(file, re.sub(r": [^;]*", "", rest)))
            file = ""
    return found


def with_set_aside(wanted: Sequence[Step], runs: Sequence[Run], before: Sequence[Run] = ()) -> list[Step]:
    """Return the steps ``wanted`` and those that follow from results which a book sets aside before snakemake looks.

    Such a result is damaged, or a model is that it left; whatever comes after it in its run is made again too. Of the
    runs ``before`` one chapter counts, and what begins after it.
    """
    found, again = {step.file: step for step in wanted}, set()
    for run in [*before, *runs]:
        chapters = [params.BASELINE] if run in before else run.order
        stale = run.before is not None and run.before.folder in again
        for chapter in chapters:
            if not stale and records.is_stale(run.folder, chapter, cluster.key(run, chapter)):
                stale = True
                reason = records.damage(run.folder, chapter) or "its result is damaged or outdated"
            elif stale:
                reason = "what it needs is made again"
            if stale:
                again |= {run.folder} if chapter == params.BASELINE else set()
                file = f"{shown(run.folder)}/results/{chapter}.json"
                found.setdefault(file, Step(file, shown(reason)))
        if stale and run in runs:
            file = f"{shown(run.folder)}/book/index.html"
            found.setdefault(file, Step(file, "chapters are made again"))
    places = {shown(run.folder): place for place, run in enumerate([*before, *runs])}

    def place(step: Step) -> tuple[int, int]:
        order = [*sweep_plan.order(), params.CARD, times.BOOK]
        at = order.index(step.chapter) if step.chapter in order else len(order)
        return places.get(str(Path(step.file).parent.parent), len(places)), at

    return sorted(found.values(), key=place)


def told(wanted: Sequence[Step], runs: Sequence[Run], sweep: Sequence[str] = (), nodes: Sequence[int] = ()) -> str:
    """Return a line for each step, and one for all of them: how long, and by what that is known.

    Args:
        runs: of all folders that the steps are of.
        sweep: the names of the folders of the sweep's runs.
        nodes: of a cluster: for each count a line more.
    """
    by_folder = {run.folder.name: run for run in runs}
    guesses = times.estimates([(by_folder[step.folder], step.chapter) for step in wanted], times.here(), sweep)
    guesses = [
        guess or (scale.estimate(by_folder[step.folder], step.chapter) if step.chapter in params.chapters() else None)
        for step, guess in zip(wanted, guesses, strict=True)
    ]
    lines = [_line(step, guess) for step, guess in zip(wanted, guesses, strict=True)]
    known = [guess for guess in guesses if guess]
    unknown = sum(not guess and step.chapter != times.BOOK for step, guess in zip(wanted, guesses, strict=True))
    if known:
        by = ", ".join(name for name, _ in Counter(guess.by for guess in known).most_common())
        less = f", and {unknown} of which no record tells" if unknown else ""
        lines.append(f"in all {times.about(sum(guess.seconds for guess in known))}{less} ({by})")
        seconds = [guess.seconds if guess else 0.0 for guess in guesses]
        lines += farm.told(farm.steps_of([(by_folder[step.folder], step.chapter) for step in wanted], seconds), nodes)
    return "\n".join(lines)


def _line(step: Step, guess: Estimate | None) -> str:
    return f"{step.file}{f', {times.about(guess.seconds)}' if guess else ''} ({step.reason})"


def node_counts(text: str, is_sweep: bool) -> Sequence[int]:
    """Return for how many nodes the plan tells the time: so many, for a sweep several by default, else none.

    InputError: ``text`` is no whole number from 1 to `MOST_NODES`.
    """
    if not text:
        return farm.NODES_SHOWN if is_sweep else ()
    if not text.isdecimal() or len(text) > len(str(MOST_NODES)) or not 1 <= int(text) <= MOST_NODES:
        raise InputError(f"NODES={text[:30]} is no number of nodes; give a whole number from 1 to {MOST_NODES}")
    return (int(text),)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; what the user can mend is one sentence on stderr and status 2."""
    parser = argparse.ArgumentParser(prog="python -m fflib.book.plan", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sweep", default="", help="a file in params/sweeps, instead of a run")
    params.add_run_options(parser)
    cluster.add_option(parser)
    parser.add_argument("--nodes", default="", help="how many nodes a cluster lends; empty: for a sweep several counts")
    options = parser.parse_args(arguments)

    def show() -> int:
        cluster.enter(options.cluster)
        nodes = node_counts(options.nodes, bool(options.sweep))
        changes = (options.size, options.hardware, params.split_overrides(options.set))
        sweep = sweep_plan.load(options.sweep, *changes) if options.sweep else None
        runs = [*sweep.runs] if sweep else [params.load_run(options.run, *changes)]
        for run in runs:
            run.check_device()
        every = [*params.before(runs), *runs, *([sweep.closing] if sweep else [])]
        for run in runs:
            execute.keys(run)  # what snakemake would ask for: what is wrong with data is told here, and once
        status, said = snake.dry_run(workflow.config(options))
        nothing = [line for line in said.splitlines() if line.startswith("Nothing to be done")]
        mine = [run.folder.name for run in runs] if sweep else []
        wanted = with_set_aside(steps(said), runs, params.before(runs))
        print("\n".join([*(nothing if not wanted else []), *filter(None, [told(wanted, every, mine, nodes)])]))
        return status

    return workflow.stopped(show)


if __name__ == "__main__":
    sys.exit(main())
