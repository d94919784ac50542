"""Whether a model's folder still holds what was written: the SHA-256 of the weights stands in its config.

Nothing here needs PyTorch, so that it can be asked before every run.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

CONFIG, WEIGHTS, KEY = "config.json", "model.safetensors", "weights_sha256"  # the files are those of ``hub``


def of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damage(folder: Path) -> str:
    """Say what is wrong with a model folder of this book, '' where nothing is, or where nobody wrote a hash."""
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{folder / CONFIG} is missing or damaged"
    if not isinstance(values, dict):
        return f"{folder / CONFIG} is missing or damaged"
    wanted = values.get(KEY)
    try:
        return "" if not wanted or of(folder / WEIGHTS) == wanted else f"{folder / WEIGHTS} is not what was written"
    except OSError as error:
        return f"{folder / WEIGHTS} cannot be read ({error.strerror})"
