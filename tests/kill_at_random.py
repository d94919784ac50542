"""Does a book that is killed again and again end with the accuracies of one that nobody disturbs?

    python tests/kill_at_random.py                           20 kills of the smallest book, 45 minutes on two cores
    python tests/kill_at_random.py --times 5 --seed 3        other moments; the same seed draws the same ones
    python tests/kill_at_random.py --undisturbed 2           two books to compare with, see below
    python tests/kill_at_random.py --folder /big/disk/kills  where the copies go; what is there already goes on

Run it from the project's root, in its environment, and with nothing else on the machine. It copies the project, makes
the book there once without a disturbance, and again in another copy, with a cache of its own: there make's group of
processes is killed outright at a random moment, everything that worked for it has to end, and make begins again, until
the book is done. A book takes four or five kills, for what is done of it is kept; so there are more of them, until all
kills are. Every accuracy in the results of each is compared with those of the first. Exit status 1: one differs, a
process went on, or a make failed that nobody killed.

A choice that hangs on timings (which of two shapes is faster, or in which batches) may come out otherwise without any
kill, and the accuracy behind it with it: in other batches eight bits give other labels. Rungs that are served in other
batches are named, and with ``--undisturbed 2`` what differs between undisturbed books does not count. (Longer than 200
lines: making, killing and comparing books are one experiment.)
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import small_project

ROOT = Path(__file__).resolve().parent.parent
COUNTS = re.compile(r"accuracy|retention|score|metrics|(^|/)(dev|test)\b[^/]*$")  # in the path of a value in a record
SHARE = 0.4  # of an undisturbed book's time: the longest time before a kill
ENDS_S = 60.0  # the time in which all that worked for a killed make has to end


def accuracies(folder: Path) -> dict[str, Any]:
    """Return each accuracy in the records of a run's folder, by chapter and place."""
    found = {}
    for path in sorted((folder / "results").glob("[0-9][0-9]_*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        rungs = {rung["rung"]: rung for rung in record["rungs"]}
        found |= {
            f"{path.stem}/{place}": value
            for place, value in _leaves({"facts": record["facts"], "rungs": rungs})
            if COUNTS.search(place)
        }
    return found


def batches(folder: Path) -> dict[str, str]:
    """Return the batches in which each rung of a run's folder is served, a choice that hangs on timings."""
    records = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / "results").glob("[0-9]*.json"))
    ]
    return {f"batches of {rung['rung']}": rung.get("batching", "") for record in records for rung in record["rungs"]}


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (place, value) of what stands in nested dicts and lists."""
    if isinstance(value, Mapping):
        items = [*value.items()]
    elif isinstance(value, list):
        items = [*enumerate(value)]
    else:
        yield place, value
        return
    for name, inner in items:
        yield from _leaves(inner, f"{place}/{name}".lstrip("/"))


def differences(expected: Mapping[str, Any], found: Mapping[str, Any], spared: Sequence[str] = ()) -> list[str]:
    """Say which accuracies are not the same in both, or stand in one alone, but for those at the places ``spared``."""
    places = [place for place in {**expected, **found} if place not in spared]
    return [
        f"{place}: {expected.get(place, 'nothing')} undisturbed, {found.get(place, 'nothing')} after kills"
        for place in places
        if place not in expected or place not in found or expected[place] != found[place]
    ]


def by_chance(books: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the places at which books that nobody disturbed are not all the same."""
    first, *others = books
    places = {place for book in books for place in book}
    return sorted(place for place in places for book in others if book.get(place, "") != first.get(place, ""))


class Copy:
    """A copy of the project as it stands, with outputs and a cache of its own; what an earlier call left goes on."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        self.folder, self.words = folder, words
        if not (folder / "Makefile").exists():
            listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
            for name in filter(None, listed.stdout.split("\0")):
                if (ROOT / name).is_file():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, folder / name)
            (folder / ".ci" / "setup").write_text("")  # else the environment would be installed from here

    def begin(self) -> subprocess.Popen[str]:
        """Start `make book`."""
        return small_project.make(self.folder, "book", *self.words, FFLIB_CACHE=str(self.folder / ".cache"))

    @property
    def is_done(self) -> bool:
        """Whether `finish` has made the book here."""
        return (self.folder / "seconds").exists()

    def finish(self) -> float:
        """Make the book to its end and return the seconds that it took the first time. SystemExit: make failed."""
        began_s, note = time.monotonic(), self.folder / "seconds"
        if self.begin().wait():
            sys.exit(f"make failed in {self.folder}: {(self.folder / 'log').read_text()[-2000:]}")
        if not note.exists():
            note.write_text(str(time.monotonic() - began_s))
        return float(note.read_text())

    def kill_after(self, seconds: float) -> bool:
        """Start `make book` and kill its group after so many seconds; say whether it was still at work.

        SystemExit: it had failed by itself, or something of it goes on.
        """
        process = self.begin()
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            try:
                small_project.until(lambda: not small_project.at_work(self.folder), "ended", ENDS_S)
            except AssertionError:
                sys.exit(f"processes go on {ENDS_S:g} s after the kill: {small_project.at_work(self.folder)}")
            return True
        if status:
            sys.exit(f"make failed in {self.folder}: {(self.folder / 'log').read_text()[-2000:]}")
        return False

    @property
    def run(self) -> Path:
        """The folder of the one run that is there."""
        (run,) = {path.parent.parent for path in (self.folder / "outputs").glob("*/results/*.json")}
        return run


def tried(folder: Path, words: Sequence[str], times: int, seed: int, undisturbed: int) -> list[str]:
    """Make the books in ``folder`` and return what differs."""
    calm = [Copy(folder / f"undisturbed-{i}", words) for i in range(undisturbed)]
    seconds = [copy.finish() for copy in calm]
    print(f"undisturbed: {', '.join(f'{each:.0f} s' for each in seconds)}", flush=True)
    expected = [accuracies(copy.run) for copy in calm]
    spared = by_chance(expected)
    for place in spared:
        print(f"differs without a kill, so it does not count: {place}", flush=True)

    found, left, rng = [], times, random.Random(seed)  # noqa: S311 (no secret)
    for number in itertools.count():
        killed = Copy(folder / f"killed-{number}", words)
        was_done = killed.is_done
        kills = 0 if was_done else _kill(killed, left, rng, SHARE * max(seconds))
        killed.finish()
        differs = differences(expected[0], now := accuracies(killed.run), spared)
        print(f"book {number}: {kills} kills, {len(now)} accuracies compared, {len(differs)} differ", flush=True)
        for choice in differences(batches(calm[0].run), batches(killed.run)):
            print(f"chosen otherwise, by timings: {choice}", flush=True)
        found, left = found + differs, left - kills
        if not left or not (kills or was_done):
            return found


def _kill(killed: Copy, times: int, rng: random.Random, longest_s: float) -> int:
    """Begin a book until it is done, and kill each but the last; return how often, ``times`` at most."""
    for number in range(times):
        moment_s = rng.uniform(0, longest_s)
        if not killed.kill_after(moment_s):
            return number
        print(f"killed after {moment_s:.1f} s", flush=True)
    return times


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=20, help="kills, of all books together")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--undisturbed", type=int, default=1, help="books to compare with")
    parser.add_argument("--folder", type=Path, help="where the copies go; default: one that is removed at the end")
    parser.add_argument("words", nargs="*", default=["SIZE=smoke"], help="what make is told, e.g. SIZE=smoke RUN=rte")
    chosen = parser.parse_args()
    arguments = chosen.words, chosen.times, chosen.seed, chosen.undisturbed
    if chosen.folder:
        found = tried(chosen.folder.resolve(), *arguments)
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = tried(Path(folder).resolve(), *arguments)
    for sentence in found:
        print(sentence)
    print("one or more differ" if found else "all are the same")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
