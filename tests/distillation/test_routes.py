import re
from dataclasses import replace

import pytest
import torch
from conftest import examples_of
from small_classifier import classifier

from fflib.data import registry
from fflib.data.metrics import Gold, Scored
from fflib.data.splits import tokenized
from fflib.distillation import routes
from fflib.distillation.objective import FASTFORMERS, Objectives
from fflib.distillation.routes import Routes
from fflib.distillation.stages import DistillationStage
from fflib.distillation.students import StudentInit
from fflib.distillation.study import Distilled, Study
from fflib.distillation.teacher import TeacherOutputs
from fflib.files import InputError
from fflib.model import checkpoints
from fflib.model.training import Recipe

IDS = torch.tensor([[5, 9, 30, 7], [8, 8, 1, 2]])
TRAIN = examples_of([4 + i % 7 for i in range(16)], seed=5)
STAGES = (
    DistillationStage("inside", Objectives(hidden=1.0), Recipe(3, 8, 1e-2, evaluations_per_epoch=0)),
    DistillationStage("answers", Objectives(logits=1.0), Recipe(2, 8, 1e-3, dropout=0.0, seed=4)),
)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Routes whose study only notes what it would train."""
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    teacher, calls = classifier(4), []
    checkpoints.save(classifier(4, seed=8), tmp_path / "pretrained")
    study = Study(
        StudentInit("teacher", teacher, None), STAGES, TeacherOutputs(teacher, TRAIN, 0.5), {}, None, tmp_path
    )

    def distil(self, name, start, stages=(), outputs=None, learn_from=""):
        calls.append({"name": name, "start": start, "stages": stages, "outputs": outputs})
        return Distilled(start, [])

    monkeypatch.setattr(Study, "distil", distil)
    object.__setattr__(study, "task", registry.get_task("docs"))
    return Routes(study, "2x16@last", str(tmp_path / "pretrained"), copies=2, max_length=32), calls


def test_labels_alone_start_from_the_pretrained_model_or_the_teacher(made):
    way, calls = made
    way.distil("labels")
    way.distil("labels, teacher's layers")
    pretrained = checkpoints.load_classifier(way.pretrained, 2, 4)
    for call, whole in zip(calls, (pretrained, way.study.outputs.model), strict=True):
        by_hand = StudentInit("teacher", whole, None).make("2x16@last")
        assert torch.equal(call["start"](IDS).logits, by_hand(IDS).logits)
        assert call["stages"] == [
            DistillationStage("labels", Objectives(labels=1.0), replace(STAGES[1].recipe, epochs=5))
        ]
        assert call["outputs"] is None
    assert [call["name"] for call in calls] == ["labels", "own labels"]


def test_one_stage_is_the_papers_and_as_long_as_both(made):
    way, calls = made
    way.distil("one stage")
    (stage,) = calls[0]["stages"]
    assert stage == DistillationStage("single", FASTFORMERS, replace(STAGES[1].recipe, epochs=5))


@pytest.mark.parametrize("route", ["augmented", "recombined"])
def test_more_text_is_answered_by_the_teacher_and_taught_in_the_same_stages(route, made, monkeypatch):
    way, calls = made
    new = tokenized(TRAIN.input_ids[:3], TRAIN.token_type_ids[:3], Gold(TRAIN.labels[:3] * 0 - 1))
    monkeypatch.setattr(routes.augmentation, "recombined", lambda *_: new)
    monkeypatch.setattr(routes.augmentation, "neighbour_candidates", lambda *_: "near")
    monkeypatch.setattr(routes.augmentation, "augment", lambda *arguments, seed: new)
    way.distil(route)
    outputs = calls[0]["outputs"]
    assert len(outputs.examples) == 19 and outputs.model is way.study.outputs.model and outputs.cache_gb == 0.5
    assert outputs.examples.labels[16:].tolist() == [-1] * 3 and calls[0]["stages"] == ()


def test_a_named_student_starts_as_it_is_and_one_of_another_vocabulary_has_fewer_routes(made, tmp_path):
    way, calls = made
    way.study.init.named, way.study.init._general = True, classifier(2, seed=3)
    way.distil("labels")
    assert torch.equal(calls[0]["start"](IDS).logits, classifier(2, seed=3)(IDS).logits)
    way.study.init.logits_only = True
    with pytest.raises(InputError, match="no route 'one stage'"):
        way.distil("one stage")
    assert set(routes.names(logits_only=True)) < set(routes.names())


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (Scored(-0.05, -0.08, -0.02), "clearly ahead of** .*\\(\\+5.0 points, \\+2.0 to \\+8.0\\)"),
        (Scored(0.05, 0.02, 0.08), "clearly behind** .*\\(-5.0 points, -8.0 to -2.0\\)"),
        (Scored(0.01, -0.02, 0.03), "not clearly apart from**"),
    ],
)
def test_the_verdict_on_labels_is_seen_from_the_distilled_student(labels, says):
    said = routes.verdict(labels, 16, 0)
    assert (
        re.search(says.replace("**", r"\*\*"), said)
        and "Both saw 16 examples" in said
        and "from all of them and so knows more" in said
    )
    assert "knows more" not in routes.verdict(labels, 16, 16)


def test_labels_that_were_not_tried_have_no_verdict():
    assert "did not try" in routes.verdict(None, 16, 0)
