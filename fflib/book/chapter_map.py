"""The map of the book: its chapters by their titles, with the minutes that each takes to read and to run."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping

from fflib.runs import params

WORDS_A_MINUTE, LINES_A_MINUTE = 200, 30  # prose that explains is read slowly, code more slowly still
FOLDED = ("hide-input", "parameters", "answer")  # tags of cells whose code a reader need not read


def title(chapter: str) -> str:
    """Return the title of a chapter, from the first heading of its notebook."""
    prose = "\n".join(source for marker, source in params.cells(chapter) if marker.startswith("[markdown]"))
    heading = re.search(r"^# # (.+)$", prose, re.MULTILINE)
    return heading[1].strip() if heading else chapter


def reading_minutes(chapter: str) -> int:
    """Estimate the minutes to read a chapter's prose and the code that is not folded; at least 1."""
    words = code_lines = 0
    for marker, source in params.cells(chapter):
        if marker.startswith("[markdown]"):
            words += len(re.findall(r"\w[\w'-]*", re.sub(r"\]\([^)]*\)", "]", source)))
        elif not any(f'"{tag}"' in marker for tag in FOLDED):
            code_lines += len([line for line in source.splitlines() if line.strip()])
    return max(1, math.ceil(words / WORDS_A_MINUTE + code_lines / LINES_A_MINUTE))


def rows(seconds_to_run: Mapping[str, float], pages: Collection[str] = ()) -> list[dict[str, str]]:
    """Return a row for each chapter of a run: its title, the minutes to read it, and those it took to run.

    Args:
        seconds_to_run: by the name of the chapter; the cell of one that did not run is empty.
        pages: the chapters that the book has a page of; their titles are links. Empty: all are.
    """
    listed = [
        {
            "chapter": f"[{title(chapter)}]({chapter}.ipynb)" if chapter in (pages or [chapter]) else title(chapter),
            "to read (minutes)": str(reading_minutes(chapter)),
            "to run (minutes)": f"{seconds_to_run[chapter] / 60:.1f}" if chapter in seconds_to_run else "",
        }
        for chapter in params.chapters()[1:]
    ]
    read = sum(int(row["to read (minutes)"]) for row in listed)
    run = f"{sum(seconds_to_run.get(chapter, 0.0) for chapter in params.chapters()[1:]) / 60:.0f}"
    return [*listed, {"chapter": "**all**", "to read (minutes)": str(read), "to run (minutes)": run}]
