"""What the chapter shows of its recipes: rows of its tables, what its figures draw, sentences, fields of its rungs.

(Longer than 200 lines: the chapter's words and the heads of its tables stand together.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fflib.data import metrics
from fflib.data.metrics import Scored
from fflib.data.retention import Retention
from fflib.engine import int8_support
from fflib.engine.int8_support import Int8Support
from fflib.measure import fitness
from fflib.measure.race import Race
from fflib.model.training import Score
from fflib.quantization import recipes
from fflib.quantization.study import FLOAT, Answers, Graph

Row = dict[str, Any]
RANGES = {
    "dynamic": "found in each call",
    "float": "not rounded in the file",
    "largest": "all values seen",
    "percentile": "the middle 99.99 %",
    "entropy": "least relative entropy",
}  # what `settings` says of the ways to choose a range
SHOWN = {
    "model": "model",
    "recipe": "recipe",
    "served": "served",
    "labels kept %": "labels kept %",
    "interval": "95 % interval",
    "ms": "ms a request",
    "speed-up": "speed-up",
    "largest change": "logit change",
    "flips by batch": "changed by batch",
    "MB": "file, MB",
}  # the facts of a recipe that a table shows, and their heads there
PROCESSORS = {
    "AMX": "Intel Xeon since Sapphire Rapids",
    "AVX512 VNNI": "Intel since Cascade Lake and Ice Lake, AMD since Zen 4",
    "AVX VNNI": "Intel laptops and desktops since Alder Lake",
    "AVX512": "Intel Skylake-SP",
    "AVX2": "Intel since Haswell, AMD up to Zen 3",
    "Arm dot product": "AWS Graviton since 2, Apple M1 and newer",
    "none": "older ones",
}


def processor(support: Int8Support, bits: int) -> Row:
    """Describe what the processor offers; ``bits`` of a weight are safe on it."""
    return {
        "instructions": support.instructions,
        "the engine cuts off sums": int8_support.saturates_here(),
        "bits of a safe weight": bits,
        "most that int8 can gain in a product": support.speedup_limit,
    }


def processor_words(facts: Mapping[str, Any], warning: str) -> str:
    """Say what `processor` found here, with the ``warning`` of `int8_support.int8_warning`, '' for none."""
    warning = warning or "Nothing to warn of."
    asked = "cuts off the sums" if facts["the engine cuts off sums"] else "gets every sum right"
    return (
        f"This processor multiplies bytes by **{facts['instructions']}**. Asked with the largest codes, the engine "
        f"{asked} here, so weights get **{facts['bits of a safe weight']} bits** where a recipe leaves that open. "
        f"With weights of eight bits: {warning[0].lower()}{warning[1:]}"
    )


def instruction_sets(support: Int8Support) -> list[Row]:
    """Return a row for each kind of int8 instructions, best first, with the most that they can gain in a product.

    ``support`` is what this machine has; its row is marked.
    """
    kinds = [kind for _, kind in int8_support.CLASSES] + [int8_support.NONE]
    return [
        {
            "int8 instructions": kind.instructions + " (this machine)" * (kind.instructions == support.instructions),
            "for example": PROCESSORS[kind.instructions],
            "int8 over fp32, at most": f"{kind.speedup_limit:g}",
            "safe bits of a weight": 7 if kind.saturates else 8,
        }
        for kind in kinds
    ]


def settings(name: str) -> Row:
    """Describe a recipe."""
    recipe = recipes.get_recipe(name)
    per_weight = "32 weights" if recipe.activations == "float" else "column" if recipe.per_column else "matrix"
    return {
        "recipe": name,
        "bits of a weight": recipe.weight_bits,
        "one scale for each": per_weight,
        "code of a zero weight": "0" if recipe.symmetric else "the zero point",
        "range of activations": RANGES[recipe.activations],
        "smoothed": "yes" if recipe.smooth else "",
        "embeddings": "int8" if recipe.embeddings or recipe.everything else FLOAT,
    }


def smoothing(before: float, after: float, change: float) -> str:
    """Say what smoothing does to one tensor: its loudness, and the largest change of a logit in fp32."""
    return (
        f"After smoothing, the loudest channel of this tensor is {after:.1f} times the median one; before, it was "
        f"{before:.1f} times. No logit of the fp32 model changes by more than {change:.0e}."
    )


def kept(graph: Graph, answers: Answers, score: Score) -> Row:
    """Describe what a graph keeps of its original in per cent: labels, with Wilson's interval, and accuracy."""
    from scipy.stats import binomtest  # only now: it takes a second to load

    fidelity, gold = graph.fidelity, answers.texts.gold
    logits = fidelity.logits if fidelity else answers.logits
    same = metrics.kept(logits, answers.logits, gold)
    interval = binomtest(round(same * len(logits)), len(logits)).proportion_ci(method="wilson")
    return {
        "MB": graph.megabytes,
        "labels kept %": 100 * same,
        "95 % from": 100 * interval.low,
        "95 % to": 100 * interval.high,
        "largest change": fidelity.max_change if fidelity else None,
        "flips by batch": str(fidelity.flips_by_batch) if fidelity else "",
        "accuracy %": 100 * score(logits, gold),
    }


def shown(rows: Sequence[Mapping[str, Any]], least: float) -> list[Row]:
    """Return rows with what `kept` tells as a table shows them; one that keeps less than ``least`` is not served.

    The accuracy on these few texts is left out: it would say more about the texts than about the recipe.
    """
    told = []
    for row in rows:
        interval = f"{row['95 % from']:.0f} to {row['95 % to']:.0f}"
        cells = dict(row) | {"interval": interval, "served": "yes" if row["labels kept %"] >= 100 * least else "no"}
        cells["labels kept %"] = f"{row['labels kept %']:.1f}"
        cells["MB"] = f"{row['MB']:.1f}"
        told.append({head: cells[key] for key, head in SHOWN.items() if key in cells})
    return told


def points(rows: Sequence[Mapping[str, Any]], default: str, least: float) -> list[Row]:
    """Return rows with what `kept` tells as `figures.recipes` draws them.

    ``default`` is the recipe to stand out; what keeps less than ``least`` of the labels is not served.
    """
    return [
        {
            "model": row["model"],
            "recipe": row["recipe"],
            "ms": row["ms"],
            "agreement": row["labels kept %"] / 100,
            "low": row["95 % from"] / 100,
            "high": row["95 % to"] / 100,
            "default": row["recipe"] == default,
            "served": row["labels kept %"] >= 100 * least,
        }
        for row in rows
    ]


@dataclass(frozen=True)
class BatchMates:
    """What batch mates change under each recipe: a logit of each request, [n] at most, and labels, (flipped, n)."""

    changes: dict[str, np.ndarray]
    flips: dict[str, tuple[int, int]]


def batch_mates(
    graphs: Mapping[tuple[str, str], Graph], model: str, recipe_names: Sequence[str], least: float
) -> BatchMates:
    """Collect what batch mates change in a model's files, of those that agree often enough to be served."""
    fidelity = {name: graphs[model, name].fidelity for name in recipe_names if graphs[model, name].agreement >= least}
    return BatchMates(
        {name: found.changes_by_batch for name, found in fidelity.items()},
        {name: (found.flips_by_batch, found.n) for name, found in fidelity.items()},
    )


def verdict(graphs: Mapping[tuple[str, str], Graph], least: float) -> str:
    """Name the worst recipe of each model, and how many files of all (model, recipe) agree too seldom to be served."""
    by_model: dict[str, dict[str, float]] = {}
    for (model, recipe), graph in graphs.items():
        if graph.fidelity:
            by_model.setdefault(model, {})[recipe] = graph.agreement
    worst = {model: min(agreements, key=agreements.get) for model, agreements in by_model.items()}
    words = [f"*{recipe}* ({model}: {by_model[model][recipe]:.0%} of the labels)" for model, recipe in worst.items()]
    every = [agreement for agreements in by_model.values() for agreement in agreements.values()]
    too_few = sum(agreement < least for agreement in every)
    return (
        f"The recipe that keeps the fewest labels, for each model: {', '.join(words)}. {too_few} of {len(every)} files "
        f"keep fewer than {least:.0%} of the labels and are not served."
    )


def at_once(races: Mapping[str, Race], one_at_a_time: Race) -> list[Row]:
    """Describe two instances at once, a race of recipes for each model; ways of the other race: "model, recipe"."""
    return [
        {
            "model": model,
            "recipe": recipe,
            "two at once, requests/s": timing.throughput_per_s,
            "p50 ms": timing.latency_p50_ms,
            "speed-up over fp32": race.speedup(recipe, FLOAT),
            "one by one, speed-up": one_at_a_time.speedup(f"{model}, {recipe}", f"{model}, {FLOAT}"),
        }
        for model, race in races.items()
        for recipe, timing in race.items()
    ]


def learning(model: str, fp32: Retention, kept: Mapping[str, Retention], learns: bool, when: str) -> str:
    """Say what served recipes keep of the teacher on dev, and whether the model learns with the rounding."""
    recipes_kept = "; ".join(f"*{recipe}* {each.words}" for recipe, each in kept.items() if each.is_known)
    return (
        f"In fp32 the {model} keeps {fp32.words or 'an unknown share'} of the teacher's score on dev. Rounded, it "
        f"keeps, by recipe: {recipes_kept or 'no recipe may be served'}. So it {'is' if learns else 'is not'} trained "
        f"with the rounding (`quantized_training` is *{when}*)."
    )


def verdict_of(graph: Graph, least: float) -> str:
    """Say of one file whether it may be served, by the labels that it keeps of the few that were asked for."""
    return fitness.CHECKED if graph.agreement >= least else fitness.NOT_SERVED


def rung_fields(recipe: str, graph: Graph, model: str, served: bool, labels_kept: float) -> Row:
    """Return what a recipe's rung has of its own; ``model`` is what the rung below calls its model.

    ``labels_kept`` is what it keeps of all of dev, or of test where it is test that refuses it.
    """
    return {
        "model": model + (", learned with the rounding" if graph.learned else ""),
        "precision": f"int8, {recipe}, weights of {recipes.get_recipe(recipe).weight_bits} bits",
        "model_mb": graph.megabytes,
        "status": "ok" if served else f"failed: not served, only {labels_kept:.1%} of the labels stay",
    }


def rungs(race: Race, kept: Mapping[str, Retention], scored: Mapping[str, Scored], min_retention: float) -> list[Row]:
    """Describe the rungs of served recipes: their speed, what they keep of the teacher on dev, and lose on test."""
    return [
        {
            "rung": f"int8 {recipe}",
            "requests/s": race[recipe].throughput_per_s,
            "range of rounds": "{:.0f} to {:.0f}".format(*race[recipe].throughput_interval()),
            "step": race.speedup(recipe, FLOAT),
            "of the teacher's on dev": each.words,
            "keeps the rule": "yes" if each.holds(min_retention) else "no",
            "test %": 100 * scored[recipe].value,
            "test points lost": 100 * (scored[FLOAT].value - scored[recipe].value),
        }
        for recipe, each in kept.items()
    ]
