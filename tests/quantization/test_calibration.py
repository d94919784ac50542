"""Calibration: what is observed, against the values themselves, and the ranges chosen from histograms by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from conftest import examples_of
from onnx import TensorProto, helper, numpy_helper

from fflib.engine import predictors
from fflib.files import InputError
from fflib.quantization import calibration
from fflib.quantization.calibration import BINS, Calibration, Histogram

TEXTS = examples_of([3, 9, 1, 14, 6], seed=1)


def embedded_products(scale=1.0) -> onnx.ModelProto:
    """Ids -> "rows" of a table -> a product with tanh -> "squashed" -> a product -> logits.

    The row of the padding token is far beyond all others: if padding took part, it would show.
    """
    rng = np.random.default_rng(2)
    table = rng.normal(size=(50, 6)) * [1, 30, 0.1, 1, 0, 2] * scale
    table[0] = 1e6
    arrays = {"table": table, "first": rng.normal(size=(6, 4)) / 30, "second": rng.normal(size=(4, 3))}
    tensors = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    tensors.append(numpy_helper.from_array(np.array([1]), "axis"))
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "first"], ["wide"]),
        helper.make_node("Tanh", ["wide"], ["squashed"]),
        helper.make_node("MatMul", ["squashed", "second"], ["answers"]),
        helper.make_node("ReduceMean", ["answers", "axis"], ["logits"], keepdims=0),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "embedded", [ids], [logits], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def values_in(model, names, texts=TEXTS) -> list[np.ndarray]:
    """All that flows through inner tensors, [tokens, width] each."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    inner = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    model.graph.output.extend(inner)
    session = predictors.onnx_session(model, 1)
    parts = [session.run(names, {"input_ids": ids[None].astype(np.int64)}) for ids in texts.input_ids]
    return [np.concatenate([part[i][0] for part in parts]) for i in range(len(names))]


@pytest.fixture(scope="module")
def calibrated() -> Calibration:
    return Calibration(embedded_products(), TEXTS, 1)


def histogram_of(counts, low, high) -> Histogram:
    return Histogram(np.asarray(counts, float), np.linspace(low, high, len(counts) + 1), np.ones(1))


def histogram_of_values(values) -> Histogram:
    return histogram_of(np.histogram(values, BINS)[0], values.min(), values.max())


def test_histograms_are_those_of_the_values(calibrated):
    names = ["rows", "squashed"]
    assert list(calibrated.histograms) == names
    for name, values in zip(names, values_in(calibrated.model, names), strict=True):
        got = calibrated.histograms[name]
        assert values.shape == (TEXTS.lengths.sum(), len(got.channels))
        assert got.edges[0] == values.min() and got.edges[-1] == values.max()
        counts, edges = np.histogram(values.astype(float), 2048)
        np.testing.assert_array_equal(got.counts, counts)
        np.testing.assert_allclose(got.edges, edges, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(got.channels, np.abs(values).max(0))
    assert calibrated.histograms["rows"].channels[4] == 0


def test_padding_takes_no_part(calibrated):
    assert TEXTS.lengths.min() < TEXTS.lengths.max()
    assert calibrated.histograms["rows"].edges[-1] < 200
    assert calibrated.histograms["rows"].counts.sum() == TEXTS.lengths.sum() * 6


@pytest.mark.parametrize("scale", [0, -1])
def test_a_tensor_that_never_changes_has_a_range(scale):
    """Every id is the same: the channels differ or are all zero."""
    model, text = embedded_products(scale), examples_of([2])
    text.input_ids[0][:] = 9
    histograms = calibration.observe(model, text, 1)
    for method in calibration.METHODS:
        for low, high in calibration.ranges(histograms, method).values():
            assert np.isfinite([low, high]).all() and low <= high
    assert histograms["rows"].counts.sum() == 12
    assert all(histogram.absolute().edges[0] == 0 for histogram in histograms.values())  # bins have a width


def test_an_empty_set_is_refused():
    with pytest.raises(InputError, match="calibration set is empty; give at least one text"):
        Calibration(embedded_products(), TEXTS.take([]), 1)


def test_texts_are_run_when_first_asked_for_and_once(monkeypatch):
    calls, observe = [], calibration.observe
    monkeypatch.setattr(calibration, "observe", lambda *arguments: calls.append(1) or observe(*arguments))
    found = Calibration(embedded_products(), TEXTS, 1)
    assert not calls
    assert found.histograms is found.histograms and len(calls) == 1
    assert found.smoothed is found.smoothed and len(calls) == 1
    assert found.smoothed.histograms is found.smoothed.histograms and len(calls) == 2


def test_the_smoothed_graph_is_calibrated_anew(calibrated):
    smooth = calibrated.smoothed
    assert (smooth.texts, smooth.threads) == (TEXTS, 1)
    names = ["rows.smoothed", "squashed.smoothed"]
    assert list(smooth.histograms) == names
    for name, values in zip(names, values_in(smooth.model, names), strict=True):
        histogram = smooth.histograms[name]
        assert (histogram.edges[0], histogram.edges[-1]) == (values.min(), values.max())
        np.testing.assert_array_equal(histogram.channels, np.abs(values).max(0))
    before = calibrated.histograms["rows"].channels
    after = smooth.histograms["rows.smoothed"].channels
    assert after[4] == 0 and after.max() / np.median(after) < before.max() / np.median(before) / 2
    np.testing.assert_allclose(*(values_in(m, ["answers"])[0] for m in (calibrated.model, smooth.model)), atol=1e-5)


def test_folded_histograms_tell_sizes():
    values = np.concatenate([np.random.default_rng(0).normal(1, 2, 5000), [-20]])
    histogram = histogram_of_values(values)
    sizes, width = histogram.absolute(), (values.max() - values.min()) / BINS
    assert sizes.counts.sum() == pytest.approx(len(values))
    assert (sizes.edges[0], sizes.edges[-1]) == (0, 20)
    assert len(sizes.counts) == BINS and sizes.channels is histogram.channels
    reached = np.concatenate([[0], sizes.counts.cumsum()])
    for edge, got in zip(sizes.edges, reached, strict=True):  # to within a bin of the values themselves
        assert (np.abs(values) < edge - 2 * width).sum() <= got + 1e-6
        assert got - 1e-6 <= (np.abs(values) <= edge + 2 * width).sum()


def test_a_positive_histogram_is_its_own_sizes():
    histogram = histogram_of(np.arange(BINS), 0, 4)
    np.testing.assert_allclose(histogram.absolute().counts, histogram.counts)
    np.testing.assert_allclose(histogram.absolute().edges, histogram.edges)


def test_the_largest_range_holds_all():
    assert calibration.range_of(histogram_of([1, 0, 10**9, 0], -3, 7), "largest") == (-3, 7)


def test_the_percentile_leaves_the_tails():
    """Of 100000 values, 5 may be left on each side: 3 + 1 are, 3 + 1 + 10 are too many."""
    counts = np.array([3, 1, 10, 99972, 0, 10, 1, 3])
    assert calibration.PERCENTILE == 99.99 and counts.sum() == 100_000
    assert calibration.range_of(histogram_of(counts, -4, 4), "percentile") == (-2, 2)
    counts = np.array([6, 1, 99980, 10, 1, 2])
    assert calibration.range_of(histogram_of(counts, 0, 6), "percentile") == (0, 4)


@pytest.mark.parametrize("percentile", [90, 99, 99.9])
def test_the_percentile_is_a_share_of_each_tail(monkeypatch, percentile):
    monkeypatch.setattr(calibration, "PERCENTILE", percentile)
    values = np.random.default_rng(1).exponential(size=20_000) - 0.3
    low, high = calibration.range_of(histogram_of_values(values), "percentile")
    wanted = np.percentile(values, [(100 - percentile) / 2, (100 + percentile) / 2])
    assert np.abs(np.array([low, high]) - wanted).max() < 2 * (values.max() - values.min()) / BINS


def entropy_clip_in_loops(counts, edges) -> float:
    """The algorithm of Migacz's slides, candidate by candidate, bin by bin."""
    best, clip = np.inf, None
    for bins in range(128, len(counts) + 1, 16):
        true = [float(count) for count in counts[:bins]]
        groups: dict[int, list[int]] = {}
        for i in range(bins):
            if counts[i]:
                groups.setdefault(i * 128 // bins, []).append(i)
        coded = [0.0] * bins
        for members in groups.values():
            for i in members:
                coded[i] = sum(counts[j] for j in members) / len(members)
        true[-1] += sum(counts[bins:])
        p, q = (np.array(part) / max(sum(part), 1e-300) for part in (true, coded))
        divergence = sum(a * np.log(a / max(b, 1e-9)) for a, b in zip(p, q, strict=True) if a)
        if sum(coded) and divergence < best:
            best, clip = divergence, edges[bins]
    return clip


@pytest.mark.parametrize("seed", range(3))
def test_least_relative_entropy_is_found(seed):
    rng = np.random.default_rng(seed)
    values = [rng.exponential(size=20_000), np.abs(rng.standard_t(3, 20_000)), rng.gamma(4, size=20_000)][seed]
    histogram = histogram_of(np.histogram(values, BINS, (0, values.max()))[0], 0, values.max())
    low, high = calibration.range_of(histogram, "entropy")
    assert (low, high) == (0, entropy_clip_in_loops(histogram.counts, histogram.edges))
    assert values.max() / 16 < high


@pytest.mark.parametrize("low, high", [(0, 1), (-1, 1), (-0.3, 1), (-5, 0)])
def test_entropy_keeps_all_of_an_even_distribution(low, high):
    assert calibration.range_of(histogram_of(np.ones(BINS), low, high), "entropy") == (low, high)


@pytest.mark.parametrize("seed", range(3))
def test_entropy_clips_a_few_far_outliers(seed):
    bulk = np.random.default_rng(seed).normal(size=100_000)
    for outliers in ([100.0, -100.0], [100.0], [-100.0]):
        values = np.concatenate([bulk, outliers])
        low, high = calibration.range_of(histogram_of_values(values), "entropy")
        assert max(values.min(), -20) <= low < -3 and 3 < high <= min(values.max(), 20)


def test_every_tensor_gets_the_range_of_its_histogram(calibrated):
    for method in calibration.METHODS:
        got = calibration.ranges(calibrated.histograms, method)
        assert got == {name: calibration.range_of(h, method) for name, h in calibrated.histograms.items()}
    assert got["rows"] != got["squashed"]


def test_an_unknown_method_is_refused(calibrated):
    with pytest.raises(InputError, match="no calibration method 'mean'; there are largest, percentile, entropy"):
        calibration.ranges(calibrated.histograms, "mean")


def test_sizes_of_lopsided_values_leave_no_bin_empty():
    """Bins on both sides of zero do not fall on each other; the counts are divided, so that entropy sees no gaps."""
    values = np.random.default_rng(5).standard_t(3, 200_000) + 0.7
    sizes = histogram_of_values(values).absolute()
    wanted = np.histogram(np.abs(values), sizes.edges)[0]
    assert sizes.counts.sum() == pytest.approx(len(values), rel=1e-6)
    full = wanted > 400
    np.testing.assert_allclose(sizes.counts[full], wanted[full], rtol=0.25)


def test_loudness_and_values_of_a_histogram():
    counts, edges = np.array([1.0, 0.0, 2.0, 0.2]), np.array([-4.0, -2.0, 0.0, 2.0, 6.0])
    histogram = Histogram(counts, edges, np.array([1, 2, 3, 12.0]))
    assert histogram.loudness == 12 / 2.5
    assert histogram.values.tolist() == [-3, 1, 1, 4], "at the centre of its bin; a part of a value counts as one"


def test_each_method_clips_at_the_farther_end_of_its_range():
    counts = np.zeros(BINS)
    counts[[0, BINS // 2]] = 1, 1e6
    found = calibration.clips(histogram_of(counts, -8, 4))
    assert list(found) == list(calibration.METHODS)
    assert found["largest"] == 8 and found["percentile"] < 4
