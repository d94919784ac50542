"""What a bag of words sees of two texts: which words and stems they share, and how long they are; no word's order.

The features of an honest opponent: a model of pairs has to be better than what can be counted here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

import numpy as np

MAX_CHARACTERS = 4_000  # of a text are counted: twice what a model of 512 tokens reads
MAX_HEAD = 40  # characters before the colon of what may be a name, as in "axis: the axis to sum over"
SUFFIXES = ("izations", "ization", "izing", "ized", "izes", "ize", "ations", "ation", "ings", "ing", "ions", "ion")
SUFFIXES += ("ies", "ied", "edly", "ers", "er", "ed", "es", "ly", "s", "e", "y")
COLUMNS = (
    "first's words in second", "second's words in first", "first's stems in second", "second's stems in first",
    "first's rare words in second", "second's rare words in first", "first's head in its rest",
    "first's head in second", "second's head in first", "shared words, log", "first's length, log",
    "second's length, log",
)  # fmt: skip


def words(text: str) -> list[str]:
    """Return the lower-case words of a text; names of code come apart: ``maxIter`` and ``max_iter`` are two words."""
    apart = re.sub(r"([a-z])([A-Z])", r"\1 \2", text[:MAX_CHARACTERS])
    return re.findall(r"[^\W_]+", apart.lower())


def words_and_pairs(text: str) -> list[str]:
    """Return the words of a text and its pairs of neighbours, for a TF-IDF that sees a little of the order."""
    single = words(text)
    return single + [f"{one} {other}" for one, other in zip(single, single[1:], strict=False)]


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """Return a word without its ending, of which at least three letters stay; crude, and the same for both texts."""
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word


def features(pairs: Sequence[tuple[str, str]], rarity: Mapping[str, float]) -> np.ndarray:
    """Return what each of n pairs of texts shares, [n, len(COLUMNS)], in the order of `COLUMNS`.

    Shares are those of different words, 0 to 1. ``rarity`` weighs words, such as by their inverse document frequency;
    a word without one counts as the rarest.
    """
    rarest = max(rarity.values(), default=1.0)
    seen = {text: _Seen(text, rarity, rarest) for pair in pairs for text in pair}
    return np.array([_compared(seen[first], seen[second]) for first, second in pairs]).reshape(-1, len(COLUMNS))


class _Seen:
    """A text's words, stems and weights, once for all pairs it is in."""

    def __init__(self, text: str, rarity: Mapping[str, float], rarest: float) -> None:
        listed = words(text)
        self.length, self.words = len(listed), frozenset(listed)
        self.weight = {word: rarity.get(word, rarest) for word in self.words}
        self.stems = frozenset(map(stem, self.words))
        head, colon, rest = text.partition(":")
        has_head = colon and len(head) <= MAX_HEAD
        self.head = frozenset(map(stem, words(head))) if has_head else frozenset()
        self.rest = frozenset(map(stem, words(rest))) if has_head else self.stems


def _compared(first: _Seen, second: _Seen) -> list[float]:
    shared = first.words & second.words
    rare = [sum(one.weight[word] for word in shared) / max(sum(one.weight.values()), 1e-9) for one in (first, second)]
    return [
        _share(first.words, second.words),
        _share(second.words, first.words),
        _share(first.stems, second.stems),
        _share(second.stems, first.stems),
        *rare,
        _share(first.head, first.rest),
        _share(first.head, second.stems),
        _share(second.head, first.stems),
        *np.log1p([len(shared), first.length, second.length]),
    ]


def _share(of: Collection[str], among: frozenset[str]) -> float:
    return len(among.intersection(of)) / len(of) if of else 0.0
