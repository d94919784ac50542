"""How long a chapter takes in a size of which no record tells: the seconds of another size's record, times its work.

The record tells seconds by kind; the parameters of both sizes tell how much of each kind there is: texts that a model
is trained on, models that are scored, requests that are timed. What no parameter here changes (Python's start, figures)
counts as it was. It is a rough estimate, a prediction by one record, and the plan says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from fflib.runs import params, records, times
from fflib.runs.params import Run
from fflib.runs.times import Estimate

BY = "scaled by parameters from the record of another size"
SIZES = ("standard", "smoke")  # whose records are asked, in this order
DISTILLATION = "03_distillation"
GREW = ("augmented", "recombined")  # routes that train on `copies` new texts beside each
TYPICAL_TOKENS = 96  # longer texts are rare: to allow more than so many lengthens a training little

Values = Mapping[str, Any]


def estimate(run: Run, chapter: str) -> Estimate | None:
    """Return what a chapter of ``run`` will take by the record of the same run in another size; None: there is none."""
    for size in SIZES:
        for folder in (params.load_run(run.name, size).folder, times.KEPT / run.name):
            found = {record["chapter"]: record for record in records.readable(folder).values()}
            record = found.get(chapter)
            if record and record.get("seconds_by_kind") and record["parameters"].get("size") == size:
                rate = passes_per_s(found.get(DISTILLATION))
                seconds = scaled_s(record, run.chapter_values(chapter), all_texts(found), rate)
                return Estimate(seconds, BY)
    return None


def scaled_s(record: Mapping[str, Any], wanted: Values, n_all: int, rate: float | None) -> float:
    """Return the seconds of the chapter of ``record`` with the values ``wanted``.

    Args:
        n_all: the training texts that there are, for which the parameters say 0.
        rate: texts a second in training, for a chapter whose record trained nothing.
    """
    chapter, was, seconds = record["chapter"], record["parameters"], dict(record["seconds_by_kind"])
    for kinds, work in WORK.get(chapter, {}).items():
        before = work(was, n_all)
        for kind in kinds:
            seconds[kind] = seconds.get(kind, 0.0) * (work(wanted, n_all) / before if before else 1.0)
    if passes := PASSES.get(chapter):
        before, after = passes(was, n_all), passes(wanted, n_all)
        if before and seconds.get("training"):
            seconds["training"] *= after / before
        elif rate:
            seconds["training"] = after / rate
        if chapter == params.BASELINE:  # its training has a limit of its own
            seconds["training"] = min(seconds.get("training", 0.0), 60 * wanted["minutes"] * len(wanted["seeds"]))
    return sum(seconds.values())


def all_texts(found: Mapping[str, Mapping[str, Any]]) -> int:
    """Return how many training texts the task has, as far as chapter 1 tells."""
    facts = found.get(params.BASELINE, {}).get("facts", {})
    shipped = facts.get("teacher", {}).get("shipped") or {}
    return shipped.get("examples", {}).get("train") or facts.get("n_examples", {}).get("train", 0)


def passes_per_s(distillation: Mapping[str, Any] | None) -> float | None:
    """Return how many texts a second chapter 3 trained on; None where it did not."""
    seconds = ((distillation or {}).get("seconds_by_kind") or {}).get("training")
    return distil_passes(distillation["parameters"], 0) / seconds if distillation and seconds else None


def count(n: int, n_all: int) -> int:
    """Return how many texts a parameter stands for; 0 is all."""
    return min(n, n_all) if n and n_all else n or n_all


def _longer(values: Values, name: str) -> float:
    """Return how much longer a pass takes for texts that may be so long, up to the typical length."""
    return min(values[name], TYPICAL_TOKENS) / TYPICAL_TOKENS


def teacher_passes(values: Values, n_all: int) -> float:
    """Count the texts that chapter 1 trains on, each as often as it comes up."""
    return len(values["seeds"]) * values["epochs"] * count(values["n_train"], n_all) * _longer(values, "train_length")


def distil_passes(values: Values, n_all: int) -> float:
    """Count the texts that chapter 3 trains on: the students, the other routes, the changed recipes, the curve."""
    epochs, n = sum(values["stage_epochs"]), count(values["n_distil"], n_all)
    students = [name for name in values["students_tried"] if name != "teacher" and not name.endswith("@kept")]
    tried = len(students) if values["try_every_student"] else min(1, len(students))
    routes = sum(1 + values["copies"] if name in GREW else 1 for name in values["routes_tried"])
    compared = (len(values["variants_tried"]) + 1) * count(values["n_compare"], n_all)
    texts = (tried + routes) * n + compared + sum(values["data_sizes"])
    return epochs * texts * _longer(values, "distil_length")


def _shapes(values: Values) -> int:
    """Count the shapes that chapter 4 makes whole: of the targets about half are tried until one holds."""
    # A record of before there was one of these names stands for none.
    always = sum(len(values.get(name, ())) for name in ("uniform_tried", "depths_tried", "tokens_tried"))
    return always + math.ceil(len(values["speedups_wanted"]) / 2)


def retrain_passes(values: Values, n_all: int) -> float:
    """Count the texts of chapter 4's retraining, and of the elastic model, of which each text trains four widths."""
    n, epochs = count(values["n_retrain"], n_all), sum(values["retrain_epochs"])
    elastic = 4 if values["elastic_widths"] else 0
    shapes = _shapes(values) * len(values["seeds"]) * values["retrain_rounds"]
    return (shapes + elastic) * n * epochs * _longer(values, "distil_length")


def rounding_passes(values: Values, n_all: int) -> float:
    """Count the texts of chapter 5's training with rounded weights, where it is always done."""
    always = values["quantized_training"] == "always"
    return len(values["seeds"]) * count(values["n_retrain"], n_all) * always * _longer(values, "distil_length")


PASSES: Mapping[str, Callable[[Values, int], float]] = {
    params.BASELINE: teacher_passes,
    DISTILLATION: distil_passes,
    "04_pruning": retrain_passes,
    "05_quantization": rounding_passes,
}
# By chapter, kinds of seconds and what they grow with.
WORK: Mapping[str, Mapping[tuple[str, ...], Callable[[Values, int], float]]] = {
    params.BASELINE: {
        ("timing",): lambda v, _: v["rounds"] * (v["n_requests"] + 4 * v["n_padded_requests"]),
        ("prediction", "scoring"): lambda v, _: 1 + len(v["seeds"]),
    },
    "02_batching": {
        ("timing",): lambda v, _: v["rounds"]
        * (
            v["n_sweep_requests"] * (2 * len(v["batch_sizes"]) + len(v["token_budgets"]))
            + 8 * v["n_big_sweep_requests"] * len(v["big_batch_sizes"])
        ),
        ("rest",): lambda v, _: v["n_online_requests"] * len(v["offered_loads"]),
    },
    DISTILLATION: {
        ("timing",): lambda v, _: v["rounds"] * v["n_requests"],
        # The teacher answers each text once, every student all of dev.
        ("prediction", "scoring"): lambda v, n: count(v["n_distil"], n) / 1500 + len(v["students_tried"])
        + len(v["routes_tried"]) + len(v["variants_tried"]) + len(v["data_sizes"]),
    },
    "04_pruning": {
        ("timing",): lambda v, _: v["rounds"] * v["n_requests"] * _shapes(v),
        ("prediction", "scoring"): lambda v, _: _shapes(v) + len(v["shares_tried"]) + len(v["tunings_tried"])
        + len(v["elastic_widths"]) * max(1, len(v["elastic_depths"])),
        ("search",): lambda v, _: v["n_importance"] * v["n_candidates"] * len(v["speedups_wanted"])
        + 200 * v["n_buckets"] * v["n_levels"] * v["latency_rounds"] / 9,
    },
    "05_quantization": {
        ("timing",): lambda v, _: v["rounds"] * v["n_requests"] * len(v["recipes_served"])
        + 300 * v["product_seconds"] * len(v["product_tokens"]),
        ("export", "rest", "prediction"): lambda v, _: len(v["recipes_tried"]) + len(v["recipes_served"])
        + v["n_calibrate"] / 64,
    },
    "06_runtime": {
        ("timing",): lambda v, _: v["rounds"] * (v["n_requests"] * len(v["graphs_tried"]) + 3 * v["n_busy_requests"]),
        ("export",): lambda v, _: len(v["graphs_tried"]) + len(v["engines_tried"]),
    },
    "07_serving": {
        ("timing",): lambda v, _: v["load_seconds"] * len(v["server_loads"]) + v["rounds"] * v["n_busy_requests"] / 20,
        ("rest",): lambda v, _: v["n_simulated"] * len(v["server_loads"]),
    },
    "08_beyond": {("timing", "rest"): lambda v, _: v["rounds"] * v["n_busy_requests"]},
    "09_story": {
        ("timing", "rest"): lambda v, _: v["headline_rounds"] * v["n_requests"] + v["rounds"] * v["n_busy_requests"],
    },
}  # fmt: skip
