"""One run at a time: the lock of a project's outputs, which tells who holds it.

Two chapters at once would spoil each other's timings and overwrite each other's files. The kernel of the operating
system drops the lock with the process, so a kill leaves nothing stale.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from fflib.book import lifeline
from fflib.files import InputError, outputs_dir, shown
from fflib.runs import nodes

BOOK, CHAPTER = ".book.lock", ".lock"  # held by make for all it does, and by each chapter
WAIT_S = 5.0  # for a chapter that is stopping just now
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@contextmanager
def of_book(what: str) -> Iterator[None]:
    """Hold all outputs for ``what``, in words. InputError: somebody else does, or they cannot be written."""
    with _held(outputs_dir() / BOOK, what, 0.0):
        yield


@contextmanager
def of_chapter(what: str, folder: Path | None = None) -> Iterator[None]:
    """Hold them for a chapter: those of the book as well, unless a process that does has started this one.

    On a cluster make holds the book's on the login node, and other runs' chapters go on at once, each on a node that it
    has alone: there a chapter holds its run's ``folder``, against a job that another make left behind.
    """
    with ExitStack() as stack:
        if not nodes.on_cluster() and not lifeline.worked_for():
            stack.enter_context(of_book(what))
        at = folder if folder and nodes.on_cluster() else outputs_dir()
        stack.enter_context(_held(at / CHAPTER, what, WAIT_S))
        yield


@contextmanager
def _held(path: Path, what: str, wait_s: float) -> Iterator[None]:
    with _opened(path) as file:
        until = time.monotonic() + wait_s
        while not _taken(file):
            if time.monotonic() > until:
                raise InputError(_refusal(_holder(file)))
            time.sleep(0.1)
        mine = {"what": what, "process": os.getpid(), "host": socket.gethostname(), "job": nodes.job()}
        _write(file, json.dumps(mine | {"since": f"{datetime.now():%Y-%m-%d %H:%M}"}))
        try:
            yield
        finally:
            _write(file, "")


def _opened(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        why = error.strerror or error
        raise InputError(
            f"{shown(path.parent)} cannot be written ({why}); make room there, or set FFLIB_OUTPUTS"
        ) from error


def _taken(file: TextIO) -> bool:
    """Take the lock; say whether that was possible. Where the file system has none, ask who noted that it holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            return False
        holder = _holder(file)
        is_here = holder.get("host") == socket.gethostname()
        if holder and (not is_here or lifeline.is_alive(int(holder["process"]))):
            return False
        print(f"{shown(file.name)}: this file system has no locks; let nobody else run the book there", file=sys.stderr)
    return True


def _holder(file: TextIO) -> dict[str, Any]:
    file.seek(0)
    try:
        holder = json.loads(file.read() or "{}")
    except ValueError:  # being written just now, or by older code
        return {}
    return holder if isinstance(holder, dict) and {"what", "process", "host", "since"} <= {*holder} else {}


def _refusal(holder: dict[str, Any]) -> str:
    if not holder:
        return "another chapter is running in this project; wait for it, or stop it"
    where = "" if holder["host"] == socket.gethostname() else f" on {holder['host']}"
    who = f"{holder['what']}, process {holder['process']}{where}, since {holder['since']}"
    stop = f"scancel {holder['job']}" if holder.get("job") else f"kill {holder['process']}"
    return f"another run is going on in this project ({who}); wait for it, or stop it with: {stop}"


def _write(file: TextIO, text: str) -> None:
    try:
        file.seek(0)
        file.truncate()
        file.write(text)
        file.flush()
    except OSError:  # a full disk: the lock itself holds
        return
