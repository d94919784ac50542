"""A cascade: the served model reads the first tokens of a text, and the whole text only where it is unsure.

Nothing is trained for it. The same graph answers twice: once for a short text, which costs little, and again for those
texts whose first answer leaves two classes close together. Works on rectangles of tokens, as every predictor does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fflib.data import batching, metrics
from fflib.data.metrics import Gold
from fflib.data.splits import TokenizedSplit
from fflib.data.task import SEGMENTS
from fflib.files import InputError
from fflib.measure.timing import Predictor, Together

LEAST = 4  # tokens: of a pair each text keeps one of its own and what ends it
Arrays = Mapping[str, np.ndarray]  # of a batch, each [rows, length]


def first_places(types: np.ndarray, first: int) -> np.ndarray:
    """Return which tokens of a text are read first, as ascending positions.

    Of one text it is the beginning and the last token, which ends it. Of a pair the first text stays whole and the
    second is cut, but neither is cut to less than half of ``first`` while the other has more. A text that would lose a
    marked word stays whole, for the head reads that word.

    Args:
        types: token types of one text, padding left out, [length]; see `splits.tokenize`.
        first: how many tokens to keep at most; InputError: fewer than `LEAST`.
    """
    if first < LEAST:
        raise InputError(f"a first reading of {first} tokens leaves no text; give at least {LEAST}")
    length = len(types)
    if length <= first:
        return np.arange(length)
    of_first = int((types % SEGMENTS == 0).sum())
    of_second = length - of_first
    if not of_second:
        kept = _begin(0, length, first)
    else:
        for_second = max(first - of_first, min(of_second, first // 2))
        kept = np.concatenate([_begin(0, of_first, first - for_second), _begin(of_first, length, for_second)])
    loses_a_mark = (types >= SEGMENTS).sum() > (types[kept] >= SEGMENTS).sum()
    return np.arange(length) if loses_a_mark else kept


def _begin(start: int, end: int, count: int) -> np.ndarray:
    """Return ``count`` of the positions from ``start`` to ``end``: the first ones, and the last."""
    if count >= end - start:
        return np.arange(start, end)
    return np.append(np.arange(start, start + count - 1), end - 1)


def margins(logits: np.ndarray) -> np.ndarray:
    """Return by how much the highest of ``logits`` [n, classes] is above the second: how sure an answer is, [n]."""
    second, first = np.sort(logits, axis=1)[:, -2:].T
    return first - second


@dataclass(frozen=True, eq=False)
class Cascade:
    """A predictor that reads little first: logits [rows, classes] of the first reading, or of the second if unsure.

    Attributes:
        predict: the served model.
        first: tokens of the first reading.
        threshold: a first answer whose `margins` are below it is asked again with the whole text; -inf: none is.
        plan: the batches of the second reading, made of the lengths [n].
    """

    predict: Predictor
    first: int
    threshold: float
    plan: Callable[[np.ndarray], batching.Plan] = lambda lengths: batching.in_order(lengths, 1)

    def __call__(self, inputs: Arrays) -> np.ndarray:
        """Return the logits of a batch."""
        lengths = inputs["attention_mask"].sum(1)
        whole = [np.arange(length) for length in lengths]
        types = inputs["token_type_ids"]
        begun = [first_places(row[:length], self.first) for row, length in zip(types, lengths, strict=True)]
        logits = np.array(self.predict(_rows(inputs, range(len(begun)), begun)))
        was_cut = np.array([len(kept) for kept in begun]) < lengths
        unsure = np.flatnonzero(was_cut & (margins(logits) < self.threshold))
        for group in self.plan(lengths[unsure]) if len(unsure) else ():
            again = unsure[group]
            logits[again] = self.predict(_rows(inputs, again, [whole[i] for i in again]))
        return logits


def _rows(inputs: Arrays, rows: Sequence[int], places: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return some rows of a batch with the tokens at ``places`` of each, padded anew to the longest of them."""
    shape = len(places), max(len(kept) for kept in places)
    taken = {name: np.zeros(shape, array.dtype) for name, array in inputs.items()}
    for name, array in inputs.items():
        for i, (row, kept) in enumerate(zip(rows, places, strict=True)):
            taken[name][i, : len(kept)] = array[row, kept]
    return taken


def logits_of(way: Together, texts: TokenizedSplit, plan: batching.Plan) -> np.ndarray:
    """Return what ``way`` answers to all of ``texts`` in the batches of ``plan``, [n, classes], in their order."""
    parts, _, _ = way(texts, plan)
    return np.concatenate(parts)[np.argsort(np.concatenate(plan))]


def combined(first: np.ndarray, whole: np.ndarray, was_cut: np.ndarray, threshold: float) -> tuple[np.ndarray, ...]:
    """Return the answers of a cascade [n, classes] from those of both readings, and which texts are read again [n]."""
    again = was_cut & (margins(first) < threshold)
    return np.where(again[:, None], whole, first), again


def without_luck(answers: np.ndarray, whole: np.ndarray, gold: Gold) -> np.ndarray:
    """Return the ``answers`` of a system where the served model, asked for ``whole`` texts, is right, and else its own.

    All logits are [n, classes]. A part of a text holds nothing that the whole lacks. So where a system is right and the
    model wrong, that is chance; and a threshold that is chosen among many is chosen for such chances. Other texts have
    others. What is lost on the way counts in full.
    """
    model_is_right = metrics.answers(whole, gold) == gold.labels
    return np.where(model_is_right[:, None], answers, whole)
