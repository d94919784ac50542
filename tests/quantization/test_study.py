"""Files of recipes are made, served and compared with their original; the choice among them, and how they are shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.data.metrics import Scored
from fflib.data.retention import Retention
from fflib.engine import export, int8_support
from fflib.engine.int8_support import Int8Support
from fflib.files import InputError
from fflib.measure.race import Race, race_at_once
from fflib.measure.timing import Timing
from fflib.quantization import recipes, report, study
from fflib.quantization.agreement import Fidelity
from fflib.quantization.calibration import Calibration

TEXTS = examples_of([5, 9, 30, 12, 40, 8], seed=1)
DEV = examples_of([6, 11, 4, 9, 14], seed=2)
SUPPORT = Int8Support("invented", False, 4.0)


@pytest.fixture(autouse=True)
def _exact_processor(monkeypatch):
    monkeypatch.setattr(int8_support, "int8_support", lambda: SUPPORT)


def pairs(lengths):
    return batching.in_order(lengths, 2)


@pytest.fixture
def model():
    return tiny_classifier(seed=3)


@pytest.fixture
def original(model, tmp_path) -> study.Graph:
    return study.originals({"tiny": model}, {"tiny": tmp_path / "tiny" / "model.onnx"}, 1)["tiny", "fp32"]


@pytest.fixture
def answers(model) -> study.Answers:
    return study.answers_of(model, DEV, np.array([0, 2, 4]), pairs)


def timed(seconds, noise=0.0) -> Timing:
    """Two rounds of one batch; ``noise`` is how far they are apart."""
    return Timing(np.array([[seconds - noise], [seconds + noise]]), np.array([1]))


def accuracy(logits, gold):
    return float((logits.argmax(1) == gold.labels).mean())


def graph_with(agreement, path=None, learned=False) -> study.Graph:
    fidelity = Fidelity(np.zeros((2, 2)), agreement, 0.5, 1, np.array([0.1, 0.2]))
    return study.Graph(path, lambda inputs: None, fidelity, learned=learned)


def test_an_original_agrees_with_itself(original, model, answers):
    assert original.agreement == 1 and original.fidelity is None and original.megabytes > 0
    export.check_belongs(original.path, model)
    assert recipes.int8_graph.products(original.model.graph)
    found = answers.compare(original.predict)
    assert found.agreement == 1 and found.max_change < 1e-4 and found.n == 3


def test_answers_are_those_of_the_texts_asked_for(model, answers):
    assert answers.texts.lengths.tolist() == [6, 4, 14]
    assert [len(group) for group in answers.plan] == [2, 1] and answers.logits.shape == (3, 2)


@pytest.mark.parametrize("recipe", ["dynamic", "static, smoothed"])
def test_a_conversion_lies_beside_its_original_and_is_compared_with_it(original, answers, recipe):
    calibration = Calibration(original.model, TEXTS, 1)
    graph = study.convert(original.path, recipe, calibration, answers)
    assert graph.path == original.path.with_name(f"{recipe}.onnx") and graph.path.exists()
    assert 0 < graph.fidelity.max_change < 0.2 and graph.agreement == graph.fidelity.agreement
    assert graph.seconds > 0 and not graph.learned
    assert study.convert(original.path, recipe, calibration, answers, learned=True).learned


def test_two_instances_answer_as_one(original):
    plan = batching.in_order(DEV.lengths, 1)
    expected = np.concatenate([original.predict(batching.collate(DEV, group).inputs) for group in plan])
    race = race_at_once({"two": study.two_instances(original.path, 2)}, DEV, expected, 1, plan)
    assert race["two"].checked.n == 5


@pytest.mark.parametrize(
    "choices",
    [
        {"tried": ["no such"]},
        {"served": []},
        {"served": ["dynamic", "dynamic"]},
        {"training": "sometimes"},
        {"seeds": []},
        {"n_check": 1},
    ],
)
def test_slips_in_the_parameters_are_refused(choices):
    good = {"tried": ["paper"], "served": ["dynamic"], "training": "never", "seeds": [0], "n_check": 0}
    study.check_choices(**good)
    with pytest.raises(InputError):
        study.check_choices(**good | choices)


def kept(value) -> Retention:
    return Retention(value, value - 0.1, value + 0.1, 9, 1, 0)


KEPT = {"first": 0.985, "second": 0.98, "third": 0.97}  # of the teacher


def choice(seconds, shares=KEPT, noise=0.0):
    race = Race({name: timed(value, noise) for name, value in seconds.items()})
    return study.choose(race, {name: kept(share) for name, share in shares.items()}, 0.98, "first")


def test_the_fastest_that_keeps_the_rule_is_chosen():
    assert choice({"fp32": 1.0, "first": 0.8, "second": 0.5, "third": 0.1}) == "second", "the third loses too much"
    assert choice({"fp32": 1.0, "first": 0.4, "second": 0.5, "third": 0.1}) == "first"


def test_none_is_chosen_where_none_is_faster_or_none_keeps_the_rule():
    assert choice({"fp32": 0.4, "first": 0.8, "second": 0.5, "third": 0.5}) == ""
    assert choice({"fp32": 1.0, "third": 0.5}, {"third": 0.9}) == ""
    assert choice({"fp32": 1.0, "third": 0.5}, {"third": np.nan}) == "third", "of a teacher without a score"
    assert choice({"fp32": 1.0}, {}) == ""


def test_the_first_is_taken_where_noise_cannot_tell():
    seconds = {"fp32": 2.0, "first": 0.55, "second": 0.5, "third": 0.4}
    assert choice(seconds) == "second"
    assert choice(seconds, noise=0.1) == "first"
    assert choice(seconds, KEPT | {"first": 0.97}, noise=0.1) == "second", "the first must keep the rule as well"


def test_what_a_graph_keeps(original, answers):
    row = report.kept(original, answers, accuracy)
    assert row["labels kept %"] == 100 and row["95 % to"] == pytest.approx(100) and 30 < row["95 % from"] < 100
    assert row["largest change"] is None and row["flips by batch"] == ""
    flipped = answers.logits.copy()
    flipped[0] = -flipped[0]
    worse = replace(original, fidelity=Fidelity(flipped, 2 / 3, 0.25, 1, np.zeros(3)))
    row = report.kept(worse, answers, accuracy)
    assert row["labels kept %"] == pytest.approx(200 / 3) and (row["largest change"], row["flips by batch"]) == (
        0.25,
        "1",
    )
    assert row["accuracy %"] == 100 * accuracy(flipped, answers.texts.gold)
    (marked,), (unmarked,) = report.shown([row], 0.7), report.shown([row], 0.6)
    assert (marked["served"], unmarked["served"]) == ("no", "yes")
    assert marked["95 % interval"] == "21 to 94" and marked["changed by batch"] == "1"
    assert not marked.keys() & {"accuracy %", "95 % from", "flips by batch"}, "a few texts say nothing of accuracy"
    (point,) = report.points([row | {"model": "m", "recipe": "r", "ms": 2.0}], "r", 0.9)
    assert point["served"] is False
    assert point["agreement"] == pytest.approx(2 / 3) and point["default"] and point["low"] < 2 / 3 < point["high"]


def test_the_verdict_names_the_worst_of_each_model():
    graphs = {
        ("teacher", "fp32"): study.Graph(None, None),
        ("teacher", "a"): graph_with(0.9),
        ("teacher", "b"): graph_with(0.4),
        ("student", "a"): graph_with(0.8),
        ("student", "b"): graph_with(1.0),
    }
    words = report.verdict(graphs, 0.5)
    assert "*b* (teacher: 40% of the labels), *a* (student: 80% of the labels)" in words
    assert "1 of 4 files keep fewer than 50% of the labels" in words
    mates = report.batch_mates(graphs, "teacher", ["a", "b"], 0.5)
    assert list(mates.changes) == ["a"] and mates.flips == {"a": (1, 2)}


def test_rungs_of_served_and_of_broken_recipes(original):
    fields = report.rung_fields("dynamic", graph_with(0.9, original.path), "2x384", True, 0.9)
    assert (fields["status"], fields["precision"]) == ("ok", "int8, dynamic, weights of 8 bits")
    assert fields["model"] == "2x384" and fields["model_mb"] == original.megabytes
    broken = report.rung_fields("dynamic", graph_with(0.96, original.path), "2x384", False, 0.44)
    assert broken["status"] == "failed: not served, only 44.0% of the labels stay", "of all of dev"
    learned = report.rung_fields("dynamic", graph_with(0.9, original.path, learned=True), "2x384", True, 0.9)
    assert learned["model"] == "2x384, learned with the rounding"


def test_tables_of_timings():
    race = Race({"fp32": timed(1.0), "dynamic": timed(0.5)})
    scored = {"fp32": Scored(0.9, 0.8, 1.0), "dynamic": Scored(0.88, 0.8, 1.0)}
    (row,) = report.rungs(race, {"dynamic": kept(0.97)}, scored, 0.98)
    assert row["step"] == 2 and row["test points lost"] == pytest.approx(2)
    assert row["of the teacher's on dev"] == "97.0% (87.0% to 107.0%)" and row["keeps the rule"] == "no"
    alone = Race({"m, fp32": timed(1.0), "m, dynamic": timed(0.25)})
    rows = report.at_once({"m": race}, alone)
    assert [row["speed-up over fp32"] for row in rows] == [1, 2]
    assert [row["one by one, speed-up"] for row in rows] == [1, 4]


def test_words_about_the_processor_the_recipes_and_learning(monkeypatch):
    monkeypatch.setattr(int8_support, "saturates_here", lambda: False)
    assert report.processor(SUPPORT, 8)["most that int8 can gain in a product"] == 4
    assert report.settings("library's default")["embeddings"] == "int8"
    assert report.settings("int4 weights")["one scale for each"] == "32 weights"
    sets = report.instruction_sets(int8_support.NONE)
    assert {row["int8 instructions"]: row["safe bits of a weight"] for row in sets}["AVX2"] == 7
    assert [row["int8 instructions"] for row in sets][-1] == "none (this machine)" and len(sets) == 7
    words = report.processor_words(report.processor(SUPPORT, 8), "Nothing to warn of.")
    assert "gets every sum right" in words and "**8 bits**" in words and words.endswith("nothing to warn of.")
    assert report.settings("static, smoothed")["smoothed"] == "yes"
    assert "no recipe may be served. So it is trained" in report.learning("student", kept(1), {}, True, "always")
    words = report.learning("student", kept(1), {"dynamic": kept(0.97)}, False, "never")
    assert "the student keeps 100.0% (" in words and "*dynamic* 97.0% (" in words and "is not trained" in words
    assert "3.0 times the median one; before, it was 9.0 times" in report.smoothing(9.0, 3.0, 1e-6)
