"""How far a long loop is, with the time left.

On a terminal and in JupyterLab a loop is a bar. The kernel of a chapter that is executed draws none: it leaves its
loops in a small file, and the process that runs the chapter shows them (`fflib.book.life`). Elsewhere (a log file, CI)
a loop says a line a minute.
"""

from __future__ import annotations

import json
import os
import sys
import time
import weakref
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from fflib import spent

STATE_VARIABLE = "FFLIB_PROGRESS"  # set by `execute`: the file in which a kernel leaves its bars
WRITE_EVERY_S = 2.0  # so rarely that a bar may stand beside timed code
LINE_EVERY_S = 60.0
JUMP_S = 0.05  # what is done so soon was there before: a training that goes on where it was stopped
KIND_OF_UNIT = {  # what the seconds of a loop count as, see `fflib.spent`
    "step": "training",
    "batch": "prediction",
    "candidate": "search",
    "layer": "search",
    "trial": "search",
    "round": "timing",
    "pass": "timing",
    "request": "timing",
    "package": "data",
}


@dataclass(frozen=True)
class Loop:
    """How far one loop was when it was last asked; ``left_s`` is None where nothing was done yet."""

    what: str
    done: int
    total: int
    left_s: float | None
    note: str = ""

    def __str__(self) -> str:
        """Write it for people, as in 'train 420 of 1200, 1:10 left'."""
        left = "" if self.left_s is None else f", {clock(self.left_s)} left"
        return f"{self.what} {self.done} of {self.total}{left}"


class Bar:
    """A loop's bar. `update` costs about a microsecond; it shows what has changed every `WRITE_EVERY_S`."""

    def __init__(self, total: int, what: str, unit: str) -> None:
        self.what, self.total, self.done, self.note = what, total, 0, ""
        self._began = self._next = time.monotonic()
        self._before = 0  # done before it began
        self._state = os.environ.get(STATE_VARIABLE)
        self._kind = KIND_OF_UNIT.get(unit)
        self._counted = spent.begin(self._kind) if self._kind else None
        self._bar: tqdm | None = None
        if self._state:
            _bars.append(weakref.ref(self))
            self._next += WRITE_EVERY_S
            _write(self._state)
        elif _can_draw():
            options = {"mininterval": WRITE_EVERY_S, "maxinterval": 10, "leave": False}
            self._bar = tqdm(total=total, desc=what, unit=unit, file=sys.stderr, **options)
        else:
            self._next += LINE_EVERY_S

    def update(self, n: int = 1) -> None:
        """Say that ``n`` more are done."""
        self.done += n
        now = time.monotonic()
        if now - self._began < JUMP_S:
            self._before = self.done
        if self._bar is not None:
            self._bar.update(n)
        elif now >= self._next:
            self._next = now + (WRITE_EVERY_S if self._state else LINE_EVERY_S)
            if self._state:
                _write(self._state)
            else:
                print(f"{self.loop()}{self.note and f' ({self.note})'}", file=sys.stderr, flush=True)

    def set_postfix(self, **notes: str) -> None:
        """Show ``notes`` beside the count, as in dev=0.81."""
        self.note = ", ".join(f"{name} {value}" for name, value in notes.items())
        if self._bar is not None:
            self._bar.set_postfix(**notes)

    def loop(self) -> Loop:
        """Return how far it is now."""
        done, seconds = self.done - self._before, time.monotonic() - self._began
        left_s = seconds / done * max(0, self.total - self.done) if done > 0 else None
        return Loop(self.what, self.done, self.total, left_s, self.note)

    def close(self) -> None:
        """Take it away; a second time does nothing."""
        if self._counted:
            self._counted.end(str(self._kind))
            self._counted = None
        if self._bar is not None:
            self._bar.close()
        if self._state:
            state, self._state = self._state, None
            _bars[:] = [bar for bar in _bars if bar() not in (None, self)]
            _write(state)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        """A loop that an error ended goes with it."""
        if getattr(self, "_counted", None):
            self.close()


_bars: list[weakref.ref[Bar]] = []  # of this process, the outermost first


def bar(total: int, what: str, unit: str) -> Bar:
    """Return a bar for a loop of ``total`` steps; ``unit`` names one of them, see `KIND_OF_UNIT`."""
    return Bar(total, what, unit)


def loops(state: str | Path) -> list[Loop]:
    """Read what a kernel left in its file, the outermost loop first: nothing where there is none, or none yet."""
    try:
        found = json.loads(Path(state).read_text(encoding="utf-8"))
        names = {field.name for field in fields(Loop)}
        passed_s = time.time() - found["at_s"]
        read = [Loop(**{name: loop[name] for name in names}) for loop in found["loops"]]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    return [Loop(**asdict(loop) | {"left_s": _less(loop.left_s, passed_s)}) for loop in read]


def clock(seconds: float) -> str:
    """Write a duration as on a clock: 1:10 is a minute and ten seconds, 1:00:00 an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _less(left_s: float | None, passed_s: float) -> float | None:
    return None if left_s is None else max(0.0, left_s - passed_s)


def _write(state: str) -> None:
    """Leave the bars that are open, whole or not at all. A folder that is gone, or full, stops no work."""
    bars = [bar for bar in (reference() for reference in list(_bars)) if bar is not None]
    partial = f"{state}.{os.getpid()}"
    try:
        content = json.dumps({"at_s": time.time(), "loops": [asdict(bar.loop()) for bar in bars]})
        Path(partial).write_text(content, encoding="utf-8")
        os.replace(partial, state)
    except OSError:
        return


def _can_draw() -> bool:
    """Whether a bar can stand where errors go: on a terminal, or below a cell in JupyterLab."""
    try:
        return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")
    except (AttributeError, ValueError):  # there is none at all, or it is closed
        return False
