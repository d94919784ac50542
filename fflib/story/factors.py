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
WHAT_IT_DOES = {  # a technique in a few words, for a reader who sees a figure alone
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
ONE_BY_ONE = "back to one request at a time"  # what a step says that gives up the batches of the rung below it
REGROUPS = ("batching", "no padding", "a smaller teacher")  # steps that are about batches, or come before there are any
AGAINST = (  # what a speed-up is told against
    "the padded reference",
    "the unpadded reference",
    "the reference on the best fp32 engine tried, unpadded",
    "this run's own teacher, unpadded",
    "this run's own teacher on ONNX Runtime, unpadded",
)


def ladder_of(records: Sequence[Record], watts_per_core: float | None = None) -> pd.DataFrame:
    """Return the ladder of all rungs that the chapters' records hold, see `ladder.ladder`."""
    return rungs.ladder([rung for record in records for rung in record["rungs"]], watts_per_core)


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


def is_one_by_one(batching: str) -> bool:
    """Say whether a rung with this cell in `batching` answers one request at a time."""
    return batching in ("none", "in order 1") or batching.startswith("padded to")


def _what_else(rows: pd.DataFrame, name: str) -> str:
    """Say how a step changes the batches, where that is not its technique: a part of its factor is this change."""
    now, before = (str(rows.loc[each, "batching"]) for each in (name, rows.loc[name, "stacks_on"]))
    if now == before or technique_of(name) in REGROUPS:
        return ""
    return ONE_BY_ONE if is_one_by_one(now) else "in other batches"


def _with(what: str, more: str) -> str:
    return "; ".join(part for part in (what, more) if part)


def factors(ladder: pd.DataFrame, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the steps of a stack as factors, each with the product of all up to it as its ``total``.

    Its words, ``what``, tell too where a step changes the batches along with its technique.
    """
    by_name = ladder.set_index("rung")
    rows = by_name.loc[list(names)]
    rows = rows[rows["stacks_on"] != ""]
    return [
        {
            "rung": name,
            "technique": technique_of(name),
            "what": _with(WHAT_IT_DOES.get(technique_of(name), ""), _what_else(by_name, name)),
            "factor": float(step),
            "total": float(total),
        }
        for name, step, total in zip(rows.index, rows["speedup_step"], rows["speedup_step"].cumprod(), strict=True)
    ]


def factor_by_technique(steps: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the product of the `factors` of each technique: what it brought when it was added."""
    return {
        technique: math.prod(step["factor"] for step in steps if step["technique"] == technique)
        for technique in dict.fromkeys(step["technique"] for step in steps)
    }


def speedups(ladder: pd.DataFrame, last: str, best_fp32: float, teacher_fp32: float) -> dict[str, float]:
    """Return what the steps multiply to for the last rung, against the five starting points of `AGAINST`.

    ``best_fp32`` is how many times faster than the unpadded reference the best fp32 engine runs the same reference,
    ``teacher_fp32`` the same of the teacher.
    """
    rows = ladder.set_index("rung")
    padded, unpadded = (rows.loc[last, f"speedup_vs_{kind}"] for kind in ("padded", "unpadded"))
    own = padded / rows.loc[TEACHER, "speedup_vs_padded"]
    factors_of = (padded, unpadded, unpadded / best_fp32, own, own / teacher_fp32)
    return {against: float(factor) for against, factor in zip(AGAINST, factors_of, strict=True)}


def beside_the_paper(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Set the `factors` of a ladder beside FastFormers' Table 3 (2010.13382), technique by technique.

    Their rows and ours are not the same: another order, and their student stands on the reference, ours on a teacher
    that is small already. So what belongs together is multiplied. None: not in that ladder. A row whose step here also
    gives up the batches says so, since the row of the batches holds what they brought before.
    """
    paper, here = fastformers.table().set_index("rung")["speedup_step"], factor_by_technique(steps)
    names = {
        "no padding": ([fastformers.UNPADDED], ["no padding"]),
        "batches of like lengths": ([], ["batching"]),
        "a smaller model": (["distilled student"], ["a smaller teacher", "distillation"]),
        "engine, graph and eight bits": (["int8 and graph"], ["ONNX Runtime", "quantisation", "first token"]),
        "pruning": (["pruned 33/50"], ["pruning"]),
        "instances": ([fastformers.INSTANCES_RUNG], ["instances"]),
    }
    gives_up = {step["technique"] for step in steps if step["what"].endswith(ONE_BY_ONE)}
    rows = [
        {
            "technique": _with(technique, f"here {ONE_BY_ONE}" if gives_up & {*rungs_here} else ""),
            "paper": _product(rungs_there, paper),
            "here": _product(rungs_here, here),
        }
        for technique, (rungs_there, rungs_here) in names.items()
    ]
    all_steps = {side: math.prod(row[side] or 1 for row in rows) for side in ("paper", "here")}
    return [*rows, {"technique": "all"} | all_steps]


def _product(names: Sequence[str], factor_by_name: Mapping[str, float]) -> float | None:
    """Multiply the factors that are known; None: none of them is."""
    known = [factor_by_name[name] for name in names if name in factor_by_name]
    return math.prod(known) if known else None


def mark_alternatives(ladder: pd.DataFrame, stack: Sequence[str]) -> pd.DataFrame:
    """Return the ladder for reading: the name of a rung that is not in the ``stack`` stands in brackets."""
    on_the_way = ladder["rung"].isin([*stack, rungs.PADDED, rungs.UNPADDED])
    return ladder.assign(rung=ladder["rung"].where(on_the_way, "(" + ladder["rung"] + ")"))
