"""The front of a ladder: known by hand, and by its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from measured_ladder import point, points

from fflib.runs import ladder
from fflib.story import front

NAN = math.nan
FRONT = ["pruned 25/25", "pruned for latency", "instances"]


def test_the_front_is_that_of_a_ladder_known_by_hand_whatever_the_order():
    assert front.pareto(points()) == front.pareto(points()[::-1]) == FRONT
    assert front.pareto([]) == front.pareto(points()[:2]) == front.pareto([point("a", NAN, 0.5)]) == []
    assert front.pareto([point("b", 2, 0.5), point("a", 1, 0.5), point("c", 2, 0.5)]) == ["b", "c"]  # twins stay


@pytest.mark.parametrize("seed", range(30))
def test_the_front_is_the_one_by_definition(seed):
    rng = np.random.default_rng(seed)
    speeds, accuracies = rng.integers(1, 7, (2, 14))  # few values, so that there are ties
    rows = [point(f"r{i}", x, y / 10) for i, (x, y) in enumerate(zip(speeds, accuracies, strict=True))]
    expected = []
    for i in range(14):
        rivals = [j for j in range(14) if speeds[j] >= speeds[i] and accuracies[j] >= accuracies[i]]
        if not [j for j in rivals if speeds[j] > speeds[i] or accuracies[j] > accuracies[i]]:
            expected.append(i)
    found = [int(rung[1:]) for rung in front.pareto(rows)]
    assert sorted(found) == expected and sorted(speeds[found]) == list(speeds[found])


def test_points_are_the_rungs_with_both_numbers_by_the_ladders_own_factors():
    rungs = [
        {"rung": ladder.PADDED, "stacks_on": "", "throughput_per_s": 2.0},
        {"rung": "a", "stacks_on": ladder.PADDED, "throughput_per_s": 10.0, "accuracy": 0.9, "keeps_rule": "no"},
        {"rung": "b", "stacks_on": "a", "throughput_per_s": 90.0, "accuracy": 0.8, "paired_baseline_per_s": 30.0},
        {"rung": "c", "stacks_on": "a", "throughput_per_s": None, "accuracy": 0.8},
    ]
    got = front.points(ladder.ladder(rungs), [ladder.PADDED, "b"])
    assert [point["rung"] for point in got] == ["a", "b"]
    assert [point["throughput_per_s"] for point in got] == pytest.approx([10, 30]), "the machine was faster: 3 times a"
    assert [point["below"] for point in got] == [True, False]
    assert [point["on_the_way"] for point in got] == [False, True] and got[1]["accuracy"] == 0.8
    scaled = front.points(ladder.ladder(rungs), [ladder.PADDED, "b"], scale=1.2)
    assert [point["throughput_per_s"] for point in scaled] == pytest.approx([12, 36])


def test_what_is_kept_is_told_of_a_clear_teacher_alone():
    assert front.keeps(0.76, 0.8, 0.95) == "of whose accuracy it keeps 95.0%: 76.0% against 80.0%"
    assert "not clearly above the floors" in front.keeps(0.76, 0.8, float("nan"))
