"""What slides show of a run: from made-up records, in which every number is known."""

from __future__ import annotations

import pytest

from fflib.story.factors import AGAINST
from fflib.talk import costs, slides
from fflib.talk.evidence import CHAPTERS, Evidence

RUNGS = {  # by chapter: rung, what it stands on, requests a second, accuracy
    "01_baseline": [
        ("reference padded", "", 1.0, None),
        ("reference unpadded", "reference padded", 4.0, None),
        ("teacher padded", "reference padded", 5.0, 0.75),
        ("teacher unpadded", "teacher padded", 20.0, 0.75),
        ("floor: words", "", 100.0, 0.5),
    ],
    "02_batching": [("best batching", "teacher unpadded", 25.0, 0.75)],
    "03_distillation": [
        ("small student", "best batching", 60.0, 0.6),
        ("distilled student", "best batching", 50.0, 0.74),
    ],
    "04_pruning": [("pruned 25/25", "distilled student", 100.0, 0.73)],
    "05_quantization": [("int8 dynamic", "pruned 25/25", 200.0, 0.72)],
    "06_runtime": [("first token", "int8 dynamic", 250.0, 0.72)],
    "07_serving": [("instances", "first token", 500.0, 0.72)],
}
FACTS = {
    "01_baseline": {
        "floors": {
            "rows": [{"floor": "words", "test": 0.5, "low": 0.45, "high": 0.55, "dev": 0.5}],
            "teacher_above_best": {"points": 25.0, "low": 20.0, "high": 30.0},
        },
        "n_examples": {"test": 100},
    },
    "02_batching": {
        "best": ["token budget", 512],
        "sweep": [
            {"batching": name, "batch size or tokens": size, "padding": pad, "measured speed-up": x, "batch p50 ms": ms}
            for name, size, pad, x, ms in (
                ("in order", 1, "0%", 1.0, 40.0),
                ("in order", 8, "50%", 0.5, 300.0),
                ("token budget", 512, "7%", 1.25, 80.0),
            )
        ],
    },
    "03_distillation": {
        "goes_on_from": "distilled student",
        "student": {"shape": "kept", "kept": {"value": 0.98, "low": 0.96, "high": 1.0}},
        "grid": [
            {"student": "kept", "minutes of training": 30.0, "keeps the rule": "yes"},
            {"student": "small", "minutes of training": 2.0, "keeps the rule": "no"},
        ],
        "routes": [
            {"route": "labels", "test %": 51.0, "against two stages, points": -9.0, "95 % from": -12.0, "to": -6.0},
        ],
    },
    "04_pruning": {
        "goes_on_from": "pruned 25/25",
        "controls": {"random": [[0.5, 0.6, 0.5, 0.7], [0.25, 0.5, 0.4, 0.6]]},
    },
    "05_quantization": {
        "goes_on_from": "int8 dynamic",
        "quantised": {"model": "student", "recipe": "dynamic"},
        "recipes": [
            {"model": "student", "recipe": name, "labels kept %": kept, "speed-up": gain, "95 % from": 6, "95 % to": 9}
            for name, kept, gain in (("fp32", 100, 1.0), ("dynamic", 99, 2.0), ("default", 80, 2.5), ("int4", 100, 0.7))
        ],
    },
    "06_runtime": {
        "goes_on_from": "first token",
        "graph_variants": [
            {"model": "student, int8", "variant": name, "ms": ms, "kept": True, "default": name == "this book's"}
            for name, ms in (("no optimisation", 6.0), ("+ GELU", 8.0), ("basic", 5.0), ("this book's", 4.0))
        ],
    },
    "07_serving": {"goes_on_from": "instances", "simulation_holds": False},
    "09_story": {
        "headline": {
            "rung": "instances", "rounds": 6, "requests/s": 600.0,
            "against": {
                name: {"factor": factor, "low": factor - 10, "high": factor + 10, "product": 500.0}
                for name, factor in zip(AGAINST, (600.0, 150.0, 120.0, 30.0, 25.0), strict=True)
            },
        },
    },
}  # fmt: skip
MORE = {"latency_p50_ms": 10.0, "usd_per_100m": 5.0, "energy_wh_per_1k": 1.0, "keeps_rule": "", "status": "ok"}


def rung(name, below, per_s, accuracy):
    interval = {"accuracy_low": accuracy and accuracy - 0.1, "accuracy_high": accuracy and accuracy + 0.1}
    made = {
        "rung": name,
        "stacks_on": below,
        "throughput_per_s": per_s,
        "accuracy": accuracy,
        "threads": 2,
        "instances": 1,
    }
    below_rule = {"keeps_rule": "no"} if name == "small student" else {}
    return made | MORE | interval | {"latency_p50_ms": 1000 / per_s} | below_rule


def record(chapter):
    parameters = {"run": "small", "size": "smoke", "min_retention": 0.98, "usd_per_hour": 0.5, "min_agreement": 0.95}
    made = {"chapter": chapter, "written": "2026-11-30T10:00:00+00:00", "seconds": 60, "parameters": parameters}
    made |= {"machine": {"cpu": "A processor"}, "facts": FACTS.get(chapter, {})}
    return made | {"rungs": [rung(*row) for row in RUNGS.get(chapter, [])]}


@pytest.fixture
def evidence():
    return Evidence([record(chapter) for chapter in CHAPTERS.values()])


def by_name(rows):
    return {row["name"]: row for row in rows}


def test_the_source_names_run_machine_and_day(evidence):
    assert evidence.source == "run small, size smoke · A processor, 2 cores · 2026-11-30"


def test_factors_are_the_steps_and_the_headline_is_what_was_measured(evidence):
    assert evidence.last == "instances" and evidence.measured(AGAINST[0]) == "600x (590x to 610x)"
    assert slides.brought(evidence, "batching") == "1.25x"
    assert slides.brought(evidence, "first token", "instances") == "2.5x"
    assert slides.brought(evidence, "no such technique") == slides.NOT_TAKEN


def test_bars_that_lose_are_told_apart_from_what_was_taken(evidence):
    batches = by_name(evidence.batches())
    assert batches["as they come, 8 a batch"]["kind"] == "bad" and batches["a budget of 512 tokens"]["kind"] == "best"
    recipes = {name: row["kind"] for name, row in by_name(evidence.recipes()).items()}
    assert recipes == {"default": "bad", "dynamic": "best", "fp32": "base", "int4": "bad"}
    graphs = {name: row["kind"] for name, row in by_name(evidence.graphs()).items()}
    assert graphs == {"no optimisation": "pale", "only GELU fused": "bad", "this book's": "best"}
    students = by_name(evidence.students())
    assert students["small student"]["kind"] == "bad" and students["distilled student"]["kind"] == "best"
    assert students["a student, from labels alone"]["value"] == 51.0 and "floor: words" in students


def test_a_figure_with_many_recipes_keeps_the_taken_the_lost_and_the_start(evidence):
    ordinary = [
        {
            "model": "student",
            "recipe": f"way {i}",
            "labels kept %": 100,
            "speed-up": 1.5 + i / 99,
            "95 % from": 0,
            "95 % to": 0,
        }
        for i in range(20)
    ]
    facts = evidence.records["05_quantization"]["facts"]
    evidence.records["05_quantization"] = evidence.records["05_quantization"] | {
        "facts": facts | {"recipes": facts["recipes"] + ordinary}
    }
    shown = by_name(evidence.recipes())
    assert len(shown) == 11 and {"default", "dynamic", "fp32", "int4"} <= {*shown}


def test_accuracy_against_speed_has_the_last_rung_at_what_was_measured_and_no_floor(evidence):
    points = {round(row["x"]): row for row in evidence.accuracy_by_speed()}
    last = points[600]
    assert last["kind"] == "best" and last["y"] == pytest.approx(72.0) and last["low"] == pytest.approx(62.0)
    refused = [row["name"] for row in points.values() if row["refused"]]
    assert refused == ["small student"] and not any("floor" in row["name"] for row in points.values())


def test_the_floors_stand_below_the_teacher_with_their_intervals(evidence):
    floors = by_name(evidence.floors())
    assert floors["words"]["low"] == 45.0 and floors["teacher"]["words"] == "75.0%"
    assert floors["what is served"]["value"] == pytest.approx(72.0)


def test_the_curves_go_from_left_to_right(evidence):
    assert [point["x"] for point in evidence.cuts()["at random"]] == [25.0, 50.0]


def test_costs_are_told_with_their_numbers(evidence):
    assert "80 ms for the best batch, where one alone takes 40 ms" in costs.batching(evidence)[0]
    assert any("batches of 8" in told and "0.5x" in told for told in costs.batching(evidence))
    assert any("-9.0 points (-12.0 to -6.0)" in told for told in costs.distillation(evidence))
    assert "-1.0 points on test, from 74.0% to 73.0%" in costs.pruning(evidence)[0]
    assert any("*default*" in told and "80%" in told for told in costs.quantization(evidence))
    assert any("*int4*" in told and "0.7x" in told for told in costs.quantization(evidence))
    assert any("only GELU fused" in told for told in costs.runtime(evidence))
    assert any("no fleet" in told for told in costs.runtime(evidence))


@pytest.mark.parametrize("recipe", costs.RECIPES)
def test_a_slide_with_a_figure_tells_a_cost_and_a_failure_at_most(evidence, recipe):
    told = costs.brief(evidence, recipe).split("\n\n")
    assert told[0] and len(told) <= 2 and costs.bullets(evidence, recipe).startswith("- ")


@pytest.mark.parametrize("recipe", ["batching", "pruning", "runtime"])
def test_a_run_that_tried_less_tells_less(evidence, recipe):
    chapter = CHAPTERS["runtime" if recipe == "runtime" else recipe]
    keep = {"sweep": FACTS["02_batching"]["sweep"][:1], "best": ["in order", 1]} if recipe == "batching" else {}
    evidence.records[chapter] = evidence.records[chapter] | {"facts": keep}
    assert costs.bullets(evidence, recipe).startswith("- ")
