"""The graphs of `fusions`, made and loaded, ready to be compared; and what a comparison of them says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from fflib import spent
from fflib.engine import node_times
from fflib.files import InputError
from fflib.measure import fitness
from fflib.measure.race import Race
from fflib.measure.timing import Predictor
from fflib.quantization import recipes
from fflib.runtime import fusions

PRECISIONS = ("fp32", "int8")
BASE = (
    "all"  # the level that an engine takes by itself, see `fusions.VARIANTS`; graphs of other runs are set against it
)


@dataclass(frozen=True, eq=False)
class BuiltGraph:
    """A graph by a recipe of `fusions.VARIANTS`, and how many operators of each kind the session leaves of it."""

    variant: str
    precision: str  # one of `PRECISIONS`
    proto: onnx.ModelProto
    predict: Predictor
    operators: Mapping[str, int]

    @property
    def name(self) -> str:
        """What it is called in a comparison: "this book's, int8"."""
        return name_of(self.variant, self.precision)

    @property
    def fused(self) -> int:
        """How many of its operators stand for several others."""
        return sum(self.operators.get(operator, 0) for operator in fusions.FUSED_OPERATORS)

    def operators_ms(self, inputs: Mapping[str, np.ndarray], threads: int) -> dict[str, float]:
        """Return the time in ms of each kind of operator in one request, see `node_times.node_ms`."""
        settings = fusions.options(fusions.VARIANTS[self.variant], threads)
        return node_times.node_ms(self.proto, settings, dict(inputs), by="operator")


def name_of(variant: str, precision: str) -> str:
    """Return what a graph is called in a comparison."""
    return f"{variant}, {precision}"


def in_every_run(asked: Sequence[str]) -> list[str]:
    """Return the recipes ``asked`` for and those of which the text speaks, each once."""
    return [*asked, *(name for name in fusions.SHOWN if name not in asked)]


@spent.on("export")
def build(
    graphs: fusions.Graphs, variants: Iterable[str], threads: int
) -> tuple[dict[str, BuiltGraph], dict[str, str]]:
    """Make each of ``variants`` in both `PRECISIONS` and load it.

    Returns:
        The graphs by their `name_of`, and, by recipe, why one cannot be made of this model.
    """
    built, impossible = {}, {}
    for variant in variants:
        for precision in PRECISIONS:
            try:
                graph = _built(graphs, variant, precision, threads)
            except InputError as error:  # layers with unlike heads
                impossible[variant] = str(error)
            else:
                built[graph.name] = graph
    return built, impossible


def _built(graphs: fusions.Graphs, variant: str, precision: str, threads: int) -> BuiltGraph:
    recipe = fusions.VARIANTS[variant]
    proto = graphs.optimised(recipe, recipes.safe_weight_bits() if precision == "int8" else 0)
    return BuiltGraph(variant, precision, proto, *fusions.serve(proto, recipe, threads))


def papers_best(race: Race) -> str:
    """Return the form of the paper's recipe that is the fastest in int8; `BASE` where none can be made."""
    forms = [variant for variant in fusions.PAPERS if name_of(variant, "int8") in race]
    return max(forms, key=lambda variant: race[name_of(variant, "int8")].throughput_per_s, default=BASE)


def gain(race: Race, variant: str, over: str) -> dict[str, float]:
    """Return how many times as fast as ``over`` a variant is, in each precision."""
    return {precision: race.speedup(name_of(variant, precision), name_of(over, precision)) for precision in PRECISIONS}


def rows(race: Race, built: Mapping[str, BuiltGraph], model: str, min_agreement: float) -> list[dict[str, Any]]:
    """Return a row a graph, for records and for `figures.graph_variants`; times in ms."""
    return [_row(race, graph, model, min_agreement) for graph in built.values()]


def _row(race: Race, graph: BuiltGraph, model: str, min_agreement: float) -> dict[str, Any]:
    timing = race[graph.name]
    high, low = (1e3 / per_s for per_s in timing.throughput_interval())
    return {
        "model": f"{model}, {graph.precision}",
        "variant": graph.variant,
        "ms": 1e3 / timing.throughput_per_s,
        "low": min(low, high),
        "high": max(low, high),
        "off": timing.checked.max_abs_difference,
        "kept": fitness.verdict(timing.checked, min_agreement) == fitness.CHECKED,
        "default": graph.variant == fusions.BOOK,
        "operators": sum(graph.operators.values()),
        "fused": graph.fused,
        "labels kept": timing.checked.label_agreement,
    }


def shown(rows: Sequence[Mapping[str, Any]], race: Race, min_agreement: float) -> list[dict[str, Any]]:
    """Return `rows` as a table shows them; ``race`` is where they were timed and checked."""
    return [
        {
            "graph": row["variant"],
            "precision": row["model"].rpartition(", ")[2],
            "ms a request": row["ms"],
            "range of rounds": f"{row['low']:.2f} to {row['high']:.2f}",
            "operators": row["operators"],
            "fused": row["fused"],
            "answers": fitness.verdict(race[_name(row)].checked, min_agreement),
            "labels kept %": 100 * row["labels kept"],
            "largest logit change": f"{row['off']:.0e}",
        }
        for row in rows
    ]


def beside(rows: Sequence[Mapping[str, Any]], kept: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Set graphs beside those of ``kept`` runs, the facts of their chapters by a letter.

    Returns:
        A row a graph: how many times as fast it is as level "all" of the same run, in each precision and each run;
        empty where a run did not measure it. No row where no run is kept.
    """
    runs = {"here": rows} | {letter: facts.get("graph_variants", []) for letter, facts in kept.items()}
    ms = {run: {_name(row): row["ms"] for row in own} for run, own in runs.items()}
    names = dict.fromkeys(row["variant"] for own in runs.values() for row in own if row["variant"] != BASE)
    return [
        {"graph": name} | {f"{kind}, {run}": _factor(ms[run], name, kind) for kind in PRECISIONS for run in runs}
        for name in (names if kept else ())
    ]


def _factor(ms: Mapping[str, float], name: str, precision: str) -> float | None:
    own, base = ms.get(name_of(name, precision)), ms.get(name_of(BASE, precision))
    return base / own if own and base else None


def _name(row: Mapping[str, Any]) -> str:
    return name_of(row["variant"], row["model"].rpartition(", ")[2])
