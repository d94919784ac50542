"""What a sweep is: several runs one after another; how far it is, how long it will take, and what stopped a run.

``params/sweeps/<name>.yaml`` lists the runs. Snakemake decides what runs when; here nothing is executed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fflib.files import InputError, outputs_dir, write_text
from fflib.runs import param_files, params, records, times
from fflib.runs.params import Run

KEYS = ("description", "runs")  # of a sweep's file
FAILED = "failed.txt"  # in a run's folder: the sentence with which a chapter of a sweep failed there


@dataclass(frozen=True)
class Sweep:
    """Runs in their order. ``closing`` stands for the chapter over all of them: a run with the sweep's own folder."""

    name: str
    runs: list[Run]
    closing: Run


def load(name: str, size: str = "", hardware: str = "", overrides: Iterable[str] = ()) -> Sweep:
    """Read ``params/sweeps/<name>.yaml``; size, hardware and overrides go to each of its runs, as in `params.load_run`.

    Raises:
        InputError: no such sweep or run, no runs, one twice, a further key, a run of the sweep's own name, or whatever
            `params.load_run` refuses.
    """
    file, overrides = f"{name}.yaml", list(overrides)
    own = param_files.read("sweep", name)
    if further := [key for key in own if key not in KEYS]:
        raise InputError(f"sweeps/{file} has a line '{further[0]}', but it may hold {' and '.join(KEYS)} only")
    names = own.get("runs")
    if not isinstance(names, list) or not names or not all(isinstance(each, str) for each in names):
        raise InputError(f"sweeps/{file} must name its runs, as in 'runs: [docs-cpu, boolq-minilm]'")
    if twice := [each for each in names if names.count(each) > 1]:
        raise InputError(f"sweeps/{file} names the run '{twice[0]}' twice; a run can be in it once")
    if name in param_files.runs():
        raise InputError(f"a run and a sweep are both named '{name}' and would share a folder; rename the sweep")
    params.check_own_folder(name, "sweep")
    runs = _linked([params.load_run(each, size, hardware, overrides) for each in names])
    if card := next((run for run in runs if run.on_card), None):
        why = "a sweep's tables need chapters that a run on a graphics card does not have"
        raise InputError(f"{why}; run {card.name} by itself: make book RUN={card.name} HARDWARE={card.hardware}")
    return Sweep(name, runs, _closing(name, runs))


def _linked(runs: Sequence[Run]) -> list[Run]:
    """Let runs begin after each other: a run of the sweep has its overrides, of which those after it have to know."""
    mine = {run.folder: run for run in runs}

    def linked(run: Run) -> Run:
        return params.begun_after(run, linked(mine.get(run.before.folder, run.before))) if run.before else run

    return [linked(run) for run in runs]


def _closing(name: str, runs: Sequence[Run]) -> Run:
    """Return the closing chapter's run: its folder carries what sets the runs' folders apart from their usual ones."""
    suffix = max((run.folder.name.removeprefix(run.name) for run in runs), key=len)
    size = ", ".join(dict.fromkeys(run.size for run in runs))
    hardware = ", ".join(dict.fromkeys(run.hardware for run in runs))
    values = {"runs": [run.folder.name for run in runs], "size": size}
    return Run(name, hardware, size, outputs_dir() / f"{name}{suffix}", values)


def order() -> list[str]:
    """Name the chapters of a run in the order in which they run: the introduction shows their result, so it is last."""
    first, *others = params.chapters()
    return [*others, first]


def lacking(folder: Path, chapters: Sequence[str] = ()) -> list[str]:
    """Name those of ``chapters`` that the run in ``folder`` still needs, of all where none are named."""
    return records.missing([*records.readable(folder).values()], chapters or order())


def machine_of(folder: Path, chapter: str) -> dict[str, Any]:
    """Return the machine that a chapter of a run was executed on. InputError: it has not run."""
    return records.read_file(folder / "results" / f"{chapter}.json")["machine"]


def note_failure(folder: Path, chapter: str, why: str) -> None:
    """Keep the sentence with which a chapter failed, for the end of the sweep and for its tables."""
    write_text(folder / FAILED, f"{chapter}\n{why}\n")


def forget_failure(folder: Path) -> None:
    """Remove what `note_failure` kept, if anything."""
    (folder / FAILED).unlink(missing_ok=True)


def failure(folder: Path, chapters: Sequence[str] = ()) -> str:
    """Return the sentence with which the first of ``chapters`` that is lacking failed, '' where it did not."""
    try:
        chapter, *why = (folder / FAILED).read_text(encoding="utf-8").split()
    except (OSError, ValueError):  # not there, or empty
        return ""
    # Else `make book` has done this chapter since, and what it lacks now it lacks for another reason.
    return " ".join(why) if [chapter] == lacking(folder, chapters)[:1] else ""


def unfinished(folder: Path, chapters: Sequence[str] = ()) -> str:
    """Say in a sentence why the run in ``folder`` lacks some of ``chapters`` (all where none are named); '' if not."""
    first = next(iter(lacking(folder, chapters)), "")
    return first and (failure(folder, chapters) or f"{first} has not run yet")


def standing(sweep: Sweep) -> list[tuple[str, str, list[str]]]:
    """Return what the closing chapter depends on: each run's folder, why it is not whole, when its chapters ended."""
    return [
        (
            run.folder.name,
            unfinished(run.folder),
            sorted(record["written"] for record in records.readable(run.folder).values()),
        )
        for run in sweep.runs
    ]


def went_on(sweep: Sweep) -> bool:
    """Whether a run has ended a chapter since the tables were made; snakemake knows only of what it made itself."""
    tables_made = records.readable(sweep.closing.folder, f"results/{params.TABLES}.json").values()
    last = max((ended for _, _, times in standing(sweep) for ended in times), default="")
    return any(record["written"] < last for record in tables_made)


def wanted(sweep: Sweep) -> list[tuple[Run, str]]:
    """Return the chapters that the sweep still needs, with their runs; the closing one not counted."""
    first = [(run, chapter) for run in params.before(sweep.runs) for chapter in lacking(run.folder, [params.BASELINE])]
    return first + [(run, chapter) for run in sweep.runs for chapter in lacking(run.folder)]


def seconds_left(sweep: Sweep, machine: Mapping[str, Any]) -> float | None:
    """Estimate the seconds that the sweep's missing chapters take; None where one of them was never timed.

    See `times` for what is asked about a chapter. Runs that failed are not waited for.
    """
    waited_for = [(run, chapter) for run, chapter in wanted(sweep) if not failure(run.folder)]
    mine = {run.folder.name for run in sweep.runs}
    return times.total_s(times.estimates(waited_for, machine, mine))
