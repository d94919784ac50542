"""The race: which lanes run when and on which cores, and the heats themselves.

Lanes never share cores. On four cores or more two lanes run at a time, each on its half (*split*). On fewer there is
one heat after the other, and the page replays the earlier ones beside the one that runs (*ghost*).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from fflib.files import InputError
from fflib.measure import cores
from fflib.talk.workers import Heat, Worker

SPLIT, GHOST = "split", "ghost"
SPLIT_FROM = 4  # cores
GAP_S = 1.5  # between two heats, in which the page says who is next
SILENCE_S = 3.0  # a lane that says nothing for so long has failed; the page goes on from the recording
SLOW = 3.0  # or for so many times as long as an answer of its takes, where that is more
STEP_S = 0.05


@dataclass(frozen=True)
class Planned:
    """A heat to come: ``lanes`` by number, the cores of each, and when it starts, in ms from the race's start."""

    start_ms: int
    seconds: float
    lanes: tuple[int, ...]
    cores: tuple[tuple[int, ...], ...]

    @property
    def end_ms(self) -> int:
        """When it is over."""
        return self.start_ms + round(1e3 * self.seconds)

    def told(self) -> dict[str, Any]:
        """Return it as the page takes it."""
        times = {"start_ms": self.start_ms, "end_ms": self.end_ms}
        return times | {"lanes": list(self.lanes), "cores": [list(share) for share in self.cores]}


def mode_for(available: int) -> str:
    """Return how lanes share ``available`` cores."""
    return SPLIT if available >= SPLIT_FROM else GHOST


def plan(lanes: int, seconds: float, available: Sequence[int] | None = None) -> tuple[str, list[Planned]]:
    """Return the mode and the heats of so many lanes, the first lanes first.

    ``available`` are the cores, by number; None takes those of this process.
    """
    available = tuple(cores.physical_cores() if available is None else available)
    mode = mode_for(len(available))
    half = len(available) // 2
    shares = [available[:half], available[half : 2 * half]] if mode == SPLIT else [available]
    heats: list[Planned] = []
    for first in range(0, lanes, len(shares)):
        start_ms = round(1e3 * (seconds + GAP_S)) * len(heats)
        which = tuple(range(first, min(lanes, first + len(shares))))
        heats.append(Planned(start_ms, seconds, which, tuple(shares[: len(which)])))
    return mode, heats


def total_s(heats: Sequence[Planned]) -> float:
    """Return how long the race takes."""
    return heats[-1].end_ms / 1e3


def run(
    workers: Sequence[Worker], heats: Sequence[Planned], is_stopped: Callable[[], bool] = lambda: False
) -> Iterator[list[list[float]]]:
    """Run the heats, each at its time, and yield rows [t_ms, lane, request, label, ms] as they come, some at a time.

    ``is_stopped`` is asked again and again; where it says so the race ends at once. InputError: a lane failed.
    """
    start = time.perf_counter()
    for heat in heats:
        while (left := heat.start_ms / 1e3 - (time.perf_counter() - start)) > 0:
            if is_stopped():
                return
            time.sleep(min(left, STEP_S))
        late_ms = max(0, round(1e3 * (time.perf_counter() - start)) - heat.start_ms)
        with ExitStack() as stack:
            running = {
                lane: stack.enter_context(workers[lane].heat(max(0.1, heat.seconds - late_ms / 1e3), share))
                for lane, share in zip(heat.lanes, heat.cores, strict=True)
            }
            for rows in _rows(running):
                if is_stopped():
                    return
                yield [[heat.start_ms + late_ms + t_ms, *rest] for t_ms, *rest in rows]


def _rows(running: dict[int, Heat]) -> Iterator[list[list[float]]]:
    """Yield what the lanes of a heat say, in turn, until all are over; an empty list where nobody says anything."""
    while not all(heat.is_over for heat in running.values()):
        found = []
        for lane, heat in running.items():
            wait_s = STEP_S / len(running)
            found += [[t_ms, lane, request, label, ms] for t_ms, request, label, ms in heat.rows(wait_s)]
        yield sorted(found)


def check_silence(rows: Sequence[Sequence[float]], heats: Sequence[Planned], names: Sequence[str]) -> None:
    """Raise InputError if a lane is silent for so long within its heat that the page would give it up."""
    for heat in heats:
        for lane in heat.lanes:
            mine = [row for row in rows if row[1] == lane]
            at = [heat.start_ms, *(row[0] for row in mine)]
            longest_s = max([b - a for a, b in zip(at, at[1:], strict=False)] or [heat.end_ms - heat.start_ms]) / 1e3
            limit_s = max(SILENCE_S, SLOW * max((row[4] for row in mine), default=0) / 1e3)
            if not mine or longest_s > limit_s:
                raise InputError(
                    f"the lane '{names[lane]}' was silent for {longest_s:.1f} s, more than {limit_s:.1f} s, so that "
                    "the race would go on from its recording; close what else runs on this machine"
                )
