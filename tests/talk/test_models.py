"""What the talk takes from a run: the lanes, the stops of its ladder, and one sentence where something is missing."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from fflib.files import InputError, write_json
from fflib.runs.ladder import Rung
from fflib.talk import models
from fflib.talk.models import TalkRun

PARAMETERS = {
    "task": "docs", "data_source": "auto", "n_test": 0,
    "reference": "google-bert/bert-base-uncased", "teacher": "sentence-transformers/all-MiniLM-L6-v2",
}  # fmt: skip
RUNGS = {
    "01_baseline": [("reference padded", ""), ("reference unpadded", "reference padded"),
                    ("teacher padded", "reference padded"), ("teacher unpadded", "teacher padded")],
    "02_batching": [("best batching", "teacher unpadded")],
    "03_distillation": [("distilled student", "best batching")],
    "04_pruning": [("ONNX Runtime", "distilled student"), ("pruned 25/25", "ONNX Runtime")],
    "05_quantization": [("int8 dynamic", "pruned 25/25"), ("int8 static", "pruned 25/25")],
    "06_runtime": [("first token", "int8 dynamic")],
    "07_serving": [("one thread", "first token"), ("instances", "first token")],
}  # fmt: skip
FILES = ("teacher/model.safetensors", "student/model.safetensors")
GRAPHS = ("unpruned/model.onnx", "25-25/model.onnx", "25-25/dynamic.onnx", "served/dynamic.onnx")


def facts(folder):
    onnx = folder / "models" / "onnx"
    return {
        "01_baseline": {"teacher": {"folder": str(folder / "models" / "teacher")}, "data_fingerprint": {"test": "x"}},
        "02_batching": {"goes_on_from": "best batching"},
        "03_distillation": {"student": {"folder": str(folder / "models" / "student")}},
        "04_pruning": {"goes_on_from": "pruned 25/25"},
        "05_quantization": {"goes_on_from": "int8 dynamic", "quantised": {"onnx": str(onnx / "25-25/dynamic.onnx")}},
        "06_runtime": {"goes_on_from": "first token"},
        "07_serving": {
            "goes_on_from": "instances",
            "served": {
                "onnx": str(onnx / "served/dynamic.onnx"), "rung": "instances", "model": "pruned student",
                "recipe": "dynamic", "first_token": True, "batches": ["token budget", 512],
                "division": [2, 1, "thread"],
            },
        },
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    known = facts(tmp_path)
    for number, (chapter, rungs) in enumerate(RUNGS.items()):
        made = [
            asdict(
                Rung(name, below, "a model", "an engine", "fp32", "none", 1, 1 if name == "instances" else 2)
            ) | {"throughput_per_s": 2.0 ** (number + i)}
            for i, (name, below) in enumerate(rungs)
        ]  # fmt: skip
        record = {"chapter": chapter, "key": chapter, "written": f"2026-01-0{number + 1}", "parameters": PARAMETERS}
        record |= {"schema_version": 1, "machine": {}, "facts": known[chapter], "rungs": made}
        write_json(tmp_path / "results" / f"{chapter}.json", record)
    for name in (*(f"models/{file}" for file in FILES), *(f"models/onnx/{graph}" for graph in GRAPHS)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_the_stops_are_the_rungs_that_the_story_took_each_with_its_own_model(folder):
    run = TalkRun(folder)
    run.check()
    models, onnx = folder / "models", folder / "models" / "onnx"
    expected = {
        "reference padded": ("", 512), "teacher padded": (str(models / "teacher"), 512),
        "teacher unpadded": (str(models / "teacher"), 0), "best batching": (str(models / "teacher"), 0),
        "distilled student": (str(models / "student"), 0), "ONNX Runtime": (str(onnx / "unpruned/model.onnx"), 0),
        "pruned 25/25": (str(onnx / "25-25/model.onnx"), 0), "int8 dynamic": (str(onnx / "25-25/dynamic.onnx"), 0),
        "first token": (str(onnx / "served/dynamic.onnx"), 0), "instances": (str(onnx / "served/dynamic.onnx"), 0),
    }  # fmt: skip
    assert {s.row["rung"]: (s.model.graph or s.model.folder, s.model.pad_to) for s in run.stops} == expected
    assert [stop.model.trained for stop in run.stops] == [False] + [True] * 9
    assert run.stops[-1].model.threads == 1
    assert json.dumps([stop.row for stop in run.stops], allow_nan=False)  # as pages take it


def test_the_lanes(folder):
    padded, unpadded, teacher, final = TalkRun(folder).lanes
    assert (padded.pad_to, unpadded.pad_to, teacher.pad_to, final.pad_to) == (512, 0, 0, 0)
    assert [lane.trained for lane in (padded, unpadded, teacher, final)] == [False, False, True, True]
    assert padded.weights == unpadded.weights != teacher.weights
    assert (final.kind, final.threads, final.batches) == ("thread", 1, ("token budget", 512))
    assert "an instance on each core" in final.what


def test_a_reference_that_is_the_teacher_has_its_weights(folder, monkeypatch):
    monkeypatch.setitem(PARAMETERS, "teacher", PARAMETERS["reference"] + "@main")
    run = TalkRun(folder)
    run.parameters = PARAMETERS
    assert run.lanes[0].trained and run.lanes[0].folder == run.lanes[2].folder


@pytest.mark.parametrize("chapter", models.NEEDED)
def test_a_chapter_that_is_missing_is_named_with_the_command(folder, chapter):
    (folder / "results" / f"{chapter}.json").unlink()
    with pytest.raises(InputError, match=f"has no {chapter} in .*make book RUN="):
        TalkRun(folder)


def test_no_run_at_all(tmp_path):
    with pytest.raises(InputError, match="has no 01_baseline"):
        TalkRun(tmp_path / "nothing")


@pytest.mark.parametrize("name", [*(f"models/{file}" for file in FILES), *(f"models/onnx/{graph}" for graph in GRAPHS)])
def test_a_model_file_that_is_missing_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing, with which|{name} is missing, which"):
        TalkRun(folder).check()


def test_other_data_than_the_run_saw(folder, monkeypatch):
    split = type("Split", (), {"fingerprint": "another"})
    monkeypatch.setattr(models.splits, "load_split", lambda *_: split)
    with pytest.raises(InputError, match="saw other test data"):
        _ = TalkRun(folder).requests


def test_what_the_audience_types_is_the_shorter_text_behind_what_names_it(folder):
    run = TalkRun(folder)
    texts = type("T", (), {"texts": [("axis: the axis: which", "numpy.sum(a, axis) Sum over an axis.")], "spans": None})
    run.__dict__["requests"] = models.Requests(texts, None, np.zeros(1))
    assert run.edited == 0 and run.fixed(0) == "axis: "
