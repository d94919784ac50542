"""The page "Questions people ask": each as one would search for it, answered with a number of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from fflib.book.pages import answers, sections
from fflib.book.pages.sources import TEMPLATES, Book, Source
from fflib.files import InputError

INTRODUCTION = """# Questions people ask

The questions below are asked again and again where engines and models are discussed. Each answer is short, its numbers
are from this run, and a link leads to the measurement. Where another run had to step in, it is named."""


def page_of(book: Book) -> str:
    """Return the page as Markdown. InputError: no question can be answered with a number."""
    entries = yaml.safe_load((TEMPLATES / "questions.yaml").read_text(encoding="utf-8"))
    found = [(entry, *_values(book, entry["values"])) for entry in entries]
    if not any(values for _, values, _ in found):
        raise InputError("no run holds a number that answers one of the questions")
    return "\n\n".join([INTRODUCTION, *(_answer(book, *each) for each in found)]) + "\n"


def _values(book: Book, name: str) -> tuple[Mapping[str, str], Source]:
    """Return the numbers of an answer and the run that they are from, this one first; empty: no run has them."""
    for source in book.all_sources:
        try:
            return getattr(answers, name)(source), source
        except (LookupError, TypeError, ValueError):  # not measured, or a record of other code has another form
            continue
    return {}, book.here


def _answer(book: Book, entry: Mapping[str, Any], values: Mapping[str, str], source: Source) -> str:
    if not values:
        return f"## {entry['question']}\n\n{entry['missing']}"
    origin = (
        f"*The numbers are from the {source.label}: this run did not measure all of them.*\n\n" if source.label else ""
    )
    where = ", ".join(dict.fromkeys(sections.link(book, chapter, fact) for chapter, fact in entry["measured"]))
    return f"## {entry['question']}\n\n{entry['answer'].format(**values)}\n\n{origin}Measured in: {where}."
