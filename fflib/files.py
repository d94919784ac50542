"""Paths, atomic writes and content hashes: what every other module stands on."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PARTIAL = re.compile(r"\..+\.\d+\.tmp(\.\w+)?")  # what `atomic_path` names a file that is being written
SWAPPED = re.compile(r"\..+\.swap\w{8}")  # and `swapped_in` the folder around one


class InputError(Exception):
    """Something the user can mend. The message is one sentence: what is wrong, and what to do."""


def check_known(what: str, asked: Iterable[str], known: Iterable[str]) -> None:
    """Raise InputError where one of the names ``asked`` for does not exist."""
    known = list(known)
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise InputError(f"there is no {what} {unknown[0]!r}; there are {', '.join(known)}")


def resolve(path: str | Path) -> Path:
    """Return ``path`` as an absolute path; a relative one is taken from the project's root, never from the cwd."""
    try:
        path = Path(path).expanduser()
    except RuntimeError as error:  # nobody of that name, or nobody knows where home is
        raise InputError(
            f"there is no home folder for {str(path)!r}; write '~/' in front of it, or all of it"
        ) from error
    return path if path.is_absolute() else ROOT / path


def cache_root() -> Path:
    """Return the folder of all caches: ``$FFLIB_CACHE``, or ``.cache`` in the project's root."""
    return _set_by("FFLIB_CACHE", ".cache")


def cache_dir(name: str) -> Path:
    """Return (and make) the cache folder ``name``. InputError: it cannot be made."""
    folder = cache_root() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the cache folder {folder} cannot be made ({error.strerror}); name another by FFLIB_CACHE"
        ) from error
    return folder


def outputs_dir() -> Path:
    """Return the folder of all runs: ``$FFLIB_OUTPUTS``, or ``outputs`` in the project's root.

    InputError: it is a file.
    """
    folder = _set_by("FFLIB_OUTPUTS", "outputs")
    if folder.is_file():
        raise InputError(f"FFLIB_OUTPUTS names {folder}, which is a file; name a folder")
    return folder


def _set_by(variable: str, usual: str) -> Path:
    """Return the folder that an environment variable names. InputError: nobody knows where its home folder is."""
    try:
        return resolve(os.environ.get(variable, "").strip() or usual)
    except InputError as error:
        raise InputError(f"{variable}: {error}") from error


def shown(path: str | Path) -> str:
    """Write a path for people and records: relative to the project's root where it lies inside."""
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes ``path``'s place only if the block ends without an error.

    A reader therefore sees the whole old file or the whole new one, also after Ctrl-C, a kill or a full disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"could not write {path}: {error.strerror or error}; check space and permissions") from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Remove what `atomic_path` and `swapped_in` left in ``folder`` of processes that were killed."""
    for path in folder.rglob(".*") if folder.is_dir() else ():
        if PARTIAL.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
        elif SWAPPED.fullmatch(path.name) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def swapped_in(folder: str | Path) -> Iterator[Path]:
    """Yield an empty folder that takes ``folder``'s place if the block ends without an error; else all stays."""
    folder = Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = {"dir": folder.parent, "prefix": f".{folder.name}.swap", "ignore_cleanup_errors": True}
        with tempfile.TemporaryDirectory(**beside) as scratch:
            new, old = Path(scratch) / "new", Path(scratch) / "old"
            new.mkdir()  # with the usual permissions, which a temporary folder's own are not
            yield new
            try:
                if folder.exists():
                    os.rename(folder, old)  # a folder, unlike a file, cannot be replaced while it holds something
                os.rename(new, folder)
            finally:
                if old.exists() and not folder.exists():
                    os.rename(old, folder)
    except OSError as error:
        raise InputError(f"could not write {folder}: {error}; check space and permissions") from error


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as JSON to ``path`` atomically; NaN and Infinity are refused, for they are not JSON."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def content_hash(*values: Any) -> str:
    """Return 16 hexadecimal digits that depend on every value: bytes, files (``Path``), or anything JSON can hold."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, Path):
            value = value.read_bytes()
        elif not isinstance(value, bytes):
            value = json.dumps(value, sort_keys=True, default=str).encode()
        digest.update(len(value).to_bytes(8, "big") + value)
    return digest.hexdigest()[:16]
