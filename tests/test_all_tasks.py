"""Every chapter on every task, on little data and a little model: the cells run here, without a kernel for each.

That papermill runs chapters is what ``test_smoke_book`` shows; here it would cost more than the chapters themselves.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import little_superglue
import pandas as pd
import pytest

from fflib.data import metrics, splits
from fflib.data.registry import get_task
from fflib.files import ROOT
from fflib.model import checkpoints, training
from fflib.runs import params

CHAPTERS = [chapter for chapter in params.chapters() if "01" < chapter < "10"]
SMALL = {
    "reference": "nreimers/MiniLM-L6-H384-uncased",
    "students_tried": ["2x32"],
    "routes_tried": ["labels"],
    "variants_tried": [],
    "data_sizes": [],
    "depths_tried": [],
    "uniform_tried": ["25/50"],
    "shares_tried": [0.5],
    "speedups_wanted": [],  # so small a model is mostly what no shape can save
    "recipes_tried": ["dynamic"],
    "recipes_served": ["dynamic"],
    "graphs_tried": [],
    "engines_tried": ["pytorch", "onnxruntime"],
    "instance_kinds": ["thread"],
    "elastic_widths": [],
    "elastic_depths": [],
    "n_simulated": 1000,
    "threads": 1,
    "min_agreement": 0.8,
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return little_superglue.save_teacher(tmp_path_factory.mktemp("teacher") / "tiny")


def cells_of(chapter):
    """The code cells of a chapter but that of its parameters."""
    found = params.cells(chapter)
    return [source for marker, source in found if not marker.startswith("[markdown]") and '"parameters"' not in marker]


# One of each kind: words that the head reads, answers that compete, answers in groups. The others take as long again.
ALWAYS = ("COPA", "MultiRC", "WiC")
EVERY = os.environ.get("FFLIB_ALL_TASKS")
NOTHING_HOLDS = "COPA"  # no student, no cut, no rounding: the teacher itself goes on, in fp32


@pytest.mark.parametrize("task", little_superglue.TASKS if EVERY else ALWAYS)
def test_every_chapter_runs(task, teacher, tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_SUPERGLUE", str(little_superglue.write(tmp_path / "superglue", task)))
    for variable, folder in (("FFLIB_CACHE", "cache"), ("FFLIB_OUTPUTS", "outputs")):
        monkeypatch.setenv(variable, str(tmp_path / folder))
    monkeypatch.chdir(ROOT)
    # Every figure is laid out, which finds what is wrong with it; its two files are the small book's business.
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, path, **__: Path(path).touch())
    overrides = {"task": task, "teacher": str(teacher)} | SMALL
    if task == NOTHING_HOLDS:
        overrides["min_retention"] = 9.0  # nothing gains as much
    run = params.load_run("docs-cpu", "smoke", overrides=[f"{k}={json.dumps(v)}" for k, v in overrides.items()])
    for chapter in CHAPTERS:
        namespace = {"__name__": "__main__"} | run.chapter_values(chapter)
        for i, source in enumerate(cells_of(chapter)):
            exec(compile(source, f"{chapter}, code cell {i}", "exec"), namespace)
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
    teacher_model, student = (checkpoints.load(run.folder / "models" / name) for name in ("teacher-0", "student"))
    assert student.encoder.config.spans == the_task.spans
    test = splits.load_split(task, "test", limit=run.values["n_test"])
    seen = splits.tokenize(test, checkpoints.load_tokenizer(teacher), the_task.max_length)
    right = metrics.score(the_task, training.predict(teacher_model, seen), test.gold)
    assert ladder.loc["teacher unpadded", "accuracy"] == pytest.approx(right)
    baseline = json.loads((run.folder / "results" / "01_baseline.json").read_text())["facts"]
    if not baseline["teacher_is_clear"]:
        assert ladder["retention"].isna().all(), "of a teacher that is below its floors nothing is told as kept"
