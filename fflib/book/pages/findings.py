"""The negative results of the book: what was expected, and where a page takes the numbers from.

Their texts stand in template/pages/findings.yaml; the ``measured_...`` modules beside this one read their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import yaml

from fflib.book.pages import measured_beyond, measured_int8, measured_models, measured_pruning, measured_runtime
from fflib.book.pages.outcomes import Outcome
from fflib.book.pages.sources import TEMPLATES, Book, Source

MEASURED = (measured_models, measured_pruning, measured_int8, measured_runtime, measured_beyond)


@dataclass(frozen=True)
class Finding:
    """Something that a reader would expect to help.

    ``measure`` reads a run and returns the `Outcome`; LookupError: the run did not measure it. ``why`` holds where it
    failed. ``fact`` names what the chapter left of it, and so the section to link to.
    """

    title: str
    chapter: str
    fact: str
    expected: str
    why: str
    measure: Callable[[Source], Outcome]


@dataclass(frozen=True)
class Told:
    """A finding with what is shown of it.

    ``here`` is what this run measured, ``kept`` a kept run in which it failed, ``label`` that run's name. ``measured``
    says whether any run measured it at all.
    """

    finding: Finding
    here: Outcome | None
    kept: Outcome | None = None
    label: str = ""
    measured: bool = True

    @property
    def failed_here(self) -> bool:
        """Whether this run shows it to fail."""
        return bool(self.here and self.here.failed)

    @property
    def failed_somewhere(self) -> bool:
        """Whether this run or a kept one shows it to fail."""
        return self.failed_here or bool(self.kept)


def all_findings() -> list[Finding]:
    """Read the findings in the order of the book."""
    entries = yaml.safe_load((TEMPLATES / "findings.yaml").read_text(encoding="utf-8"))
    return [Finding(**entry | {"measure": _function(*entry["measure"])}) for entry in entries]


def _function(name: str, *arguments: str) -> Callable[[Source], Outcome]:
    return partial(next(vars(module)[name] for module in MEASURED if name in vars(module)), *arguments)


def look_up(book: Book, findings: Sequence[Finding]) -> list[Told]:
    """Return each finding as this run measured it; where it did not fail here, with the first kept run it failed in."""
    return [_told(book, finding) for finding in findings]


def _told(book: Book, finding: Finding) -> Told:
    here = outcome(finding, book.here)
    if here and here.failed:
        return Told(finding, here)
    elsewhere = [(source, found) for source in book.kept if (found := outcome(finding, source))]
    for source, found in elsewhere:
        if found.failed:
            return Told(finding, here, found, source.label)
    return Told(finding, here, measured=bool(here or elsewhere))


def outcome(finding: Finding, source: Source) -> Outcome | None:
    """Return what a run measured of a finding; None: nothing, or a record of other code has another form."""
    try:
        return finding.measure(source)
    except (LookupError, TypeError, ValueError):
        return None
