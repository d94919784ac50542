"""What is said of the techniques together, on rows made by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from fflib.story import leave_one_out_told
from fflib.story.stacks import Stack


@pytest.mark.parametrize(
    ("added", "told"),
    [(1.0, "need one another"), (2.6, "may not differ at all"), (9.0, "do each other's work")],
)
def test_products_may_be_alike_only_where_the_ranges_reach_that_far(added, told):
    rows = [
        {"factor": 2.0, "low": 1.5, "high": 2.5, "added": added},
        {"factor": 1.2, "low": 1.0, "high": 1.3, "added": 1},
    ]
    words = leave_one_out_told.products_told(rows)
    assert told in words and "2.4 in the full stack" in words and "multiply to 1.5, the upper ones to 3.2" in words
    assert ("may not differ" in words) == (added == 2.6)


def test_what_was_added_in_other_batches_is_named():
    columns = ("rung", "stacks_on", "batching", "instances", "threads")
    ladder = pd.DataFrame(
        [
            ("student", "", "token budget 256 tokens", 1, 4),
            ("pruned", "student", "token budget 256 tokens", 1, 4),
            ("instances", "pruned", "in order 1", 2, 2),
        ],
        columns=columns,
    )
    steps = [{"rung": name, "technique": technique} for name, technique in (("pruned", "pruning"), (columns[3],) * 2)]
    alike = Stack("pruned student", threads=4, batches=("token budget", 256))
    assert not leave_one_out_told.served_otherwise(["pruning"], alike, 4, steps, ladder)
    alone = Stack("pruned student", instances=2, threads=2)
    told = leave_one_out_told.served_otherwise(["pruning", "instances"], alone, 4, steps, ladder)
    assert "*pruning*, *instances* were" in told and "then: token budget 256, 1 x 4 threads;" in told
    assert "the full stack: one request at a time, 2 x 2 threads" in told
