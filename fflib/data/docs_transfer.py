"""The transfer set of the task `docs`: many more pairs of train's functions, for a student that needs no labels.

A teacher answers any pair. So where train pairs a parameter `docs_task.ROUNDS` times, here it meets up to `ROUNDS`
others, and the function's text is cut elsewhere each time. TinyBERT (1909.10351, section 3.2) augments its training
texts for the same reason. Files of dev and test are left out, as in train.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fflib.data import docs_task, splits
from fflib.data.metrics import Gold
from fflib.data.registry import get_task
from fflib.data.splits import Split

ROUNDS = 24  # partners of a parameter, if its function has so many


def pairs(packages: Sequence[str] = docs_task.PACKAGES) -> list[docs_task.Pair]:
    """Return the pairs of all functions of train in ``packages``, each two parameters of a function once."""
    of_train = (function for function in docs_task.functions(packages) if docs_task.split_of(function) == "train")
    return [pair for function in of_train for pair in docs_task.pair_up(function, ROUNDS)]


def load() -> tuple[Split, int]:
    """Return the transfer set and how many of its pairs are balanced: these come first, in an order drawn from texts.

    Of them counting words tells nothing, as in dev and test. The labels are right, but a student does not see them.
    """
    whole = pairs()
    even = {id(pair) for pair in docs_task.balanced(whole)}
    records = [(docs_task.record(pair, str(i)), id(pair) not in even) for i, pair in enumerate(whole)]
    records.sort(key=lambda each: (each[1], docs_task.chance("transfer", *each[0].values())))
    # A short text is cut nowhere, and so comes more than once. It stands where it comes last, among the others if any.
    once = {tuple(record.values()): (record, odd) for record, odd in reversed(records)}
    kept = list(reversed(once.values()))
    examples = [example for record, _ in kept for example in get_task("docs").examples(record)]
    gold = Gold(np.array([example.label for example in examples], np.int64))
    split = splits.text_split("docs", "transfer", [example.texts for example in examples], gold)
    of_others = {tuple(record.values()) for record, odd in records if odd}
    n_balanced = sum(tuple(record.values()) not in of_others for record, _ in kept)
    return split, n_balanced
