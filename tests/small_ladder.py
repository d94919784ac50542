"""A ladder made by hand, whose steps are 5, 4, 3 and 2."""

from __future__ import annotations

from fflib.runs import ladder
from fflib.story import factors


def rung(name, below, per_s, accuracy=None, anchor=None):
    return {
        "rung": name,
        "stacks_on": below,
        "throughput_per_s": per_s,
        "accuracy": accuracy,
        "paired_baseline_per_s": anchor,
    }


ROWS = [
    rung(ladder.PADDED, "", 2.0),
    rung(ladder.UNPADDED, ladder.PADDED, 6.0),
    rung("teacher padded", ladder.PADDED, 10.0, 0.9),
    rung(factors.TEACHER, "teacher padded", 40.0, 0.9),
    rung("distilled student", factors.TEACHER, 90.0, 0.88, anchor=30.0),  # the machine was slower: a step of 3
    rung("pruned 33/50", "distilled student", 60.0, 0.8),
    rung("int8 dynamic", "distilled student", 180.0, 0.87),
]
LADDER = ladder.ladder(ROWS)
STACK = ladder.stack(LADDER, "int8 dynamic")
