"""The page "The same ladder on other machines": this run beside the kept runs, in factors and never in seconds."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fflib.book.pages import machines_figure, sources
from fflib.book.pages.sources import Book, Missing, Source, template
from fflib.book.pages.which_one import STYLE
from fflib.files import InputError
from fflib.plotting import times
from fflib.runs import ladder as rungs
from fflib.story import factors, headline_told
from fflib.story.factors import AGAINST

FIGURE = "other_machines"
HERE = "this run"
ABOUT = ("run", "task", "processor", "cores", "eight bits by", "date, commit", "code")
HEADS = (*ABOUT, "vs padded", "vs unpadded", "kept")


def page_of(book: Book, figures: Path) -> str:
    """Return the page as Markdown, and write its figure into the folder ``figures``.

    InputError: there is no kept run to stand beside this one.
    """
    if not book.kept:
        raise InputError("there is no kept run in outputs/reference to stand beside this one")
    runs = [row_of(source) for source in book.all_sources]
    figures.mkdir(parents=True, exist_ok=True)
    figure = machines_figure.steps([step for source in book.all_sources for step in steps_of(source)], caption(runs))
    figure.savefig(figures / f"{FIGURE}.png", dpi=150)
    return template("other_machines").format(
        style=STYLE,
        alt="What each step brought, as a factor: a mark a run, a colour a machine",
        figure=FIGURE,
        table=_table(runs),
        versions=_versions(runs),
        notes=_notes(book.kept),
    )


def row_of(source: Source) -> dict[str, Any]:
    """Return a run's row of the table, its columns being those of `HEADS`."""
    first = source.by_name["baseline"]
    machine, about = first["machine"], source.about
    last = source.stack().iloc[-1]
    kept = rungs.kept_words(last["retention"])
    written = max(record["written"] for record in source.side.records)
    return dict(
        zip(
            HEADS,
            (
                about.get("name", HERE),
                first["parameters"]["task"],
                machine["cpu"],
                machine["cores_available"],
                instructions(source),
                f"{written[:10]}, {machine.get('commit') or 'not in git'}",
                sources.version(source.side.records).removeprefix("of "),
                _factor(source, last, "padded", AGAINST[0]),
                _factor(source, last, "unpadded", AGAINST[1]),
                kept,
            ),
            strict=True,
        )
    )


def instructions(source: Source) -> str:
    """Name the integer instructions that a run's eight bits used; '' where its chapter 5 does not tell."""
    try:
        return source.fact("05_quantization", "int8")["instructions"]
    except Missing:
        return ""


def steps_of(source: Source) -> list[dict[str, Any]]:
    """Return what each technique brought on a run: technique, factor, machine."""
    stack = source.stack()
    steps = factors.factors(source.side.ladder, [name for name in stack["rung"] if name != rungs.UNPADDED])
    machine = machine_of(source)
    found = factors.factor_by_technique(steps)
    return [{"technique": technique, "factor": factor, "machine": machine} for technique, factor in found.items()]


def machine_of(source: Source) -> str:
    """Name a run's machine, with its integer instructions, which tell most about it here."""
    cpu, by = source.by_name["baseline"]["machine"]["cpu"], instructions(source)
    return f"{cpu}: {by}" if by else cpu


def caption(runs: Sequence[dict[str, Any]]) -> str:
    """Say below the figure what its marks are."""
    return f"{len(runs)} runs; each factor is of two rungs that one machine timed in the same rounds"


def _factor(source: Source, last: pd.Series, kind: str, against: str) -> str:
    """Write the measured factor with its range; of a run that measured none, the product of its steps."""
    headline = headline_told.of_records(source.side.records)
    if headline:
        return headline_told.factor_words(headline["against"][against])
    return f"{times(last[f'speedup_vs_{kind}'])}, product of steps"


def _table(runs: Sequence[dict[str, Any]]) -> str:
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    lines = ["".join(f"<td>{html.escape(str(run[head]))}</td>" for head in HEADS) for run in runs]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table>"
    return f'<div class="wide-table words">{table}</div>'


def _versions(runs: Sequence[dict[str, Any]]) -> str:
    older = sum(run["code"] == sources.OLDER.removeprefix("of ") for run in runs)
    if not older:
        return "None of these runs is of an older version."
    return (
        f"{older} of these {len(runs)} runs are of an older version: since then a chapter, or something that it uses, "
        "has changed, so a step of one name may have been made in another way."
    )


def _notes(kept: Sequence[Source]) -> str:
    notes = {source.about["name"]: source.about["note"].rstrip(".") for source in kept if source.about.get("note")}
    if not notes:
        return "No run has a note."
    return "Notes on the kept runs. " + " ".join(f"*{name}*: {note}." for name, note in notes.items())
