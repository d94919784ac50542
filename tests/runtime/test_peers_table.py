"""A race of engines as tables; a record that cannot be read is told in a sentence."""

from __future__ import annotations

import json

import pytest
from small_race import RECORD

from fflib.files import InputError
from fflib.runtime import peers_table


def test_the_fastest_stands_first_and_everything_is_told():
    first, second = peers_table.rows(RECORD)
    assert (first["engine"], second["engine"]) == ("faster", "this book's file")
    assert second["range of rounds"] == "690 to 712"
    text = peers_table.markdown(RECORD, "docs-cpu")
    for told in (
        "A processor, 2 threads", "2026-02-03, commit abc1234", "run docs-cpu of 2026-01-02", "labels counted on 400",
        "- **faster, pruned student**: as it is; it cheats.", "words 200 requests/s", "onnxruntime 1.31.1",
        "python -m fflib.runtime.peers --run docs-cpu",
    ):  # fmt: skip
        assert told in text, told
    reasons = {row["engine"]: row["why it is not there"] for row in peers_table.absent(RECORD)}
    assert reasons["executorch"] == "not installed" and set(peers_table.LEFT_OUT) < set(reasons)


def test_where_nothing_is_kept_only_the_command_is_told(tmp_path):
    assert peers_table.kept("docs-cpu", tmp_path) is None
    text = peers_table.markdown(None, "mine")
    assert "python -m fflib.runtime.peers --run mine" in text and "|" not in text


@pytest.mark.parametrize(
    "text", ["{", "[]", json.dumps(RECORD | {"schema_version": 0}), json.dumps(RECORD | {"ways": 3})]
)
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / "docs-cpu").mkdir()
    path = tmp_path / "docs-cpu" / peers_table.FILE
    path.write_text(json.dumps(RECORD))
    assert peers_table.kept("docs-cpu", tmp_path) == RECORD
    path.write_text(text)
    with pytest.raises(InputError, match=r"peers.json is damaged \(.+\); remove it, or make it again"):
        peers_table.kept("docs-cpu", tmp_path)


def test_floors_without_a_time_are_left_out():
    rungs = [
        {"rung": "floor: words", "throughput_per_s": 200.0, "accuracy": 0.5},
        {"rung": "floor: one answer for all", "throughput_per_s": None, "accuracy": 0.5},
        {"rung": "teacher padded", "throughput_per_s": 3.0, "accuracy": 0.9},
    ]
    assert peers_table.floors_of(rungs) == [{"floor": "words", "requests/s": 200.0, "test %": 50.0}]
