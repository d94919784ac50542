"""The candidates of a study, with models that are only names: what is served, shown, chosen and put on the ladder."""

from __future__ import annotations

import math

import pytest

from fflib.data.retention import Retention, until_one_holds
from fflib.files import InputError
from fflib.model.config import LayerShape
from fflib.model.training import History
from fflib.pruning import study
from fflib.pruning.study import Candidate

SHAPES = [LayerShape(4, 8, 32), LayerShape(4, 8, 32), LayerShape(2, 8, 16)]
SEARCHED, UNIFORM = [(4, 32), None, (0, 16)], [(2, 16), (2, 16), (1, 8)]
BY_TARGET = {1.5: {"searched": SEARCHED, "uniform": UNIFORM, "another way": []}}


def kept(value) -> Retention:
    return Retention(value, value - 0.1, value + 0.1, 9, 1, 0)


def candidate(name="a", kind="uniform", tuned=0.5, retrained=(), **fields) -> Candidate:
    """A candidate whose models are called by their scores, of a teacher that scores 1."""
    made = Candidate(name, kind, [(1, 1)], **fields)
    made.tuned, made.retrained = tuned, [(score, [History(seconds=30), History(seconds=60)]) for score in retrained]
    made.judge(lambda model: model, kept)
    return made


def test_collect_has_each_kind_in_order_and_passes_over_depths_that_leave_none_or_all():
    found = study.collect(SHAPES, ["25/50", "50/50"], BY_TARGET, [0, 2, 3], [0.1, 3.0, 0.2])
    assert [(one.name, one.kind, one.target, one.rung) for one in found] == [
        ("uniform 25/50", "uniform", None, "pruned 25/50"),
        ("uniform 50/50", "uniform", None, "pruned 50/50"),
        ("searched for 1.5x", "searched", 1.5, ""),
        ("uniform for 1.5x", "uniform", 1.5, ""),
        ("2 of 3 layers", "fewer layers", None, "pruned to 2 of 3 layers"),
    ]
    assert [one.counts for one in found[1:]] == [UNIFORM, SEARCHED, UNIFORM, [None, (4, 32), (2, 16)]]
    assert found[0].counts == [(3, 16), (3, 16), (2, 8)]


def test_collect_takes_each_name_once_and_refuses_what_is_no_shape():
    assert len(study.collect(SHAPES, ["25/50", "25/50"], {}, [], [])) == 1
    with pytest.raises(InputError, match="write '33/50'"):
        study.collect(SHAPES, ["half"], {}, [], [])


@pytest.mark.parametrize(
    ("tuned", "retrained", "served"),
    [(0.5, (), 0.5), (0.5, (0.7, 0.1), 0.7), (0.5, (0.4, 0.9), 0.5), (0.5, (0.5,), 0.5)],
    ids=["tuned only", "retrained", "retrained is worse", "of equals the tuned"],
)
def test_the_better_on_dev_is_served_of_the_tuned_and_the_first_seeds(tuned, retrained, served):
    one = candidate(tuned=tuned, retrained=retrained)
    assert one.model == one.dev_score == one.kept.value == served
    assert one.is_retrained == (served != tuned)
    assert one.shown == {one.is_retrained: served}


def test_both_models_are_shown_where_shapes_of_a_target_are_compared():
    assert candidate(target=2.0, retrained=(0.7, 0.9)).shown == {False: 0.5, True: 0.7}
    assert candidate(target=2.0).shown == {False: 0.5}


def test_a_row_tells_what_training_did():
    row = candidate("33/50", retrained=(0.7, 0.6), predicted_ms=2.0).row(unpruned_ms=3.0)
    assert row["predicted speed-up"] == 1.5 and row["minutes of retraining"] == pytest.approx(3)
    assert row["dev %, tuned only"] == pytest.approx(50) and row["dev %, retrained"] == pytest.approx(70)
    assert row["worst and best seed"] == "60.0 to 70.0" and row["of the teacher's on dev"] == "70.0% (60.0% to 80.0%)"
    untrained = candidate().row(3.0)
    assert math.isnan(untrained["dev %, retrained"]) and untrained["worst and best seed"] == ""
    assert untrained["minutes of retraining"] == 0


def test_a_name_becomes_a_folder():
    assert candidate("uniform 33/50").file_name == "uniform 33-50"


def test_pairs_are_of_one_target():
    found = study.collect(SHAPES, ["25/50"], BY_TARGET | {2.0: BY_TARGET[1.5]}, [], [])
    assert [(a.name, b.name) for a, b in study.pairs(found)] == [
        ("searched for 1.5x", "uniform for 1.5x"),
        ("searched for 2x", "uniform for 2x"),
    ]


def test_the_fastest_target_is_tried_first_and_the_rest_only_until_one_holds():
    always, names = candidate("uniform 25/25"), []
    shapes = [always] + [
        candidate(f"{kind} {target}", kind, tuned, target=target)
        for target, tuned in ((1.25, 0.99), (2.0, 0.9), (1.5, 0.985))
        for kind in ("searched", "uniform")
    ]
    compared, *targets = study.by_target(shapes)
    assert compared == [always]
    assert [[one.target for one in group] for group in targets] == [[2.0, 2.0], [1.5, 1.5], [1.25, 1.25]]

    def holds(group, rule=0.98):
        names.append(group[0].target)
        return any(one.kept.holds(rule) for one in group)

    assert until_one_holds(targets, holds) == targets[:2] and names == [2.0, 1.5]
    assert until_one_holds(targets, lambda group: holds(group, 0.999)) == targets, (
        "none holds: the student goes on whole"
    )


def test_choose_takes_the_most_accurate_of_the_about_fastest_that_keep_their_accuracy():
    candidates = [candidate("fast", tuned=0.4), candidate("a", tuned=0.8), candidate("b", tuned=0.9)]
    candidates.append(candidate("slow", tuned=1.0))
    ms = {"fast": 1.0, "a": 2.0, "b": 2.1, "slow": 3.0, "unpruned": 4.0}

    def chosen(floor, as_fast, **others):
        return study.choose(candidates, ms | others, floor, as_fast).name

    assert chosen(0.7, 1.1) == "b"
    assert chosen(0.7, 1.0) == "a"
    assert chosen(0.3, 1.0) == "fast"
    assert chosen(0.7, 2.0) == "slow"
    assert chosen(0.95, 2.0, slow=5.0) == "slow", "none both keeps it and saves time: the most accurate of all"
    assert chosen(1.1, 1.0) == "slow"


def test_of_equally_accurate_ones_the_faster_is_chosen():
    ms = {"a": 2.0, "b": 1.9, "unpruned": 4.0}
    assert study.choose([candidate("a"), candidate("b")], ms, 0.1, 1.5).name == "b"


def test_the_ladder_has_the_fixed_rungs_the_searched_shape_and_the_chosen_one():
    fixed, quick = candidate("uniform 25/25", rung="pruned 25/25"), candidate("searched for 3x", "searched", 0.2)
    good, other = candidate("searched for 2x", "searched", 0.9), candidate("uniform for 2x")
    ms = {"uniform 25/25": 3.0, "searched for 3x": 1.0, "searched for 2x": 2.0, "uniform for 2x": 2.0}
    every = [fixed, quick, good, other]

    def names(floor, chosen):
        return {rung: one.name for rung, one in study.rungs(every, ms, floor, chosen).items()}

    first = {"pruned 25/25": "uniform 25/25", "pruned for latency": "searched for 2x"}
    assert names(0.8, good) == first == names(0.8, fixed)
    assert names(0.95, fixed)["pruned for latency"] == "searched for 3x", "none is accurate: the fastest of all"
    assert names(0.8, other) == first | {"pruned, uniform for 2x": "uniform for 2x"}
    assert study.rungs([fixed], ms, 0.8, fixed) == {"pruned 25/25": fixed}
