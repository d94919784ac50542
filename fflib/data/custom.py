"""A task of the reader's own: a CSV or JSON-lines file, or a data set on the hub, and which of its columns are what.

A run's file in ``params/`` says it in a few lines:

    file: ~/reviews.csv        # or hub: owner/name; .csv, .tsv, .jsonl
    text: [title, body]        # one or two columns
    label: stars
    labels: [bad, good]        # may be left out: the values that stand in the file

``encoding`` says what a file has that is not UTF-8, ``quotes: false`` that quotation marks are plain characters in it.
``test_file`` names a file of its own for what is reported; without it a part of the file is set apart. ``apart_by``
names a column that no two splits may share (an author, a document); without it, whole rows are told apart. A test split
that the hub publishes is taken as it is. What can be wrong with a file is ``own_checks``' business.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from fflib.data import own_checks, own_splits, text_files, text_lengths
from fflib.data.readers import Form, Placed, is_blank, is_nothing, read_records
from fflib.data.task import Example, Record, Task
from fflib.files import InputError, check_known, content_hash, resolve

KEYS = ("file", "hub", "config", "text", "label", "labels", "test_file", "apart_by", "max_length", "metric")
KEYS += ("encoding", "quotes")
OWN_METRICS = ("accuracy", "macro F1", "matthews")  # of `metrics.METRICS`: the others ask for questions with answers
SLIP = 0.74  # as alike as no parameter of a chapter is to one of KEYS
MIN_LENGTH, MAX_LENGTH = text_lengths.LEAST, text_lengths.MOST


@dataclass(frozen=True, eq=False)
class OwnData:
    """What a file in ``params/`` says about a data set, and the task that follows."""

    task: Task
    paths: Mapping[str, Path] = field(default_factory=dict)  # "train" and perhaps "test"
    hub: str = ""
    config: str = ""
    form: Form = Form()
    moved: Mapping[int, str] = field(default_factory=dict)  # to which split what would leave another empty

    def rows(self, which: str) -> Iterator[Placed]:
        """Yield the records of the file "train" or "test" that hold something."""
        return (placed for placed in self.all_rows(which) if not is_blank(placed[1]))

    def all_rows(self, which: str) -> Iterable[Placed]:
        """Return all records of the file "train" or "test", blank ones too."""
        return read_records(self.paths[which], self.form)


def is_description(task: str) -> bool:
    """Whether a run's ``task`` is not a name but the file that describes one."""
    return task.endswith((".yaml", ".yml"))


def fingerprint(task: str) -> str:
    """Hash a description and the files it names: when any of them changes, what was measured on them is stale."""
    data = describe(task)
    return content_hash(resolve(task), *data.paths.values(), data.hub)


def describe(path: str | Path) -> OwnData:
    """Read a description. InputError: a key is missing, unknown or of the wrong kind, or a file does not fit it."""
    path = resolve(path)
    return _described(path, _stamp(path))


def records(data: OwnData, split: str) -> Iterator[Placed]:
    """Yield the records of "train", "dev" or "test" of files; those of the hub come from ``sources``."""
    if split == "test" and "test" in data.paths:
        yield from data.rows("test")
        return
    for place, record in data.rows("train"):
        if split == own_splits.split_of(own_splits.told_apart(data.task, record), "test" not in data.paths, data.moved):
            yield place, record


@lru_cache(maxsize=8)
def _described(path: Path, stamp: tuple) -> OwnData:
    """`describe`, once for each version of the files: tasks are asked for all over a chapter."""
    values = _values(path)
    text = [values["text"]] if isinstance(values["text"], str) else values["text"]
    paths = {
        split: resolve(values[key]) for split, key in (("train", "file"), ("test", "test_file")) if values.get(key)
    }
    task = Task(
        name=path.stem,
        text_fields=tuple(text),
        label_field=values["label"],
        labels=tuple(values.get("labels") or ()),
        metrics=(values.get("metric") or "accuracy",),
        max_length=values.get("max_length") or MAX_LENGTH,
        description=f"Which {values['label']} does this {' and '.join(text)} have?",
        apart_by=values.get("apart_by") or "",
        expand=_one,
    )
    if task.apart_by == task.label_field:
        raise InputError(f"{path.name}: apart_by names the label, and no split may lack a class; name another column")
    columns = tuple(dict.fromkeys(filter(None, (*task.text_fields, task.label_field, task.apart_by))))
    quotes = values.get("quotes") is not False
    form = Form(columns, values.get("encoding") or "", quotes)
    data = OwnData(task, paths, values.get("hub") or "", values.get("config") or "", form)
    if data.hub and not task.labels:
        raise InputError(f"{path.name} names a data set on the hub, so list its labels: [first, second, ...]")
    return data if data.hub else _checked(data, values)


def _one(task: Task, record: Record) -> list[Example]:
    """The record's one example. A CSV file knows only text, so labels are compared as text: 1 is '1'."""
    return [Example(task.texts(record), task.label({task.label_field: own_checks.label_of(task, record)}))]


def _checked(data: OwnData, values: Mapping[str, Any]) -> OwnData:
    """Complete the task by what stands in its files, and refuse files that nothing can be learnt from."""
    seen, with_test = own_checks.Seen.of(data), "test" not in data.paths
    own_checks.check_train(data, seen)
    moved = own_splits.moved(seen.apart, seen.labels, with_test)
    own_checks.check_divided(data, seen, moved)
    labels = data.task.labels or tuple(sorted(set(seen.labels)))
    length = values.get("max_length") or text_lengths.length_for(seen.texts, values.get("teacher") or "")
    data = replace(data, task=replace(data.task, labels=labels, max_length=length), moved=moved)
    own_checks.check_test(data, seen)
    return data


def _values(path: Path) -> dict[str, Any]:
    found = text_files.read_yaml(path)
    if not isinstance(found or {}, dict):
        raise InputError(f"{path.name} must hold lines of the form 'name: value'")
    values = {key: value for key, value in (found or {}).items() if key in (*KEYS, "teacher")}
    _check_spelling(path.name, found or {})
    if values.get("labels") is not None:  # as they stand there: YAML makes truths of yes and no, and 8 of 010
        values["labels"] = text_files.read_yaml_as_written(path)["labels"]
    for name in ("text", "label"):
        if is_nothing(values.get(name)):
            raise InputError(f"{path.name} does not say which column holds the {name}; add a line '{name}: COLUMN'")
    if bool(values.get("file")) == bool(values.get("hub")):
        raise InputError(f"{path.name} needs 'file: PATH' or 'hub: OWNER/NAME', one of the two")
    if values.get("hub") and values.get("test_file"):
        raise InputError(f"{path.name}: a data set on the hub brings its own test split; take 'test_file' out")
    _check_kinds(path.name, values)
    return values


def _check_spelling(name: str, found: Mapping[Any, Any]) -> None:
    """Refuse a line that is nearly one about data: a file that is named as a task is seen by nobody else."""
    for key in map(str, found):
        if key not in KEYS and (close := difflib.get_close_matches(key.lower(), KEYS, 1, SLIP)):
            raise InputError(f"{name} has a line '{key}', which counts for nothing; did you mean '{close[0]}'?")
    if "task" in found and found.keys() & {"file", "hub"}:
        raise InputError(f"{name} names data of your own and a 'task' as well; take one of these lines out")


def _check_kinds(name: str, values: Mapping[str, Any]) -> None:
    """Refuse values of the wrong kind: YAML reads much as something else than the text it looks like."""
    for key in set(values) - {"text", "labels", "max_length", "quotes"}:
        if not isinstance(values[key], str | None):  # 0 and no are values too
            raise InputError(f"{name}: {key} is {values[key]!r}; give one text, in quotes if it looks like a number")
    for key in ("file", "test_file"):
        if "://" in (values.get(key) or ""):
            raise InputError(f"{name}: {key} is an address, {values[key]!r}; fetch it, and name the file")
    text = values["text"]
    columns = text if isinstance(text, list) else [text]
    if not 1 <= len(columns) <= 2 or not all(isinstance(column, str) for column in columns):
        raise InputError(f"{name}: text is {text!r}; name one column, or two as [first, second], numbers in quotes")
    if values["label"] in columns:
        raise InputError(f"{name}: {values['label']!r} is named as text and as label; name another column")
    if len(set(columns)) < len(columns):
        raise InputError(f"{name}: text names {columns[0]!r} twice; name one column, or two different ones")
    length = values.get("max_length")
    if length is not None and (type(length) is not int or not MIN_LENGTH <= length <= MAX_LENGTH):
        raise InputError(f"{name}: max_length is {length!r}; give a number of tokens from {MIN_LENGTH} to {MAX_LENGTH}")
    if not isinstance(values.get("quotes"), bool | None):  # 0 == False in Python
        raise InputError(f"{name}: quotes is {values['quotes']!r}; give true or false")
    check_known("metric", [values.get("metric") or "accuracy"], OWN_METRICS)
    if values.get("labels") is not None:
        _check_listed(name, values["labels"])


def _check_listed(name: str, labels: Any) -> None:
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"{name}: labels is {labels!r}; list at least two different ones, or leave the line out")
    if len(set(labels)) != len(labels) or len(labels) < 2:
        raise InputError(f"{name}: labels is {labels!r}; list at least two different ones, or leave the line out")


def _stamp(path: Path) -> tuple:
    """What changes when the description or a file it may name does: cheap, for `describe` is called often."""
    try:
        values = text_files.read_yaml(path) or {}
        named = [resolve(values[key]) for key in ("file", "test_file") if isinstance(values.get(key), str)]
        return tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in [path, *named] if file.exists())
    except (OSError, InputError, AttributeError):
        return ()
