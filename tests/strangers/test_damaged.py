"""Damaged files: what can be made again is made again, and what is planned is what is done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import examples_of, tiny_classifier

from fflib import hub
from fflib.book import execute, plan, snake
from fflib.data import text_lengths
from fflib.distillation.teacher import TeacherOutputs
from fflib.files import InputError, write_json
from fflib.model import cache, checkpoints, training
from fflib.runs import params, provenance, records

DEV = examples_of([5, 9, 12, 7])


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def zeros_inside(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-400:-100] = bytes(300)
    path.write_bytes(content)


def one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(content)


def gone(path: Path) -> None:
    path.unlink()


HARMS = [cut_short, zeros_inside, one_bit, gone]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    checkpoints.save(tiny_classifier(), tmp_path / "teacher-0")
    return tmp_path / "teacher-0"


@pytest.mark.parametrize("harm", HARMS)
def test_a_checkpoint_that_changed_is_refused(folder, harm):
    checkpoints.load(folder)
    harm(folder / hub.WEIGHTS)
    with pytest.raises(InputError, match=r"model\.safetensors .*again") as error:
        checkpoints.load(folder)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_before_there_was_a_hash_is_read(folder):
    values = json.loads((folder / hub.CONFIG).read_text())
    del values["weights_sha256"]
    write_json(folder / hub.CONFIG, values)
    checkpoints.load(folder)


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", [hub.WEIGHTS, hub.CONFIG])
def test_a_training_whose_result_is_damaged_is_done_again(folder, harm, name, capfd):
    def trained():
        recipe = training.Recipe(epochs=1, batch_size=2, learning_rate=1e-3)
        loss = training.label_loss(DEV)
        score = lambda logits, gold: float((logits.argmax(1) == gold.labels).mean())  # noqa: E731
        return cache.train_or_load(tiny_classifier, folder, DEV, DEV, lambda _: loss, score, recipe, "labels")[0]

    first = cache.weights_hash(trained())
    harm(folder / name)
    assert cache.weights_hash(trained()) == first and "trained again" in capfd.readouterr().err
    assert cache.weights_hash(trained()) == first and "trained again" not in capfd.readouterr().err


@pytest.mark.parametrize("harm", [cut_short, one_bit, gone])
def test_answers_that_were_kept_and_changed_are_computed_again(folder, harm, tmp_path):
    examples, model = examples_of([9] * 60), checkpoints.load(folder)
    first = cache.predict_cached(model, examples)
    (path,) = (tmp_path / "cache" / "predictions").glob("*/*")
    content = bytearray(path.read_bytes())
    middle = content.find(first.tobytes()[:16])
    assert middle > 0, "the numbers stand in the file as they are"
    content[middle] ^= 1
    path.write_bytes(content) if harm is one_bit else harm(path)
    np.testing.assert_array_equal(cache.predict_cached(model, examples), first)


@pytest.mark.parametrize("note", [b"", b"null", b"[]", b'{"key": "x"}', b'{"key": "x", "history": {"nonsense": 1}}'])
def test_a_note_of_a_training_that_is_none_is_no_traceback(folder, note):
    (folder / "training.json").write_bytes(note)
    assert cache._saved_note(folder) == {}


@pytest.mark.parametrize("harm", [cut_short, zeros_inside, gone])
def test_hidden_states_that_were_kept_and_changed_are_computed_again(folder, harm, tmp_path):
    examples, model = examples_of([9] * 60), checkpoints.load(folder)
    feature = ("hidden", 1)

    def states():
        outputs = TeacherOutputs(model, examples)
        outputs.prepare([feature])
        return np.array(outputs._rows[feature])

    first = states()
    (path,) = (tmp_path / "cache" / "predictions").glob("*/hidden-1.npy")
    written = path.stat().st_mtime_ns
    np.testing.assert_array_equal(states(), first)
    assert path.stat().st_mtime_ns == written, "it is read where it is whole"
    harm(path)
    np.testing.assert_array_equal(states(), first)


@pytest.mark.parametrize("content", [b"3", b"null", b"true", b"", b"[32]"])
def test_a_length_that_is_none_is_counted_again(content, tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(text_lengths, "_counted", lambda *_: np.array([20]))
    texts = [("a house by the sea",)]
    assert text_lengths.length_for(texts) == 32
    (path,) = (tmp_path / "lengths").iterdir()
    path.write_bytes(content)
    assert text_lengths.length_for(texts) == 32 and json.loads(path.read_bytes()) == 32


@pytest.fixture
def finished(tmp_path, monkeypatch) -> params.Run:
    """A run whose chapters have a record each, as this code would write it, and the first a teacher."""
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path / "outputs"))
    run = params.load_run("docs-cpu", "smoke")
    checkpoints.save(tiny_classifier(), run.folder / "models" / "teacher-0")
    for number, chapter in enumerate(params.chapters()):
        values = run.chapter_values(chapter)
        facts = {"teacher": {"folder": str(run.folder / "models" / "teacher-0")}} if chapter == params.BASELINE else {}
        record = {"schema_version": 1, "chapter": chapter, "key": provenance.chapter_key(chapter, values)}
        record |= {"written": f"2026-01-0{number + 1}T00:00:00+00:00", "parameters": values, "machine": {}}
        write_json(run.folder / "results" / f"{chapter}.json", record | {"facts": facts, "rungs": []})
    return run


@pytest.mark.parametrize("harm", HARMS)
def test_a_chapter_whose_model_is_damaged_runs_again(finished, harm):
    assert execute.check(finished) == []
    harm(finished.folder / "models" / "teacher-0" / hub.WEIGHTS)
    assert records.damage(finished.folder, params.BASELINE)
    assert execute.check(finished) == [params.BASELINE]
    assert not (finished.folder / "results" / "01_baseline.json").exists()


@pytest.mark.parametrize("harm", HARMS)
def test_a_plan_names_what_a_book_will_make_again(finished, harm, monkeypatch, capsys):
    nothing = "Nothing to be done (all requested files are present and up to date).\n"
    monkeypatch.setattr(snake, "dry_run", lambda config: (0, nothing))
    wanted = ["--run", "docs-cpu", "--size", "smoke"]
    assert plan.main(wanted) == 0 and capsys.readouterr().out.startswith("Nothing to be done")
    harm(finished.folder / "models" / "teacher-0" / hub.WEIGHTS)
    assert plan.main(wanted) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.partition(",")[0].partition(" (")[0].rsplit("/", 1)[1] for line in lines if "/" in line]
    assert names == [*(f"{name}.json" for name in [*params.chapters()[1:], "00_introduction"]), "index.html"]
    assert "model.safetensors" in lines[0] and "Nothing" not in "".join(lines)


@pytest.mark.parametrize("content", [b"null", b"[]", b"{}", bytes(900), b'{"chapter": "04_pruning", "facts": 3}'])
def test_a_record_that_is_none_is_set_aside(finished, content):
    (finished.folder / "results" / "04_pruning.json").write_bytes(content)
    assert execute.check(finished) == ["04_pruning"]


def test_a_config_that_is_none_is_damage(finished):
    (finished.folder / "models" / "teacher-0" / hub.CONFIG).write_text("null")
    assert "config.json is missing or damaged" in records.damage(finished.folder, params.BASELINE)


def test_a_record_that_is_cut_short_is_planned_too(finished):
    assert plan.with_set_aside([], [finished]) == []
    cut_short(finished.folder / "results" / "04_pruning.json")
    steps = plan.with_set_aside([], [finished])
    assert [step.chapter for step in steps][:2] == ["04_pruning", "05_quantization"] and len(steps) == 8
    assert execute.check(finished) == ["04_pruning"]
