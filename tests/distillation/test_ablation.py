from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from small_classifier import classifier

from fflib.distillation import ablation
from fflib.distillation.objective import Objectives
from fflib.distillation.stages import DistillationStage
from fflib.model.training import Recipe

INSIDE = DistillationStage("inside", Objectives(hidden=1.0, attention=1.0), Recipe())
ANSWERS = DistillationStage("answers", Objectives(logits=1.0, temperature=3.0), Recipe())
SMALL, LARGE, OTHER_HEADS = classifier(2), classifier(4), classifier(2, heads=4)


def change(name, stages=(INSIDE, ANSWERS), student=SMALL, named=False):
    return ablation.change(name, stages, student, LARGE, named)


def test_each_name_changes_one_thing():
    assert change("without hidden").stages == (
        DistillationStage("inside", Objectives(attention=1.0), Recipe()),
        ANSWERS,
    )
    assert change("with relations").stages[0].objectives == Objectives(hidden=1.0, attention=1.0, relations=1.0)
    assert change("without the inside").stages == (ANSWERS,)
    for name, objectives in {
        "labels for answers": Objectives(labels=1.0, temperature=3.0),
        "answers and labels": Objectives(logits=1.0, labels=1.0, temperature=3.0),
        "temperature 2": Objectives(logits=1.0, temperature=2.0),
    }.items():
        assert change(name).stages == (INSIDE, replace(ANSWERS, objectives=objectives))
    for name, field, value in (
        ("ReLU", "activation", "relu"),
        ("start from last", "start", "last"),
        ("learn from first", "learn_from", "first"),
    ):
        changed = change(name)
        assert changed.stages == (INSIDE, ANSWERS) and getattr(changed, field) == value


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("with hidden", {}, "has it already"),
        ("without relations", {}, "does not have it"),
        (
            "without hidden",
            {"stages": (replace(INSIDE, objectives=Objectives(hidden=1.0)), ANSWERS)},
            "nothing would",
        ),
        ("without attention", {"student": OTHER_HEADS}, "unlike numbers of heads"),
        ("with relations", {"stages": (ANSWERS,)}, "nothing inside"),
        ("without the inside", {"stages": (ANSWERS,)}, "nothing inside"),
        ("learn from last", {"stages": (ANSWERS,)}, "nothing inside"),
        ("start from last", {"named": True}, "not made of the teacher's layers"),
    ],
)
def test_what_does_not_apply_says_why(name, options, says):
    assert says in change(name, **options)


def test_every_name_is_a_change_or_says_why_not():
    for name in ablation.names():
        for stages in ((INSIDE, ANSWERS), (ANSWERS,)):
            assert isinstance(change(name, stages), ablation.Change | str)
    assert len(set(ablation.names())) == len(ablation.names())
    assert torch.equal(SMALL.classifier.weight, classifier(2).classifier.weight), "models are only looked at"


def test_changes_are_told_apart_from_those_that_do_not_apply():
    study = SimpleNamespace(
        stages=(INSIDE, ANSWERS), init=SimpleNamespace(named=False), outputs=SimpleNamespace(model=LARGE)
    )
    changes, left_out = ablation.applicable(["ReLU", "without relations"], study, SMALL)
    assert changes == {"ReLU": change("ReLU")} and left_out == {"without relations": "the recipe does not have it"}
