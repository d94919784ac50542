import errno
import os

import numpy as np
import pytest
import torch
from conftest import examples_of, tiny_classifier

from fflib.data import batching, registry
from fflib.distillation import objective, teacher
from fflib.files import InputError
from fflib.model import training

EXAMPLES = examples_of([4 + i % 7 for i in range(24)], seed=5)
FEATURES = [("hidden", 0), ("hidden", 2), ("query", 1), ("key", 2)]
GROUP = np.array([3, 0, 9, 4])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path))
    return tmp_path


def inputs():
    return {name: torch.from_numpy(array) for name, array in batching.collate(EXAMPLES, GROUP).inputs.items()}


def expected(model):
    with torch.no_grad():
        return objective.observe(model.eval(), inputs(), FEATURES)


def assert_same(features, model):
    mask = inputs()["attention_mask"].bool()
    for feature, value in expected(model)[1].items():
        torch.testing.assert_close(features[feature][mask], value[mask], rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("cache_gb", [1.0, 0.0])
def test_features_are_those_of_the_teacher_without_dropout(cache_gb, cache):
    model = tiny_classifier().train()  # a teacher left in training mode must not answer with its dropout on
    outputs = teacher.TeacherOutputs(model, EXAMPLES, cache_gb)
    outputs.prepare(FEATURES)
    model.train()
    assert_same(outputs.features(GROUP, inputs(), FEATURES), model)
    torch.testing.assert_close(outputs.logits[GROUP], expected(model)[0], rtol=1e-4, atol=1e-5)
    assert bool(list(cache.glob("predictions/*/hidden-0.npy"))) == (cache_gb > 0)


def test_the_pass_for_the_features_brings_the_logits_too(monkeypatch):
    outputs = teacher.TeacherOutputs(tiny_classifier(), EXAMPLES)
    outputs.prepare(FEATURES)
    monkeypatch.setattr(training, "predict", lambda *_: 1 / 0)
    torch.testing.assert_close(outputs.logits[GROUP], expected(outputs.model)[0], rtol=1e-4, atol=1e-5)


def test_what_is_on_disk_is_not_computed_again_and_a_damaged_file_is(cache, monkeypatch):
    model = tiny_classifier()
    teacher.TeacherOutputs(model, EXAMPLES).prepare(FEATURES)
    monkeypatch.setattr(teacher, "observe", lambda *_: 1 / 0)
    outputs = teacher.TeacherOutputs(model, EXAMPLES)
    outputs.prepare(FEATURES)
    assert_same(outputs.features(GROUP, inputs(), FEATURES), model)
    monkeypatch.undo()
    monkeypatch.setenv("FFLIB_CACHE", str(cache))
    (path,) = cache.glob("predictions/*/query-1.npy")
    path.write_bytes(path.read_bytes()[:200])
    outputs = teacher.TeacherOutputs(model, EXAMPLES)
    outputs.prepare(FEATURES)
    assert_same(outputs.features(GROUP, inputs(), FEATURES), model)


def test_a_part_answers_as_the_whole_does():
    outputs = teacher.TeacherOutputs(tiny_classifier(), EXAMPLES)
    part = outputs.take([9, 3, 0, 4, 11])
    part.prepare(FEATURES)
    features = part.features(np.array([1, 2, 0, 3]), inputs(), FEATURES)  # these are 3, 0, 9 and 4 of the whole
    assert_same(features, outputs.model)
    assert torch.equal(part.logits, outputs.logits[[9, 3, 0, 4, 11]]) and len(part.examples) == 5
    assert part.key not in (outputs.key, outputs.take([9, 3]).key)


def test_another_teacher_or_other_examples_have_their_own_files(cache):
    folders = {
        teacher.TeacherOutputs(tiny_classifier(seed=seed), examples)._folder
        for seed in (0, 1)
        for examples in (EXAMPLES, EXAMPLES.take(range(5)))
    }
    assert len(folders) == 4


def test_an_interrupted_pass_leaves_no_file(cache, monkeypatch):
    outputs = teacher.TeacherOutputs(tiny_classifier(), EXAMPLES)
    monkeypatch.setattr(teacher, "observe", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        outputs.prepare(FEATURES)
    assert not list(cache.glob("predictions/*/*"))


def test_a_full_disk_is_told_before_anything_is_computed(cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match="No space left"):
        teacher.TeacherOutputs(tiny_classifier(), EXAMPLES).prepare(FEATURES)
    assert not list(cache.glob("predictions/*/*"))


def beside_floors(low, clear):
    above = {"points": low + 3, "low": low, "high": low + 6}
    scores = {"best": 0.7, "teacher": 0.73, "largest_class": 0.5}
    return {"best": "words", "teacher_above_best_on_dev": above, "teacher_is_clear": clear, "dev": scores}


def test_a_teacher_within_the_interval_of_the_best_floor_is_refused_with_what_to_change():
    task, weak, good = registry.get_task("docs"), beside_floors(-1.0, False), beside_floors(1.0, True)
    with pytest.raises(InputError, match=r"73.0% on dev, not clearly above the 70.0% of the best floor, words") as told:
        teacher.check_teacher(task, weak, "refuse")
    for name in ("n_train", "epochs", "learning_rate", "weak_teacher"):
        assert f"`{name}" in str(told.value)
    assert str(told.value).endswith("Or take the floor words: it scores as well, and is faster than any transformer")
    with pytest.raises(InputError, match="learning_rate") as told:
        teacher.check_teacher(task, weak | {"best": "one answer for all"}, "refuse")
    assert "faster than" not in str(told.value), "that is no model"
    warned = teacher.check_teacher(task, weak, "warn")
    assert warned.startswith("**Careful: the teacher scores 73.0%") and "This run goes on" in warned
    assert "clearly above the 70.0% of the best floor, words (+4.0 points" in teacher.check_teacher(task, good)
    with pytest.raises(InputError, match="no way with a weak teacher 'hope'"):
        teacher.check_teacher(task, good, "hope")


def test_the_first_examples_are_a_part_and_all_of_them_the_whole():
    outputs = teacher.TeacherOutputs(tiny_classifier(), EXAMPLES)
    assert outputs.first(5).key == outputs.take(range(5)).key
    assert outputs.first(0) is outputs.first(24) is outputs.first(99) is outputs
