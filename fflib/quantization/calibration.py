"""Calibration: on a few texts, see what values flow into the products, and choose the range that eight bits cover.

A range that holds the largest value ever seen wastes codes on outliers; a narrow one distorts what is common.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx

from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.engine import export, int8_graph, predictors
from fflib.engine.int8_graph import Ranges
from fflib.files import InputError, check_known

METHODS = ("largest", "percentile", "entropy")
BINS, CODES = 2048, 128  # bins of a histogram; codes on one side of zero
PERCENTILE = 99.99


@dataclass(frozen=True)
class Histogram:
    """How often which values went through one tensor: ``counts`` [bins] between ``edges`` [bins + 1].

    ``channels`` [width] is the largest size of a value in each channel, the tensor's last axis.
    """

    counts: np.ndarray
    edges: np.ndarray
    channels: np.ndarray

    @property
    def loudness(self) -> float:
        """How many times the size of the median channel the loudest one reaches."""
        return float(self.channels.max() / np.median(self.channels))

    @property
    def values(self) -> np.ndarray:
        """Values as they were counted, each at the centre of its bin."""
        centres = (self.edges[:-1] + self.edges[1:]) / 2
        return np.repeat(centres, np.ceil(self.counts).astype(int))

    def absolute(self) -> Histogram:
        """Fold the values at zero: the histogram of their sizes, taking values to lie evenly within a bin."""
        below = np.concatenate([[0.0], self.counts.cumsum()])  # how many values lie below each edge
        edges = np.linspace(0, np.abs(self.edges).max(), len(self.counts) + 1)
        within = np.interp(edges, self.edges, below) - np.interp(-edges, self.edges, below)
        return Histogram(np.diff(within), edges, self.channels)


class Calibration:
    """What calibration finds for one float graph on some texts (of *train*); each step is done when first asked for."""

    def __init__(self, model: onnx.ModelProto, texts: TokenizedSplit, threads: int) -> None:
        if not len(texts):
            raise InputError("the calibration set is empty; give at least one text")
        self.model, self.texts, self.threads = model, texts, threads
        self.notes = export.notes(model)

    @cached_property
    def histograms(self) -> dict[str, Histogram]:
        """Return a histogram for each product's input, see `observe`."""
        return observe(self.model, self.texts, self.threads)

    @cached_property
    def smoothed(self) -> Calibration:
        """Return the calibration of the same graph with evener inputs, see `int8_graph.smoothed`."""
        channels = {name: histogram.channels for name, histogram in self.histograms.items()}
        return Calibration(int8_graph.smoothed(self.model, channels), self.texts, self.threads)


def observe(model: onnx.ModelProto, texts: TokenizedSplit, threads: int) -> dict[str, Histogram]:
    """Run a float graph on ``texts``, one by one without padding; return a histogram for each product's input.

    Twice: the first time for the least and the largest value, which bound the histograms.
    """
    names = list(int8_graph.products(model.graph))
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    del graph.graph.output[:]
    graph.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    session = predictors.onnx_session(graph, threads)
    wanted = {node.name for node in session.get_inputs()}

    def values() -> Iterator[tuple[str, np.ndarray]]:
        for group in batching.in_order(texts.lengths, 1):
            inputs = {k: v for k, v in batching.collate(texts, group).inputs.items() if k in wanted}
            yield from zip(names, session.run(names, inputs), strict=True)

    low, high, channels = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf), dict.fromkeys(names, 0.0)
    for name, array in values():
        low[name], high[name] = min(low[name], array.min()), max(high[name], array.max())
        channels[name] = np.maximum(channels[name], np.abs(array).reshape(-1, array.shape[-1]).max(0))
    counts = {name: np.zeros(BINS) for name in names}
    edges = {name: np.linspace(low[name], max(high[name], low[name] + 1e-6), BINS + 1) for name in names}
    for name, array in values():
        counts[name] += np.histogram(array, edges[name])[0]
    return {name: Histogram(counts[name], edges[name], channels[name]) for name in names}


def ranges(histograms: Mapping[str, Histogram], method: str) -> Ranges:
    """Choose the range of each tensor by one of `METHODS`: all values, the middle 99.99 %, least relative entropy."""
    check_known("calibration method", [method], METHODS)
    return {name: range_of(histogram, method) for name, histogram in histograms.items()}


def range_of(histogram: Histogram, method: str) -> tuple[float, float]:
    """Return the least and the largest value that get codes; what is beyond is clipped."""
    low, high = float(histogram.edges[0]), float(histogram.edges[-1])
    if method == "largest":
        return low, high
    if method == "percentile":
        tail = (1 - PERCENTILE / 100) / 2
        share = histogram.counts.cumsum() / histogram.counts.sum()
        first, last = np.searchsorted(share, [tail, 1 - tail])
        return float(histogram.edges[first]), float(histogram.edges[last + 1])
    clip = entropy_clip(histogram.absolute())
    return max(low, -clip), min(high, clip)


def clips(histogram: Histogram) -> dict[str, float]:
    """Return the size beyond which each of `METHODS` clips a value."""
    return {method: max(abs(end) for end in range_of(histogram, method)) for method in METHODS}


def entropy_clip(sizes: Histogram, step: int = 16) -> float:
    """Return the size at which to clip such that the coded distribution is nearest to the true one.

    That is the least relative entropy between the histogram up to the clip, with all that lies beyond put into its
    last bin, and the same with `CODES` values only (Migacz, 8-bit inference with TensorRT, GTC 2017).
    """
    candidates = range(CODES, len(sizes.counts) + 1, step)
    divergences = [_coding_loss(sizes.counts, clip) for clip in candidates]
    return float(sizes.edges[candidates[int(np.argmin(divergences))]])


def _coding_loss(counts: np.ndarray, clip: int) -> float:
    """Relative entropy in nats of ``counts`` clipped at bin ``clip`` to what is left of it with `CODES` values."""
    true = counts[:clip].copy()
    true[-1] += counts[clip:].sum()
    code = np.arange(clip) * CODES // clip
    filled = counts[:clip] > 0  # a code's weight is spread over those of its bins that occur
    mass, width = np.bincount(code, counts[:clip], CODES), np.bincount(code, filled, CODES)
    coded = np.where(filled, (mass / np.maximum(width, 1))[code], 0.0)
    if not coded.sum():
        return np.inf
    p, q = true / true.sum(), coded / coded.sum()
    return float((p[p > 0] * np.log(p[p > 0] / np.maximum(q[p > 0], 1e-9))).sum())
