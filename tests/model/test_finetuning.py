"""How much training fits into the minutes that are given."""

import numpy as np
import pytest

from fflib.data.metrics import Gold
from fflib.data.splits import tokenized
from fflib.files import InputError
from fflib.model import finetuning
from fflib.model.finetuning import Plan
from fflib.model.training import Recipe


def texts(count):
    ids = [np.arange(1, 5 + i % 4, dtype=np.int32) for i in range(count)]
    return tokenized(ids, [np.zeros_like(row) for row in ids], Gold(np.arange(count) % 2))


RECIPE = Recipe(epochs=3, batch_size=10, evaluations_per_epoch=2)


@pytest.mark.parametrize(
    ("minutes", "rows", "epochs", "takes_s"),
    [
        (10.0, 1000, 3, 360),  # 100 steps of 1 s and two looks at dev of 10 s: 120 s a pass
        (4.5, 1000, 2, 240),
        (2.0, 1000, 1, 120),
        (1.0, 400, 1, 60),  # 40 steps are left beside dev
        (0.1, 200, 1, 40),  # never fewer than 20 steps
    ],
)
def test_whole_passes_are_taken_and_where_none_fits_fewer_rows(minutes, rows, epochs, takes_s):
    plan = finetuning._plan(minutes, texts(1000), RECIPE, step_s=1.0, evaluation_s=10.0)
    assert (plan.rows, plan.epochs) == (rows, epochs)
    assert plan.minutes * 60 == pytest.approx(takes_s)


def test_a_plan_is_made_once_and_again_when_anything_changes(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(finetuning.checkpoints, "load_classifier", lambda *args: None)
    monkeypatch.setattr(finetuning, "_timed", lambda *args: calls.append(1) or (0.5 / len(calls), 1.0))
    given = texts(1000), texts(40), RECIPE, "some/model"

    def plan(minutes=1.0, train=given[0]):
        task = type("Task", (), {"num_labels": 2, "spans": 0})
        return finetuning.fit_into(minutes, train, *given[1:], task, tmp_path / "trained")

    first = plan()
    assert plan() == first and len(calls) == 1
    assert plan(minutes=2.0) != first and len(calls) == 2
    assert plan(train=texts(900)).rows == 900 and len(calls) == 3
    (tmp_path / "trained.plan.json").write_text("{")
    plan()
    assert len(calls) == 4


def test_no_time_is_refused(tmp_path):
    with pytest.raises(InputError, match="minutes=0 leaves no time"):
        finetuning.fit_into(0, texts(20), texts(20), RECIPE, "some/model", None, tmp_path / "trained")


def test_a_plan_says_what_it_is():
    assert str(Plan(8500, 1, 4.26)) == "8500 rows, once: about 4.3 minutes"
    assert str(Plan(8500, 3, 0.01)) == "8500 rows, 3 times: about 0.1 minutes"
