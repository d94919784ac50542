"""Where records come from: the installed packages, a folder in SuperGLUE's layout, the hub, or a file of one's own.

SuperGLUE publishes labels for train and val only, so the split that the book reports, "test", is the official val, and
"dev", for every choice made on the way, is a part of the official train: a tenth, or a quarter where there is little.
(Longer than the other modules: each place that records come from lacks them in ways of its own.)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from fflib import download
from fflib.data import custom, docs_task, own_splits
from fflib.data.custom import OwnData
from fflib.data.readers import Placed, is_nothing, read_json_lines
from fflib.data.task import Record, Task
from fflib.files import InputError, content_hash, resolve

SUPERGLUE = "aps/super_glue"
REVISION = "3de24cf8022e94f4ee4b9d55a6f539891524d646"  # parquet files, so no code of others is run
CONVERTED = "refs/convert/parquet"  # where the hub keeps every data set as parquet files, by config and split


def records(task: Task, split: str, source: str = "auto", own: OwnData | None = None) -> Iterator[Placed]:
    """Yield the records of "train", "dev" or "test", each with the place it was found at.

    ``source`` is as in ``splits.load_split``; ``own`` is given for a task of the reader's own.
    InputError: no such folder or file; no network; a line that is no record.
    """
    if (task.name == "docs" or own) and source != "auto":
        named = "its file in params/ names the data" if own else "docs is built from the installed packages"
        raise InputError(f"{named}, so data_source must be 'auto', not {source!r}")
    if own:
        return _own_from_hub(own, split) if own.hub else custom.records(own, split)
    if task.name == "docs":
        return ((f"docs {split}", record) for record in docs_task.load(split))
    source = _superglue(source)
    official = _from_superglue if source == "hub" else _from_folder
    if split == "test":
        return official(task, "val", source)
    return _held_apart(official(task, "train", source), split, task, _told_apart)


def fingerprint(task: Task, source: str = "auto") -> str:
    """Hash where the records of one of SuperGLUE's tasks come from: the hub, or files and all that stands in them.

    A file that is missing counts as empty: that it is missing is said where it is read.
    """
    source = _superglue(source)
    if source == "hub":
        return content_hash(SUPERGLUE, REVISION)
    found = ([path for path in _tried(resolve(source), task, split) if path.is_file()] for split in ("train", "val"))
    stats = [(paths[0], paths[0].stat()) for paths in found if paths]
    return content_hash([_file_hash(path, stat.st_mtime_ns, stat.st_size) for path, stat in stats])


@lru_cache
def _file_hash(path: Path, changed_ns: int, size: int) -> str:
    """Hash a file, once for each version of it: the key of every chapter asks for it."""
    return content_hash(path)


def _superglue(source: str) -> str:
    """Return the folder of SuperGLUE's files that is meant, or "hub"."""
    return (os.environ.get("FFLIB_SUPERGLUE") or "hub") if source == "auto" else source


def _told_apart(task: Task, record: Record) -> Any:
    return task.column(record, task.apart_by) if task.apart_by else task.examples(record)[0].texts[-1]


def _held_apart(
    rows: Iterator[Placed], split: str, task: Task, told_apart: Callable[[Task, Record], Any]
) -> Iterator[Placed]:
    """Keep the rows of train, or the part that is dev; what tells rows apart is never on both sides."""

    def is_dev(record: Record) -> bool:
        try:
            return int(content_hash("dev", told_apart(task, record)), 16) % task.dev_one_in == 0
        except InputError:  # the record is read again, and refused with its place, where it is used
            return False

    return (row for row in rows if is_dev(row[1]) == (split == "dev"))


def _from_folder(task: Task, official_split: str, source: str) -> Iterator[Placed]:
    folder = resolve(source)
    if not folder.is_dir():
        raise InputError(f"{task.name}: there is no folder {folder}; give SuperGLUE's folder, or 'hub' to download it")
    tried = _tried(folder, task, official_split)
    path = next((path for path in tried if path.is_file()), None)
    if path is None:
        raise InputError(f"{task.name}: neither {tried[0]} nor {tried[1]} exists; check the folder")
    return read_json_lines(path)


def _tried(folder: Path, task: Task, official_split: str) -> list[Path]:
    return [folder / task.name / f"{official_split}.jsonl", folder / f"{official_split}.jsonl"]


def _from_superglue(task: Task, official_split: str, source: str) -> Iterator[Placed]:
    split = {"val": "validation"}.get(official_split, official_split)
    instead = "set FFLIB_SUPERGLUE to a folder with SuperGLUE's JSON lines"
    labels = dict(enumerate(task.labels))  # the hub stores class indices, in this order
    for place, row in _from_hub(SUPERGLUE, f"{task.name.lower()}/{split}-*.parquet", REVISION, instead):
        label = row.get(task.label_field)
        yield place, {**row, task.label_field: labels.get(label, label)} if task.label_field in row else row


def _own_from_hub(own: OwnData, split: str) -> Iterator[Placed]:
    """Divide train into train and dev; test is the published one if that has labels, else validation.

    Where there is neither, test is a part of train too, as with a file.
    """
    test = _published_test(own)
    if split == "test" and test:
        yield from _usable(own, _published(own, test))
        return
    train = _usable(own, _published(own, "train"))
    if test:
        yield from _held_apart(train, split, own.task, own_splits.told_apart)
        return
    for place, record in train:
        if own_splits.split_of(own_splits.told_apart(own.task, record), with_test=True, moved={}) == split:
            yield place, record


def _published_test(own: OwnData) -> str:
    """Name the split with labels that is reported; '' where the data set has train only, or test without labels."""
    for name in ("test", "validation"):
        try:
            if next(_usable(own, _published(own, name), said=False), None):
                return name
        except NoSuchSplit:
            continue
    return ""


def _usable(own: OwnData, rows: Iterator[Placed], said: bool = True) -> Iterator[Placed]:
    """Leave out the rows without a text, and those whose label is kept secret or was never agreed on.

    A data set on the hub has such rows, and its reader cannot mend them. Such a label is -1, or nothing; -1 is a class
    all the same where the reader lists it. How many they are is ``said`` on stderr.
    """
    secret, column = () if "-1" in own.task.labels else (-1, "-1"), own.task.label_field
    left_out: dict[str, list[str]] = {}
    for place, row in rows:
        lacking = next((name for name in own.task.text_fields if name in row and is_nothing(row[name])), "")
        if column in row and (row[column] in secret or is_nothing(row[column])):
            left_out.setdefault(f"a {column}", []).append(place)
        elif lacking:
            left_out.setdefault(f"text in {lacking}", []).append(place)
        else:
            yield place, row
    for what, places in left_out.items() if said else ():
        print(f"{own.hub}: {len(places)} rows without {what} are left out, the first at {places[0]}", file=sys.stderr)


def _published(own: OwnData, split: str) -> Iterator[Placed]:
    """Yield the rows of a split; of a large data set the hub converts a part only, which then is all there is."""
    config, label = own.config or "default", own.task.label_field
    instead = "name another configuration of it, as in 'config: NAME', or a file in its place"
    try:
        yield from _from_hub(own.hub, f"{config}/{split}/*.parquet", CONVERTED, instead, label, f"{config}/*/*.parquet")
    except NoSuchSplit:
        part = f"{config}/partial-{split}/*.parquet"
        try:
            rows = _from_hub(own.hub, part, CONVERTED, instead, label, f"{config}/*/*.parquet")
            first = next(rows, None)
        except NoSuchSplit:
            first = None
        if first is None:
            raise
        print(f"{own.hub}: the hub has converted a part of {split} only; this is the data set here", file=sys.stderr)
        yield first
        yield from rows


class NoSuchSplit(InputError):
    """A data set on the hub lacks the files that were asked for."""


def _from_hub(
    name: str, wanted: str, revision: str, instead: str, named: str = "", whole: str = ""
) -> Iterator[Placed]:
    """Yield the rows of parquet files on the hub; class indices in the column ``named`` become names of classes.

    ``whole`` stands for the files of all splits: they come at once, so that a split there is not is known offline too.
    """
    fetched = whole or wanted
    folder = download.fetch(name, [fetched], fetched, revision, kind="dataset", instead=instead)
    paths = sorted(folder.glob(wanted))
    if not paths:
        there = sorted({path.parent.name for path in folder.glob(fetched)})
        has = f" (of {', '.join(there)})" if there else ""
        raise NoSuchSplit(f"{name} has no {wanted}{has} at revision {revision}; {instead}")
    number = 0
    for path in paths:
        for row in _read_parquet(path, named):
            yield f"{name} {wanted.split('*')[0].rstrip('-/')}, row {number}", row
            number += 1


def _read_parquet(path: Path, named: str) -> Iterator[dict[str, Any]]:
    import datasets  # takes a second to import, and most runs never need it
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a parquet file that can be read ({reason}); delete it and run again") from error
    rows = datasets.Dataset(table)  # the file says which columns hold classes, and how these are called
    classes = rows.features.get(named)
    for row in rows:
        if isinstance(classes, datasets.ClassLabel) and row[named] is not None and row[named] >= 0:
            row = {**row, named: classes.int2str(row[named])}
        yield row
