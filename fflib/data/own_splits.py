"""How the rows of a reader's own data are divided: by a hash of what belongs together, so that it stays together.

The same file is divided in the same way each time, and a row that is added moves none of the others. Only in a small
file some rows are moved by hand: where dev or test would have next to nothing, or a class no row in train.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fflib.data import labels as classes
from fflib.data.task import Record, Task
from fflib.files import InputError, content_hash

TEST_SHARE, DEV_SHARE = 0.15, 0.1  # of the examples, where no file is named for them
LEAST = {"train": 26, "dev": 4, "test": 6}  # rows of a split; their sum is what a file has to have
PLACES = 10_000
WHOLE = re.compile(r"^(-?\d+)\.0+$")
WIDTHLESS = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
MUCH = 0.15  # of the rows, told apart by nothing, are much: wherever they come to, they weigh down one split


def told_apart(task: Task, record: Record) -> Any:
    """Return what no two splits may share: the value of ``apart_by``, else all texts of the row, both `alike`."""
    if not task.apart_by:
        return tuple(map(alike, task.texts(record)))
    value = task.column(record, task.apart_by)
    try:
        # 7, 7.0 and "7.0" are one author, as where a table with a gap was written, and none is '' wherever it is none.
        return alike(WHOLE.sub(r"\1", classes.label_text(value)))
    except InputError:
        return str(value)


def alike(text: str) -> str:
    """Return a text without what most models never see: capitals, how many spaces, and what has no width.

    A copy that differs in these alone is a copy: in another split it would be known by heart.
    """
    plain = text if text.isascii() else WIDTHLESS.sub("", unicodedata.normalize("NFKC", text))
    return " ".join(plain.casefold().split())


def place_of(apart: Any) -> int:
    """Return a number below `PLACES` by what tells rows apart; rows of one number stay together."""
    return int(content_hash("split", apart), 16) % PLACES


def split_of(apart: Any, with_test: bool, moved: Mapping[int, str]) -> str:
    """Return the split of a row by what tells it apart; ``with_test``: test is taken from the same rows."""
    place = place_of(apart)
    return moved.get(place) or _by_share(place, with_test)


def _by_share(place: int, with_test: bool) -> str:
    test, draw = TEST_SHARE if with_test else 0, place / PLACES
    return "test" if draw < test else "dev" if draw < test + DEV_SHARE else "train"


def check_enough(file: str, column: str, counts: Mapping[str, int], with_test: bool) -> None:
    """Refuse a file with too few rows, or with a class of one: ``counts`` tells how many rows have each label."""
    needed, rows = sum(LEAST.values()) - (0 if with_test else LEAST["test"]), sum(counts.values())
    if rows < needed:
        raise InputError(f"{file} has {rows} rows, at least {needed} are needed; label more, or name another 'file'")
    if single := [label for label in counts if counts[label] < 2]:
        raise InputError(
            f"{file}: only one row has the {column} {classes.named(sorted(single))}; label more of it, or take it out"
        )


def bare(inside: Mapping[str, int], with_test: bool) -> list[str]:
    """Name the splits that have so few rows, by ``inside``, that nothing can be made of them."""
    wanted = ("train", "dev", "test") if with_test else ("train", "dev")
    return [split for split in wanted if inside.get(split, 0) < LEAST[split] // 2]


def moved(apart: Sequence[Any], labels: Sequence[str], with_test: bool) -> dict[int, str]:
    """Return the places whose rows come to another split than their hash says, and to which.

    Args:
        apart: what tells each row apart.
        labels: of the rows.
        with_test: whether test is taken from these rows too.
    """
    found: dict[int, str] = {}
    rows: dict[int, Counter[str]] = {}
    for each, label in zip(apart, labels, strict=True):
        rows.setdefault(place_of(each), Counter())[label] += 1
    inside = {place: _by_share(place, with_test) for place in rows}

    def move(place: int, split: str) -> None:
        inside[place] = found[place] = split

    def in_split(split: str) -> Counter[str]:
        return sum((rows[place] for place in rows if inside[place] == split), Counter())

    for label in sorted(set(labels) - set(in_split("train"))):
        move(max(place for place in rows if rows[place][label]), "train")
    for split in ("test", "dev") if with_test else ("dev",):
        train, short = in_split("train"), LEAST[split] - in_split(split).total()
        for place in sorted(place for place in rows if inside[place] == "train"):
            if short <= 0:
                break
            if all(train[label] > count for label, count in rows[place].items()):
                move(place, split)
                train, short = train - rows[place], short - rows[place].total()
    return found
