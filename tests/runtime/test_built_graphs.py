"""Graphs in both precisions: each answers as its recipe says, and rows say what a comparison found."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import export
from fflib.measure.race import Race
from fflib.measure.timing import Check, Timing
from fflib.model import training
from fflib.pruning import fewer_tokens
from fflib.runtime import built_graphs, fusions
from fflib.runtime.first_token import FirstTokenClassifier
from fflib.runtime.fusions import BOOK, PAPER, TOLD, WHOLE

EXAMPLES = examples_of((5, 9, 3))


@pytest.fixture(scope="module")
def model():
    return tiny_classifier()  # its layers have unlike heads


@pytest.fixture(scope="module")
def graphs(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    first = export.save_onnx(FirstTokenClassifier(model), folder / "first.onnx")
    return fusions.Graphs(model, export.save_onnx(model, folder / "whole.onnx"), first)


def timed(ms, off=0.0, agreement=1.0):
    return Timing(np.full((2, 1), ms / 1e3), np.array([1]), checked=Check(off, agreement, 3))


def test_both_precisions_are_built_and_what_cannot_be_is_told(model, graphs):
    built, impossible = built_graphs.build(graphs, [BOOK, TOLD, WHOLE], 1)
    assert list(built) == [f"{BOOK}, fp32", f"{BOOK}, int8", f"{WHOLE}, fp32", f"{WHOLE}, int8"]
    assert list(impossible) == [TOLD] and "layers differ in their heads" in impossible[TOLD]
    inputs = batching.collate(EXAMPLES, range(3)).inputs
    expected = training.predict(model, EXAMPLES)
    np.testing.assert_allclose(built[f"{BOOK}, fp32"].predict(inputs), expected, atol=1e-4)
    assert np.abs(built[f"{BOOK}, int8"].predict(inputs) - expected).max() > 1e-5, "it is rounded"
    spent_ms = built[f"{WHOLE}, int8"].operators_ms(inputs, 1)
    assert {*spent_ms} & {*fusions.INT8_PRODUCTS} and min(spent_ms.values()) >= 0


def test_what_has_to_be_traced_cannot_be_made_where_tokens_end(model, tmp_path):
    few = fewer_tokens.let_go_on(model, 0.5)
    first = export.save_onnx(FirstTokenClassifier(few), tmp_path / "first.onnx")
    graphs = fusions.Graphs(few, export.save_onnx(few, tmp_path / "whole.onnx"), first)
    built, impossible = built_graphs.build(graphs, [BOOK, PAPER, "all"], 1)
    assert [*impossible] == [PAPER] and "tokens of this model end early" in impossible[PAPER]
    inputs = batching.collate(EXAMPLES, range(3)).inputs
    np.testing.assert_allclose(built["all, fp32"].predict(inputs), training.predict(few, EXAMPLES), atol=1e-4)
    race = Race({name: timed(1.0) for name in built})
    assert built_graphs.papers_best(race) == "all", "the best that is left"


def test_what_the_text_speaks_of_is_in_every_run():
    assert built_graphs.in_every_run(["basic", BOOK]) == ["basic", BOOK, "all", PAPER, TOLD, WHOLE]


def test_rows_and_gains_are_those_of_the_race(graphs):
    built, _ = built_graphs.build(graphs, [BOOK, WHOLE], 1)
    race = Race({name: timed(2.0 if BOOK in name and WHOLE not in name else 3.0) for name in built})
    race[f"{WHOLE}, int8"] = timed(5.0, off=0.7, agreement=0.8)
    gain = built_graphs.gain(race, BOOK, over=WHOLE)
    assert gain == {"fp32": pytest.approx(1.5), "int8": pytest.approx(2.5)}
    rows = built_graphs.rows(race, built, "student", min_agreement=0.9)
    assert [row["kept"] for row in rows] == [True, True, True, False]
    last = rows[-1]
    assert (last["model"], last["variant"], last["off"], last["labels kept"]) == ("student, int8", WHOLE, 0.7, 0.8)
    assert last["ms"] == pytest.approx(5.0) and last["low"] <= last["high"] and not last["default"]
    assert rows[0]["default"] and rows[0]["operators"] > rows[0]["fused"] >= 0


def test_the_papers_best_form_is_the_fastest_in_int8():
    race = Race({f"{PAPER}, int8": timed(3.0), f"{TOLD}, int8": timed(2.0), f"{PAPER}, fp32": timed(1.0)})
    assert built_graphs.papers_best(race) == TOLD
    del race[f"{TOLD}, int8"]
    assert built_graphs.papers_best(race) == PAPER


def test_graphs_as_a_table_shows_them():
    race = Race({f"{BOOK}, fp32": timed(2.0), f"{BOOK}, int8": timed(1.0, off=0.5, agreement=0.75)})
    row = {"variant": BOOK, "low": 1.0, "high": 2.5, "operators": 9, "fused": 1, "labels kept": 0.75}
    rows = [
        row | {"model": "student, fp32", "ms": 2.0, "off": 1e-6},
        row | {"model": "student, int8", "ms": 1.0, "off": 0.5},
    ]
    good, bad = built_graphs.shown(rows, race, 0.9)
    assert (good["precision"], good["answers"], bad["answers"]) == ("fp32", "checked", "timed, not served")
    assert (bad["labels kept %"], bad["largest logit change"], bad["range of rounds"]) == (
        75,
        "5e-01",
        "1.00 to 2.50",
    )


def test_graphs_beside_kept_ones_are_factors_over_the_same_level():
    def row(variant, ms):
        return {"model": "student, int8", "variant": variant, "ms": ms}

    kept = {"A": {"graph_variants": [row("all", 6.0), row("basic", 3.0)]}, "B": {}}
    book, basic = built_graphs.beside([row("all", 4.0), row(BOOK, 2.0)], kept)
    assert (book["graph"], book["int8, here"], book["int8, A"], book["int8, B"]) == (BOOK, 2.0, None, None)
    assert (basic["graph"], basic["int8, here"], basic["int8, A"], basic["fp32, A"]) == ("basic", None, 2.0, None)
    assert built_graphs.beside([row("all", 4.0)], {}) == []
