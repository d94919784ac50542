"""Progress bars with the time left: on the terminal that started the run, also from inside a notebook's kernel."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from tqdm import tqdm

TERMINAL_VARIABLE = (
    "FFLIB_TERMINAL"  # set by `execute` to the terminal's device, since a kernel's stderr is the notebook
)


def bar(total: int, what: str, unit: str) -> tqdm:
    """Return a tqdm bar. Updates are rare, so that a bar may stand beside timed code.

    A chapter that was started without a terminal (CI, a log file) has none: its lines would fill the notebook.
    """
    nowhere = os.environ.get(TERMINAL_VARIABLE) == ""
    options = {"mininterval": 2, "maxinterval": 10, "leave": False, "disable": nowhere}
    return tqdm(total=total, desc=what, unit=unit, file=_stream(), **options)


def terminal() -> str:
    """Return the device of the terminal behind stderr, '' when there is none (a log file, CI)."""
    try:
        return os.ttyname(sys.stderr.fileno()) if sys.stderr.isatty() else ""
    except (OSError, ValueError):
        return ""


def _stream() -> TextIO:
    device = os.environ.get(TERMINAL_VARIABLE)
    try:
        return open(device, "w", encoding="utf-8") if device else sys.stderr  # noqa: SIM115  (lives as long as the bar)
    except OSError:
        return sys.stderr
