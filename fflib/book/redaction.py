"""What must not leave this machine with a result: text of the data, and folders by which the machine could be told."""

from __future__ import annotations

import html
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from fflib.data.splits import Split
from fflib.files import ROOT, InputError, outputs_dir, resolve

FOLDER = "<folder>"
OURS = re.compile(rf"(?<![\w.~/-]){re.escape(str(ROOT))}/")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # what terminals take for a colour
SHINGLE = 8  # successive words that no two texts share by chance
IMAGE = "image/png"


def leaks(texts: Iterable[str], contents: Iterable[str]) -> list[str]:
    """Return the first 8 successive words of every text that also occur in ``contents``; [] where none does.

    A word is letters and digits in lower case. Eight numbers in a row are a table, not a text, and do not count.
    """
    known = {shingle for content in contents for shingle in _shingles(content)}
    found = (next((shingle for shingle in _shingles(text) if shingle in known), ()) for text in texts)
    return [" ".join(shingle) for shingle in found if shingle]


def refuse_leaks(contents: Mapping[str, str | bytes], splits: Sequence[Split]) -> None:
    """Raise InputError where a text of ``splits`` shows in one of the files ``contents``; bytes are images.

    JSON and notebooks are read as people do: strings without their escapes and without encoded images.
    """
    read_by_people = {path: _readable(path, text) for path, text in contents.items() if isinstance(text, str)}
    texts = (text for split in splits for example in split.texts for text in example)
    if found := leaks(texts, read_by_people.values()):
        path = next(path for path, text in read_by_people.items() if leaks(found[:1], [text]))
        raise InputError(f"{path} holds text of the data ('{found[0]} ...'); take it out of the chapter, and run again")


def _readable(path: str, content: str) -> str:
    """Return a file's text as it is read: of JSON, whose escapes would hide words, the strings without images."""
    plain = content if path.endswith((".csv", ".md")) else " ".join(_strings(json.loads(content)))
    return html.unescape(plain)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key != IMAGE:
                yield key
                yield from _strings(item)


def _shingles(text: str) -> Iterator[tuple[str, ...]]:
    words = re.findall(r"[^\W_]+", text.lower())
    runs = zip(*(words[start:] for start in range(SHINGLE)), strict=False)
    return (run for run in runs if not "".join(run).isdecimal())


def path_remover(run_folder: Path, sources: Iterable[str]) -> Callable[[str], str]:
    """Return a function that puts ``<folder>`` in place of every folder by which this machine could be told.

    ``sources`` are folders of data; what is none changes nothing.
    """
    set_by_user = {os.environ.get(name) for name in ("FFLIB_SUPERGLUE", "FFLIB_CACHE", "HF_HOME")} - {None}
    set_by_user |= {os.path.expanduser("~")}  # as it is where nobody knows where home is
    named = [run_folder, outputs_dir(), ROOT, tempfile.gettempdir(), sys.prefix, *sources, *set_by_user]
    spelt = {str(way) for path in named for way in (path, resolve(path), resolve(path).resolve())}
    absolute = [path for path in spelt if path.startswith(("/", "~")) and len(Path(path).parts) > 1]
    longest_first = "|".join(re.escape(path) for path in sorted(absolute, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w.~-])(?:{longest_first})(?![\w-])")  # not within another path's name
    return lambda text: pattern.sub(FOLDER, text)


def without_places(notebook: NotebookNode, remove: Callable[[str], str]) -> None:
    """Write paths in an executed notebook from the project's root, and leave out by which folder others begin.

    Args:
        remove: what `path_remover` returns.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        if not isinstance(value, str):
            return value
        apart = COLOUR.sub(lambda match: f"{match[0]}\0", value)  # else it seems part of a name
        return remove(OURS.sub("", apart)).replace(FOLDER, "\N{HORIZONTAL ELLIPSIS}").replace("\0", "")

    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.source = plain(cell.source)
        for output in cell.get("outputs", []):
            output |= {name: plain(output[name]) for name in ("text", "evalue", "traceback") if name in output}
            data = output.get("data", {})
            data |= {kind: plain(data[kind]) for kind in data if kind.startswith("text/")}
