"""OpenVINO beside ONNX Runtime: all the ways in which it serves the same file, and a table of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fflib.data.splits import TokenizedSplit
from fflib.measure import fitness
from fflib.measure.race import Race
from fflib.measure.timing import Predictor, Together
from fflib.runtime import openvino

STEP = 32  # tokens between the lengths that have a graph of their own


def add_openvino(
    one_by_one: dict[str, Predictor],
    at_once: dict[str, Together],
    path: Path,
    texts: TokenizedSplit,
    lengths: np.ndarray,
    threads: int,
) -> None:
    """Serve an ONNX file with OpenVINO as well, in fp32 and in its own int8, for which all of ``texts`` calibrate.

    Args:
        one_by_one: ways to answer a request at a time; gets one graph for any length, and one for several ``lengths``.
        at_once: ways to answer two at once, by the same names; gets OpenVINO's queue of requests.
        lengths: of the requests, [n].

    Raises:
        InputError: as in `openvino`.
    """
    longest = int(lengths.max())
    buckets = sorted({*range(STEP, longest, STEP), longest})
    for kind, graph in {"fp32": path, "int8": openvino.quantize(path, texts, len(texts))}.items():
        one_by_one[f"OpenVINO {kind}"] = openvino.predictor(graph, threads)
        one_by_one[f"OpenVINO {kind}, graphs by length"] = openvino.bucketed(graph, threads, buckets)
        at_once[f"OpenVINO {kind}"] = openvino.in_flight(graph, threads, min(2, threads))


def rows(race: Race, at_once: Mapping[str, Any], reference: str, min_agreement: float) -> list[dict[str, Any]]:
    """Describe each way of ``race``, against the way ``reference``; and two at once, where these were timed.

    Whoever keeps fewer labels than ``min_agreement`` is not served.
    """
    return [
        {
            "engine": name,
            "mean ms": 1e3 / timing.throughput_per_s,
            "times our int8": race.speedup(reference, name),
            "p50 ms": timing.latency_p50_ms,
            "labels kept %": 100 * timing.checked.label_agreement,
            "answers": fitness.verdict(timing.checked, min_agreement),
            "two at once, requests/s": at_once[name].throughput_per_s if name in at_once else None,
        }
        for name, timing in race.items()
    ]
