"""A task of the reader's own: a CSV or JSON-lines file, or a data set on the hub, and which of its columns are what.

A run's file in ``params/`` says it in a few lines:

    file: ~/reviews.csv        # or hub: owner/name; .csv, .tsv, .jsonl
    text: [title, body]        # one or two columns
    label: stars
    labels: [bad, good]        # may be left out: the values that stand in the file

``encoding`` says what a file has that is not UTF-8, ``quotes: false`` that quotation marks are plain characters in it.
``test_file`` names a file of its own for what is reported; without it a part of the file is set apart. ``apart_by``
names a column that no two splits may share (an author, a document); without it, whole rows are told apart. A test split
that the hub publishes is taken as it is. (Longer than the other modules: half of it is what can be wrong with a file.)
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from fflib.data import labels as classes
from fflib.data import own_splits, tables, text_files, text_lengths
from fflib.data.metrics import METRICS
from fflib.data.readers import KINDS, Form, Placed, read_records
from fflib.data.task import Example, Record, Task
from fflib.files import InputError, check_known, content_hash, resolve

KEYS = ("file", "hub", "config", "text", "label", "labels", "test_file", "apart_by", "max_length", "metric")
KEYS += ("encoding", "quotes")
MAX_CHARACTERS = 100_000  # of one text: about fifty times what a model of 512 tokens reads
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

    def rows(self, which: str) -> Iterable[Placed]:
        """Return the records of the file "train" or "test"."""
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
        if split == own_splits.split_of(told_apart(data.task, record), "test" not in data.paths, data.moved):
            yield place, record


def _check_test_file(data: OwnData) -> None:
    """Refuse a test file that shares what rows are told apart by, and say on stderr how many of its rows are copies."""
    if "test" not in data.paths:
        return  # what belongs together in one file always comes to the same split
    train, test = data.paths["train"], data.paths["test"]
    if column := data.task.apart_by:
        both = {told_apart(data.task, record) for _, record in data.rows("train")}
        for place, record in data.rows("test"):
            if (value := told_apart(data.task, record)) in both:
                raise InputError(f"{place}: {column}={value!r} stands in {train.name} too; no two splits may share one")
    known = {data.task.texts(record) for _, record in data.rows("train")}
    seen = [place for place, record in data.rows("test") if data.task.texts(record) in known]
    if seen:
        _warn(
            f"{len(seen)} rows of {test.name} stand in {train.name} too, the first at {seen[0]}: "
            "the accuracy on them flatters; take them out of one of the files"
        )


def _warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)


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
        labels=tuple(values.get("labels") or ()),
        metrics=(values.get("metric") or "accuracy",),
        max_length=values.get("max_length") or MAX_LENGTH,
        description=f"Which {values['label']} does this {' and '.join(text)} have?",
        apart_by=values.get("apart_by") or "",
        expand=_one,
    )
    columns = tuple(dict.fromkeys(filter(None, (*task.text_fields, task.label_field, task.apart_by))))
    quotes = values.get("quotes") is not False
    form = Form(columns, values.get("encoding") or "", quotes)
    data = OwnData(task, paths, values.get("hub") or "", values.get("config") or "", form)
    if data.hub and not task.labels:
        raise InputError(f"{path.name} names a data set on the hub, so list its labels: [first, second, ...]")
    return data if data.hub else _checked(data, values)


def _one(task: Task, record: Record) -> list[Example]:
    """The record's one example. A CSV file knows only text, so labels are compared as text: 1 is '1'."""
    return [Example(task.texts(record), task.label({task.label_field: _label_text(task, record)}))]


def _label_text(task: Task, record: Record) -> str:
    try:
        return classes.label_text(task.column(record, task.label_field), task.labels)
    except InputError as error:
        raise InputError(f"{task.name}: {task.label_field}: {error}") from error


@dataclass
class _Seen:
    """What stands in the file of the training rows: of each its texts, label and place, and what tells it apart."""

    texts: list[tuple[str, ...]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    apart: list[Any] = field(default_factory=list)

    @classmethod
    def of(cls, data: OwnData) -> _Seen:
        """Read the file. InputError: a row lacks a column or its text, or a text is endless."""
        seen, task = cls(), data.task
        for place, record in data.rows("train"):
            try:
                texts, label, apart = task.texts(record), _label_text(task, record), told_apart(task, record)
            except InputError as error:
                raise InputError(f"{place}: {error}") from error
            if (long := max(map(len, texts))) > MAX_CHARACTERS:
                cure = f"cut it to {MAX_CHARACTERS:,}, or leave it out"
                raise InputError(f"{place}: a text of {long:,} characters; {cure}")
            for values, value in ((seen.texts, texts), (seen.labels, label), (seen.places, place), (seen.apart, apart)):
                values.append(value)
        if not seen.texts:
            raise InputError(f"{data.paths['train']} has no rows; name a file with examples")
        return seen


def _checked(data: OwnData, values: Mapping[str, Any]) -> OwnData:
    """Complete the task by what stands in its files, and refuse files that nothing can be learnt from."""
    task, file, seen = data.task, data.paths["train"].name, _Seen.of(data)
    counts = Counter(seen.labels)
    if counts[""] and "" not in task.labels:
        raise InputError(f"{file}: {counts['']} rows have no {task.label_field}; label them or take them out")
    labels = task.labels or tuple(sorted(counts))
    _check_joined(data, counts)
    _check_labels(data, labels, seen)
    _say_odd_texts(file, task, seen)
    own_splits.check_enough(file, task.label_field, counts, "test" not in data.paths)
    moved = own_splits.moved(seen.apart, seen.labels, "test" not in data.paths)
    length = values.get("max_length") or text_lengths.length_for(seen.texts, values.get("teacher") or "")
    data = replace(data, task=replace(task, labels=labels, max_length=length), moved=moved)
    _check_test_labels(data)
    _check_test_file(data)
    return data


def _check_joined(data: OwnData, counts: Mapping[str, int]) -> None:
    """Refuse a text of several lines each of which is a row with a label: a stray quotation mark has joined them."""
    for path in data.paths.values():
        if path.suffix.lower() not in KINDS[:2] or not data.form.quotes:
            continue
        for place, lines in tables.joined_rows(path, data.form):
            found = [line[data.task.label_field].strip().strip('"') for line in lines]
            if all(label in counts for label in found):
                raise InputError(
                    f"{place}: quotation marks make one text of lines that are each a whole row; say 'quotes: false' "
                    "if they are plain characters in this file, else mend these lines"
                )


def _check_labels(data: OwnData, labels: tuple[str, ...], seen: _Seen) -> None:
    column, file, counts = data.task.label_field, data.paths["train"].name, Counter(seen.labels)
    there = f"its values are {classes.named(sorted(counts))}"
    if len(counts) < 2:
        raise InputError(f"{file}: every {column} is {seen.labels[0]!r}; two classes are needed")
    if len(labels) > max(50, sum(counts.values()) // 4):
        raise InputError(f"{column} has {len(labels)} different values; is it the column of the classes?")
    for name in labels:
        if name not in counts:
            raise InputError(f"no row of {file} has the {column} {name!r}; correct 'labels': {there}")
    if others := [i for i, label in enumerate(seen.labels) if label not in labels]:
        first, value = seen.places[others[0]], seen.labels[others[0]]
        raise InputError(
            f"{first}: {column}={value!r} is not among 'labels', as in {len(others)} rows; list it or take them out: "
            + there
        )
    if not data.task.labels:
        classes.check_not_listed(file, column, counts)


def _check_test_labels(data: OwnData) -> None:
    known, column = classes.named(data.task.labels), data.task.label_field
    for place, record in data.rows("test") if "test" in data.paths else ():
        if (value := _label_text(data.task, record)) not in data.task.labels:
            raise InputError(f"{place}: {column}={value!r} is not among the labels of training, {known}")


def _say_odd_texts(file: str, task: Task, seen: _Seen) -> None:
    """Warn of texts that a program has written for nothing: they are read as words."""
    for i, name in enumerate(task.text_fields):
        at = [j for j, texts in enumerate(seen.texts) if texts[i].strip().casefold() in classes.MISSING]
        if at:
            text = seen.texts[at[0]][i]
            _warn(
                f"in {len(at)} rows of {file} the {name} is a sign for nothing, the first at {seen.places[at[0]]} "
                f"({text!r}); they are read as text"
            )


def _values(path: Path) -> dict[str, Any]:
    found = text_files.read_yaml(path)
    if not isinstance(found or {}, dict):
        raise InputError(f"{path.name} must hold lines of the form 'name: value'")
    values = {key: value for key, value in (found or {}).items() if key in (*KEYS, "teacher")}
    if values.get("labels"):  # as they stand there: YAML makes truths of yes and no, and 8 of 010
        values["labels"] = text_files.read_yaml_as_written(path)["labels"]
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
    for key in set(values) - {"text", "labels", "max_length", "quotes"}:
        if not isinstance(values[key] or "", str):
            raise InputError(f"{name}: {key} is {values[key]!r}; give one text, in quotes if it looks like a number")
    text = values["text"]
    columns = text if isinstance(text, list) else [text]
    if not 1 <= len(columns) <= 2 or not all(isinstance(column, str) for column in columns):
        raise InputError(f"{name}: text is {text!r}; name one column, or two as [first, second], numbers in quotes")
    if values["label"] in columns:
        raise InputError(f"{name}: {values['label']!r} is named as text and as label; name another column")
    if len(set(columns)) < len(columns):
        raise InputError(f"{name}: text names {columns[0]!r} twice; name one column, or two different ones")
    if (length := values.get("max_length")) and (type(length) is not int or not MIN_LENGTH <= length <= MAX_LENGTH):
        raise InputError(f"{name}: max_length is {length!r}; give a number of tokens from {MIN_LENGTH} to {MAX_LENGTH}")
    if values.get("quotes") not in (None, True, False):
        raise InputError(f"{name}: quotes is {values['quotes']!r}; give true or false")
    check_known("metric", [values.get("metric") or "accuracy"], METRICS)
    _check_listed(name, values.get("labels") or [])


def _check_listed(name: str, labels: Any) -> None:
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"{name}: labels is {labels!r}; list at least two different ones, or leave the line out")
    if len(set(labels)) != len(labels) or len(labels) == 1:
        raise InputError(f"{name}: labels is {labels!r}; list at least two different ones, or leave the line out")


def _stamp(path: Path) -> tuple:
    """What changes when the description or a file it may name does: cheap, for `describe` is called often."""
    try:
        values = text_files.read_yaml(path) or {}
        named = [resolve(values[key]) for key in ("file", "test_file") if isinstance(values.get(key), str)]
        return tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in [path, *named] if file.exists())
    except (OSError, InputError, AttributeError):
        return ()
