"""What the ladder adds up to: the way to its last rung, its factors and its speed-ups.

Plain functions of the ladder and of saved results; nothing is measured here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fflib.runs import ladder as rungs
from fflib.story import fastformers

Record = Mapping[str, Any]
TEACHER = "teacher unpadded"  # what every accuracy of a ladder is measured against
WORDS = {  # what a technique does, for a reader who sees a figure alone
    "a smaller teacher": "a smaller model, fine-tuned",
    "no padding": "no padding computed",
    "batching": "like lengths together",
    "distillation": "a small student learns from it",
    "ONNX Runtime": "another engine",
    "pruning": "heads and neurons cut",
    "quantisation": "eight bits",
    "first token": "the last layer for one token",
    "instances": "the cores divided",
}


def last_rung(records: Sequence[Record]) -> str:
    """Return the rung that the story ends with: the one from which the last chapter goes on."""
    record = [record for record in records if record["rungs"]][-1]
    return record["facts"].get("goes_on_from", record["rungs"][-1]["rung"])


def technique_of(rung: str) -> str:
    """Return what a rung adds to the one below it, in the words of `leave_one_out.TECHNIQUES` where they have one."""
    by_start = {
        rungs.UNPADDED: "no padding",
        "teacher padded": "a smaller teacher",
        TEACHER: "no padding",
        "best batching": "batching",
        "distilled": "distillation",
        "pruned": "pruning",
        "int8": "quantisation",
        "ONNX Runtime, fp32": "ONNX Runtime",
    }
    return next((technique for start, technique in by_start.items() if rung.startswith(start)), rung)


def factors(ladder: pd.DataFrame, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the steps of a stack as factors whose product is its speed-up over the padded reference."""
    rows = ladder.set_index("rung").loc[list(names)]
    return [
        {
            "rung": name,
            "technique": technique_of(name),
            "what": WORDS.get(technique_of(name), ""),
            "factor": float(row["speedup_step"]),
            "total": float(row["speedup_vs_padded"]),
        }
        for name, row in rows.iterrows()
        if row["stacks_on"]
    ]


def added(steps: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the product of the `factors` of each technique: what it brought when it was added."""
    return {
        technique: math.prod(step["factor"] for step in steps if step["technique"] == technique)
        for technique in dict.fromkeys(step["technique"] for step in steps)
    }


def speedups(ladder: pd.DataFrame, last: str, best_fp32: float, teacher_fp32: float) -> dict[str, float]:
    """Return the speed-ups of the last rung in throughput against five starting points.

    ``best_fp32`` is how many times faster than the unpadded reference the best fp32 engine runs the same reference,
    ``teacher_fp32`` the same of the teacher.
    """
    rows = ladder.set_index("rung")
    padded, unpadded = (rows.loc[last, f"speedup_vs_{kind}"] for kind in ("padded", "unpadded"))
    own = padded / rows.loc[TEACHER, "speedup_vs_padded"]
    return {
        "the padded reference": padded,
        "the unpadded reference": unpadded,
        "the reference on the best fp32 engine tried, unpadded": unpadded / best_fp32,
        "this run's own teacher, unpadded": own,
        "this run's own teacher on ONNX Runtime, unpadded": own / teacher_fp32,
    }


def beside_the_paper(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Set the `factors` of a ladder beside FastFormers' Table 3 (2010.13382), technique by technique.

    Their rows and ours are not the same: another order, and their student stands on the reference, ours on a teacher
    that is small already. So what belongs together is multiplied. None: not in that ladder.
    """
    theirs, ours = fastformers.table().set_index("rung")["speedup_step"], added(steps)
    pairs = {
        "no padding": ([fastformers.UNPADDED], ["no padding"]),
        "batches of like lengths": ([], ["batching"]),
        "a smaller model": (["distilled student"], ["a smaller teacher", "distillation"]),
        "engine, graph and eight bits": (["int8 and graph"], ["ONNX Runtime", "quantisation", "first token"]),
        "pruning": (["pruned 33/50"], ["pruning"]),
        "instances": ([fastformers.INSTANCES_RUNG], ["instances"]),
    }

    def product(names: Sequence[str], factors: Mapping[str, float]) -> float | None:
        known = [factors[name] for name in names if name in factors]
        return math.prod(known) if known else None

    rows = [
        {"technique": name, "paper": product(there, theirs), "here": product(here, ours)}
        for name, (there, here) in pairs.items()
    ]
    return [
        *rows,
        {"technique": "all"} | {side: math.prod(row[side] or 1 for row in rows) for side in ("paper", "here")},
    ]


def ladder_with_ways(ladder: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return the ladder for reading: a rung that is not in the stack ``names`` is marked as another way."""
    other = ~ladder["rung"].isin([*names, rungs.PADDED, rungs.UNPADDED])
    return ladder.assign(rung=ladder["rung"].where(~other, "(" + ladder["rung"] + ")"))
