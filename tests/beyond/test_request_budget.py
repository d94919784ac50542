"""The budget of a batch and the limits of a processor, with operations and rates that can be computed by hand."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from conftest import examples_of, tiny_classifier

from fflib.beyond import request_budget
from fflib.engine import export
from fflib.model import flops
from fflib.runtime import served


@pytest.mark.parametrize("recipe", ["", "dynamic"])
def test_every_operator_of_a_served_graph_is_in_the_budget(tmp_path, recipe):
    source = export.save_onnx(tiny_classifier(), tmp_path / "model.onnx")
    asked = examples_of((5, 9, 3, 12))
    path = served.in_integers(source, recipe, asked, 1)
    found = request_budget.budget(path, asked, [0, 3], 1, bool(recipe), repeats=5)
    assert {*found["parts_ms"]} == {*request_budget.PARTS, "other", request_budget.CALL, request_budget.PADDING}
    assert all(ms >= 0 for ms in found["parts_ms"].values())
    assert found["parts_ms"]["products of tokens and weights"] > 0 and found["whole_ms"] > 0
    assert found["off"] == pytest.approx(found["sum_ms"] / found["whole_ms"] - 1)
    assert found["closes"] == (abs(found["off"]) <= request_budget.CLOSED)
    rows = request_budget.budget_rows(found)
    assert sum(row["ms"] for row in rows[:-1]) == pytest.approx(rows[-1]["ms"])
    assert rows[-2]["part"] == "not explained"


def test_the_graph_that_does_nothing_says_what_it_is_given():
    session = onnxruntime.InferenceSession(request_budget._nothing().SerializeToString())
    mask = np.ones((2, 3), np.int64)
    arrays = {"input_ids": mask + 4, "attention_mask": mask, "token_type_ids": mask * 0}
    assert np.array_equal(session.run(None, arrays)[0], mask)


def test_mean_operations_are_those_of_every_text():
    config = tiny_classifier().encoder.config
    lengths = np.array([4, 4, 10])
    by_hand = np.mean([flops.forward_flop(config, length) for length in (4, 4, 10)])
    assert request_budget.mean_operations(config, lengths, first_token=False) == pytest.approx(by_hand)
    assert request_budget.mean_operations(config, lengths, first_token=True) < by_hand


def test_a_factor_is_what_is_served_over_the_limit():
    rows = request_budget.against_the_limit((200.0, 190.0, 220.0), 1e9, 1e10, [90.0, 100.0], 4.0, 300.0)
    perfect, own, integers, best = rows
    assert perfect["requests/s"] == pytest.approx(10) and perfect["factor"] == pytest.approx(20)
    assert perfect["low"] == pytest.approx(19) and perfect["high"] == pytest.approx(220 / 9)
    assert own["factor"] == pytest.approx(2) and integers["factor"] == pytest.approx(0.5)
    assert best["requests/s"] == pytest.approx(300) and "4 times" in integers["limit"]
    in_fp32 = request_budget.against_the_limit((1.0, 1.0, 1.0), 1e9, 1e10, [100.0], 1.0)
    assert len(in_fp32) == 2


def test_an_fp32_peak_below_what_integers_reached_is_told_to_be_no_limit():
    """Four times the peak allow fewer requests than the integers that were measured, so a faster fp32 has to exist."""

    def told(integer_gop_per_s):
        rows = request_budget.against_the_limit((2.0, 2.0, 2.0), 1e9, 1e10, [100.0], 4.0, integer_gop_per_s)
        return request_budget.peak_that_is_no_limit(rows)

    assert "no limit of this processor" in told(500.0) and "at least 1.25 times" in told(500.0)
    assert told(400.0) == told(300.0) == told(None) == ""


def test_integer_rates_count_for_integers_alone_and_in_proportion_to_the_threads():
    rates = {1: 5.0, 2: 8.0}
    facts = {"int8_products": [{"threads": n, "best rate measured, GOP/s": rate} for n, rate in rates.items()]}
    assert request_budget.integer_rates(facts, 2, "") == (1.0, None)
    ratio, best = request_budget.integer_rates(facts, 2, "dynamic")
    assert best == 10.0 and ratio >= 1
