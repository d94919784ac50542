"""What parameters may be: refused before a run begins, with the name and what it takes."""

from __future__ import annotations

import pytest

from fflib.files import InputError
from fflib.measure import fitness
from fflib.runs import params, ranges


def parameters() -> dict[str, params.Parameter]:
    return {
        name: each for chapter in [*params.chapters(), params.CARD] for name, each in params.declared(chapter).items()
    }


def test_every_number_of_a_chapter_has_a_range_and_every_range_a_number():
    numbers = {name for name, each in parameters().items() if {"int", "float"} & {each.type, each.type[5:-1]}}
    assert numbers == {*ranges.RANGES}
    assert {*ranges.WORDS, *ranges.LENGTHS, *ranges.NOT_EMPTY} <= {*parameters()}


def test_the_rule_of_agreement_is_the_one_that_is_kept():
    assert ranges.RANGES["min_agreement"].low == fitness.LOWEST


def test_the_defaults_are_within():
    for name, each in parameters().items():
        ranges.check(name, each.default)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("n_train=-1", "'n_train' is -1, but takes 0 or more"),
        ("n_requests=0", "'n_requests' is 0, but takes 1 or more"),
        ("rounds=0", "takes 1 or more"),
        ("threads=-1", "takes 0 or more"),
        ("min_retention=98", "'min_retention' is 98.0, but takes 0 or more and at most 10"),
        ("min_agreement=0.5", "takes 0.8 or more and at most 1"),
        ("learning_rate=.nan", "takes more than 0"),
        ("learning_rate=.inf", "takes more than 0"),
        ("minutes=0", "takes more than 0"),
        ("batch_sizes=[1, 0]", "'batch_sizes' is 0"),
        ("n_dev=1000000000000000000000", "at most 1e+09"),
        ("seeds=[]", "'seeds' is an empty list"),
        ("stage_rates=[0.1]", "give 2 of them"),
        ("engine=tensorflow", "give onnxruntime or pytorch"),
        ("n_train=5 n_train=6", "'n_train' is set twice"),
    ],
)
def test_what_no_chapter_can_work_with_is_refused(setting, says):
    with pytest.raises(InputError) as told:
        params.load_run("docs-cpu", "smoke", overrides=params.split_overrides(setting))
    assert says in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("setting", ["n_train=0", "epochs=0", "min_agreement=1.0", "seeds=[0, 7]", "depths_tried=[]"])
def test_what_they_can_is_taken(setting):
    params.load_run("docs-cpu", "smoke", overrides=params.split_overrides(setting))
