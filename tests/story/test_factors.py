"""What the ladder adds up to, on ladders made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from small_ladder import LADDER, ROWS, STACK, rung

from fflib.runs import ladder
from fflib.story import factors


def test_the_factors_multiply_to_the_whole_speed_up():
    steps = factors.factors(LADDER, STACK)
    assert [step["factor"] for step in steps] == pytest.approx([5, 4, 3, 2])
    assert [step["total"] for step in steps] == pytest.approx([5, 20, 60, 120])
    assert [step["technique"] for step in steps] == ["a smaller teacher", "no padding", "distillation", "quantisation"]


@pytest.mark.parametrize(
    ("batching", "what"),
    [
        ("token budget 512 tokens", "the cores divided"),
        ("in order 1", "the cores divided; back to one request at a time"),
        ("sorted 8", "the cores divided; in other batches"),
    ],
)
def test_a_step_that_gives_up_the_batches_says_so_here_and_beside_the_paper(batching, what):
    batches = ["padded to 512", "none", "padded to 512", "none", *["token budget 512 tokens"] * 3]
    batched = [{**row, "batching": now} for row, now in zip(ROWS, batches, strict=True)]
    rows = [*batched, {**rung("instances", "int8 dynamic", 270.0), "batching": batching}]
    steps = factors.factors(ladder.ladder(rows), [*STACK, "instances"])
    assert steps[-1]["what"] == what
    told = [row["technique"] for row in factors.beside_the_paper(steps)]
    assert ("instances; here back to one request at a time" in told) == (batching == "in order 1")


def test_what_a_technique_brought_is_the_product_of_its_steps():
    steps = [
        {"technique": "pruning", "factor": 2.0},
        {"technique": "batching", "factor": 1.5},
        {"technique": "pruning", "factor": 3.0},
    ]
    assert factors.factor_by_technique(steps) == {"pruning": 6.0, "batching": 1.5}


def test_the_speed_ups_against_five_starting_points():
    got = list(factors.speedups(LADDER, "int8 dynamic", best_fp32=1.6, teacher_fp32=1.5).values())
    assert got == pytest.approx([120, 40, 25, 6, 4])


def test_the_last_rung_is_what_the_last_chapter_goes_on_from():
    records = [
        {"facts": {"goes_on_from": "early"}, "rungs": [{"rung": "early"}]},
        {"facts": {}, "rungs": [{"rung": "a"}, {"rung": "b"}]},
        {"facts": {"goes_on_from": "no rungs, no word"}, "rungs": []},
    ]
    assert factors.last_rung(records) == "b"
    records[1]["facts"]["goes_on_from"] = "a"
    assert factors.last_rung(records) == "a"


@pytest.mark.parametrize(
    ("name", "technique"),
    [
        ("pruned for latency", "pruning"), ("pruned to 1 of 3 layers", "pruning"),
        ("int8 static, smoothed", "quantisation"),
        ("ONNX Runtime", "ONNX Runtime"), ("ONNX Runtime, fp32", "ONNX Runtime"), ("first token", "first token"),
        ("instances", "instances"), ("best batching", "batching"), (ladder.UNPADDED, "no padding"),
    ],
)  # fmt: skip
def test_the_technique_of_a_rung(name, technique):
    assert factors.technique_of(name) == technique and technique in factors.WHAT_IT_DOES


def test_beside_the_paper_what_belongs_together_is_multiplied():
    rows = {row["technique"]: row for row in factors.beside_the_paper(factors.factors(LADDER, STACK))}
    assert rows["a smaller model"]["here"] == pytest.approx(5 * 3) and rows["no padding"]["here"] == pytest.approx(4)
    assert rows["engine, graph and eight bits"]["here"] == pytest.approx(2)
    assert rows["pruning"]["here"] is None and rows["batches of like lengths"]["paper"] is None
    assert rows["all"]["here"] == pytest.approx(120)
    assert rows["all"]["paper"] == pytest.approx(734.35 / 3.14), "the paper's own 233.87"


def test_the_ladder_of_records_holds_the_rungs_of_all_of_them():
    records = [{"rungs": ROWS[:3]}, {"rungs": []}, {"rungs": ROWS[3:]}]
    assert factors.ladder_of(records)["speedup_vs_padded"].tolist() == LADDER["speedup_vs_padded"].tolist()


def test_alternatives_are_marked_but_not_the_two_baselines():
    names = factors.mark_alternatives(LADDER, STACK)["rung"].tolist()
    assert names[5] == "(pruned 33/50)" and [name for name in names if name.startswith("(")] == [names[5]]
    assert not np.any([name.startswith("(") for name in LADDER["rung"]]), "the ladder itself stays as it is"
