from dataclasses import replace

import pytest
import torch
from conftest import examples_of
from small_classifier import classifier

from fflib.data import metrics, registry, retention
from fflib.data.metrics import Scored
from fflib.data.retention import Retention
from fflib.distillation import study as studies
from fflib.distillation.objective import Objectives
from fflib.distillation.stages import DistillationStage
from fflib.distillation.students import TEACHER, StudentInit
from fflib.distillation.study import Distilled, Study
from fflib.distillation.teacher import TeacherOutputs
from fflib.model import training
from fflib.model.training import History, Recipe

IDS = torch.tensor([[5, 9, 30, 7], [8, 8, 1, 2]])
TEXTS = {
    "train": examples_of([4 + i % 7 for i in range(24)], seed=5),
    "dev": examples_of([5, 6, 4] * 8, seed=6),
    "test": examples_of([7, 5] * 10, seed=7),
}
INSIDE = DistillationStage("inside", Objectives(hidden=1.0), Recipe(1, 8, 1e-2, dropout=0.0, evaluations_per_epoch=0))
ANSWERS = DistillationStage("answers", Objectives(logits=1.0), Recipe(2, 8, 1e-2, dropout=0.0))


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    teacher = classifier(4)
    init, outputs = StudentInit("teacher", teacher, None), TeacherOutputs(teacher, TEXTS["train"])
    task = registry.get_task("docs")
    return Study(init, [INSIDE, ANSWERS], outputs, TEXTS, task, tmp_path / "students", resamples=50)


def test_a_student_of_a_study_learns_in_its_stages_and_is_not_trained_again(study, monkeypatch):
    fits, fit = [], training.fit
    monkeypatch.setattr(training, "fit", lambda *arguments: fits.append(1) or fit(*arguments))
    student = study.distil("2x16", study.init.make("2x16"))
    assert len(fits) == len(student.histories) == 2
    again = study.on_first("2x16", 0)
    assert len(fits) == 2 and torch.equal(again.model(IDS).logits, student.model(IDS).logits)
    assert (study.folder / "2x16" / "answers").is_dir()
    inside, answers = student.histories
    assert study.losses({"2x16": student}) == {"inside": {"2x16": inside.loss}, "answers": {"2x16": answers.loss}}


def test_what_a_call_says_takes_the_place_of_what_the_study_says(study):
    start = study.init.make
    alike = study.distil("a", start("2x16"))
    alone = study.distil("a/b", start("2x16"), stages=[ANSWERS])
    others = study.distil("c", start("2x16"), learn_from="last")
    assert len(alone.histories) == 1 and (study.folder / "a--b").is_dir()
    logits = [each.model(IDS).logits for each in (alike, alone, others)]
    assert not torch.allclose(logits[0], logits[1]) and not torch.allclose(logits[0], logits[2])


def test_fewer_examples_are_the_first_ones(study):
    few = study.on_first("2x16", 8)
    by_hand = study.distil("by hand", study.init.make("2x16"), outputs=study.outputs.take(range(8)))
    assert torch.equal(few.model(IDS).logits, by_hand.model(IDS).logits)
    assert (few.steps, study.on_first("2x16", 24).steps, study.on_first("2x16", 99).steps) == (3, 9, 9)


def test_students_of_another_vocabulary_read_their_own_tokens(study, monkeypatch):
    seen = []
    monkeypatch.setattr(studies.learning, "distil", lambda *arguments: seen.append(arguments[-1]) or (None, []))
    study.distil("own", None, outputs=study.outputs.first(5))
    study.init.logits_only = True
    study.distil("own", None, outputs=study.outputs.first(5))
    assert seen[0] is None and len(seen[1]) == 5


def test_scores_are_those_of_the_task_on_the_split(study):
    one, other = classifier(2, seed=1), classifier(2, seed=2)
    gold, logits = TEXTS["test"].gold, training.predict(one, TEXTS["test"])
    assert study.score(one, "test") == metrics.score(study.task, logits, gold)
    assert study.scored(one, "dev").value == study.score(one, "dev")
    against = study.difference(one, other, "test")
    assert against.value == pytest.approx(study.score(one, "test") - study.score(other, "test"))
    assert against.low <= against.value <= against.high
    assert study.difference_to(study.logits(other, "test"), one, "test") == against


def test_minutes_and_steps_are_those_of_all_stages():
    histories = [History(loss=[(3, 1.0), (8, 0.5)], seconds=30.0), History(loss=[(4, 1.0)], seconds=60.0)]
    student = Distilled(None, histories)
    assert (student.steps, student.minutes, studies.training_minutes([student, student])) == (12, 1.5, 3.0)


def test_the_first_that_holds_goes_on_or_else_the_teacher():
    kept = {name: Retention(value, 0.0, 2.0, 9, 1, 0) for name, value in (("a", 0.6), ("b", 0.97), ("c", 0.9))}
    assert studies.first_that_holds(kept, 0.95) == "b"
    assert studies.first_that_holds(kept, 0.6) == "a", "in the order they were tried, and not the best"
    assert studies.first_that_holds(kept, 0.98) == studies.first_that_holds({}, 0.5) == TEACHER


def test_the_search_goes_from_small_to_large_and_falls_through_to_the_teacher_which_is_not_trained(study, monkeypatch):
    fits, fit = [], training.fit
    monkeypatch.setattr(training, "fit", lambda *arguments: fits.append(1) or fit(*arguments))
    candidates, share = study.init.candidates(["1x16", "2x16"]), {"1x16": 0.7, "2x16": 0.9, TEACHER: 1.0}

    def search(rule, every=False):
        taught, kept = {}, {}

        def holds(name):
            taught[name] = study.taught(name)
            kept[name] = Retention(share[name], 0.0, 2.0, 9, 1, 0)
            return kept[name].holds(rule)

        tried = retention.until_one_holds(candidates, holds, every)
        return tried, taught, studies.first_that_holds(kept, rule)

    assert search(0.6)[::2] == (["1x16"], "1x16") and len(fits) == 2, "the larger one is not trained"
    assert search(0.8)[::2] == (["1x16", "2x16"], "2x16")
    tried, taught, chosen = search(0.95)
    assert tried == candidates and chosen == TEACHER and len(fits) == 4
    assert taught[TEACHER].model is study.outputs.model and taught[TEACHER].histories == []
    assert search(0.6, every=True)[::2] == (candidates, "1x16")
    assert list(study.losses(taught)["inside"]) == ["1x16", "2x16"]


def test_the_teacher_reads_its_own_tokens(study):
    own = {"dev": TEXTS["dev"].take(range(5)), "test": TEXTS["test"]}
    other = replace(study, teacher_texts=own)
    assert len(other.logits(study.outputs.model, "dev")) == 5
    assert len(other.logits(classifier(2), "dev")) == len(study.logits(study.outputs.model, "dev")) == 24


def test_a_student_above_its_teacher_is_explained_and_another_is_not():
    assert (
        studies.why_above("2x16", Scored(0.0, -0.01, 0.01)) == studies.why_above("2x16", Scored(-0.1, -0.2, 0.1)) == ""
    )
    by_chance = studies.why_above("2x16", Scored(0.015, -0.1, 0.1))
    assert "**2x16** scores 1.5 points above its teacher" in by_chance and "-10.0 to +10.0, includes zero" in by_chance
    assert "+1.0 to +10.0, lies above zero" in studies.why_above("2x16", Scored(0.015, 0.01, 0.1))
