"""One race of engines: each way is checked against its model, then all are timed in the same rounds, and described.

Each is timed in the run's batches and one request after another, and counts with what is faster for it. Beside that
stands its latency: a request alone, with all threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fflib.data import batching
from fflib.measure import fitness, timing
from fflib.measure import race as races
from fflib.measure.race import Race
from fflib.measure.timing import Check, Together, Variant
from fflib.runtime.peer_run import FinishedRun, Subject, Way

OURS = "this book's file"
IN_FP32 = 1e-3  # by which a logit in fp32 may be off
ONE_BY_ONE = "one by one"
SEED, DIGITS = 0, 6


def checked(way: Way, run: FinishedRun) -> Check:
    """Compare what a way answers, in batches and one by one, with its model. AssertionError: in fp32 it is off."""
    subject = way.subject
    plan = run.plan(subject.checked.lengths)
    answers, _, _ = way.together(subject.checked, plan)
    batched = np.concatenate(answers)[np.argsort(np.concatenate(plan))]
    single = Variant(way.name, way.alone, batching.in_order(subject.requests.lengths, 1)).logits(subject.requests)
    checks = [
        timing.compared(batched, subject.expected_checked, subject.checked.gold),
        timing.compared(single, subject.expected, subject.requests.gold),
    ]
    off, n = max(check.max_abs_difference for check in checks), sum(check.n for check in checks)
    kept = sum(check.label_agreement * check.n for check in checks) / n
    assert np.isfinite(batched).all() and np.isfinite(single).all(), "its answers are no numbers"
    assert not way.exact or off <= IN_FP32, f"a logit is off by {off:.2g}, more than {IN_FP32:.2g}"
    return Check(off, kept, n)


def timed(run: FinishedRun, ways: Sequence[tuple[Way, Check]], rounds: int) -> tuple[Race, Race]:
    """Time all ways in the same rounds: all batches of each plan with all cores, then a request at a time."""
    together = {key: _on_its_texts(way) for way, _ in ways for key in _keys(way)}
    plans = {key: plan for way, _ in ways for key, plan in zip(_keys(way), _plans(way.subject, run), strict=True)}
    expected = {key: way.subject.expected for way, _ in ways for key in _keys(way)}
    off = max(check.max_abs_difference for _, check in ways)
    widest = max(float(np.ptp(way.subject.expected)) for way, _ in ways)
    texts = ways[0][0].subject.requests  # of these the labels count, which are the same in the tokens of any model
    # Labels were counted before; now an answer to another text would stand out, and nothing else may.
    bound = {"tolerance": max(1.0, 2 * off, 0.3 * widest), "seed": SEED}
    timed = races.race_at_once(together, texts, expected, rounds, plans, **bound)
    variants = [
        Variant(way.name, way.alone, _plans(way.subject, run)[1], checked=check, examples=way.subject.requests)
        for way, check in ways
    ]
    return timed, races.timed(variants, texts, rounds, SEED)


def _keys(way: Way) -> tuple[str, str]:
    return f"{way.name}, in batches", f"{way.name}, {ONE_BY_ONE}"


def _plans(subject: Subject, run: FinishedRun) -> tuple[batching.Plan, batching.Plan]:
    lengths = subject.requests.lengths
    return run.plan(lengths), batching.in_order(lengths, 1)


def _on_its_texts(way: Way) -> Together:
    return lambda _, plan: way.together(way.subject.requests, plan)


def row(way: Way, check: Check, together: Race, alone: Race, run: FinishedRun) -> dict[str, Any]:
    """Describe a way: its settings, what is faster of its throughputs, beside this book's, and the labels it keeps.

    Chapter 5 asked the rule of the served file; on other texts chance may turn a label more.
    """
    ours = _best(together, f"{OURS}, {run.served['model']}")
    best = _best(together, way.name)
    timed, base = together[best], together[ours]
    batches = ONE_BY_ONE if best.endswith(ONE_BY_ONE) else batching.words(*run.served["batches"])
    return rounded(
        {
            "engine": way.engine,
            "model": way.subject.name,
            "version": way.version,
            "settings": way.settings,
            "note": way.note,
            "requests/s": timed.throughput_per_s,
            "interval": list(timed.throughput_interval(seed=SEED)),
            "batches": batches,
            "by batches": {key.rpartition(", ")[2]: together[key].throughput_per_s for key in _keys(way)},
            "times this book's": timed.throughput_per_s / base.throughput_per_s,
            "times this book's, interval": list(timed.speedup_interval(base, seed=SEED)),
            "p50 ms": alone[way.name].latency_p50_ms,
            "labels kept %": 100 * check.label_agreement,
            "largest change": check.max_abs_difference,
            "answers": fitness.verdict(check, fitness.least(run.values["min_agreement"], check.n)),
        }
    )


def _best(together: Race, name: str) -> str:
    keys = [key for key in together if key.rpartition(", ")[0] == name]
    return max(keys, key=lambda key: together[key].throughput_per_s)


def rounded(value: Any) -> Any:
    """Return JSON with its floats rounded to what a measurement can tell."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
