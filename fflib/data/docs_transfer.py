"""More to learn a teacher's answers from: the functions of `docs`' train, each parameter beside many descriptions.

A student that learns from its teacher's answers needs texts and no labels, so it may see far more than a labelled task
holds (TinyBERT, 1909.10351, section 3.2, makes such a *transfer set* by augmentation). Here every parameter meets up to
`ROUNDS` others of its function, and each time the function's text ends elsewhere. Nothing of dev or test is in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fflib.data import docs_task, registry, splits
from fflib.data.docs_task import PACKAGES, Record
from fflib.data.docstrings import chance
from fflib.data.metrics import Gold
from fflib.data.splits import Split

ROUNDS = 24


def records(packages: Sequence[str] = PACKAGES) -> list[Record]:
    """Return the records, in an order drawn from their texts; their labels are right, but nobody needs them."""
    found: dict[tuple[str, str], Record] = {}
    for function in docs_task.functions(packages):
        pairs = docs_task.pair_up(function, ROUNDS) if docs_task.split_of(function) == "train" else []
        for number, pair in enumerate(pairs):
            record = docs_task.record(pair, str(number))
            found.setdefault((record["parameter"], record["function"]), record)
    return sorted(found.values(), key=lambda record: chance("transfer", *record.values()))


def load(packages: Sequence[str] = PACKAGES) -> Split:
    """Return the transfer set as a split of the task `docs`."""
    task = registry.get_task("docs")
    examples = [example for record in records(packages) for example in task.examples(record)]
    labels = np.array([example.label for example in examples], np.int64)
    return splits.text_split(task.name, "transfer", [example.texts for example in examples], Gold(labels))
