"""The words that parameters take are those of the modules that do what they say."""

from __future__ import annotations

import pytest

from fflib.distillation import ablation, objective, routes
from fflib.pruning import mask_search
from fflib.quantization import recipes, study
from fflib.runs import params, ranges
from fflib.runtime import engines, fusions
from fflib.serving import core_split, instances
from fflib.story import leave_one_out

THERE = {
    "goal": core_split.GOALS,
    "instance_kinds": instances.KINDS,
    "quantized_training": study.TRAINING,
    "match": objective.INSIDE,
    "routes_tried": routes.names(),
    "variants_tried": ablation.names(),
    "tunings_tried": mask_search.TUNINGS,
    "recipes_tried": recipes.RECIPES,
    "recipes_served": recipes.RECIPES,
    "engines_tried": engines.ENGINES,
    "graphs_tried": fusions.VARIANTS,
    "left_out": leave_one_out.TECHNIQUES,
}


@pytest.mark.parametrize("name", THERE)
def test_the_words_are_all_there_are(name):
    assert {*ranges.WORDS[name]} == {*THERE[name]}


def test_every_list_of_words_is_checked():
    known = {name: each for chapter in params.chapters() for name, each in params.declared(chapter).items()}
    lists = {name for name, each in known.items() if each.type == "list[str]"}
    assert lists <= {*ranges.WORDS, *ranges.PATTERNS}
