"""How true a cheaper predictor stays to its original: its labels, its logits, and its answers beside other requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fflib import spent
from fflib.data import batching, metrics
from fflib.data.splits import TokenizedSplit
from fflib.measure.timing import Predictor, Variant


@dataclass(frozen=True)
class Fidelity:
    """What `compare` found.

    Attributes:
        logits: [n, c], in the batches that are served.
        agreement: share of the requests that get the original's label in these batches.
        max_change: the largest change of a logit against the original.
        flips_by_batch: how many labels are others in a batch than alone. A dynamic scale is that of the whole batch,
            so a request's answer depends on its neighbours.
        changes_by_batch: the largest change of a logit of each request by that, [n].
    """

    logits: np.ndarray
    agreement: float
    max_change: float
    flips_by_batch: int
    changes_by_batch: np.ndarray

    @property
    def n(self) -> int:
        """How many requests were compared."""
        return len(self.logits)


@spent.on("prediction")
def compare(predict: Predictor, examples: TokenizedSplit, plan: batching.Plan, expected: np.ndarray) -> Fidelity:
    """Answer ``examples`` in the batches of ``plan`` and one by one; compare with the original's logits [n, c]."""
    served = Variant("served", predict, plan).logits(examples)
    alone = Variant("alone", predict, batching.in_order(examples.lengths, 1)).logits(examples)
    return Fidelity(
        logits=served,
        agreement=metrics.kept(served, expected, examples.gold),
        max_change=float(np.abs(served - expected).max()),
        flips_by_batch=round((1 - metrics.kept(served, alone, examples.gold)) * len(served)),
        changes_by_batch=np.abs(served - alone).max(1),
    )
