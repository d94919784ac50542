"""What a task is: how a record becomes examples, which labels there are, how answers are scored, what was published.

Everything downstream (tokenising, training, measuring) asks a `Task`, never its name. Which there are: ``registry``.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from fflib.data.labels import folded
from fflib.files import InputError

Record = Mapping[str, Any]
LONG = 60  # characters of a column's name in a message
UNSEEN = {"Cc", "Cf", "Zs", "Zl", "Zp"}  # Unicode's categories of what does not show
SEGMENTS = 2  # token types of a pair; the mark of a word adds a multiple of it to the types of its tokens


class Span(NamedTuple):
    """Characters ``start`` to ``end`` (exclusive) of an example's text number ``text``."""

    text: int
    start: int
    end: int


class Example(NamedTuple):
    """What a model is asked at once. ``question`` is shared by examples that are answers to one question."""

    texts: tuple[str, ...]  # one or two, given to the tokenizer as text and text_pair
    label: int  # class index
    question: str = ""  # '': its own
    overlap: float = 0.0  # F1 of its words with the right answer's, where a metric asks for it
    spans: tuple[Span, ...] = ()  # the words the head reads, where it reads words


@dataclass(frozen=True)
class Task:
    """One classification task. ``labels`` are the raw values in the data; a class's index is its position there.

    Where a record holds several examples, or its text has to be put together, ``expand`` does it; its classes then are
    no and yes, as in MultiRC: is this an answer?
    """

    name: str
    text_fields: tuple[str, ...]  # what an example's texts are; without `expand`, the columns that hold them
    label_field: str
    labels: tuple[Any, ...]
    metrics: tuple[str, ...]  # of ``metrics.METRICS``; the score is their mean
    max_length: int  # tokens; what the padded baseline pads to
    description: str
    published: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    by_hand: str = ""  # what must be known to ask it about a text of one's own, beyond what its fields are called
    apart_by: str = ""  # the column that dev shares with no training record; '': that of the last text
    dev_one_in: int = 10  # one record of train in so many is set apart as dev, where no dev is published
    spans: int = 0  # how many marked words the head reads; 0: it reads the first token
    one_right: bool = False  # one answer of each question is right, so that they compete
    expand: Callable[[Task, Record], Iterable[Example]] | None = None

    @property
    def num_labels(self) -> int:
        """The number of classes, and so the width of the model's last layer."""
        return len(self.labels)

    def examples(self, record: Record) -> list[Example]:
        """Return the record's examples. InputError: a column is missing, not of its kind, empty, or no label."""
        if self.expand is not None:
            return list(self.expand(self, record))
        return [Example(self.texts(record), self.label(record))]

    def texts(self, record: Record) -> tuple[str, ...]:
        """Return the record's text, one string a text field. InputError: a column is missing, not text, or empty."""
        return tuple(self.text(record, name) for name in self.text_fields)

    def text(self, record: Record, name: str) -> str:
        """Return the text in a column. InputError: it is missing, not text, or empty."""
        value = self.column(record, name)
        if isinstance(value, int) or (isinstance(value, float) and not math.isnan(value)):
            cure = f'but it must hold some text; put it in quotes, as in "{value}", or name another column as text'
            raise InputError(f"{self.name}: column {name!r} is {value!r}, {cure}")
        if not isinstance(value, str) or not shows(value):
            wanted = "but it must hold some text; write it there, or take the row out"
            shown = repr(value)
            shown = shown if len(shown) <= LONG else f"{shown[:LONG]}..."
            raise InputError(f"{self.name}: column {name!r} is {shown}, {wanted}")
        return value

    def label(self, record: Record) -> int:
        """Return the record's class index. InputError: the column is missing or its value is none of the labels."""
        value = self.column(record, self.label_field)
        for index, label in enumerate(self.labels):
            # 1 == True in Python; a label has to be of the right kind as well.
            if value == label and isinstance(value, bool) == isinstance(label, bool):
                return index
        known = ", ".join(repr(label) for label in self.labels)
        raise InputError(f"{self.name}: {self.label_field}={value!r} is not a label; the labels are {known}")

    def column(self, record: Record, name: str) -> Any:
        """Return what stands in a column. InputError: there is no such column."""
        if name not in record:
            raise InputError(f"{self.name}: {no_column(name, record)}")
        return record[name]


def shows(text: str) -> bool:
    """Say whether there is anything to see in a text: a sign other than spaces, controls and what has no width."""
    return any(unicodedata.category(letter) not in UNSEEN for letter in text)


def no_column(name: str, there: Collection[str]) -> str:
    """Say that a column is missing and which there are.

    A space or a quotation mark at an end, a sign without width, letters made of two or of another alphabet, are why
    one is missing that seems to be there: these are spelt out.
    """
    alike = [each for each in there if folded(each) & folded(name)]
    plain = (
        each.isprintable() and not {" ", '"', "'"} & {*each[:1], *each[-1:]} and each not in alike for each in there
    )
    shown = (each if is_plain else ascii(each) for each, is_plain in zip(there, plain, strict=True))
    named = ", ".join(each if len(each) <= LONG else f"{each[:LONG]}..." for each in shown)
    several = [part.strip() for part in name.split(",")]
    hint = f"; for two columns write [{', '.join(several)}]" if len(several) > 1 and {*several} <= {*there} else ""
    return f"there is no column {ascii(name) if alike else repr(name)}; the columns are {named or 'none'}{hint}"
