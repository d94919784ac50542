"""The sign of life while a chapter runs: what it does, and the time left of it and of the book.

On a terminal one line that is drawn anew each second; elsewhere (a log file, CI) a line when the chapter begins and one
a minute. What the chapter does is told by its bars (`fflib.progress`), which its kernel leaves in a file, and where
none is going on by the section that its cell is in.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fflib import progress
from fflib.progress import Loop
from fflib.runs import times
from fflib.runs.outlook import Outlook

DRAW_EVERY_S, LINE_EVERY_S = 1.0, progress.LINE_EVERY_S
WIDTH = 10  # of the bar, in characters
CLEAR = "\r\x1b[K"
THREAD = "sign of life"


class Life:
    """What is known of a chapter that runs.

    Args:
        chapter: its name.
        outlook: how long it and what comes after it will take.
        state: the file in which its kernel leaves its bars.
        headings: the heading that each cell's source stands under.
    """

    def __init__(self, chapter: str, outlook: Outlook, state: Path, headings: Mapping[str, str]) -> None:
        self.chapter, self.outlook, self._state, self._headings = chapter, outlook, state, headings
        self._began_s, self._section, self._cell_began_s = time.monotonic(), "", 0.0

    def cell_started(self, cell: Mapping[str, Any], cell_index: int) -> None:
        """Note the cell that runs from now on; papermill's hook of this name."""
        self._section = self._headings.get(cell["source"], self._section)
        self._cell_began_s = time.time()

    def first_line(self) -> str:
        """Say that the chapter begins."""
        place = f", chapter {self.outlook.place}" if self.outlook.place else ""
        return "; ".join([f"{self.chapter}: begins{place}", *self._left([], 0.0)])

    def line(self) -> str:
        """Say what it does and what is left."""
        loops, elapsed_s = self._loops(), time.monotonic() - self._began_s
        return "; ".join([f"{self.chapter}: {self._does(loops)}", *self._left(loops, elapsed_s)])

    def drawing(self, columns: int = 80) -> str:
        """Return the line for a terminal: a bar of the book, the chapter, what it does, what is left of the book.

        Where it is longer than ``columns``, the section goes first, then the end of what it does.
        """
        loops, elapsed_s = self._loops(), time.monotonic() - self._began_s
        whole_s = self.outlook.left_s(elapsed_s, _left_of(loops))[1]
        done_s = self.outlook.done_s + elapsed_s
        filled = 0 if whole_s is None else int(WIDTH * done_s / (done_s + whole_s))
        bar = "" if whole_s is None else f"[{'#' * filled:.<{WIDTH}}] "
        begin = f"{bar}{self.outlook.place}, {self.chapter}: ".removeprefix(", ")
        end = f" | {self.outlook.whole}: {times.told(whole_s)}" if whole_s else ""
        room, does = max(0, columns - len(begin) - len(end)), self._does(loops)
        does = _inner(loops) if loops and len(does) > room else does
        return (begin + does[:room] + end)[:columns]

    def _loops(self) -> list[Loop]:
        """Return the loops that go on; what the file holds from before this cell is over."""
        try:
            is_old = self._state.stat().st_mtime < self._cell_began_s
        except OSError:
            return []
        return [] if is_old else progress.loops(self._state)

    def _does(self, loops: Sequence[Loop]) -> str:
        outer = f"{loops[0]}, " if loops[1:] else ""
        return ": ".join(filter(None, [self._section, outer + _inner(loops)])) or "starts"

    def _left(self, loops: Sequence[Loop], elapsed_s: float) -> list[str]:
        names = ("the chapter", f"the {self.outlook.whole}")
        left = self.outlook.left_s(elapsed_s, _left_of(loops))
        return [f"{name}: {times.told(seconds)}" for name, seconds in zip(names, left, strict=True) if seconds]


def _inner(loops: Sequence[Loop]) -> str:
    return str(loops[-1]) if loops else ""


def _left_of(loops: Sequence[Loop]) -> float:
    return max((loop.left_s or 0.0 for loop in loops), default=0.0)


def headings(cells: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the heading that each code cell stands under, by the cell's source."""
    found, heading = {}, ""
    for cell in cells:
        if cell["cell_type"] == "markdown":
            prose = re.sub(r"^```.*?^```", "", cell["source"], flags=re.DOTALL | re.MULTILINE)
            heading = ([heading] + re.findall(r"^#{1,6} +(.+?) *#*$", prose, flags=re.MULTILINE))[-1]
        else:
            found[cell["source"]] = re.sub(r"[*_`]", "", heading)
    return found


@contextmanager
def shown(life: Life) -> Iterator[None]:
    """Show ``life`` on stderr while the block runs; nothing of it stays on a terminal, and no thread stays at all."""
    on_terminal, over = sys.stderr.isatty(), threading.Event()
    thread = threading.Thread(target=_drawn if on_terminal else _told, args=(life, over), name=THREAD, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if on_terminal:
            _put(CLEAR)


def _drawn(life: Life, over: threading.Event) -> None:
    while not over.wait(DRAW_EVERY_S):
        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
        except OSError:
            columns = 80
        _put(CLEAR + life.drawing(columns - 1))


def _told(life: Life, over: threading.Event) -> None:
    _put(life.first_line() + "\n")
    while not over.wait(LINE_EVERY_S):
        _put(life.line() + "\n")


def _put(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):  # the terminal is gone: the chapter goes on
        return
