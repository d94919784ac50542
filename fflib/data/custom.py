"""A task of the reader's own: a CSV or JSON-lines file, or a data set on the hub, and which of its columns are what.

A run's file in ``params/`` says it in a few lines:

    file: ~/reviews.csv        # or hub: owner/name; .csv, .tsv, .jsonl
    text: [title, body]        # one or two columns
    label: stars
    labels: [bad, good]        # may be left out: the values that stand in the file

``test_file`` names a file of its own for what is reported; without it a part of the file is set apart. ``apart_by``
names a column that no two splits may share (an author, a document); without it, whole rows are told apart. A test split
that the hub publishes is taken as it is. (Longer than the other modules: half of it is what can be wrong with a file.)
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from fflib.data.metrics import METRICS
from fflib.data.readers import Placed, read_records
from fflib.data.task import Example, Record, Task
from fflib.files import InputError, check_known, content_hash, resolve

KEYS = ("file", "hub", "config", "text", "label", "labels", "test_file", "apart_by", "max_length", "metric")
TEST_SHARE, DEV_SHARE = 0.15, 0.1  # of the examples, where no file is named for them
MAX_CHARACTERS = 100_000  # of one text: about fifty times what a model of 512 tokens reads
MIN_LENGTH, MAX_LENGTH, CHARACTERS_A_TOKEN = 16, 512, 3


@dataclass(frozen=True, eq=False)
class OwnData:
    """What a file in ``params/`` says about a data set, and the task that follows."""

    task: Task
    paths: Mapping[str, Path] = field(default_factory=dict)  # "train" and perhaps "test"
    hub: str = ""
    config: str = ""


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
    for place, record in read_records(data.paths["test" if split == "test" and "test" in data.paths else "train"]):
        if ("test" in data.paths and split == "test") or split == _split_of(data, record):
            yield place, record


def _check_test_file(data: OwnData) -> None:
    """Refuse a test file that shares what rows are told apart by, and say on stderr how many of its rows are copies."""
    if "test" not in data.paths:
        return  # what belongs together in one file always comes to the same split
    train, test = data.paths["train"], data.paths["test"]
    if column := data.task.apart_by:
        both = {told_apart(data.task, record) for _, record in read_records(train)}
        for place, record in read_records(test):
            if (value := told_apart(data.task, record)) in both:
                raise InputError(f"{place}: {column}={value!r} stands in {train.name} too; no two splits may share one")
    known = {data.task.texts(record) for _, record in read_records(train)}
    seen = [place for place, record in read_records(test) if data.task.texts(record) in known]
    if seen:
        print(
            f"warning: {len(seen)} rows of {test.name} stand in {train.name} too, the first at {seen[0]}: "
            "the accuracy on them flatters; take them out of one of the files",
            file=sys.stderr,
        )


def _split_of(data: OwnData, record: Record) -> str:
    """Choose a split by a hash of the texts, or of `apart_by`, so that equal ones are together."""
    draw = int(content_hash("split", told_apart(data.task, record)), 16) % 10_000 / 10_000
    test = 0 if "test" in data.paths else TEST_SHARE
    return "test" if draw < test else "dev" if draw < test + DEV_SHARE else "train"


def told_apart(task: Task, record: Record) -> Any:
    """Return what no two splits may share: the value of ``apart_by``, else all texts of the row."""
    return str(task.column(record, task.apart_by)) if task.apart_by else task.texts(record)


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
        labels=tuple(map(str, values.get("labels") or ())),
        metrics=(values.get("metric") or "accuracy",),
        max_length=values.get("max_length") or MAX_LENGTH,
        description=f"Which {values['label']} does this {' and '.join(text)} have?",
        apart_by=values.get("apart_by") or "",
        expand=_one,
    )
    data = OwnData(task, paths, values.get("hub") or "", values.get("config") or "")
    if data.hub and not task.labels:
        raise InputError(f"{path.name} names a data set on the hub, so list its labels: [first, second, ...]")
    return data if data.hub else _checked(data, values)


def _one(task: Task, record: Record) -> list[Example]:
    """The record's one example. A CSV file knows only text, so labels are compared as text: 1 is '1'."""
    return [Example(task.texts(record), task.label({task.label_field: _label_text(task, record)}))]


def _label_text(task: Task, record: Record) -> str:
    value = task.column(record, task.label_field)
    return "" if value is None else str(value).strip()


def _checked(data: OwnData, values: Mapping[str, Any]) -> OwnData:
    """Complete the task by what stands in its files, and refuse files that nothing can be learnt from."""
    task, counts, unlabelled, characters = data.task, Counter(), 0, []
    for place, record in read_records(data.paths["train"]):
        try:
            texts, label = task.texts(record), _label_text(task, record)
            counts[label] += _split_of(data, record) == "train"
            unlabelled += not label
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
        characters.append(sum(map(len, texts)))
        if (long := max(map(len, texts))) > MAX_CHARACTERS:
            raise InputError(f"{place}: a text of {long:,} characters; cut it to {MAX_CHARACTERS:,}, or leave it out")
    if not counts:
        raise InputError(f"{data.paths['train']} has no rows; name a file with examples")
    if unlabelled and "" not in task.labels:
        name = data.paths["train"].name
        raise InputError(f"{name}: {unlabelled} rows have no {task.label_field}; label them or take them out")
    labels = task.labels or tuple(sorted(counts))
    _check_labels(data, labels, counts)
    _check_test_file(data)
    length = values.get("max_length") or _length_for(characters)
    return replace(data, task=replace(task, labels=labels, max_length=length))


def _check_labels(data: OwnData, labels: tuple[str, ...], counts: Counter) -> None:
    known, column = ", ".join(map(repr, labels)), data.task.label_field
    if len(counts) < 2:
        only = next(iter(counts))
        raise InputError(f"{data.paths['train'].name}: every {column} is {only!r}; two classes are needed")
    if len(labels) > max(50, sum(counts.values()) // 4):
        raise InputError(f"{column} has {len(labels)} different values; is it the column of the classes?")
    for name in labels:
        if name not in counts:
            raise InputError(f"no row of {data.paths['train'].name} has the {column} {name!r}; correct 'labels'")
        if not counts[name]:
            raise InputError(f"the few rows with {column} {name!r} all came to dev or test; add or remove some")
    for place, record in read_records(data.paths["test"]) if "test" in data.paths else ():
        if (value := _label_text(data.task, record)) not in labels:
            raise InputError(f"{place}: {column}={value!r} is not among the labels of training, {known}")


def _length_for(characters: list[int]) -> int:
    """The least power of two of tokens that holds 99 of 100 texts, at three characters a token, to be safe."""
    wanted = sorted(characters)[int(0.99 * (len(characters) - 1))] / CHARACTERS_A_TOKEN
    length = MIN_LENGTH
    while length < min(wanted, MAX_LENGTH):
        length *= 2
    return length


def _values(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read ({' '.join(str(error).split())})") from error
    values = {key: value for key, value in (found or {}).items() if key in KEYS}
    for name in ("text", "label"):
        if not values.get(name):
            raise InputError(f"{path.name} does not say which column holds the {name}; add a line '{name}: COLUMN'")
    if bool(values.get("file")) == bool(values.get("hub")):
        raise InputError(f"{path.name} needs 'file: PATH' or 'hub: OWNER/NAME', one of the two")
    if values.get("hub") and values.get("test_file"):
        raise InputError(f"{path.name}: a data set on the hub brings its own test split; take 'test_file' out")
    _check_kinds(path.name, values)
    return values


def _check_kinds(name: str, values: Mapping[str, Any]) -> None:
    """Refuse values of the wrong kind: YAML reads much as something else than the text it looks like."""
    for key in set(values) - {"text", "labels", "max_length"}:
        if not isinstance(values[key] or "", str):
            raise InputError(f"{name}: {key} is {values[key]!r}; give one text, in quotes if it looks like a number")
    text = values["text"]
    columns = text if isinstance(text, list) else [text]
    if not 1 <= len(columns) <= 2 or not all(isinstance(column, str) for column in columns):
        raise InputError(f"{name}: text is {text!r}; name one column, or two as [first, second], numbers in quotes")
    if (length := values.get("max_length")) and (type(length) is not int or not MIN_LENGTH <= length <= MAX_LENGTH):
        raise InputError(f"{name}: max_length is {length!r}; give a number of tokens from {MIN_LENGTH} to {MAX_LENGTH}")
    check_known("metric", [values.get("metric") or "accuracy"], METRICS)
    _check_listed(name, values.get("labels") or [])


def _check_listed(name: str, labels: Any) -> None:
    if isinstance(labels, list) and any(isinstance(label, bool) for label in labels):
        raise InputError(f"{name}: YAML reads yes, no, on and off as true and false; write such labels as 'yes', 'no'")
    if not isinstance(labels, list) or len(set(map(str, labels))) != len(labels) or len(labels) == 1:
        raise InputError(f"{name}: labels is {labels!r}; list at least two different ones, or leave the line out")


def _stamp(path: Path) -> tuple:
    """What changes when the description or a file it may name does: cheap, for `describe` is called often."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        named = [resolve(values[key]) for key in ("file", "test_file") if isinstance(values.get(key), str)]
        return tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in [path, *named] if file.exists())
    except (OSError, yaml.YAMLError, AttributeError):
        return ()
