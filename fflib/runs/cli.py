"""What the command lines share: how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable

from fflib.files import InputError


def ended(action: Callable[[], int | None]) -> int:
    """Do ``action`` and return the exit status: its own, 0 for None, 2 with a sentence on stderr for an InputError."""
    try:
        return action() or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
