"""What did not work in chapter 8: a first reading that is enough, and a cheap classifier in front of the model."""

from __future__ import annotations

from fflib.book.pages.outcomes import Outcome, ratio
from fflib.book.pages.sources import Source, row

BEYOND = "08_beyond"
MAY_ANSWER = "may answer, % of the texts"  # a column of chapter 8's table
WORTH_IT = 10  # a front that answers a smaller percentage is work on top


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
        f"*{each['reads']}*, learnt from {each['learnt from']}: {each[MAY_ANSWER]:.0f} % of the texts "
        f"(alone it scores {each['alone, test %']:.1f} %)"
        for each in rows
    ]
    most = max(each[MAY_ANSWER] for each in rows)
    return Outcome(most < WORTH_IT, f"What each front may answer: {'; '.join(told)}.")
