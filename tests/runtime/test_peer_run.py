"""A finished run as a race of engines reads it: its models and texts, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import small_field
import torch
from conftest import tiny_classifier
from small_tokenizer import make_tokenizer

from fflib.data import splits
from fflib.data.metrics import Gold
from fflib.engine import export
from fflib.files import InputError, write_json
from fflib.model import checkpoints
from fflib.runs import params, records
from fflib.runtime.peer_run import CHAPTERS, STUDENT, TEACHER, FinishedRun

TEXTS = [("is it a river", "a stone"), ("or the sea", "a tree or a bird or a stone"), ("does it", "no")]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """The records of a run with a tiny teacher, a student and a pruned one, and a split that is always the same."""
    split = splits.text_split("docs", "test", TEXTS, Gold(np.array([0, 1, 0])))
    monkeypatch.setattr(splits, "load_split", lambda *_: split)
    models = {"teacher": small_field.whole_classifier(3), "student": small_field.whole_classifier(2)}
    models["pruned"] = tiny_classifier()
    for name, model in models.items():
        checkpoints.save(model, tmp_path / name, make_tokenizer())
    export.save_onnx(models["pruned"], tmp_path / "served.onnx")
    served = {"model": "pruned student", "recipe": "", "onnx": str(tmp_path / "served.onnx"), "batches": ["sorted", 2]}
    values = {"task": "docs", "data_source": "auto", "n_test": 0, "n_train": 0, "n_calibrate": 2}
    seen = {"test": split.fingerprint}
    facts = {
        "01_baseline": {"teacher": {"folder": str(tmp_path / "teacher")}, "data_fingerprint": seen},
        "03_distillation": {"student": {"folder": str(tmp_path / "student")}},
        "04_pruning": {"pruned": {"folder": str(tmp_path / "pruned")}},
        "05_quantization": {"quantised": {"learned": False, "model": "pruned student"}},
        "07_serving": {"served": served},
    }  # fmt: skip
    for chapter in CHAPTERS:
        record = {
            "chapter": chapter,
            "key": "",
            "written": "2026-01-02",
            "parameters": values,
            "machine": {},
            "rungs": [],
        }
        write_json(records.path_of(tmp_path, chapter), record | {"facts": facts.get(chapter, {})})
    return params.Run("mine", "cpu", "standard", tmp_path, {})


def test_its_models_answer_its_texts(run):
    finished = FinishedRun(run)
    for name, layers in {TEACHER: 3, STUDENT: 2, "pruned student": 2}.items():
        subject = finished.subject(name, 2, 3)
        assert len(subject.model.encoder.config.layers) == layers
        assert (len(subject.requests), len(subject.checked), len(subject.calibration)) == (2, 3, 2)
        ids = torch.tensor([subject.checked.input_ids[1].tolist()])
        types = torch.tensor([subject.checked.token_type_ids[1].tolist()])
        wanted = subject.model(ids, torch.ones_like(ids), types).logits.detach().numpy()
        np.testing.assert_allclose(subject.expected_checked[[1]], wanted, atol=1e-5)
    assert [group.tolist() for group in finished.plan(np.array([5, 3, 4]))] == [[1, 2], [0]]
    model = finished.subject("pruned student", 2, 2).model
    assert finished.served_file(model) == run.folder / "served.onnx"


def test_a_file_of_other_weights_is_refused(run):
    finished = FinishedRun(run)
    with pytest.raises(InputError, match="was not exported from these weights"):
        finished.served_file(finished.subject(STUDENT, 2, 2).model)


def test_a_model_that_learned_its_rounding_has_a_folder_of_its_own(run):
    finished = FinishedRun(run)
    finished.facts("05_quantization")["quantised"]["learned"] = True
    checkpoints.save(small_field.whole_classifier(1), run.folder / "models" / "quantised-student")
    assert len(finished.subject("pruned student", 2, 2).model.encoder.config.layers) == 1
    assert len(finished.subject(STUDENT, 2, 2).model.encoder.config.layers) == 2


def test_what_is_missing_or_other_is_refused(run):
    finished = FinishedRun(run)
    finished.facts("01_baseline")["data_fingerprint"]["test"] = "other"
    with pytest.raises(InputError, match="the run saw other test texts than there are now"):
        _ = finished.test
    records.path_of(run.folder, "07_serving").unlink()
    with pytest.raises(InputError, match="07_serving.json is not there; run the book first: make book RUN=mine"):
        FinishedRun(run)
    with pytest.raises(InputError, match="on a graphics card"):
        FinishedRun(params.Run("mine", "gpu", "standard", run.folder, {}, on_card=True))
