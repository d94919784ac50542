"""The tables of the pruning chapter: what a reader sees of the rows that a record keeps, under plain heads.

Records keep the keys of ``reports``; here each gets the words that stand above its column and the digits that count.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from fflib import display
from fflib.plotting import number
from fflib.pruning.reports import Row

LOW, HIGH = "95 % from", "to"  # keys of the ends of an interval, shown in one column
Sizes = Mapping[str, Sequence[Sequence[float]]]  # {number of layers: [width kept, accuracy, low, high]}


class Kept(Protocol):
    """What is asked of a kept run's chapter: what it found out, and whose numbers these are."""

    facts: dict[str, Any]
    label: str


def shape_words(counts: str | Sequence[Sequence[int] | None]) -> str:
    """Write what each layer keeps as heads/neurons: "10/768, 9/256, removed"; a record has it as text."""
    layers = ast.literal_eval(counts) if isinstance(counts, str) else counts
    return ", ".join("removed" if layer is None else f"{layer[0]}/{layer[1]:,}" for layer in layers)


def _digits(count: int, sign: str = "", unit: str = "") -> Callable[[float], str]:
    return lambda value: f"{value:{sign},.{count}f}{unit}"


def _share(value: float) -> str:
    return f"{value:.1%}"


TIMES, POINTS, MS = _digits(2, unit="x"), _digits(1, "+"), _digits(2)
COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "target": ("asked for", str),
    "way": ("how the shape was found", str),
    "divergence": ("divergence (nats)", _digits(4)),
    "kept": ("heads/neurons by layer", shape_words),
    "taken out": ("layer taken out", str),
    "predicted speed-up": ("predicted speed-up", TIMES),
    "divergence of the narrow model": ("divergence of the narrow model (nats)", _digits(4)),
    "kept by": ("which units stay", str),
    "tuned": ("repaired by", lambda value: "nothing" if value == "none" else value),
    "dev %": ("score on dev (%)", _digits(1)),
    "dev %, tuned only": ("tuned only (%)", _digits(1)),
    "dev %, retrained": ("retrained (%)", _digits(1)),
    "worst and best seed": ("worst and best seed (%)", str),
    "of the teacher's on dev": ("kept of the teacher's score (95 % interval)", str),
    "minutes of retraining": ("minutes of training", _digits(1)),
    "predicted ms": ("predicted (ms)", MS),
    "measured ms": ("measured (ms)", MS),
    "measured / predicted": ("ratio", MS),
    "speed-up": ("measured speed-up", TIMES),
    "p50 ms": ("1 instance: p50 (ms)", _digits(1)),
    "requests/s": ("1 instance: requests/s", number),
    "two instances, requests/s": ("2 instances: requests/s", number),
    "their speed-up": ("2 instances: speed-up", TIMES),
    "their p50 ms": ("2 instances: p50 (ms)", _digits(1)),
    "in the best batches, requests/s": ("best batches: requests/s", number),
    "how": ("version", str),
    "searched less uniform, points": ("difference (points)", POINTS),
    "the searched one is": ("the searched one is", str),
    "on": ("measured on", str),
    "peeking gains, points": ("gain from peeking (points)", POINTS),
    "words kept": ("words kept in the vocabulary", str),
    "MB, pruned": ("model with all words (MB)", _digits(1)),
    "MB, small vocabulary": ("model with the kept words (MB)", _digits(1)),
    "share of dev tokens kept": ("tokens of dev whose word is kept", _share),
    "share of dev requests without an unseen word": ("texts of dev without an unseen word", _share),
    "requests checked": ("requests answered for the check", str),
    "of these fell back": ("of these, answered by the model with all words", str),
}
PREDICTION = ("shape", "predicted ms", "measured ms", "measured / predicted", "predicted speed-up", "speed-up")
SERVING = ("shape", "requests/s", "p50 ms", "two instances, requests/s", "their p50 ms", "their speed-up")
SERVING += ("in the best batches, requests/s",)


def plain(rows: Sequence[Row], keys: Sequence[str] = ()) -> list[Row]:
    """Return rows of a record as a table shows them: ``keys`` only (all, if none are named), under plain heads.

    The ends of an interval share a column. A column in which nothing was measured is left out; a single cell that was
    not measured is empty.
    """
    wanted = [key for key in keys or (rows[0] if rows else ()) if key != HIGH]
    wanted = [key for key in wanted if any(_is_known(row.get(key)) for row in rows)]
    return [dict(_cell(row, key) for key in wanted) for row in rows]


def _cell(row: Row, key: str) -> tuple[str, str]:
    if key == LOW:
        return "95 % interval", f"{row[LOW]:+.1f} to {row[HIGH]:+.1f}"
    head, write = COLUMNS.get(key, (key, str))
    return head, write(row[key]) if _is_known(row.get(key)) else ""


def _is_known(value: object) -> bool:
    return value is not None and value != "" and value == value  # NaN is unequal to itself


def upright(row: Row) -> list[Row]:
    """Return one row as a table of two columns, for a row alone is read more easily from top to bottom."""
    (cells,) = plain([row])
    return [{"what": what, "found": value} for what, value in cells.items()]


def kept_against_uniform(kept: Iterable[Kept | None]) -> str:
    """Return as Markdown how searched and uniform shapes did in kept runs, and whose numbers these are.

    A run that is not kept is None; '' where none is.
    """
    found = [one for one in kept if one and one.facts.get("against_uniform")]
    rows = [{"kept run": _name(one)} | cells for one in found for cells in plain(one.facts["against_uniform"])]
    if not rows:
        return ""
    return f"The same comparison in kept runs:\n\n{display.table(rows).data}\n\n{_sources(found)}"


def elastic_rows(accuracies: Sizes) -> list[Row]:
    """Return a row for each size that was cut from one set of weights, as a table shows it."""
    return [
        {"layers": layers, "width kept": f"{width:.0%}", "score on dev": _share(score)}
        | {"95 % interval": f"{_share(low)} to {_share(high)}"}
        for layers, sizes in accuracies.items()
        for width, score, low, high in sizes
    ]


def kept_elastic(is_measured: bool, kept: Iterable[Kept | None], command: str) -> str:
    """Return as Markdown what kept runs found of one set of weights, and the ``command`` that measures it here.

    A run that is not kept is None.
    """
    found = [one for one in kept if one and one.facts.get("elastic")]
    parts = [] if is_measured else ["This run leaves the training of one set of weights for many sizes out."]
    for one in found:
        rows = elastic_rows(one.facts["elastic"]["dev"])
        parts += [f"What a kept run found:\n\n{display.table(rows).data}", _sources([one])]
    if not is_measured and not found:
        parts.append("No kept run has it either.")
    if not is_measured:
        parts.append(f"To measure it here: `{command}`.")
    return "\n\n".join(parts)


def seconds(spent: Mapping[str, float]) -> list[Row]:
    """Return what each step took, in seconds, as a table shows it."""
    return [
        {"step": step.replace("unless it was kept", "unless this machine had measured it before"), "seconds": value}
        for step, value in spent.items()
    ]


def _name(kept: Kept) -> str:
    return kept.label.partition(",")[0].removeprefix("kept run ")


def _sources(kept: Iterable[Kept]) -> str:
    return "*" + "; ".join(one.label for one in kept) + "*"
