"""The tables of kept runs, on the records that the book comes with and on one that is made up."""

import json
from types import SimpleNamespace

import pytest

from fflib.distillation import kept_runs
from fflib.files import ROOT
from fflib.runs import params

REFERENCES = ROOT / "outputs" / "reference"


def kept(name):
    file = REFERENCES / name / "results" / "03_distillation.json"
    if not file.exists():
        return None
    return SimpleNamespace(facts=json.loads(file.read_text())["facts"], label=f"kept run {name}")


def test_the_kept_runs_of_the_book_are_found_and_each_has_rows():
    found = kept_runs.opened(kept)
    assert {"docs-cpu", "docs-cpu-three-seeds", "boolq-after-docs"} <= {*found} <= {*kept_runs.RUNS}
    for run in found.values():
        assert kept_runs.students(run.facts) and kept_runs.changes(run.facts) and kept_runs.curve(run.facts)
    assert [row["route"] for row in kept_runs.routes(found["docs-cpu"].facts)] == ["labels"]


def test_fractions_become_per_cent_and_points():
    facts = {
        "ablation": {
            "base": 0.5,
            "n_train": 600,
            "rows": [{"name": "x", "difference": -0.1, "low": -0.2, "high": 0.0}],
        },
        "data_curve": [[2000, 0.6, 0.55, 0.65]],
    }
    assert [*kept_runs.changes(facts)[0].values()] == ["x", "600", 50, -10, -20, 0]
    assert [*kept_runs.curve(facts)[0].values()] == ["2,000", 60, pytest.approx(55), 65]
    assert kept_runs.students({}) == kept_runs.routes({}) == kept_runs.changes({}) == kept_runs.curve({}) == []


def test_a_table_has_this_run_first_then_the_kept_with_their_labels_and_how_to_get_the_longer_one():
    here = {"data_curve": [[16, 0.5, 0.4, 0.6]]}
    runs = {"docs-cpu": SimpleNamespace(facts={"data_curve": [[600, 0.7, 0.6, 0.8]]}, label="a machine, a day")}
    shown = kept_runs.table(runs, kept_runs.curve, here).data
    assert shown.index("this run") < shown.index("70.0") < shown.index("a machine, a day") and "make" not in shown
    shown = kept_runs.table(runs, kept_runs.curve, here, in_full=True).data
    assert shown.index("a machine, a day") < shown.index("the default run") < shown.index(f"RUN={kept_runs.LONGER}")
    longer = {kept_runs.LONGER: SimpleNamespace(facts={}, label="nothing")}
    shown = kept_runs.table(longer, kept_runs.curve, here, in_full=True).data
    assert "make book" not in shown and "nothing" not in shown  # it is kept, but has no such rows
    assert "|" not in kept_runs.table({}, kept_runs.curve, {}).data


def test_the_longer_run_is_one_that_make_accepts_and_tries_everything():
    from fflib.distillation import ablation, routes

    values = params.load_run(kept_runs.LONGER, "", "").chapter_values("03_distillation")
    assert values["try_every_student"] and len(values["students_tried"]) >= 9 and values["data_sizes"]
    assert {*values["routes_tried"]} == {*routes.names()}
    assert {*values["variants_tried"]} <= {*ablation.names()} and len(values["variants_tried"]) >= 10
