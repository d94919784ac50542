"""A size of which no record tells: its work beside that of another size, by hand and by the kept record."""

from __future__ import annotations

import pytest

from fflib.book import plan, scale
from fflib.book.plan import Step
from fflib.files import write_json
from fflib.runs import params, records, sweep_plan, times

NIGHT_S = 8 * 3600


@pytest.fixture
def kept():
    """The records of the kept default run, in standard size."""
    return {record["chapter"]: record for record in records.readable(times.KEPT / "docs-cpu").values()}


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    return tmp_path


def seconds(kept, chapter, **values):
    record = kept[chapter]
    rate = scale.passes_per_s(kept[scale.DISTILLATION])
    return scale.scaled_s(record, record["parameters"] | values, scale.all_texts(kept), rate)


def test_the_same_parameters_take_the_same_seconds(kept):
    for chapter, record in kept.items():
        assert seconds(kept, chapter) == pytest.approx(sum(record["seconds_by_kind"].values()))


def test_twice_the_training_takes_that_much_more_and_no_more_than_its_limit(kept):
    by_kind = kept[params.BASELINE]["seconds_by_kind"]
    more = seconds(kept, params.BASELINE, epochs=2) - sum(by_kind.values())
    assert more == pytest.approx(by_kind["training"])
    limited = seconds(kept, params.BASELINE, epochs=1000, minutes=2.0)
    assert limited == pytest.approx(sum(by_kind.values()) - by_kind["training"] + 120)


def test_texts_are_counted_as_often_as_they_are_trained_on():
    values = {
        "stage_epochs": [2, 1], "n_distil": 0, "students_tried": ["3x192", "2x384", "3x384@kept", "teacher"],
        "try_every_student": True, "routes_tried": ["labels", "augmented"], "copies": 3, "variants_tried": ["ReLU"],
        "n_compare": 50, "data_sizes": [10, 20], "distil_length": 512,
    }  # fmt: skip
    # Two students and a route on 1,000 texts, a route on those and three copies, two recipes on 50, and the curve.
    assert scale.distil_passes(values, 1000) == 3 * (2 * 1000 + 1000 + 4000 + 2 * 50 + 30)
    assert scale.distil_passes(values | {"distil_length": 48}, 1000) == scale.distil_passes(values, 1000) / 2
    assert scale.distil_passes(values | {"try_every_student": False}, 1000) == 3 * (6000 + 2 * 50 + 30)


def test_all_is_what_there_is():
    assert [scale.count(n, 100) for n in (0, 30, 300)] == [100, 30, 100] and scale.count(30, 0) == 30


def test_the_full_size_of_the_default_run_fits_a_night(outputs):
    """On the machine of the kept record: two cores; the plan prints the sum."""
    run = params.load_run("docs-cpu", "full")
    guesses = [scale.estimate(run, chapter) for chapter in sweep_plan.order()]
    assert all(guesses) and {guess.by for guess in guesses} == {scale.BY}
    assert NIGHT_S / 2 < times.total_s(guesses) < 0.95 * NIGHT_S


def test_the_paper_s_scale_stays():
    values = params.load_run("docs-cpu", "full").values
    standard = params.load_run("docs-cpu").values
    assert values["n_train"] == values["n_distil"] == values["n_dev"] == values["n_test"] == 0, "all there is"
    assert len(values["seeds"]) == 3 and values["try_every_student"] and values["train_length"] == 512
    for name in ("students_tried", "routes_tried", "uniform_tried", "speedups_wanted", "recipes_tried"):
        assert len(values[name]) > len(standard[name]), name


def test_the_plan_tells_of_a_size_without_a_record_and_says_by_what(outputs, monkeypatch):
    run = params.load_run("docs-cpu", "full")
    told = plan.told([Step(f"{run.folder}/results/{params.BASELINE}.json", "missing")], [run])
    assert scale.BY in told and "no record tells" not in told


def test_without_any_record_nothing_is_told(outputs, monkeypatch, tmp_path):
    monkeypatch.setattr(times, "KEPT", tmp_path / "none")
    run = params.load_run("docs-cpu", "full")
    assert scale.estimate(run, params.BASELINE) is None
    write_json(tmp_path / "docs-cpu" / "results" / "01_baseline.json", {"chapter": params.BASELINE})
    assert scale.estimate(run, params.BASELINE) is None, "damaged"
