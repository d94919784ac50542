"""What each parameter may be: the numbers, counts and words that a chapter can work with, checked before a run begins.

A chapter that finds out itself does so after its old result was set aside, or minutes later, or never.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fflib.files import InputError
from fflib.measure import device


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included unless ``above`` says that ``low`` is not."""

    low: float = 0
    high: float = math.inf
    above: bool = False

    def holds(self, value: float) -> bool:
        """Say whether a number is in it; what is no number, or without end, never is."""
        return math.isfinite(value) and self.low <= value <= self.high and not (self.above and value == self.low)

    def __str__(self) -> str:
        first = f"more than {self.low:g}" if self.above else f"{self.low:g} or more"
        return first if self.high == math.inf else f"{first} and at most {self.high:g}"


COUNT, ALL = Range(1, 1e9), Range(0, 1e9)  # ALL: 0 stands for all of them
SHARE, PART = Range(0, 1, above=True), Range(0, 1)
POSITIVE = Range(0, above=True)
# By the parameters' names; every number of a chapter stands here, see tests/runs/test_ranges.py.
RANGES: dict[str, Range] = {
    **dict.fromkeys(("n_train", "n_dev", "n_test", "n_floor", "n_distil", "n_compare", "n_retrain", "n_check"), ALL),
    "n_vocabulary": ALL,
    **dict.fromkeys(("epochs", "stage_epochs", "retrain_epochs", "instances", "threads"), Range(0, 10_000)),
    **dict.fromkeys(("n_requests", "n_busy_requests", "n_online_requests", "n_padded_requests"), COUNT),
    **dict.fromkeys(("n_big_sweep_requests", "n_sweep_requests", "n_server_requests"), COUNT),
    **dict.fromkeys(("n_buckets", "n_calibrate", "n_candidates", "n_importance", "n_levels", "n_resamples"), COUNT),
    **dict.fromkeys(("n_simulated", "batch_size", "batch_sizes", "big_batch_sizes", "data_sizes"), COUNT),
    **dict.fromkeys(("token_budgets", "online_budget", "packed_tokens", "product_tokens", "server_tokens"), COUNT),
    **dict.fromkeys(("rounds", "headline_rounds", "latency_rounds", "retrain_rounds", "depths_tried"), COUNT),
    **dict.fromkeys(("queue_limit", "instance_threads", "card_batch", "n_card_requests", "bucket_step"), COUNT),
    **dict.fromkeys(("train_length", "distil_length", "first_reads"), Range(4, 1e6)),
    **dict.fromkeys(("learning_rate", "quantized_rate", "stage_rates", "retrain_rates"), Range(0, 1, above=True)),
    **dict.fromkeys(("minutes", "load_seconds", "product_seconds", "p99_bound_ms", "temperature"), POSITIVE),
    **dict.fromkeys(("offered_loads", "server_loads", "checked_loads", "overload", "requests_per_day"), POSITIVE),
    **dict.fromkeys(("as_fast", "peak_factor", "speedups_wanted"), Range(1)),
    **dict.fromkeys(("elastic_depths", "elastic_widths", "shares_tried", "tokens_tried"), SHARE),
    **dict.fromkeys(
        ("max_wait_ms", "teacher_cache_gb", "usd_per_hour", "cpu_usd_per_hour", "watts_per_core"), Range(0)
    ),
    "n_load_requests": Range(40, 1e9),  # pieces of a load, see serving/simulation_check.py
    "copies": Range(0, 1000),
    "dropout": Range(0, 0.99),
    "min_agreement": Range(0.8, 1),  # as measure/fitness.py has it
    "min_retention": Range(0, 10),  # above 1: better than the teacher
    **dict.fromkeys(("server_padding", "shares_sent"), PART),
    "retention_levels": Range(0, 10, above=True),
    "seed": Range(0, 2**32 - 1),
    "seeds": Range(0, 2**32 - 1),
}
RECIPES = (
    *("dynamic", "paper", "one scale a matrix", "library's default", "always 8 bits", "embeddings too", "int4 weights"),
    *("static, largest", "static, percentile", "static, entropy", "static, smoothed"),
)
INSIDE = ("embedding", "hidden", "attention", "attention_cosine", "relations")
# As the modules have them that do what the words say, which take seconds to load, see tests/runs/test_words.py.
WORDS = {
    "device": device.KINDS,
    "engine": ("onnxruntime", "pytorch"),
    "goal": ("throughput", "latency"),
    "instance_kinds": ("process", "thread"),
    "quantized_training": ("never", "when needed", "always"),
    "weak_teacher": ("warn", "refuse"),
    "match": INSIDE,
    "routes_tried": ("labels", "labels, teacher's layers", "one stage", "augmented", "recombined"),
    "variants_tried": (
        *(f"{way} {part}" for part in INSIDE for way in ("without", "with")),
        *("without the inside", "labels for answers", "answers and labels", "temperature 2", "ReLU"),
        *(f"{what} from {layers}" for layers in ("first", "last", "uniform") for what in ("start", "learn")),
    ),
    "tunings_tried": ("masks", "weights", "none"),
    "recipes_tried": RECIPES,
    "recipes_served": RECIPES,
    "judged_in": ("", *(recipe for recipe in RECIPES if not recipe.startswith("static"))),
    "engines_tried": ("pytorch", "torch.compile", "onnxruntime", "onnxruntime int8", "openvino"),
    "graphs_tried": (
        *("no optimisation", "basic", "extended", "all", "all but these four"),
        *("+ skip-LayerNorm", "+ embedding", "+ GELU", "+ attention"),
        *("the paper's recipe", "the paper's, heads told", "this book's, all tokens", "this book's"),
    ),
    "left_out": (*("batching", "distillation", "pruning", "quantisation", "first token", "instances", "ONNX Runtime"),),
}
# Words that follow a pattern, and examples of them.
PATTERNS = {
    "students_tried": (
        re.compile(r"teacher|[1-9]\d*x[1-9]\d*(@(kept|first|last|uniform|\d+(,\d+)*))?"),
        "'teacher', '3x384', '2x384@2,5', '3x384@last' or '3x384@kept'",
    ),
    "uniform_tried": (re.compile(r"\d{1,2}/\d{1,2}"), "per cent of heads and of neurons, such as '33/50'"),
    "learn_from": (
        re.compile(r"uniform|last|first|[1-9]\d*(,[1-9]\d*)*"),
        "'uniform', 'last', 'first' or layers of the teacher such as '3,6'",
    ),
}
TWICE = ("stage_epochs", "stage_rates", "retrain_epochs", "retrain_rates")  # lists in which a value may stand twice
LENGTHS = dict.fromkeys(("stage_epochs", "stage_rates", "retrain_epochs", "retrain_rates"), 2)  # of lists
NOT_EMPTY = (
    *("seeds", "batch_sizes", "big_batch_sizes", "token_budgets", "offered_loads", "server_loads", "checked_loads"),
    *("students_tried", "instance_kinds", "product_tokens", "engines_tried"),
    *("first_reads", "shares_sent", "retention_levels"),
)


def check(name: str, value: Any) -> None:
    """Raise InputError where a parameter's value, of the right type, is none that a chapter can work with."""
    if isinstance(value, list) and len(value) != LENGTHS.get(name, len(value)):
        raise InputError(f"parameter '{name}' is {value}; give {LENGTHS[name]} of them, as in [a, b]")
    if value == [] and name in NOT_EMPTY:
        raise InputError(f"parameter '{name}' is an empty list; give one at least")
    items = value if isinstance(value, list) else [value]
    if name in RANGES:
        _check_each(name, items, RANGES[name])
    if isinstance(value, list) and name not in TWICE and len({*map(str, value)}) < len(value):
        raise InputError(f"parameter '{name}' is {value}; give each value once")
    for item in items if name in PATTERNS else ():
        if not PATTERNS[name][0].fullmatch(item):
            raise InputError(f"parameter '{name}' has {item!r}; give {PATTERNS[name][1]}")
    for item in items if name in WORDS else ():
        if item not in WORDS[name]:
            raise InputError(f"parameter '{name}' is {item!r}; give {_either(WORDS[name])}")


def _either(words: Sequence[str]) -> str:
    """Name words; where a comma stands within one, in quotes."""
    if len(words) < 4:
        return " or ".join(words)
    return ", ".join(map(repr, words[:-1])) + f" or {words[-1]!r}"


def _check_each(name: str, items: Sequence[float], allowed: Range) -> None:
    for item in items:
        if not allowed.holds(item):
            told = allowed if math.isfinite(item) else f"{allowed}, a finite number"
            raise InputError(f"parameter '{name}' is {item}, but takes {told}")
