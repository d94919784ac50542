"""One request at a time: a ladder of latencies, and what a speed-up is when nobody else is waiting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fflib.measure.timing import Timing
from fflib.runs.ladder import PADDED, UNPADDED
from fflib.story.factors import AGAINST, TEACHER

LAST = "first token"  # the last rung that one request gains from: instances wait for others
TEACHER_ON_ONNX = "teacher, ONNX Runtime"


def rows(timings: Mapping[str, Timing]) -> list[dict[str, Any]]:
    """Return a row a rung: its latencies in ms, how many there are, and how many times longer both baselines take.

    ``timings`` are of one request at a time, those of both baselines, `PADDED` and `UNPADDED`, among them.
    """
    p50_ms = {name: timing.latency_p50_ms for name, timing in timings.items()}
    return [
        {
            "rung": name,
            "p50_ms": p50_ms[name],
            "p95_ms": timing.latency_p95_ms,
            "times": p50_ms[PADDED] / p50_ms[name],
            "times_unpadded": p50_ms[UNPADDED] / p50_ms[name],
            "latencies": timing.n_requests,
        }
        for name, timing in timings.items()
    ]


def speedups(timings: Mapping[str, Timing], best_reference: str, last: str = LAST) -> dict[str, float]:
    """Return how many times the median latency of ``last`` the starting points of `factors.AGAINST` have.

    ``best_reference`` names the timing of the reference on the engine where it is fastest.
    """
    starts = (PADDED, UNPADDED, best_reference, TEACHER, TEACHER_ON_ONNX)
    end_ms = timings[last].latency_p50_ms
    return {against: timings[start].latency_p50_ms / end_ms for against, start in zip(AGAINST, starts, strict=True)}
