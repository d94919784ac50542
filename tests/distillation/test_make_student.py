"""The command that makes the book's student, on models and texts of nothing."""

from dataclasses import replace

import numpy as np
import torch
from random_models import model_of
from small_tokenizer import make_tokenizer

from fflib.data import metrics, registry, splits
from fflib.distillation import make_student, shipped_student
from fflib.model import shipped, training

DOCS = registry.get_task("docs")
LAYERS = ((2, 8, 24),) * 3


def test_the_file_makes_the_student_that_the_record_scores(tmp_path, monkeypatch):
    pairs = [("a river", "the sea"), ("the sea", "the sea"), ("a stone", "no bird"), ("no bird", "no bird")] * 3
    gold = metrics.Gold(np.array([int(first == second) for first, second in pairs]))
    teacher, tokenizer = model_of(*LAYERS), make_tokenizer()
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    monkeypatch.setattr(shipped, "take", lambda *_: (teacher, None))
    monkeypatch.setattr(shipped, "LENGTH", 16)
    monkeypatch.setattr(make_student.checkpoints, "load_tokenizer", lambda _: tokenizer)
    monkeypatch.setattr(splits, "load_split", lambda _, name: splits.text_split("docs", name, pairs, gold))
    monkeypatch.setattr(make_student.docs_transfer, "load", lambda: (splits.text_split("docs", "more", pairs, gold), 8))
    monkeypatch.setattr(make_student, "RANK", 2)

    def small(stage):
        return replace(stage, recipe=replace(stage.recipe, batch_size=4))

    monkeypatch.setattr(make_student, "INSIDE", small(make_student.INSIDE))
    monkeypatch.setattr(make_student, "LESSONS", tuple(small(lesson) for lesson in make_student.LESSONS))

    file = make_student.make("2x16@1,3")
    record = shipped.record_of(file)
    assert file.name == "docs-student-2x16.safetensors" and record["layers"] == [1, 3]
    names = [stage["name"] for stage in record["stages"]]
    assert names == ["inside", "answers", "labels too", "balanced"] and record["averaged"] == names[2:]
    assert record["stages"][1]["recipe"]["epochs"] == 2 and record["command"].endswith("make_student 2x16@1,3")
    last_steps = [history["loss"][-1][0] for history in record["histories"][1:]]
    assert last_steps == [2 * 3, 3, 2 * 2], "of 12 texts twice and once, of 8 balanced ones twice"
    chosen_by_dev = [bool(history["dev_score"]) for history in record["histories"]]
    assert chosen_by_dev == [False, True, False, False], "none of those whose mean is taken"
    student = shipped_student.take(file, model_of(*LAYERS))
    texts = splits.tokenize(splits.text_split("docs", "test", pairs, gold), tokenizer, DOCS.max_length)
    assert metrics.score(DOCS, training.predict(student, texts), gold) == record["scores"]["as kept"]["test"]
    positions, theirs = (model.encoder.embeddings.position.weight for model in (student, teacher))
    assert not np.allclose(positions.detach(), theirs.detach()), "trained along, and kept"


def test_the_mean_of_weights():
    mean = make_student.mean_of([{"a": torch.tensor([1.0, 4.0])}, {"a": torch.tensor([3.0, 0.0])}])
    assert mean["a"].tolist() == [2.0, 2.0]
