"""Where the seconds of a process go, by kind: counted around what takes long, and kept in a chapter's record.

    with spent.on("training"):
        fit(...)

Of kinds inside each other only the inner one counts, so the kinds add up to no more than the clock. Only the thread
that began counts: what others do meanwhile happens at the same time.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

KINDS = ("training", "prediction", "scoring", "search", "export", "timing", "data", "figures")
START, REST = "start", "rest"  # Python, the kernel and imports, before a chapter begins; what no kind counted
STARTED_VARIABLE = "FFLIB_STARTED"  # set by `execute`: when the chapter's process began, in seconds since 1970


class Clock:
    """Seconds by kind."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._open: list[str] = []  # the kinds that are going on, the innermost last
        self._since = time.perf_counter()
        self._thread = threading.get_ident()

    def begin(self, kind: str) -> None:
        """Count from now on for ``kind``, until `end`."""
        if threading.get_ident() == self._thread:
            self._settle()
            self._open.append(kind)

    def end(self, kind: str) -> None:
        """Go on with what was counted before; nothing happens where ``kind`` is not going on."""
        if threading.get_ident() == self._thread and kind in self._open:
            self._settle()
            del self._open[len(self._open) - 1 - self._open[::-1].index(kind)]

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each kind so far, of the one that is going on too."""
        if threading.get_ident() == self._thread:
            self._settle()
        return dict(self._seconds)

    def _settle(self) -> None:
        now = time.perf_counter()
        if self._open:
            self._seconds[self._open[-1]] += now - self._since
        self._since = now


_clock = Clock()


def restart() -> None:
    """Forget what was counted: a chapter begins."""
    global _clock
    _clock = Clock()


@contextmanager
def on(kind: str) -> Iterator[None]:
    """Count the block, or as a decorator each call, as ``kind``, one of `KINDS`."""
    clock = begin(kind)
    try:
        yield
    finally:
        clock.end(kind)


def begin(kind: str) -> Clock:
    """Count from now on for ``kind``, until `Clock.end` of what is returned."""
    assert kind in KINDS, f"there is no kind {kind!r} of seconds"
    clock = _clock
    clock.begin(kind)
    return clock


def by_kind(start_s: float) -> dict[str, float]:
    """Return the seconds of a chapter by kind, with `START` and `REST`; they sum to all since its process began.

    Args:
        start_s: when its first line ran, in seconds since 1970. What came before counts as `START`; it is 0 where
            nobody told when the process began (in JupyterLab).
    """
    counted = _clock.seconds()
    began_s = float(os.environ.get(STARTED_VARIABLE) or start_s)
    rest = max(0.0, time.time() - start_s - sum(counted.values()))
    parts = {START: max(0.0, start_s - began_s)} | {kind: counted[kind] for kind in KINDS if kind in counted}
    return {kind: round(seconds, 1) for kind, seconds in (parts | {REST: rest}).items()}
