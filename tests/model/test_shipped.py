"""What comes with the book is what its record says, and is taken for the model and the task it was made for alone."""

import json
from dataclasses import replace

import numpy as np
import pytest
from random_models import model_of
from small_tokenizer import make_tokenizer

from fflib.data import metrics, registry, splits
from fflib.files import InputError
from fflib.model import checkpoints, low_rank, shipped, training

DOCS = registry.get_task("docs")


def test_a_teacher_comes_for_one_task_and_one_model_alone():
    assert shipped.file_for(DOCS, shipped.BASE).exists()
    assert shipped.file_for(DOCS, "some/other-model") is None
    assert shipped.file_for(registry.get_task("boolq"), shipped.BASE) is None


def test_the_kept_teacher_is_small_and_was_made_by_the_recipe_that_stands_here():
    file = shipped.file_for(DOCS, shipped.BASE)
    record = shipped.record_of(file)
    assert file.stat().st_size < 1e6 and record["kilobytes"] == round(file.stat().st_size / 1000)
    assert record["stages"] == {stage: vars(recipe) for stage, recipe in shipped.STAGES.items()}
    assert (record["base"], record["rank"], record["train_length"]) == (shipped.BASE, shipped.RANK, shipped.LENGTH)
    scores = record["scores"]
    assert all(abs(scores["as kept"][split] - scores["as trained"][split]) <= 0.005 for split in ("dev", "test"))


def test_the_kept_teacher_scores_what_its_record_says(tmp_path):
    tokenizer = checkpoints.load_tokenizer(shipped.BASE)
    file = shipped.file_for(DOCS, shipped.BASE)
    model, history = shipped.take(file, shipped.BASE, DOCS, tmp_path / "teacher", tokenizer)
    dev = splits.tokenize(splits.load_split("docs", "dev", limit=300), tokenizer, DOCS.max_length)
    score = metrics.score(DOCS, training.predict(model, dev), dev.gold)
    assert score == pytest.approx(shipped.record_of(file)["scores"]["as kept"]["dev"], abs=0.075)  # three errors
    assert history.best_score == pytest.approx(max(score for _, score in history.dev_score))
    again = checkpoints.load(tmp_path / "teacher")
    assert np.array_equal(training.predict(again, dev.take(range(8))), training.predict(model, dev.take(range(8))))


def test_a_file_is_applied_to_the_public_weights_and_kept_as_a_model(tmp_path, monkeypatch):
    base, tuned = (model_of((2, 8, 24)) for _ in range(2))
    tuned.classifier.bias.data += 1
    file = tmp_path / "docs-small.safetensors"
    low_rank.save(tuned, base, file, 2)
    history = vars(training.History(dev_score=[(10, 0.7)], best_score=0.7, seconds=60.0))
    file.with_suffix(".json").write_text(json.dumps({"history": history}))
    monkeypatch.setattr(shipped.checkpoints, "load_classifier", lambda *args, **options: model_of((2, 8, 24)))
    model, seen = shipped.take(file, "some/model", DOCS, tmp_path / "teacher", make_tokenizer())
    assert np.allclose(model.classifier.bias.detach(), tuned.classifier.bias.detach(), atol=1e-3)
    assert (seen.best_score, seen.seconds) == (0.7, 60.0)
    file.write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read"):
        shipped.take(file, "some/model", DOCS, tmp_path / "teacher", make_tokenizer())


def test_trainings_that_follow_each_other_are_told_as_one():
    first = training.History(loss=[(20, 0.7), (30, 0.6)], dev_score=[(30, 0.6)], best_score=0.6, seconds=10, resumed=1)
    second = training.History(loss=[(20, 0.5)], dev_score=[(10, 0.65), (20, 0.64)], best_score=0.65, seconds=5)
    whole = shipped.joined([first, second])
    assert whole.loss == [(20, 0.7), (30, 0.6), (50, 0.5)]
    assert whole.dev_score == [(30, 0.6), (40, 0.65), (50, 0.64)]
    assert (whole.best_score, whole.seconds, whole.resumed) == (0.65, 15, 1)
    assert first.loss == [(20, 0.7), (30, 0.6)]


def test_the_command_leaves_a_file_and_its_record(tmp_path, monkeypatch):
    """The whole way on a model and texts of nothing: three stages, the cut, and a file that makes what was scored."""
    layers, words = ((2, 8, 24), (2, 8, 24)), ["a river", "the sea", "a stone", "no bird"]
    pairs = [(words[i % 4], words[(i + i // 4) % 4]) for i in range(16)]
    gold = metrics.Gold(np.array([int(first == second) for first, second in pairs]))
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "kept")
    monkeypatch.setattr(shipped, "RANK", 2)
    monkeypatch.setattr(shipped.checkpoints, "load_classifier", lambda *_, **__: model_of(*layers))
    monkeypatch.setattr(shipped.checkpoints, "load_tokenizer", lambda _: make_tokenizer())
    monkeypatch.setattr(shipped.splits, "load_split", lambda _, name: splits.text_split("docs", name, pairs, gold))
    monkeypatch.setattr(shipped.docs_task, "balanced_places", lambda _: list(range(8)))
    few = {name: replace(recipe, batch_size=4) for name, recipe in shipped.STAGES.items()}
    monkeypatch.setattr(shipped, "STAGES", few)
    monkeypatch.setattr(shipped, "LENGTH", 16)

    file = shipped.make()
    record = shipped.record_of(file)
    assert [step for step, _ in record["history"]["dev_score"]][-1] == 4 + 3 * 2 + 2  # of 16, 8 and 8 texts
    scores = record["scores"]
    assert set(scores) == {"as trained", "as cut", "as tuned", "as kept"}
    assert scores["as kept"]["dev"] == max(scores["as cut"]["dev"], scores["as tuned"]["dev"])
    assert sorted(path.suffix for path in (tmp_path / "kept").iterdir()) == [".json", ".safetensors"]
    model, _ = shipped.take(file, "some/model", DOCS, tmp_path / "teacher", make_tokenizer())
    texts = splits.tokenize(splits.text_split("docs", "test", pairs, gold), make_tokenizer(), DOCS.max_length)
    assert metrics.score(DOCS, training.predict(model, texts), gold) == record["scores"]["as kept"]["test"]
