from __future__ import annotations

import pytest

from fflib.quantization import elsewhere


def recipe(model, name, gain, labels):
    return {"model": model, "recipe": name, "speed-up": gain, "labels kept %": labels}


def run(instructions, *rows, **facts):
    int8 = {"instructions": instructions, "most that int8 can gain in a product": 2.0}
    return {"int8": int8, "recipes": list(rows)} | facts


OWN = [recipe("student", "fp32", 1.0, 100.0), recipe("student", "dynamic", 2.0, 99.0)]
KEPT = {
    "A": run("AMX", recipe("student", "dynamic", 3.0, 98.0), recipe("student", "int4 weights", 0.7, 97.0)),
    "B": run("AVX2", recipe("teacher", "dynamic", 1.2, 96.0)),
}


def test_each_recipe_stands_beside_itself_and_what_was_not_tried_is_empty():
    rows = elsewhere.recipes_beside(OWN, KEPT, "student")
    assert [row["recipe"] for row in rows] == ["dynamic", "int4 weights"], "fp32 is what they are compared with"
    assert rows[0] == {
        "recipe": "dynamic",
        "speed-up, here": 2.0, "speed-up, A": 3.0, "speed-up, B": None,
        "labels kept %, here": 99.0, "labels kept %, A": 98.0, "labels kept %, B": None,
    }  # fmt: skip
    assert rows[1]["speed-up, here"] is None and rows[1]["speed-up, A"] == 0.7
    assert elsewhere.recipes_beside(OWN, {}, "student") == [], "nothing is kept"
    assert elsewhere.recipes_beside(OWN, {"B": KEPT["B"]}, "student") == [], "of another model alone"


def test_the_legend_names_run_and_instructions():
    words = elsewhere.legend({"A": "kept run x, a processor, 2026-01-02", "B": "kept run y"}, KEPT)
    assert "**A**: kept run x, a processor, 2026-01-02; int8 by AMX. **B**: kept run y; int8 by AVX2." in words
    assert words.startswith("*Kept for comparison, not measured today.*") and elsewhere.legend({}, {}) == ""


def test_a_prediction_of_each_processor():
    predicted = [
        {"model": "teacher", "share of the products": 0.7, "predicted speed-up": 1.3, "measured speed-up": 1.2}
    ]
    (here, there) = elsewhere.processors_beside(
        run("AMX", predicted=predicted), {"A": run("AVX2", predicted=predicted)} | {"B": run("AVX2")}
    )
    assert (here["run"], there["run"], there["instructions"], there["measured"]) == ("here", "A", "AVX2", 1.2)
    assert here["their speed-up"] is None and here["limit"] == "2"


def test_training_with_the_rounding_is_set_beside_rounding_alone():
    facts = {
        "quantized_training": {
            "before": 67.0,
            "after": 68.0,
            "dynamic": {"labels kept %": 93.0, "dev %": 67.5},
            "static, largest": {"labels kept %": 97.0, "dev %": 68.0, "served": "yes"},
        },
        "lost_points": {"dynamic": 0.75, "static, largest": 1.25},
        "rungs": [
            {"rung": "int8 dynamic", "dev points lost": 0.75},
            {"rung": "int8 static, largest", "dev points lost": 0.25},
        ],
    }
    dynamic, static = elsewhere.training_beside(facts)
    assert (dynamic["recipe"], dynamic["points lost, rounded only"], dynamic["may be served"]) == (
        "dynamic",
        0.75,
        "no",
    )
    assert dynamic["points lost, trained with the rounding"] == pytest.approx(0.75)
    assert static["points lost, trained with the rounding"] == pytest.approx(0.25) and static["may be served"] == "yes"
    for missing in ("quantized_training", "lost_points"):
        assert elsewhere.training_beside({key: value for key, value in facts.items() if key != missing}) == []


def test_the_peer_of_a_kept_run():
    old = {"engine": "OpenVINO int8", "mean ms": 7.0, "times our int8": 1.9, "p50 ms": 6.9, "labels kept %": 100.0}
    (row,) = elsewhere.peers({"peer": [old]})
    assert row == {
        "engine": "OpenVINO int8", "ms a request": 7.0, "times our int8": 1.9, "labels kept %": 100.0
    }  # fmt: skip
    assert elsewhere.peers({}) == []
