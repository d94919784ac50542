"""Rows of tables and points of figures of a pruning study: plain numbers, from what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fflib.data import metrics
from fflib.data.metrics import Scored
from fflib.data.splits import TokenizedSplit
from fflib.data.task import Task
from fflib.measure.timing import Timing
from fflib.model import cache, checkpoints
from fflib.model.config import LayerShape
from fflib.model.encoder import Classifier
from fflib.model.slicing import Counts
from fflib.pruning import shape_search, study
from fflib.pruning.latency_table import LatencyTable
from fflib.pruning.study import UNPRUNED, Candidate
from fflib.pruning.sublayers import Kind
from fflib.pruning.vocabulary import Vocabulary, WithFallback

Row = dict[str, object]
Points = list[tuple[int, float]]  # units kept, share of the cost of all
LossOf = Callable[[Sequence[Counts]], float]  # of a shape, in nats
Interval = tuple[float, float, float]  # difference in points, and the ends of its 95 % interval


def cost_curves(table: LatencyTable, lengths: np.ndarray) -> dict[str, dict[str, Points]]:
    """Return of "heads" and "neurons" what each number costs, in "operations" and in "time", as a share of all."""

    def curve(kind: Kind, levels: Sequence[int]) -> dict[str, Points]:
        ms = [table.half_ms(kind, count, lengths) for count in levels]
        time = [(count, value / ms[-1]) for count, value in zip(levels, ms, strict=True)]
        return {"operations": [(count, count / levels[-1]) for count in levels], "time": time}

    return {"heads": curve("attention", table.heads), "neurons": curve("feed_forward", table.neurons)}


def cost_words(curves: Mapping[str, Mapping[str, Points]]) -> str:
    """Say where the time of `cost_curves` lies farthest above the operations, and what is left with no unit."""
    parts = []
    for units, curve in curves.items():
        pairs = zip(curve["operations"], curve["time"], strict=True)
        _, operations, time, count = max((time - work, work, time, count) for (count, work), (_, time) in pairs)
        parts.append(
            f"- **{units.capitalize()}.** Time lies farthest above the operations with {count:,} {units}: "
            f"{operations:.0%} of the operations take {time:.0%} of the time. With no {units} at all the half layer "
            f"still takes {curve['time'][0][1]:.0%}."
        )
    return "\n".join(parts)


def way_rows(by_target: Mapping[float, Mapping[str, Sequence[Counts]]], loss_of: LossOf) -> list[Row]:
    """Return a row for each way to a shape of each target speed-up: what the whole cut loses, and what it keeps."""
    return [
        {"target": f"{target:g} times", "way": way, "divergence": loss_of(counts), "kept": str(counts)}
        for target, ways in by_target.items()
        for way, counts in ways.items()
    ]


def depth_rows(table: LatencyTable, lengths: np.ndarray, shapes: Sequence[LayerShape], loss_of: LossOf) -> list[Row]:
    """Return a row for each layer that is taken out: what that saves and loses, and what as fast a narrow model loses.

    None where no model of all layers is as fast; no row for a model of a single layer.
    """
    rows: list[Row] = []
    full = [(shape.num_heads, shape.intermediate_size) for shape in shapes]
    unpruned_ms, least_ms = table.model_ms(shapes, lengths), shape_search.least_uniform_ms(table, lengths, shapes)
    for i in range(len(shapes) if len(shapes) > 1 else 0):
        ms = table.model_ms([*shapes[:i], *shapes[i + 1 :]], lengths)
        narrow = shape_search.uniform_at(table, lengths, shapes, ms) if ms >= least_ms else None
        rows.append(
            {
                "taken out": f"layer {i + 1}",
                "predicted speed-up": unpruned_ms / ms,
                "divergence": loss_of([*full[:i], None, *full[i + 1 :]]),
                "divergence of the narrow model": loss_of(narrow) if narrow else None,
            }
        )
    return rows


def mean_ms(timing: Timing) -> float:
    """Return the mean time of a request: of medians, where each was timed several times."""
    return 1e3 / timing.throughput_per_s


def speed_rows(
    predicted_ms: Mapping[str, float],
    alone: Mapping[str, Timing],
    batched: Mapping[str, Timing],
    pairs: Mapping[str, Timing] | None,
) -> list[Row]:
    """Return a row for each shape of ``predicted_ms``, the unpruned among them: the prediction and what was measured.

    ``alone`` are its requests one by one, ``batched`` in batches, ``pairs`` one by one on two instances (None: not
    measured).
    """
    measured = {name: mean_ms(alone[name]) for name in predicted_ms}

    def row(name: str) -> Row:
        pair, base = (pairs[name], pairs[UNPRUNED]) if pairs else (None, None)
        return {
            "shape": name,
            "predicted ms": predicted_ms[name],
            "measured ms": measured[name],
            "measured / predicted": measured[name] / predicted_ms[name],
            "predicted speed-up": predicted_ms[UNPRUNED] / predicted_ms[name],
            "speed-up": measured[UNPRUNED] / measured[name],
            "p50 ms": alone[name].latency_p50_ms,
            "requests/s": alone[name].throughput_per_s,
            "two instances, requests/s": pair.throughput_per_s if pair else None,
            "their speed-up": pair.throughput_per_s / base.throughput_per_s if pair else None,
            "their p50 ms": pair.latency_p50_ms if pair else None,
            "in the best batches, requests/s": batched[name].throughput_per_s,
        }

    return [row(name) for name in predicted_ms]


def pareto_point(name: str, ms: float, scored: Scored, **more: object) -> Row:
    """Return a point of `figures.pareto`."""
    return {"name": name, "x": ms, "accuracy": scored.value, "low": scored.low, "high": scored.high, **more}


def pareto_points(
    shapes: Sequence[Candidate],
    ms: Mapping[str, float],
    evaluate: Callable[[Classifier], Scored],
    chosen: Candidate,
) -> list[Row]:
    """Return the points of `figures.pareto`: every model that is `Candidate.shown`, at the time of the served one."""
    points = []
    for candidate in shapes:
        for retrained, model in candidate.shown.items():
            is_chosen = candidate is chosen and retrained == candidate.is_retrained
            look = {"kind": candidate.kind, "retrained": retrained, "chosen": is_chosen}
            points.append(pareto_point(candidate.name, ms[candidate.name], evaluate(model), **look))
    return points


def difference(task: Task, first: Classifier, second: Classifier, examples: TokenizedSplit, resamples: int) -> Interval:
    """Return by how many points of accuracy ``first`` is better than ``second``, with a paired bootstrap interval."""
    logits = [cache.predict_cached(model, examples) for model in (first, second)]
    value, low, high = metrics.difference_interval(task, *logits, examples.gold, resamples=resamples)
    return 100 * value, 100 * low, 100 * high


def against_uniform(
    shapes: Sequence[Candidate], seeds: Sequence[int], difference: Callable[[Classifier, Classifier], Interval]
) -> list[Row]:
    """Compare each searched shape with the uniform one that is as fast: tuned only, then retrained with each seed.

    ``difference`` returns by how many points the first model is better than the second, with its interval.
    """
    rows = []
    for searched, uniform in study.pairs(shapes):
        names = ["tuned only", *(f"retrained, seed {seed}" for seed in seeds)]
        for how, first, second in zip(names, searched.models, uniform.models, strict=False):
            points, low, high = difference(first, second)
            verdict = "ahead" if low > 0 else "behind" if high < 0 else "not clearly apart"
            row = {"target": f"{searched.target:g} times", "how": how, "searched less uniform, points": points}
            rows.append(row | {"95 % from": low, "to": high, "the searched one is": verdict})
    return rows


def token_rows(candidates: Sequence[Candidate], alone: Mapping[str, Timing], min_retention: float) -> list[Row]:
    """Return a row for each share of the tokens that was tried: how fast the model is, and what it keeps on dev."""
    unpruned_ms = mean_ms(alone[UNPRUNED])
    return [
        {
            "tokens": candidate.goes_on,
            "speed-up": unpruned_ms / mean_ms(alone[candidate.name]),
            "kept": candidate.kept.value,
            "keeps the rule": candidate.kept.holds(min_retention),
        }
        for candidate in candidates
        if candidate.kind == study.TOKENS
    ]


def flatter_rows(gains: Mapping[str, Interval]) -> list[Row]:
    """Return a row for each split: what importance gains there, in points, by having seen dev."""
    return [
        {"on": what, "peeking gains, points": points, "95 % from": low, "to": high}
        for what, (points, low, high) in gains.items()
    ]


def vocabulary_row(
    pruned: Classifier, small: Classifier, words: Vocabulary, fallback: WithFallback, dev: TokenizedSplit
) -> Row:
    """Return what ``small``, of the kept words only, saves and how often ``fallback`` needed the model of all words."""
    of_words, of_requests = words.coverage(dev)
    return {
        "words kept": f"{len(words.kept):,} of {words.size:,}",
        "MB, pruned": checkpoints.size_mb(pruned),
        "MB, small vocabulary": checkpoints.size_mb(small),
        "share of dev tokens kept": of_words,
        "share of dev requests without an unseen word": of_requests,
        "requests checked": fallback.requests,
        "of these fell back": fallback.fell_back,
    }
