"""What the command lines share: how they end."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections import Counter
from collections.abc import Callable

import psutil

from fflib.files import InputError, shown

# What a machine may refuse to a program that is sound: what to do.
MACHINE = {
    errno.ENOSPC: "the disk is full: make room there",
    errno.EDQUOT: "your share of the disk is used up: make room there",
    errno.EROFS: "it can only be read: choose another folder, e.g. by FFLIB_OUTPUTS",
    errno.EACCES: "that is not allowed: change its permissions, or choose another folder, e.g. by FFLIB_OUTPUTS",
    errno.EPERM: "that is not allowed: change its permissions, or choose another folder, e.g. by FFLIB_OUTPUTS",
    errno.EIO: "the disk fails: copy what you need to another one",
    errno.EMFILE: "too many files are open: allow more of them (ulimit -n)",
    errno.ENAMETOOLONG: "the path is too long: move the project nearer to the top",
}


MORE_MEMORY = "there is not enough memory: end other programs, or take a smaller size, e.g. SIZE=smoke"


def remedy(kind: str, said: str) -> str:
    """Return what to do about an error that came as text, by its kind and message; '' where that is not known."""
    if kind == "MemoryError" or "not enough memory" in said or "bad_alloc" in said:
        return MORE_MEMORY
    if found := re.search(r"\[Errno (\d+)\]|\(os error (\d+)\)", said):  # as Python and as Rust's libraries write it
        return MACHINE.get(int(found[1] or found[2]), "")
    return next((cure for code, cure in MACHINE.items() if os.strerror(code) in said), "")


def behind_make() -> list[str]:
    """Return the words of the command line of make, where it started this process; [] where it did not."""
    if "MAKELEVEL" not in os.environ:
        return []
    try:
        above = (process for process in psutil.Process().parents()[:2] if "make" in process.name())
        return next((process.cmdline() for process in above), [])
    except psutil.Error:  # it has just ended, or is not ours to look at
        return []


def check_said_once(words: list[str]) -> None:
    """Refuse a variable that stands twice behind make: it hands on the last one, and forgets the others."""
    said = Counter(word.partition("=")[0] for word in words if re.match(r"[A-Z]+=", word))
    if twice := next((name for name, times in said.items() if times > 1), ""):
        cure = 'write it once, as in SET="n_train=500 epochs=2"' if twice == "SET" else "write it once"
        raise InputError(f"{twice} stands twice behind make, and only the last one would count; {cure}")


def ended(action: Callable[[], int | None]) -> int:
    """Do ``action`` and return the exit status: its own, 0 for None, 2 with a sentence for what can be mended.

    That is an InputError, or what the machine refuses: a full disk, a folder that cannot be written, too little memory.
    """
    try:
        check_said_once(behind_make())
        return action() or 0
    except InputError as error:
        sentence = str(error)
    except BrokenPipeError:  # whoever read what is printed has had enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in MACHINE:
            raise
        sentence = f"{shown(str(error.filename)) if error.filename else 'a file'} could not be written or read; "
        sentence += MACHINE[error.errno]
    except MemoryError:
        sentence = MORE_MEMORY
    print(f"error: {sentence}", file=sys.stderr)
    return 2
