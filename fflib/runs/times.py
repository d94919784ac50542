"""How long chapters take: what records of this and other machines say, corrected by what is done of a run.

A chapter counts with all its seconds, Python's start included. What a record says of a chapter is looked for in this
order: in this run's own folder, as this machine left it; in the kept record of this run, of a machine like this; in the
sweep's other runs; in other runs here; in the kept record of this run, of another machine; in other kept records. All
are of the same size. (Longer than 200 lines: which record is asked and how it is corrected are one question.)
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from fflib.files import ROOT, outputs_dir
from fflib.measure import cores
from fflib.runs import records
from fflib.runs.params import Run

KEPT = ROOT / "outputs" / "reference"
TABLE = "times.json"  # in `KEPT`: the seconds of runs whose records are not kept, written by `fflib.book.profile`
ALIKE = ("cpu", "cores_available")  # where two machines agree in these, a chapter takes about as long on both
BOOK = "book"  # stands for the rendering among the chapters
SECONDS = "seconds.txt"  # in the rendered book: how long that took
OWN = "as it took the last time"
KEPT_ALIKE = "by the kept record, of a machine like this"
OF_SWEEP, OF_OTHERS = "by the sweep's other runs", "by other runs here"
KEPT_ELSEWHERE, KEPT_OTHERS = "by the kept record, of another machine", "by kept records of other runs"
KINDS = (OWN, KEPT_ALIKE, OF_SWEEP, OF_OTHERS, KEPT_ELSEWHERE, KEPT_OTHERS)  # of estimates, the best first
SAME_MACHINE_AND_RUN = (OWN, KEPT_ALIKE)
MINUTE = 60
# Kinds of seconds that nothing kept can shorten: a training that was there already takes none, and tells nothing of the
# machine's pace. Pace is told by these alone, where both records tell kinds apart.
OF_PACE = ("start", "timing", "export", "figures", "rest")
DOUBT_S = 60.0  # so many seconds as the record says stand beside those that were measured, lest one odd chapter decide

Wanted = tuple[Run, str]  # a chapter of a run, or its `BOOK`


@dataclass(frozen=True)
class Time:
    """How long a chapter took once: in which run's folder, by name; ``is_kept`` if that is one of `KEPT`."""

    folder: str
    chapter: str
    size: str
    machine: tuple[Any, ...]
    seconds: float
    written: str
    is_kept: bool = False
    is_done: bool = False  # it is the chapter's result that stands, not one that was set aside
    kinds: Mapping[str, float] = field(default_factory=dict)  # seconds by kind, where the record tells them


@dataclass(frozen=True)
class Estimate:
    """How long a chapter will take, and by what that is known: one of `OWN` ... `KEPT_OTHERS`."""

    seconds: float
    by: str
    pace_s: float | None = None  # of these, the seconds of `OF_PACE`; None: no record tells


def here() -> dict[str, Any]:
    """Return of this machine what tells whether another is like it, see `ALIKE`."""
    return {"cpu": cores.cpu_model(), "cores_available": len(cores.physical_cores())}


def estimates(
    wanted: Sequence[Wanted], machine: Mapping[str, Any], sweep: Collection[str] = ()
) -> list[Estimate | None]:
    """Return for each chapter that is to run what it will take on ``machine``; None: no record tells.

    What the chapters that a run has done took, beside what the same record says of them, corrects the rest of it.

    Args:
        sweep: the names of the folders of the sweep's runs.
    """
    here = alike(machine)
    times = [*_left_here(), *_kept(KEPT)]
    guesses = [_usual(times, run, chapter, here, sweep) for run, chapter in wanted]
    ratios: dict[str, dict[str, float]] = {}
    for run in {run.folder: run for run, _ in wanted}.values():
        mine = {
            chapter: guess for (each, chapter), guess in zip(wanted, guesses, strict=True) if each.folder == run.folder
        }
        ratios[run.folder.name] = _ratios(times, run, mine, here, sweep)
    return [
        guess and Estimate(guess.seconds * ratios[run.folder.name][guess.by], guess.by)
        for (run, _), guess in zip(wanted, guesses, strict=True)
    ]


def total_s(guesses: Iterable[Estimate | None]) -> float | None:
    """Sum estimates, in seconds; None where one of them is unknown."""
    guesses = list(guesses)
    return None if None in guesses else float(sum(guess.seconds for guess in guesses if guess))


def told(seconds: float | None) -> str:
    """Write the time left for people; '' where nothing is known or nothing is left."""
    return f"{about(seconds)} left" if seconds else ""


def about(seconds: float) -> str:
    """Write an estimate for people, as in 'about 14 min'."""
    minutes = round(seconds / MINUTE)
    if minutes < 1:
        return "less than a minute"
    return f"about {minutes} min" if minutes < 120 else f"about {minutes // 60} h {minutes % 60} min"


def alike(machine: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what two machines must share for a chapter to take about as long on both."""
    return tuple(machine.get(name) for name in ALIKE)


def whole_s(record: Mapping[str, Any]) -> float | None:
    """Return all the seconds of a chapter by its record; older ones do not count Python's start. None: it has none."""
    by_kind = record.get("seconds_by_kind")
    seconds = sum(by_kind.values()) if isinstance(by_kind, dict) and by_kind else record.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def table(kept: Path) -> dict[str, Any]:
    """Read the `TABLE` in a folder: by the name of a run its size, machine, and seconds by chapter and kind."""
    try:
        return json.loads((kept / TABLE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _usual(
    times: Sequence[Time], run: Run, chapter: str, machine: tuple[Any, ...], sweep: Collection[str], done: bool = True
) -> Estimate | None:
    """Return what the nearest record says; with ``done`` False what it would say without this run's own results."""
    known = [time for time in times if (_name(time.chapter), time.size) == (_name(chapter), run.size)]
    mine = [time for time in known if time.folder == run.folder.name and (done or not time.is_done)]
    others = [time for time in known if time.folder != run.folder.name]
    near = [time for time in others if time.machine == machine and not time.is_kept]
    own = [time for time in mine if not time.is_kept and time.machine == machine]
    by = {
        OWN: sorted(own, key=lambda time: time.written)[-1:],
        KEPT_ALIKE: [time for time in mine if time.is_kept and time.machine == machine],
        OF_SWEEP: [time for time in near if time.folder in sweep],
        OF_OTHERS: near,
        KEPT_ELSEWHERE: [time for time in mine if time.is_kept],
        KEPT_OTHERS: [time for time in others if time.is_kept],
    }
    return next((_middle(by[name], name) for name in by if by[name]), None)


def _middle(times: Sequence[Time], by: str) -> Estimate:
    paces = [_pace_s(time) for time in times]
    known = [pace for pace in paces if pace is not None]
    return Estimate(median(time.seconds for time in times), by, median(known) if len(known) == len(paces) else None)


def _pace_s(time: Time) -> float | None:
    return sum(time.kinds.get(kind, 0.0) for kind in OF_PACE) if time.kinds else None


def _ratios(
    times: Sequence[Time],
    run: Run,
    wanted: Mapping[str, Estimate | None],
    machine: tuple[Any, ...],
    sweep: Collection[str],
) -> dict[str, float]:
    """Return by what kind of record how much longer the run's chapters took so far than that kind said.

    Where it is of the same run on a machine like this, one chapter may have been quick only because its training was
    there already. So its pace is told by the kinds of work that nothing kept can shorten; where the records tell no
    kinds, what is still to come weighs in as if it will take just what was said.
    """
    took_s, said_s, told_apart = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0.0), set[str]()
    done = {time.chapter: time for time in times if time.folder == run.folder.name and time.is_done}
    for chapter, time in done.items():
        guess = _usual(times, run, chapter, machine, sweep, done=False)
        if chapter not in wanted and guess and time.machine == machine and time.size == run.size:
            took, said = time.seconds, guess.seconds
            if guess.by in SAME_MACHINE_AND_RUN and guess.pace_s is not None and time.kinds:
                took, said = _pace_s(time) or 0.0, guess.pace_s
                told_apart.add(guess.by)
            took_s[guess.by] += took
            said_s[guess.by] += said
    for by in SAME_MACHINE_AND_RUN:
        rest = sum(guess.seconds for guess in wanted.values() if guess and guess.by == by)
        doubt_s = min(DOUBT_S, rest) if by in told_apart else rest
        took_s[by] += doubt_s
        said_s[by] += doubt_s
    return {by: took_s[by] / said_s[by] if said_s[by] else 1.0 for by in KINDS}


def _left_here() -> list[Time]:
    """Return how long the chapters of all runs here took, those whose results were set aside included."""
    found = _of_records(outputs_dir(), "*/results/[0-9][0-9]_*.json*")
    by_folder = {time.folder: time for time in found}
    for path in outputs_dir().glob(f"*/{BOOK}/{SECONDS}"):
        if last := by_folder.get(path.parent.parent.name):  # whose size and machine it shares
            with suppress(OSError, ValueError):  # damaged: nothing is known then
                found.append(replace(last, chapter=BOOK, seconds=float(path.read_text()), is_done=False))
    return found


def _kept(kept: Path) -> list[Time]:
    found = _of_records(kept, "**/results/[0-9][0-9]_*.json", is_kept=True)
    for folder, run in table(kept).items():
        for chapter, by_kind in run["seconds"].items():
            seconds, machine = sum(by_kind.values()), alike(run["machine"])
            time = Time(folder, chapter, run["size"], machine, seconds, run["written"], is_kept=True)
            found.append(replace(time, kinds=by_kind))
    return found


def _of_records(folder: Path, pattern: str, is_kept: bool = False) -> list[Time]:
    found = []
    for path, record in records.readable(folder, pattern).items():
        seconds, size = whole_s(record), record["parameters"].get("size", "")
        if seconds is not None:
            run, machine, is_done = path.parent.parent.name, alike(record["machine"]), path.suffix == ".json"
            time = Time(run, record["chapter"], size, machine, seconds, record["written"], is_kept)
            kinds = record.get("seconds_by_kind")
            found.append(replace(time, is_done=is_done and not is_kept, kinds=kinds if isinstance(kinds, dict) else {}))
    return found


def _name(chapter: str) -> str:
    """Return a chapter's name without its number, which a record from before another chapter came has not."""
    return chapter.partition("_")[2] or chapter
