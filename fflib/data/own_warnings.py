"""What is odd in the files of a reader's own data, but may be meant: said on stderr, and read as it stands there."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fflib.data import garbled, own_splits
from fflib.data import labels as classes
from fflib.data.task import Task

if TYPE_CHECKING:
    from fflib.data.own_checks import Seen

NUMBER = re.compile(r"[-+]?\d+([.,]\d+)*([eE][-+]?\d+)?")


def say(file: str, task: Task, seen: Seen) -> None:
    """Warn of what is odd in the training rows of a file of that name."""
    _say_signs_for_nothing(file, task, seen)
    _say_numbers(file, task, seen)
    _say_contradictions(file, task, seen)
    _say_garbled(file, seen)


def say_divided(file: str, task: Task, seen: Seen, split_of: Callable[[Any], str]) -> None:
    """Warn of rows that have to stay together and are much of the file, and of a split that lacks a class."""
    inside = [split_of(apart) for apart in seen.apart]
    counts = Counter(inside)
    value, many = Counter(seen.apart).most_common(1)[0]
    if many > own_splits.MUCH * len(inside):
        which = f"have the {task.apart_by} {classes.short(value)!r}" if task.apart_by else "are copies of one text"
        sizes = " and ".join(f"{split} has {counts[split]:,}" for split in ("dev", "test") if counts[split])
        warn(
            f"{many:,} of {len(inside):,} rows of {file} {which}, so all of them are in {split_of(value)}: "
            f"{sizes} rows in all"
        )
    for split in ("dev", "test") if counts["test"] else ("dev",):
        there = {label for label, place in zip(seen.labels, inside, strict=True) if place == split}
        if lacking := sorted({*seen.labels} - there):
            cure = "nothing is reported of it" if split == "test" else "no choice looks at it"
            warn(f"no row of {split} has the {task.label_field} {classes.named(lacking)}: {cure}")


def warn(sentence: str) -> None:
    """Print a warning."""
    print(f"warning: {sentence}", file=sys.stderr)


def _say_signs_for_nothing(file: str, task: Task, seen: Seen) -> None:
    """Warn of texts that a program has written for nothing: they are read as words."""
    for i, name in enumerate(task.text_fields):
        at = [j for j, texts in enumerate(seen.texts) if texts[i].strip().casefold() in classes.MISSING]
        if at:
            text = seen.texts[at[0]][i]
            warn(
                f"in {len(at)} rows of {file} the {name} is a sign for nothing, the first at {seen.places[at[0]]} "
                f"({text!r}); they are read as text"
            )


def _say_garbled(file: str, seen: Seen) -> None:
    """Warn of texts that were garbled before they were saved: UTF-8 that was read as something else, then written."""
    found = [*garbled.read_twice(" ".join(texts) for texts in seen.texts)]
    if len(found) >= garbled.SEVERAL:
        i, stands, meant = found[0]
        warn(
            f"{len(found)} rows of {file} are garbled, the first at {seen.places[i]}: {stands!r}, which was {meant!r} "
            "before UTF-8 was read as something else; save the file again from where they are whole"
        )


def _say_contradictions(file: str, task: Task, seen: Seen) -> None:
    """Warn of equal texts of two classes: whoever learns from them can be right about one only."""
    found: dict[tuple[str, ...], str] = {}
    at = [i for i, texts in enumerate(seen.texts) if found.setdefault(texts, seen.labels[i]) != seen.labels[i]]
    if at:
        warn(
            f"{len(at)} rows of {file} have the text of an earlier row and another {task.label_field}, the first at "
            f"{seen.places[at[0]]}; no classifier can be right about both"
        )


def _say_numbers(file: str, task: Task, seen: Seen) -> None:
    """Warn of a column of texts in which all are numbers."""
    for i, name in enumerate(task.text_fields):
        if all(NUMBER.fullmatch(texts[i].strip()) for texts in seen.texts):
            warn(f"every {name} of {file} is a number; if that is not the text, name another column as 'text'")
