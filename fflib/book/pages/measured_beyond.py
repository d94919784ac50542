"""What did not work in chapter 8: a first reading that is enough, and a cheap classifier in front of the model."""

from __future__ import annotations

from fflib.book.pages.outcomes import Outcome, ratio
from fflib.book.pages.sources import Source, row

BEYOND = "08_beyond"
WORTH_IT = 0.1  # a front that answers a smaller share of the texts is work on top


def read_little(source: Source) -> Outcome:
    """The cascade that reads on only where it is unsure, beside the served model."""
    found = row(source.fact(BEYOND, "systems"), system="cascade")
    told = (
        f"With the threshold that dev chose, {found['sent on test']:.0%} of the test texts are read again. The cascade "
        f"is {ratio(found['measured'])} times as fast as the served model; its operations promised "
        f"{ratio(found['predicted'])} times. It keeps {found['agreement']:.1%} of the labels."
    )
    return Outcome(found["measured"] <= 1, told)


def cheap_front(source: Source) -> Outcome:
    """The share of the texts that each cheap classifier may answer without breaking the rule."""
    rows = source.fact(BEYOND, "fronts")
    told = [
        f"*{each['reads']}*, learnt from {each['learnt from']}: {each['may answer']} "
        f"(alone it scores {each['alone, test']})"
        for each in rows
    ]
    most = max(_share(each["may answer"]) for each in rows)
    return Outcome(most < WORTH_IT, f"What each front may answer: {'; '.join(told)}.")


def _share(words: str) -> float:
    """Read a share as chapter 8 writes it: "nothing", or "12% of the texts"."""
    return 0.0 if words == "nothing" else float(words.partition("%")[0]) / 100
