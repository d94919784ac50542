"""What can be wrong with the files of a reader's own data, each in one sentence with the file, row and way out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fflib.data import labels as classes
from fflib.data import own_splits, own_warnings, tables
from fflib.data.own_splits import told_apart
from fflib.data.readers import KINDS, is_blank
from fflib.data.task import Record, Task
from fflib.files import InputError

if TYPE_CHECKING:
    from fflib.data.custom import OwnData

MAX_CHARACTERS = 100_000  # of one text: about fifty times what a model of 512 tokens reads


def label_of(task: Task, record: Record) -> str:
    """Return the class of a row as text, see `labels.label_text`. InputError: no such column, or no class."""
    value = task.column(record, task.label_field)
    try:
        return classes.label_text(value, task.labels)
    except InputError as error:
        raise InputError(f"{task.name}: {task.label_field}: {error}") from error


@dataclass
class Seen:
    """What stands in the file of the training rows: of each its texts, label and place, and what tells it apart."""

    texts: list[tuple[str, ...]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    apart: list[Any] = field(default_factory=list)

    @classmethod
    def of(cls, data: OwnData, which: str = "train") -> Seen:
        """Read the file "train" or "test". InputError: a row lacks a column or its text, or a text is endless."""
        seen, task, blank = cls(), data.task, []
        for place, record in data.all_rows(which):
            if is_blank(record):
                blank.append(place)
                continue
            try:
                texts, label, apart = task.texts(record), label_of(task, record), told_apart(task, record)
            except InputError as error:
                raise InputError(f"{place}: {error}") from error
            if (long := max(map(len, texts))) > MAX_CHARACTERS:
                cure = f"cut it to {MAX_CHARACTERS:,}, or leave it out"
                raise InputError(f"{place}: a text of {long:,} characters; {cure}")
            for values, value in ((seen.texts, texts), (seen.labels, label), (seen.places, place), (seen.apart, apart)):
                values.append(value)
        if blank:
            own_warnings.warn(
                f"{len(blank)} blank rows of {data.paths[which].name} are left out, the first at {blank[0]}"
            )
        if not seen.texts:
            raise InputError(f"{data.paths[which]} has no rows; name a file with examples")
        return seen


def check_train(data: OwnData, seen: Seen) -> None:
    """Refuse a file of training rows that nothing can be learnt from, or that says something else than it seems to."""
    task, file, counts = data.task, data.paths["train"].name, Counter(seen.labels)
    if counts[""] and "" not in task.labels:
        raise InputError(f"{file}: {counts['']} rows have no {task.label_field}; label them or take them out")
    _check_joined(data, counts)
    _check_labels(data, seen)
    own_warnings.say(file, task, seen)
    own_splits.check_enough(file, task.label_field, counts, "test" not in data.paths)


def check_divided(data: OwnData, seen: Seen, moved: Mapping[int, str]) -> None:
    """Refuse rows of which too few differ in what tells them apart: a split would have next to nothing."""
    with_test, file, column = "test" not in data.paths, data.paths["train"].name, data.task.apart_by
    inside = Counter(own_splits.split_of(apart, with_test, moved) for apart in seen.apart)
    if short := own_splits.bare(inside, with_test):
        different = f"{len(set(seen.apart)):,} different {f'values of {column}' if column else 'texts'}"
        cure = "name another 'apart_by', or leave it out" if column else "label more texts, or name another 'text'"
        raise InputError(
            f"{file}: {len(seen.apart):,} rows have only {different}, and equal ones stay together, so that "
            f"{short[0]} would have {inside[short[0]]} rows; {cure}"
        )
    own_warnings.say_divided(file, data.task, seen, lambda apart: own_splits.split_of(apart, with_test, moved))


def check_test(data: OwnData, known: Seen) -> None:
    """Refuse a test file, if there is one, with other labels than train's, or with what no two splits may share."""
    if "test" in data.paths:  # what belongs together in one file always comes to the same split
        seen = Seen.of(data, "test")
        _check_test_labels(data, seen)
        _check_test_rows(data, seen, known)


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


def _check_labels(data: OwnData, seen: Seen) -> None:
    column, file, counts = data.task.label_field, data.paths["train"].name, Counter(seen.labels)
    labels = data.task.labels or tuple(sorted(counts))
    there = f"its values are {classes.named(sorted(counts))}"
    if len(counts) < 2:
        raise InputError(f"{file}: every {column} is {classes.short(seen.labels[0])!r}; two classes are needed")
    if len(labels) > max(50, sum(counts.values()) // 4):
        asked = "is it the column of the classes? Name as 'label' the one that is"
        raise InputError(f"{file}: {column} has {len(labels)} different values; {asked}")
    for name in labels:
        if name not in counts:
            told = classes.spelt(name, counts)
            raise InputError(f"no row of {file} has the {column} {told or repr(name)}; correct 'labels': {there}")
    if others := [i for i, label in enumerate(seen.labels) if label not in labels]:
        first, value = seen.places[others[0]], seen.labels[others[0]]
        raise InputError(
            f"{first}: {column}={classes.short(value)!r} is not among 'labels', as in {len(others)} rows; list it "
            f"or take them out: {there}"
        )
    if not data.task.labels:
        classes.check_not_listed(file, column, counts)


def _check_test_labels(data: OwnData, seen: Seen) -> None:
    known, column, file = data.task.labels, data.task.label_field, data.paths["test"].name
    for place, value in zip(seen.places, seen.labels, strict=True):
        if value not in known:
            told = classes.spelt(value, known) or repr(classes.short(value))
            told = f"{column}={told} is not among the labels of training, {classes.named(known)}"
            raise InputError(f"{place}: {told}; correct it")
    if len(seen.labels) < (least := own_splits.LEAST["test"]):
        raise InputError(f"{file} has {len(seen.labels)} rows, at least {least} are needed; label more")
    if lacking := [label for label in known if label not in seen.labels]:
        own_warnings.warn(f"no row of {file} has the {column} {classes.named(lacking)}: nothing is reported of it")


def _check_test_rows(data: OwnData, seen: Seen, known: Seen) -> None:
    """Refuse a test file that shares what rows are told apart by, and say on stderr how many of its rows are copies.

    InputError: it does, or it has nothing but copies.
    """
    train, test = data.paths["train"], data.paths["test"]
    if column := data.task.apart_by:
        both = set(known.apart)
        for place, value in zip(seen.places, seen.apart, strict=True):
            if value in both:
                told = f"{column}={classes.short(value)!r} stands in {train.name} too"
                raise InputError(f"{place}: {told}; no two splits may share one")
    texts = {tuple(map(own_splits.alike, each)) for each in known.texts}
    copies = [
        place
        for place, each in zip(seen.places, seen.texts, strict=True)
        if tuple(map(own_splits.alike, each)) in texts
    ]
    if len(copies) == len(seen.texts):
        raise InputError(f"all rows of {test.name} stand in {train.name} too; name a test_file of other texts, or none")
    if copies:
        own_warnings.warn(
            f"{len(copies)} rows of {test.name} stand in {train.name} too, the first at {copies[0]}: "
            "the accuracy on them flatters; take them out of one of the files"
        )
