"""Every chapter on every task, on little data and a little model: the cells run here, without a kernel for each.

That papermill runs chapters is what ``test_smoke_book`` shows; here it would cost more than the chapters themselves.
"""

from __future__ import annotations

import json
import os

import little_superglue
import pandas as pd
import pytest
import small_book

from fflib.data import metrics, splits
from fflib.data.registry import get_task
from fflib.model import checkpoints, training


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return little_superglue.save_teacher(tmp_path_factory.mktemp("teacher") / "tiny")


# One of each kind: words that the head reads, answers that compete, answers in groups. The others take as long again.
ALWAYS = ("COPA", "MultiRC", "WiC")
EVERY = os.environ.get("FFLIB_ALL_TASKS")
NOTHING_HOLDS = "COPA"  # no student, no cut, no rounding: the teacher itself goes on, in fp32


@pytest.mark.parametrize("task", little_superglue.TASKS if EVERY else ALWAYS)
def test_every_chapter_runs(task, teacher, tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_SUPERGLUE", str(little_superglue.write(tmp_path / "superglue", task)))
    small_book.here(tmp_path, monkeypatch)
    overrides = {"task": task, "teacher": str(teacher)}
    if task == NOTHING_HOLDS:
        overrides["min_retention"] = 9.0  # nothing gains as much
    run = small_book.load("docs-cpu", **overrides)
    small_book.run_book(run, monkeypatch)
    ladder, the_task = pd.read_csv(run.folder / "ladder.csv").set_index("rung"), get_task(task)
    served = json.loads((run.folder / "results" / "05_quantization.json").read_text())["facts"]["quantised"]["recipe"]
    assert not served or task != NOTHING_HOLDS
    student_rung = "student 2x32" if task == NOTHING_HOLDS else "distilled student"
    assert {"teacher unpadded", student_rung, "int8 dynamic", "first token"} <= {*ladder.index}
    if task == NOTHING_HOLDS:
        assert ladder.loc["ONNX Runtime", "stacks_on"] == "best batching" and "distilled student" not in ladder.index
        assert set(ladder["keeps_rule"].dropna()) == {"no"}
        story = json.loads((run.folder / "results" / "09_story.json").read_text())["facts"]
        assert story["speedups"]["rung"] == "ONNX Runtime", "the teacher itself goes on"
        baseline = json.loads((run.folder / "results" / "01_baseline.json").read_text())["facts"]
        assert not baseline["teacher_is_clear"] and story["retention"] is None, "nothing to certify"
    else:
        rules = ladder["keeps_rule"].fillna("")  # of a teacher that scores nothing, nothing is asked
        assert rules["ONNX Runtime"] == rules["distilled student"], "one model, in 32 bits"
    teacher_model, student = (checkpoints.load(run.folder / "models" / name) for name in ("teacher-0", "student"))
    assert student.encoder.config.spans == the_task.spans
    test = splits.load_split(task, "test", limit=run.values["n_test"])
    seen = splits.tokenize(test, checkpoints.load_tokenizer(teacher), the_task.max_length)
    right = metrics.score(the_task, training.predict(teacher_model, seen), test.gold)
    assert ladder.loc["teacher unpadded", "accuracy"] == pytest.approx(right)
    baseline = json.loads((run.folder / "results" / "01_baseline.json").read_text())["facts"]
    if not baseline["teacher_is_clear"]:
        assert ladder["retention"].isna().all(), "of a teacher that is below its floors nothing is told as kept"
