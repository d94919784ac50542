"""OpenVINO beside ONNX Runtime: which ways are served, and what the table says of them."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import examples_of

from fflib.measure.race import Race
from fflib.measure.timing import Check, Timing
from fflib.runtime import openvino, peer


def test_every_way_is_served_with_settings_of_its_own(monkeypatch, tmp_path):
    texts, path = examples_of([3, 5]), tmp_path / "model.onnx"
    monkeypatch.setattr(openvino, "quantize", lambda path, texts, count: ("int8 of", path, len(texts), count))
    for name in ("predictor", "bucketed", "in_flight"):
        monkeypatch.setattr(openvino, name, lambda *arguments, name=name: (name, *arguments))
    alone, pairs = {"ONNX Runtime": "ours"}, {}
    peer.add_openvino(alone, pairs, path, texts, np.array([10, 80]), 4)
    int8 = ("int8 of", path, 2, 2)
    assert list(alone.items()) == [
        ("ONNX Runtime", "ours"),
        ("OpenVINO fp32", ("predictor", path, 4)),
        ("OpenVINO fp32, graphs by length", ("bucketed", path, 4, [32, 64, 80])),
        ("OpenVINO int8", ("predictor", int8, 4)),
        ("OpenVINO int8, graphs by length", ("bucketed", int8, 4, [32, 64, 80])),
    ]
    assert pairs == {"OpenVINO fp32": ("in_flight", path, 4, 2), "OpenVINO int8": ("in_flight", int8, 4, 2)}


def test_the_table_compares_with_the_reference():
    def timed(seconds, agreement=0.75):
        return Timing(np.array([[seconds]]), np.array([1]), checked=Check(0.0, agreement, 4))

    race = Race({"ours": timed(0.002, 1.0), "theirs": timed(0.003)})
    ours, theirs = peer.rows(race, {"ours": timed(0.001)}, "ours", 0.9)
    assert ours["two at once, requests/s"] == pytest.approx(1000) and theirs["two at once, requests/s"] is None
    assert (ours["times our int8"], theirs["times our int8"]) == (1, pytest.approx(1.5))
    assert theirs["mean ms"] == pytest.approx(3) and theirs["labels kept %"] == 75
    assert (ours["answers"], theirs["answers"]) == ("checked", "timed, not served")
