"""Rows and points of a study, against tables and timings that are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import metrics, registry
from fflib.data.metrics import Scored
from fflib.data.retention import Retention
from fflib.engine import predictors
from fflib.measure.timing import Timing
from fflib.model import training
from fflib.model.config import LayerShape
from fflib.pruning import reports, vocabulary
from fflib.pruning.latency_table import LatencyTable
from fflib.pruning.study import Candidate

LENGTHS = np.array([10, 20])
TABLE = LatencyTable(
    heads=(0, 2, 4),
    neurons=(0, 16, 32),
    lengths=(10, 20),
    attention_ms=np.array([[1.0, 1.0], [4.0, 4.0], [5.0, 5.0]]),
    feed_forward_ms=np.array([[1.0, 1.0], [5.0, 5.0], [10.0, 10.0]]),
    rest_ms=np.array([2.0, 2.0]),
)
SHAPES = [LayerShape(4, 8, 32)] * 2  # 15 ms each


def timed(ms, n=2) -> Timing:
    return Timing(np.full((3, n), ms / 1e3), np.ones(n, int))


def candidate(name, kind, target=None, retrained=None) -> Candidate:
    made = Candidate(name, kind, [], target, tuned=0.6)
    made.retrained = [(score, []) for score in retrained or ()]
    made.judge(lambda model: model, lambda model: Retention(model, model, model, 9, 1, 0))
    return made


def test_curves_are_shares_of_the_whole_half():
    curves = reports.cost_curves(TABLE, LENGTHS)
    assert curves["heads"] == {"operations": [(0, 0.0), (2, 0.5), (4, 1.0)], "time": [(0, 0.2), (2, 0.8), (4, 1.0)]}
    assert curves["neurons"]["time"] == [(0, 0.1), (16, 0.5), (32, 1.0)]
    words = reports.cost_words(curves)
    assert "with 2 heads: 50% of the operations take 80% of the time" in words and "still takes 20%" in words
    assert "with 0 neurons: 0% of the operations take 10% of the time" in words and words.endswith("still takes 10%.")


def test_every_way_to_a_shape_has_a_row():
    by_target = {1.5: {"searched": [(1, 2)], "uniform": [None]}}
    rows = reports.way_rows(by_target, lambda counts: 0.1 if counts[0] else 0.2)
    assert [(row["target"], row["way"], row["divergence"], row["kept"]) for row in rows] == [
        ("1.5 times", "searched", 0.1, "[(1, 2)]"),
        ("1.5 times", "uniform", 0.2, "[None]"),
    ]


def test_a_layer_less_stands_beside_a_model_that_is_as_fast():
    seen = []
    rows = reports.depth_rows(TABLE, LENGTHS, SHAPES, lambda counts: seen.append(counts) or float(len(seen)))
    assert [row["taken out"] for row in rows] == ["layer 1", "layer 2"]
    assert [row["predicted speed-up"] for row in rows] == pytest.approx([32 / 17] * 2)
    assert [row["divergence"] for row in rows] == [1, 3]
    assert [row["divergence of the narrow model"] for row in rows] == [2, 4]
    assert seen[0] == [None, (4, 32)] and seen[2] == [(4, 32), None]
    assert seen[1] == seen[3] and None not in seen[1] and seen[1][0] < (4, 32)
    assert reports.depth_rows(TABLE, LENGTHS, SHAPES[:1], len) == []


def test_no_narrow_model_stands_beside_a_layer_whose_removal_is_faster_than_any():
    slow = np.array([[5.0, 5.0], [5.0, 5.0], [5.0, 5.0]])  # no head and no neuron costs anything
    flat = LatencyTable(TABLE.heads, TABLE.neurons, TABLE.lengths, slow, slow, TABLE.rest_ms)
    assert all(row["divergence of the narrow model"] is None for row in reports.depth_rows(flat, LENGTHS, SHAPES, len))


def test_speed_rows_compare_with_the_unpruned_model():
    alone, batched = {"unpruned": timed(8), "a": timed(4)}, {"unpruned": timed(6), "a": timed(2)}
    pairs = {"unpruned": timed(5), "a": timed(2)}
    predicted = {"unpruned": 10.0, "a": 2.0}
    first, row = reports.speed_rows(predicted, alone | {"rung below": timed(9)}, batched, pairs)
    assert first["shape"] == "unpruned" and first["speed-up"] == first["their speed-up"] == 1
    assert row["measured ms"] == row["p50 ms"] == pytest.approx(4) and row["measured / predicted"] == pytest.approx(2)
    assert row["predicted speed-up"] == 5 and row["speed-up"] == pytest.approx(2)
    assert row["requests/s"] == pytest.approx(250) and row["in the best batches, requests/s"] == pytest.approx(500)
    assert row["their speed-up"] == pytest.approx(2.5) and row["their p50 ms"] == pytest.approx(2)
    without = reports.speed_rows(predicted, alone, batched, None)[1]
    assert without["their speed-up"] is without["their p50 ms"] is without["two instances, requests/s"] is None


def test_points_are_of_all_shown_models_at_the_time_of_the_served():
    a, b = candidate("a", "uniform"), candidate("b", "searched", 2.0, retrained=[0.9])
    points = reports.pareto_points([a, b], {"a": 1.0, "b": 2.0}, lambda model: Scored(model, 0.1, 0.95), b)
    assert [(p["name"], p["x"], p["accuracy"], p["kind"], p["retrained"], p["chosen"]) for p in points] == [
        ("a", 1.0, 0.6, "uniform", False, False),
        ("b", 2.0, 0.6, "searched", False, False),
        ("b", 2.0, 0.9, "searched", True, True),
    ]
    assert (points[0]["low"], points[0]["high"]) == (0.1, 0.95)


def test_the_searched_shape_is_compared_with_its_uniform_one_model_by_model():
    searched = candidate("searched for 2x", "searched", 2.0, retrained=[0.9, 0.8])
    uniform = candidate("uniform for 2x", "uniform", 2.0, retrained=[0.5, 0.85])
    every = [candidate("uniform 25/25", "uniform"), searched, uniform]

    def difference(first, second):
        return 100 * (first - second), 100 * (first - second) - 10, 100 * (first - second) + 3

    rows = reports.against_uniform(every, [5, 6], difference)
    assert [(row["how"], row["the searched one is"]) for row in rows] == [
        ("tuned only", "not clearly apart"),
        ("retrained, seed 5", "ahead"),
        ("retrained, seed 6", "behind"),
    ]
    assert rows[1]["target"] == "2 times" and rows[1]["searched less uniform, points"] == pytest.approx(40)
    assert (rows[1]["95 % from"], rows[1]["to"]) == pytest.approx((30, 43))


def test_a_difference_is_in_points_and_paired(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path))
    examples, models = examples_of([5, 6, 7, 8] * 5), (tiny_classifier(), tiny_classifier(seed=3))
    found = reports.difference(registry.DOCS, *models, examples, 50)
    logits = [training.predict(model, examples) for model in models]
    wanted = metrics.difference_interval(registry.DOCS, *logits, examples.gold, resamples=50)
    assert found == pytest.approx([100 * value for value in wanted])
    assert reports.flatter_rows({"test": (1.0, 0.0, 2.0)}) == [
        {"on": "test", "peeking gains, points": 1.0, "95 % from": 0.0, "to": 2.0}
    ]


def test_the_vocabulary_row_counts_what_fell_back():
    model, dev = tiny_classifier(), examples_of([5, 6, 7])
    words = vocabulary.Vocabulary.of(dev.take([0]), 50, [0, 1])
    small = vocabulary.prune(model, words)
    fallback = vocabulary.WithFallback(
        predictors.torch_predictor(small), lambda: predictors.torch_predictor(model), words
    )
    fallback({"input_ids": np.array([dev.input_ids[0][:3], [40, 41, 49]]), "attention_mask": np.ones((2, 3), int)})
    row = reports.vocabulary_row(model, small, words, fallback, dev)
    assert row["words kept"] == f"{len(words.kept)} of 50" and row["MB, small vocabulary"] < row["MB, pruned"]
    assert (row["requests checked"], row["of these fell back"]) == (2, 1)
    assert row["share of dev requests without an unseen word"] == pytest.approx(1 / 3)
