"""What stands in the column of the classes, as the reader sees it, and what makes no classes of it."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from fflib.files import InputError

MISSING = {  # as programs write that there is nothing, spreadsheets that they could not tell, and people either
    *("nan", "-nan", "null", "none", "na", "n/a", "n.a.", "<na>", "nat", "nil", "(null)", "[null]", "<null>", "\\n"),
    *("#n/a", "#ref!", "#value!", "#name?", "#div/0!", "#num!", "#null!", "#error!", "(blank)", "(empty)"),
    *("?", "??", "-", "--", "_", ".", "undefined", "unlabeled", "unlabelled", "not labeled", "not labelled"),
}
UNKNOWN, KNOWN = ("-1", "-1.0"), re.compile(r"\d+(\.0)?")  # as libraries write beside 0, 1, ... that there is none
BETWEEN = re.compile(r"(?<=[^\W\d_])[-_](?=[^\W\d_])")  # two words: not_spam, not-spam
LETTERS = str.maketrans("асеіјѕорхуκονρτυχ", "aceijsopxykovptux")  # Cyrillic and Greek ones that look Latin
DIGITS = str.maketrans("oil", "011")
TRUTHS = ({"true", "yes", "1"}, {"false", "no", "0"})  # mixed in one column where it came out of several programs
LETTER_OF = {"y": "yes", "n": "no", "t": "true", "f": "false"}
COMMAS = (  # a comma or a point may stand before decimals, and between thousands
    (str.maketrans(",", "."), re.compile(r"[-+]?\d+,\d+")),
    (str.maketrans("", "", ","), re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?")),
    (str.maketrans("", "", "."), re.compile(r"[-+]?\d{1,3}(\.\d{3})+")),
)
BROKEN = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")  # a line of answers would come apart at it
LONG = 60  # characters of a label in a message
EXACT = 2**53  # from here on a float is not every whole number, and far on none at all
MANY = 12  # of so many classes a message names some


def label_text(value: Any, listed: Sequence[str] = ()) -> str:
    """Return a class as text, '' where there is none. A table knows only text, so 1 is '1' wherever it comes from.

    Of the ways to write a number or a truth (1 and 1.0, true and True) the one that is ``listed`` is taken, else the
    shortest. InputError: a list or an object is no class.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        if BROKEN.search(text := value.strip()):
            raise InputError(f"{short(text)!r} has a tab or the end of a line in it; write a class in one line")
        return text
    if isinstance(value, bool):
        ways = [str(value).lower(), str(value), str(value).upper()]
    elif isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        ways = [str(int(value)), *([str(float(value))] if abs(value) < EXACT else [])]
    elif isinstance(value, float) and math.isfinite(value):
        ways = [str(value)]
    else:
        raise InputError(f"{short(repr(value))} is no class; a class is a text, a number, or true and false")
    return next((way for way in ways if way in listed), ways[0])


def named(labels: Iterable[str]) -> str:
    """Name labels in a message: all of a few, some of many."""
    labels = [short(label) for label in labels]
    more = f" and {len(labels) - MANY} more" if len(labels) > MANY else ""
    return ", ".join(map(repr, labels[:MANY])) + more


def short(label: str) -> str:
    """Return a label as a message can hold it."""
    return label if len(label) <= LONG else f"{label[:LONG]}..."


def spelt(label: str, others: Iterable[str]) -> str:
    """Spell a label out by its code where one of ``others`` looks the same but for its case; '' where none does."""
    unlike = (other for other in others if other.casefold() != label.casefold())
    same = next((other for other in unlike if folded(other) & folded(label)), "")
    return f"{ascii(short(label))} (there is {ascii(short(same))})" if same else ""


def check_not_listed(name: str, column: str, counts: Counter[str]) -> None:
    """Refuse what is hardly a class but would become one: a sign for nothing, or two ways to write the same.

    Args:
        name: of the file.
        column: of the classes.
        counts: how many rows have each label.
    """
    nothing = [label for label in counts if label.casefold() in MISSING or folded(label) == {""}]
    nothing = [] if nothing == ["-"] and "+" in counts else nothing
    others = [label for label in counts if label not in UNKNOWN]
    if len(others) > 1 and all(map(KNOWN.fullmatch, others)):  # -1 and 1 alone are the two classes
        nothing += [label for label in counts if label in UNKNOWN]
    if nothing:
        raise InputError(
            f"{name}: {counts[nothing[0]]} rows have the {column} {nothing[0]!r}, which mostly means that there is "
            f"none; take them out, or list all classes under 'labels' if it is one ({named(sorted(counts))})"
        )
    seen: dict[str, str] = {}
    truths = _truths(counts)
    for label in counts:
        for way in [truths[label]] if label in truths else folded(label):
            other = seen.setdefault(way, label)
            if other == label:
                continue
            first, second = (f"{ascii(short(each))} ({counts[each]} rows)" for each in (other, label))
            raise InputError(
                f"{name}: the {column} {first} and {second} look alike; write them alike, or list both under 'labels' "
                "if they are two classes"
            )


def _truths(labels: Iterable[str]) -> dict[str, str]:
    """Return what is meant by labels that are truths in more than one spelling: y beside yes, True beside 1."""
    plain = {label: label.casefold() for label in labels}
    found = {label: LETTER_OF[word] for label, word in plain.items() if LETTER_OF.get(word) in plain.values()}
    found |= {label: word for label, word in plain.items() if word in {*found.values()}}
    words = {label: found.get(label, word) for label, word in plain.items()}
    if all(any(word in truth for truth in TRUTHS) for word in words.values()):
        return {label: "yes" if word in TRUTHS[0] else "no" for label, word in words.items()}
    return found


def folded(label: str) -> set[str]:
    """Return a label without what hardly shows: case, spaces and what joins words, letters, a full stop, zeros.

    There are several where it is a number with a comma or a point, which means thousands here and decimals there.
    """
    plain = unicodedata.normalize("NFKC", label).casefold().translate(LETTERS)
    plain = " ".join("".join(letter for letter in plain if unicodedata.category(letter) != "Cf").split()).strip("\"'")
    plain = BETWEEN.sub(" ", plain.rstrip(".,;:") or plain)
    if plain == "o" or (any(letter.isdigit() for letter in plain) and not {*plain} - {*"0123456789oil"}):
        plain = plain.translate(DIGITS)
    ways = {plain} | {plain.translate(marks) for marks, written in COMMAS if written.fullmatch(plain)}
    return {_number(way) for way in ways if len(ways) == 1 or "," not in way}


def _number(text: str) -> str:
    try:
        return repr(float(text))
    except ValueError:
        return text
