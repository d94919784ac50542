"""From a name on the hub to a folder on this machine: the hub's cache, else a download.

The hub's own client resumes, waits where it is asked to, and keeps only files of the right size. What it lacks stands
here: a time limit for every request, the SHA-256 of what arrived, and one sentence for each way in which it can fail.
"""

from __future__ import annotations

import errno
import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import errors
from huggingface_hub.utils import httpx, parse_ratelimit_headers

from fflib.files import InputError

TIMEOUT_S = 10
TRIES = 3
LONGEST_WAIT_S = 300  # the hub counts requests in windows of five minutes


class NotFound(InputError):
    """A name that leads nowhere on this machine."""


class _BrokenOff(Exception):
    """The hub answered, but then a file did not arrive whole."""


def fetch(
    name: str,
    patterns: Sequence[str],
    needed: str,
    revision: str | None = None,
    kind: str = "model",
    searched: str = "",
    instead: str = "give a local folder",
) -> Path:
    """Return the folder in the hub's cache that holds the files of ``name`` that match ``patterns``.

    The hub is asked only if the cache lacks one of them or has none that matches ``needed``; ``HF_HUB_OFFLINE=1`` keeps
    to this machine. ``kind`` is "model" or "dataset". ``searched`` and ``instead`` go into the message of an error:
    where else the name was looked for ("it is no local folder, "), and the way out.

    Raises:
        NotFound: no such name, or the hub is out of reach; known within seconds.
        InputError: the hub is there and does not give it: no such revision, no access, too many requests, broken off.
    """
    asked = {"repo_type": kind, "revision": revision}
    folder = _cached(name, patterns, asked)
    if folder is not None and any(folder.glob(needed)):  # other programs may have fetched a part only
        return folder
    tries_left = TRIES
    while True:
        tries_left -= 1
        try:
            return _download(name, patterns, asked)
        except Exception as error:  # the client raises a dozen kinds; `_explain` tells them apart
            cause = _cause(error)
            sort, wrong, remedy = _explain(cause, name, revision)
            wait_s = _wait_s(cause) if tries_left else None
            if wait_s is None:
                at = f" at revision {revision}" if revision else ""
                found = f"{searched}the hub's cache does not have it, and {wrong}"
                raise sort(f"cannot get the {kind} {name}{at}: {found}; {remedy}, or {instead}") from error
        print(f"{name}: {wrong}; trying again in {wait_s} s", file=sys.stderr, flush=True)
        time.sleep(wait_s)


def _cached(name: str, patterns: Sequence[str], asked: dict[str, Any]) -> Path | None:
    """Return the cache's folder, None if the cache does not know the name or knows that files are missing."""
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns, local_files_only=True, **asked))
    except errors.LocalEntryNotFoundError:
        return None
    except ValueError as error:
        raise NotFound(f"{name!r} is neither a folder nor a hub name (owner/model); check the spelling") from error


def _download(name: str, patterns: Sequence[str], asked: dict[str, Any]) -> Path:
    """Ask whether the name is there, which the client does once and at once, then for what is missing."""
    huggingface_hub.HfApi().repo_info(name, timeout=TIMEOUT_S, **asked)
    try:
        with _time_limit(TIMEOUT_S):
            folder = Path(
                huggingface_hub.snapshot_download(name, allow_patterns=patterns, local_files_only=False, **asked)
            )
    except Exception as error:  # connections that end, files of the wrong size, and what the newer storage raises
        cause = _cause(error)
        if isinstance(cause, errors.HfHubHTTPError) or _is_no_room(cause):
            raise
        raise _BrokenOff from cause
    _check_sha256(folder)
    return folder


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Limit each request that has no limit of its own: the client lists files without one and may wait for ever."""

    def limit(request: Any) -> None:
        limits = request.extensions.get("timeout", {})
        ours = {phase: limits.get(phase) or seconds for phase in ("connect", "read", "write")}
        request.extensions["timeout"] = limits | ours

    client = huggingface_hub.get_session()
    hooks = client.event_hooks
    client.event_hooks = {**hooks, "request": [*hooks["request"], limit]}
    try:
        yield
    finally:
        client.event_hooks = hooks


def _check_sha256(folder: Path) -> None:
    """Raise _BrokenOff for a file that is not what its name in the cache says, and remove it.

    The cache calls large files by their SHA-256, small ones by a shorter hash; those that came through the hub's newer
    storage lie elsewhere and were checked on the way.
    """
    for path in folder.rglob("*"):
        stored = path.resolve()
        if not (path.is_file() and stored.parent.name == "blobs" and len(stored.name) == 64):
            continue
        with open(stored, "rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != stored.name:
            path.unlink()
            stored.unlink()
            raise _BrokenOff


def _cause(error: BaseException) -> BaseException:
    """Return what went wrong; the client wraps most of it into "not in the cache either"."""
    wrapped = isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None
    return error.__cause__ if wrapped else error


def _is_no_room(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def _wait_s(error: BaseException) -> int | None:
    """Return the seconds after which a further try makes sense; None where it does not, or the client made several."""
    if isinstance(error, _BrokenOff):
        retried = (httpx.RemoteProtocolError, httpx.TimeoutException, httpx.ConnectError)
        return None if isinstance(error.__cause__, retried) else 1
    if not isinstance(error, errors.HfHubHTTPError):
        return None
    if error.response.status_code == 429:
        asked_s = _asked_wait_s(error.response.headers)
        return asked_s if asked_s <= LONGEST_WAIT_S else None
    return 2 if error.response.status_code >= 500 else None


def _asked_wait_s(headers: Any) -> int:
    """Return the seconds that the hub asks to wait, rounded up; 5 where it does not say."""
    window = parse_ratelimit_headers(headers)
    if window is not None and window.remaining == 0:
        return window.reset_in_seconds + 1
    asked = headers.get("Retry-After", "")
    return int(asked) + 1 if asked.isdigit() else 5


def _explain(error: BaseException, name: str, revision: str | None) -> tuple[type[InputError], str, str]:
    """Return the sort of error, what is wrong and what to do. NotFound: a run may do without these weights."""
    login = "log in with `hf auth login`"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return NotFound, "HF_HUB_OFFLINE forbids a download", "unset HF_HUB_OFFLINE for one run"
    if isinstance(error, errors.RevisionNotFoundError):
        remedy = "check it (a commit needs all its 40 digits), leave it out"
        return InputError, f"the hub has {name} but no revision {revision or 'main'} of it", remedy
    if isinstance(error, errors.GatedRepoError):
        remedy = f"ask for it on its page and {login}"
        return InputError, "its owner gives it on request only (it is gated)", remedy
    if isinstance(error, errors.RepositoryNotFoundError):
        return NotFound, "the hub has no such name, or it is private", f"check the spelling, {login}"
    if isinstance(error, _BrokenOff):
        cause = error.__cause__
        wrong = f"its download broke off ({type(cause).__name__})" if cause else "its download arrived damaged"
        return InputError, wrong, "check the network and run again (files that are whole are kept)"
    if isinstance(error, httpx.TimeoutException):
        return NotFound, f"the hub did not answer within {TIMEOUT_S} s", "check the network"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status == 429:
            wait_s = _asked_wait_s(error.response.headers)
            wrong = f"the hub has had too many requests from here (429) and asks for {wait_s} s of patience"
            return InputError, wrong, f"run again after that, {login} for a higher limit"
        return NotFound, f"the hub answered {status}", "check the name and the network, try again later"
    if _is_no_room(error):
        cache = huggingface_hub.constants.HF_HUB_CACHE
        return InputError, f"{cache} cannot be written ({error.strerror})", "check space and permissions"
    return NotFound, f"the hub cannot be reached ({type(error).__name__})", "check the name and the network"
