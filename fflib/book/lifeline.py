"""No process of a run outlives the run: each watches those that it works for, and stops when one of them is gone.

A signal reaches one process, or a group; what is killed outright passes nothing on. So whoever starts others leaves its
number in the environment, and each of them looks, once a second, whether all these numbers still stand for a process.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

VARIABLE = "FFLIB_RUN_BY"  # "host:number host:number", the outermost first
EVERY_S = 1.0
GRACE_S = 20.0  # from being asked to stop to being made to
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def hand_down(*numbers: int) -> None:
    """Let what this process starts from now on stop when one of the processes ``numbers``, or this one, is gone."""
    mine = [f"{socket.gethostname()}:{number}" for number in (*numbers, os.getpid())]
    os.environ[VARIABLE] = " ".join(dict.fromkeys([*os.environ.get(VARIABLE, "").split(), *mine]))


def worked_for() -> list[int]:
    """Return the numbers of the processes on this machine for which this one works; itself is none of them."""
    marks = (mark.rpartition(":") for mark in os.environ.get(VARIABLE, "").split())
    numbers = [int(number) for host, _, number in marks if host == socket.gethostname() and number.isdecimal()]
    return [number for number in numbers if number != os.getpid()]


def is_alive(number: int) -> bool:
    """Say whether there is a process of that number that still runs; one that waits to be buried does not."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:  # it is there, and not ours
        return True


def make_above() -> list[int]:
    """Return the numbers of make and of what stands between it and this process; [] where make did not start it."""
    if "MAKELEVEL" not in os.environ:
        return []
    try:
        above = psutil.Process().parents()
        makes = [i for i, process in enumerate(above[:4]) if "make" in process.name()]
    except psutil.Error:  # one of them has just ended, or is not ours to look at
        return []
    return [process.pid for process in above[: makes[0] + 1]] if makes else []


def watch(stop: Callable[[], None] | None = None) -> None:
    """Call ``stop`` in a thread of its own when one of those that this process works for is gone.

    By default the process gets SIGTERM, and is ended where that does not help.
    """
    numbers = worked_for()
    if numbers:
        threading.Thread(target=_watched, args=(numbers, stop or _stop), name="lifeline", daemon=True).start()


def _watched(numbers: list[int], stop: Callable[[], None]) -> None:
    while all(map(is_alive, numbers)):
        time.sleep(EVERY_S)
    stop()


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(128 + signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """This process was asked to stop, by Ctrl-C or by a signal; ``number`` is that of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` in the block, once, however it is asked to stop; what is ignored (nohup) stays ignored."""

    def raise_stopped(number: int, frame: object) -> None:
        for each in handled:
            signal.signal(each, signal.SIG_IGN)  # a second one would break off what cleans up
        raise Stopped(number)

    before = {each: signal.getsignal(each) for each in SIGNALS}
    handled = [each for each, handler in before.items() if handler != signal.SIG_IGN]
    for each in handled:
        signal.signal(each, raise_stopped)
    try:
        yield
    finally:
        for each in handled:
            signal.signal(each, before[each] or signal.SIG_DFL)
