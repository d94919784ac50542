import pytest
import torch
from conftest import examples_of
from small_classifier import classifier

from fflib.distillation import stages, teacher
from fflib.distillation.objective import Objectives
from fflib.distillation.stages import DistillationStage
from fflib.files import InputError
from fflib.model import training
from fflib.model.training import Recipe

IDS = torch.tensor([[5, 9, 30, 7], [8, 8, 1, 2]])


def test_other_examples_are_noticed():
    with pytest.raises(AssertionError):
        stages.same_examples(examples_of([4, 5]), examples_of([4, 5, 6]))


def test_stages_follow_each_other_and_a_finished_one_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    examples, model = examples_of([4 + i % 7 for i in range(48)], seed=5), classifier(4)
    first = DistillationStage(
        "inner",
        Objectives(embedding=1.0, hidden=1.0, attention=1.0),
        Recipe(4, 8, 1e-2, dropout=0.0, evaluations_per_epoch=0),
    )
    second = DistillationStage("logits", Objectives(logits=1.0), Recipe(4, 8, 1e-2, dropout=0.0))
    outputs, fits = teacher.TeacherOutputs(model, examples), []
    fit = training.fit
    monkeypatch.setattr(training, "fit", lambda *arguments: fits.append(1) or fit(*arguments))

    def distance(logits):
        return float((torch.from_numpy(logits).softmax(1) - outputs.logits.softmax(1)).abs().mean())

    def distil(*in_turn, seed=9):
        return stages.distil(
            classifier(2, seed=seed),
            in_turn,
            outputs,
            examples,
            lambda logits, _: -distance(logits),
            tmp_path / "student",
        )

    student, histories = distil(first, second)
    assert len(fits) == 2 and len(histories) == 2 and histories[0].dev_score == []
    assert distance(training.predict(student, examples)) < 0.5 * distance(
        training.predict(classifier(2, seed=9), examples)
    )

    again, _ = distil(first, second)
    assert len(fits) == 2 and torch.equal(again(IDS).logits, student(IDS).logits)
    distil(first, DistillationStage("logits", Objectives(logits=1.0), Recipe(1, 8, 1e-2)))
    assert len(fits) == 3, "the first stage did not change, so only the second is trained"
    distil(DistillationStage("inner", Objectives(hidden=1.0), first.recipe), second)
    assert len(fits) == 5, "another first stage gives another second"
    distil(DistillationStage("inner", Objectives(hidden=1.0), first.recipe), second, seed=10)
    assert len(fits) == 7, "another start gives another student"
    with pytest.raises(InputError, match="without a stage"):
        distil()
