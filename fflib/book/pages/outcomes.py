"""What a run measured of something that a reader would expect to help."""

from __future__ import annotations

from dataclasses import dataclass

from fflib.plotting import number


@dataclass(frozen=True)
class Outcome:
    """What a run measured, in a sentence with its numbers; ``failed``: what was expected did not come true there."""

    failed: bool
    told: str


def ratio(factor: float) -> str:
    """Write a factor as it is read in a sentence: "0.48", "1.00", "12.5", "420"."""
    return f"{factor:.2f}" if factor < 10 else number(factor)
