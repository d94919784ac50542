"""The frontier: the fastest for each share that is kept, of models and of all, and nothing that is beaten."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from fflib.beyond import frontier
from fflib.runs import ladder as rungs
from fflib.runs.ladder import Rung


def rung(name, on, per_s, retention=None, **more):
    made = Rung(name, on, "m", "e", "fp32", "none", 1, 1, throughput_per_s=per_s, retention=retention, **more)
    return asdict(made)


LADDER = rungs.ladder(
    [
        rung("reference padded", "", 2.0),
        rung("small", "reference padded", 20.0, 1.0),
        rung("fast", "small", 80.0, 0.97),
        rung("system: faster", "fast", 160.0, 0.96),
        rung("floor: words", "", 1000.0, 0.7),
    ]
)


def test_points_have_a_factor_and_what_is_kept():
    found = {point["rung"]: (point["factor"], point["retention"]) for point in frontier.points(LADDER)}
    assert found == {
        "small": (10.0, 1.0), "fast": (40.0, 0.97), "system: faster": (80.0, 0.96), "floor: words": (500.0, 0.7),
    }  # fmt: skip
    assert all(np.isnan(point["low"]) for point in frontier.points(LADDER)), "no accuracy, so no interval"
    assert [frontier.kind(name) for name in found] == ["model", "model", "system", "floor"]


def test_for_each_level_the_fastest_model_and_the_fastest_of_all():
    rows = frontier.best(frontier.points(LADDER), [1.0, 0.5, 0.96, 1.2])
    assert [row["at least %"] for row in rows] == pytest.approx([50, 96, 100, 120])
    assert [row["model"] for row in rows] == ["fast", "fast", "small", None]
    assert [row["all"] for row in rows] == ["floor: words", "system: faster", "small", None]
    assert rows[1]["all, times padded"] == 80 and rows[3]["all, times padded"] is None
    assert [*rows[0]] == [*frontier.HEADS] and len({*frontier.HEADS.values()}) == len(frontier.HEADS)


def test_an_interval_is_that_of_the_score_and_the_teacher_itself_has_none():
    scored = dict(accuracy=0.6, accuracy_low=0.57, accuracy_high=0.63)
    ladder = rungs.ladder(
        [
            rung("reference padded", "", 2.0),
            rung("teacher padded", "reference padded", 4.0, 1.0, **scored),
            rung("other", "teacher padded", 8.0, 0.8, **scored) | {"model": "small"},
        ]
    )
    teacher, other = frontier.points(ladder)
    assert frontier.kept_words(teacher) == "100.0%"
    assert frontier.kept_words(other) == "80.0% (76.0% to 84.0%)"


def point(name, factor, retention, half):
    return {"rung": name, "factor": factor, "retention": retention, "low": retention - half, "high": retention + half}


def test_what_a_frontier_owes_to_the_luck_of_test_is_told():
    points = [
        point("teacher", 10.0, 1.0, 0.0),
        point("exact", 95.0, 0.982, 0.022),
        point("served", 1130.0, 0.9686, 0.022),
        point("system: first 96 alone", 1393.0, 0.9733, 0.022),
    ]
    told = frontier.told(points, frontier.best(points, [0.95, 0.97, 0.98, 1.0]), "served")
    assert "about **2.2 points** to each side" in told
    assert "*served* (1,130 times) may keep 97% and 98%." in told and "*exact* (95 times) may keep 100%." in told
    assert "*system: first 96 alone* keeps 97.3%, and *served*" in told and "is chance" in told
    assert frontier.told(points[:1], frontier.best(points[:1], [0.9]), "served") == ""


def test_the_steps_leave_out_what_is_beaten():
    points = [*frontier.points(LADDER), {"rung": "beaten", "factor": 39.0, "retention": 0.965}]
    assert [point["rung"] for point in frontier.steps(points)] == ["small", "fast", "system: faster", "floor: words"]
