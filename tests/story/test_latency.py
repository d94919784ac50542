"""The ladder of one request at a time."""

from __future__ import annotations

import numpy as np
import pytest

from fflib.measure.timing import Timing
from fflib.runs.ladder import PADDED, UNPADDED
from fflib.story import factors, latency


def timing(ms):
    return Timing(np.full((2, 3), ms / 1e3), np.ones(3, int))


P50_MS = {PADDED: 800.0, UNPADDED: 200.0, "reference, X": 100.0, factors.TEACHER: 40.0, latency.TEACHER_ON_ONNX: 30.0}
TIMINGS = {name: timing(ms) for name, ms in P50_MS.items()} | {latency.LAST: timing(2.0)}


def test_a_rung_is_compared_with_both_baselines():
    rows = {row["rung"]: row for row in latency.rows(TIMINGS)}
    assert list(rows) == list(TIMINGS) and rows[latency.LAST]["latencies"] == 6
    assert [rows[latency.LAST][key] for key in ("p50_ms", "p95_ms")] == pytest.approx([2, 2])
    assert [rows[latency.LAST][key] for key in ("times", "times_unpadded")] == pytest.approx([400, 100])
    assert rows[PADDED]["times"] == 1 and rows[PADDED]["times_unpadded"] == pytest.approx(0.25)


def test_the_speed_ups_are_told_against_the_same_five_starting_points_as_those_in_throughput():
    got = latency.speedups(TIMINGS, "reference, X")
    assert tuple(got) == factors.AGAINST
    assert list(got.values()) == pytest.approx([400, 100, 50, 20, 15])
    other = latency.speedups(TIMINGS | {"int8": timing(4.0)}, "reference, X", "int8")
    assert list(other.values()) == pytest.approx([200, 50, 25, 10, 7.5])
