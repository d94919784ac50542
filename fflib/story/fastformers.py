"""What FastFormers printed (Kim and Hassan Awadalla, arXiv 2010.13382): Table 3, by task Tables 1 and 4, its card.

The paper's machine, models and task are not a run's: factors may be compared, seconds may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

import pandas as pd

N_QUERIES = 3270  # the questions of BoolQ's dev set, which Table 3 times
CORES = 8  # physical ones of an Azure F16s v2 (Xeon Platinum 8168)
INSTANCES = 8  # of one thread each, from the row "instances" on
# Solved backwards, for the paper prints no price: at this rent of the machine its USD column follows from its seconds.
USD_PER_HOUR = 0.677

PADDED, UNPADDED, INSTANCES_RUNG = "BERT-base, padded", "no padding", "several instances"


@dataclass(frozen=True)
class PaperRung:
    """One row of Table 3: BoolQ's dev set, one query at a time."""

    rung: str
    stacks_on: str
    seconds: float  # for all `N_QUERIES`
    accuracy: float  # per cent, as printed
    usd_per_100m: float
    rung_here: str  # the rung of this book's ladder that does the same; '' where there is none


# The two pruned models are alternatives: both stand on the instances. This book prunes before it quantises, and divides
# the cores last, so the same rung has other rungs below it here. The paper's int8 row brings the optimised graph along.
TABLE_3 = (
    PaperRung(PADDED, "", 734.35, 74.01, 4223, "reference padded"),
    PaperRung(UNPADDED, PADDED, 209.29, 74.01, 1204, "reference unpadded"),
    PaperRung("distilled student", UNPADDED, 22.5, 74.04, 129, "distilled student"),
    PaperRung("int8 and graph", "distilled student", 9.97, 73.43, 57, "int8 dynamic"),
    PaperRung(INSTANCES_RUNG, "int8 and graph", 5.68, 73.43, 33, "instances"),
    PaperRung("pruned 25/25", INSTANCES_RUNG, 4.11, 73.36, 24, "pruned 25/25"),
    PaperRung("pruned 33/50", INSTANCES_RUNG, 3.14, 72.81, 18, "pruned 33/50"),
)


TASKS = ("BoolQ", "CB", "COPA", "MultiRC", "ReCoRD", "RTE", "WiC")  # of SuperGLUE, in the order of Tables 1 and 4


def _scores(*values: float) -> Mapping[str, float]:
    return MappingProxyType(dict(zip(TASKS, values, strict=True)))


# Dev scores in per cent, each by its task's own metric. Table 3's models are other trainings: 74.01 there, 75.99 here.
TABLE_1: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "BERT teacher": _scores(75.99, 87.96, 64.00, 42.00, 64.81, 69.68, 72.41),
        "student of BERT, 6 layers, 768 wide": _scores(76.06, 90.12, 69.00, 37.47, 64.47, 68.59, 71.79),
        "student of BERT, 4 layers, 312 wide": _scores(72.63, 87.63, 64.00, 36.71, 33.68, 64.62, 65.20),
        "RoBERTa teacher": _scores(81.59, 89.34, 56.00, 50.30, 79.66, 79.06, 71.63),
        "student of RoBERTa, 6 layers": _scores(75.19, 90.68, 57.00, 42.90, 67.33, 66.43, 65.83),
    }
)


@dataclass(frozen=True)
class PaperSystem:
    """A CPU-only system of Table 4, as it was submitted to the shared task SustaiNLP 2020, on SuperGLUE's test sets.

    ``speedups`` (by task) and ``speedup`` (over all tasks) are factors of time, ``energy_saved`` is one of energy over
    all tasks, each against the organisers' BERT. What stands over all tasks is no mean of theirs, for they differ in
    size. The same method makes 234 in Table 3: for BoolQ alone, and against a reference that pads.
    """

    system: str
    speedups: Mapping[str, float]
    speedup: float
    energy_saved: float


# Two submissions that differ in their model for MultiRC; a task that is printed once counts for both.
TABLE_4 = (
    PaperSystem("system 5", _scores(40.3, 22.0, 38.0, 25.0, 15.5, 22.4, 9.8), 16.6, 22.1),
    PaperSystem("system 6", _scores(40.3, 22.0, 38.0, 17.5, 15.5, 22.4, 9.8), 16.1, 15.6),
)


@dataclass(frozen=True)
class PaperSystems:
    """Two systems of Table 4 that use a graphics card, as the paper's text sums them up; their rows are not here.

    ``lowest`` and ``highest`` are speed-ups by task, None where only the one over all tasks is given.
    """

    systems: str
    where: str
    lowest: float | None
    highest: float | None
    speedup: float
    energy_saved: float


# Energy is the larger of the two systems', where they differ.
TABLE_4_WITH_A_CARD = (
    PaperSystems("systems 1 and 2", "all tasks on the card", 5.8, 12.4, 11.3, 21.6),
    PaperSystems("systems 3 and 4", "ReCoRD on the card, the other tasks on the processor", None, None, 14.5, 16.0),
)
FP16_SPEEDUP, CARD_BATCH = 3.53, 256  # at most, and the requests in a batch, on a V100 (sections 5 and 6.2)


def table() -> pd.DataFrame:
    """Return Table 3 as a ladder, a row a rung: throughput and speed-ups follow from the seconds, accuracy is 0 to 1.

    Columns: rung, stacks_on, seconds, throughput_per_s, speedup_step (against the rung it stacks on),
    speedup_vs_padded, speedup_vs_unpadded, accuracy, usd_per_100m, rung_here.
    """
    rows = pd.DataFrame([asdict(rung) for rung in TABLE_3])
    seconds = rows.set_index("rung")["seconds"]
    rows["throughput_per_s"] = N_QUERIES / rows["seconds"]
    rows["speedup_step"] = rows["stacks_on"].map(seconds) / rows["seconds"]
    rows["speedup_vs_padded"] = seconds[PADDED] / rows["seconds"]
    rows["speedup_vs_unpadded"] = seconds[UNPADDED] / rows["seconds"]
    rows["accuracy"] /= 100
    measured = ["seconds", "throughput_per_s", "speedup_step", "speedup_vs_padded", "speedup_vs_unpadded"]
    return rows[["rung", "stacks_on", *measured, "accuracy", "usd_per_100m", "rung_here"]]
