"""The page "Which one do I take?": the rungs of this run that keep a reader's limits of time, accuracy and size.

All numbers are in the table, best first; ``theme/static/which_one.js`` hides the rows that are over a limit. Without
JavaScript the whole table stays, with the rungs marked that no other beats.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import pandas as pd

from fflib.book.pages import sections
from fflib.book.pages.sources import STORY, Book, Missing, Source, template
from fflib.files import InputError
from fflib.plotting import times
from fflib.runs import records
from fflib.runs.ladder import BELOW, FLOOR
from fflib.story import front

SCRIPT, STYLE = "_static/which_one.js", "_static/pages.css"
MARK, BATCHED, UNRULY = "★", " †", " ‡"
NEEDED = ("throughput_per_s", "latency_p50_ms", "accuracy", "speedup_vs_padded")
# What a reader may ask for: name of the field, of the row's data, what stands beside it, unit, whether more is better.
FIELDS = (
    ("ms", "One request, median, at most", "ms", False),
    ("per_s", "Requests a second, at least", "", True),
    ("lost", "Accuracy lost against the teacher, at most", "points", False),
    ("kept", "Kept of the teacher's score, at least", "%", True),
    ("mb", "Size of the model, at most", "MB", False),
)
IN_BATCHES = "† marks a time in batches: the rung was timed in no other way, so the time is that of the whole batch."
HEADS = ("", "rung", "one<br>request, ms", "requests<br>a second", "vs<br>padded", "accuracy, %<br>(95 %)")
HEADS += ("points<br>lost", "kept,<br>%", "MB")


def page_of(book: Book) -> str:
    """Return the page as Markdown. InputError: no rung of the run has a time and an accuracy."""
    rows = rungs_of(book.here)
    if not rows:
        raise InputError("no rung of this run has both a time and an accuracy")
    baseline = book.here.by_name["baseline"]
    below = f" ‡ marks a rung *{BELOW}*: on dev it keeps less than this book asks for, so no chapter went on from it."
    return template("which_one").format(
        machine=baseline["machine"]["cpu"],
        cores=baseline["machine"]["cores_available"],
        task=baseline["parameters"]["task"],
        style=STYLE,
        script=SCRIPT,
        mark=MARK,
        fields="\n".join(_field(*field) for field in FIELDS),
        table=_table(rows),
        alone=_alone_words(book) if any(row["alone"] for row in rows) else IN_BATCHES,
        teacher=f"{_teacher(book.here):.1%}",
        below=below if any(row["below"] for row in rows) else "",
        left_out=_left_out(book.here, rows),
    )


def _alone_words(book: Book) -> str:
    measured = sections.link(book, STORY, "latency")
    return f"Of a rung that answers in batches it is the time that {measured} measured for it alone. {IN_BATCHES}"


def rungs_of(source: Source) -> list[dict[str, Any]]:
    """Return the rungs that can be taken, best first: served, timed and scored, with what a reader asks for.

    ``ms`` is of one request at a time, or, with ``in_batches``, of a request in its batch; ``alone`` says that the
    story measured it. ``kept`` (per cent) and ``lost`` (points) are None where the teacher is not clear of the floors.
    """
    ladder = source.side.ladder
    ladder = ladder[(ladder["status"] == "ok") & ladder[list(NEEDED)].notna().all(axis=1)]
    ladder = ladder[~_are_beneath(source, ladder)]
    ladder = ladder.sort_values("speedup_vs_padded", ascending=False, kind="stable")
    points = [
        {"rung": row.rung, front.SPEED: row.speedup_vs_padded, front.ACCURACY: row.accuracy}
        for row in ladder.itertuples()
    ]
    unbeaten, alone_ms = front.pareto(points), _alone_ms(source)
    return [_rung(row, unbeaten, alone_ms, _teacher(source)) for row in ladder.to_dict("records")]


def _are_beneath(source: Source, ladder: pd.DataFrame) -> pd.Series:
    """Say which rungs are floors of a task whose teacher is clearly above them: nobody would take one."""
    is_clear = records.teacher_is_clear(source.by_name["baseline"]["facts"])
    return ladder["rung"].str.startswith(FLOOR) & is_clear


def _rung(row: Mapping[str, Any], unbeaten: list[str], alone_ms: Mapping[str, float], teacher: float) -> dict[str, Any]:
    in_batches = row["batch_size"] > 1
    alone = in_batches and row["rung"] in alone_ms
    kept = None if pd.isna(row["retention"]) else 100 * row["retention"]
    return {
        "rung": row["rung"],
        "ms": alone_ms[row["rung"]] if alone else row["latency_p50_ms"],
        "alone": alone,
        "in_batches": in_batches and not alone,
        "per_s": row["throughput_per_s"],
        "factor": row["speedup_vs_padded"],
        "accuracy": row["accuracy"],
        "interval": (row["accuracy_low"], row["accuracy_high"]),
        "lost": None if kept is None else 100 * (teacher - row["accuracy"]),
        "kept": kept,
        "mb": None if pd.isna(row["model_mb"]) else row["model_mb"],
        "unbeaten": row["rung"] in unbeaten,
        "below": row["keeps_rule"] == "no",
    }


def _alone_ms(source: Source) -> dict[str, float]:
    try:
        return {row["rung"]: row["p50_ms"] for row in source.fact(STORY, "latency")}
    except Missing:
        return {}


def _teacher(source: Source) -> float:
    return source.fact("01_baseline", "teacher")["accuracy"]


def _left_out(source: Source, rows: list[dict[str, Any]]) -> str:
    """Say which rungs of the ladder are not in the table, and why."""
    left = source.side.ladder[~source.side.ladder["rung"].isin([row["rung"] for row in rows])]
    failed, beneath = left["status"] != "ok", _are_beneath(source, left)
    reasons = {
        "they failed or are not served": failed,
        "the teacher is clearly above them": ~failed & beneath,
        "a time or an accuracy was not measured": ~failed & ~beneath,
    }
    parts = [f"because {why}: {', '.join(left['rung'][which])}" for why, which in reasons.items() if which.any()]
    return f"Left out of the table, {'; '.join(parts)}." if parts else "Every rung of the ladder is in the table."


def _field(name: str, words: str, unit: str, at_least: bool) -> str:
    kind = "min" if at_least else "max"
    field = f'<input type="number" min="0" step="any" inputmode="decimal" name="{name}" data-kind="{kind}">'
    return f"<label>{html.escape(words)} <span>{field} {unit}</span></label>"


def _table(rows: list[dict[str, Any]]) -> str:
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    body = "\n".join(_line(row) for row in rows)
    table = f'<table id="which-one-rungs"><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table>'
    return f'<div class="wide-table">{table}</div>'


def _line(row: Mapping[str, Any]) -> str:
    data = " ".join(f'data-{name}="{row[name]:.6g}"' for name, *_ in FIELDS if row[name] is not None)
    low, high = (100 * end for end in row["interval"])
    cells = (
        MARK if row["unbeaten"] else "",
        html.escape(row["rung"]) + UNRULY * row["below"],
        f"{row['ms']:,.1f}" + BATCHED * row["in_batches"],
        f"{row['per_s']:,.1f}",
        times(row["factor"]),
        f"{100 * row['accuracy']:.1f} ({low:.1f} to {high:.1f})",
        "" if row["lost"] is None else f"{row['lost']:.1f}",
        "" if row["kept"] is None else f"{row['kept']:.1f}",
        "" if row["mb"] is None else f"{row['mb']:,.0f}",
    )
    return f"<tr {data}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
