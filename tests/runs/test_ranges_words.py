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
    "judged_in": ["", *(name for name, recipe in recipes.RECIPES.items() if not recipe.calibrated)],
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


def test_every_word_is_checked_before_a_chapter_runs():
    """By symptom: a slip in one of chapter 3 is told when chapters 1 and 2 have run."""
    told_elsewhere = {"run", "run_dir", "size", "task", "data_source"}  # by what reads a run's files and its data
    models = {"teacher", "student_from", "reference"}  # by `workflow.check_models`
    known = {name: each for chapter in params.chapters() for name, each in params.declared(chapter).items()}
    words = {name for name, each in known.items() if each.type == "str"}
    assert words <= {*ranges.WORDS, *ranges.PATTERNS} | told_elsewhere | models
