"""The page "What did not work": every negative result of the book with what was expected, its number, and why."""

from __future__ import annotations

from itertools import groupby

from fflib.book import numbered
from fflib.book.pages import findings, sections
from fflib.book.pages.findings import Told
from fflib.book.pages.sources import Book
from fflib.files import InputError

INTRODUCTION = """# What did not work

A book that shows only what worked hides half of what it measured. Each entry below is something that a reader would
expect to help. It says what one expects, what was measured, and why the two differ. On another machine an entry may
come out differently, so each number is from a run, and a run that is not this one is named.
"""


def page_of(book: Book) -> str:
    """Return the page as Markdown. InputError: neither this run nor a kept one shows anything to fail."""
    told = findings.look_up(book, findings.all_findings())
    failed = [each for each in told if each.failed_somewhere]
    if not failed:
        raise InputError("neither this run nor a kept one holds a negative result that this code can read")
    parts = [INTRODUCTION, _count(failed)]
    for chapter, entries in groupby(failed, key=lambda each: each.finding.chapter):
        parts.append(f"## {_title(book, chapter)}")
        parts += [_entry(book, each) for each in entries]
    return "\n\n".join([*parts, *_left_out(told)]) + "\n"


def _count(failed: list[Told]) -> str:
    here = sum(each.failed_here for each in failed)
    elsewhere = len(failed) - here
    others = f" {elsewhere} more did so in a kept run, and not in this one." if elsewhere else ""
    return f"**In this run {here} expectations did not come true.**{others}"


def _title(book: Book, chapter: str) -> str:
    """Return the title of a chapter as its notebook has it, else its number."""
    first = next((cell["source"] for cell in book.chapters.get(chapter, []) if cell["cell_type"] == "markdown"), "")
    return numbered.last_heading(first.strip().partition("\n")[0]) or f"Chapter {int(chapter[:2])}"


def _entry(book: Book, told: Told) -> str:
    finding = told.finding
    measured = f"**Measured.** {told.here.told}" if told.here and told.failed_here else ""
    if told.kept:
        here = f"**In this run it came true.** {told.here.told}" if told.here else "*This run did not measure it.*"
        measured = f"{here}\n\n**Measured in the {told.label}.** {told.kept.told}"
    where = sections.link(book, finding.chapter, finding.fact)
    lines = [f"### {finding.title}", f"**Expected.** {finding.expected}", measured, f"**Why.** {finding.why}"]
    return "\n\n".join([*lines, f"Measured in: {where}."])


def _left_out(told: list[Told]) -> list[str]:
    """Say what is not on the page: what nobody measured, and what came true wherever it was measured."""
    unknown = [each.finding.title for each in told if not each.measured]
    fine = [each.finding.title for each in told if each.measured and not each.failed_somewhere]
    parts = []
    if unknown:
        parts.append(f"Neither this run nor a kept one measured: {'; '.join(unknown)}.")
    if fine:
        parts.append(f"Measured, and it came true in every run: {'; '.join(fine)}.")
    return [f"## What is not on this page\n\n{' '.join(parts)}"] if parts else []
