"""The rule of the whole ladder: what share of its teacher's score a model keeps, both asked the same examples.

**Paired.** Where teacher and model are both right, or both wrong, an example says nothing about what was lost. What
counts are the *discordant* ones: ``lost``, which the teacher alone has right, and ``won``, which the model alone has
right (McNemar, 1947). With accuracy as score and t right answers of the teacher,

    retention = 1 - (lost - won) / t        standard error = sqrt(sum (m_i - retention * t_i)^2) / t

with m_i and t_i 1 where model and teacher are right, else 0; near 1 that is sqrt(lost + won) / t. So a teacher with
75 % of 3,000 examples and a model that differs from it on 200 of them have a standard error of 0.6 per cent, and an
interval of 1.2 to each side: less than half of what two separate intervals would say. Half the width takes four times
the examples. Here the interval is that of a bootstrap, which holds for every metric: whole questions are drawn, and
both models are scored on the same draw. Like every bootstrap it knows only what was seen: two models that never differ
have an interval of no width.

**The rule.** A way to serve goes on if it keeps ``min_retention`` of the teacher's score on *dev*. There the value
itself decides: a choice has to be made, and to ask for the lower end to keep it would ask for larger models only
because dev is small. But the value must mean something. Of many shapes the one that dev flatters most is taken, and
where an interval is forty points wide that is luck: a shape that kept 106 % (86 to 130 %) of a Matthews coefficient on
600 examples kept 86 % on test. So the lower end may lie `DOUBT` below the rule, no more, from `ENOUGH` examples on;
with fewer nothing but the teacher itself would pass, and such a set is for trying. On *test* nothing is chosen; there
the interval tells what can be said, see `Retention.verdict`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from fflib.data import metrics
from fflib.data.metrics import Gold, Scorable

HELD, ABOVE, BELOW, MISSED = "held", "held, but not beyond chance", "missed, but not beyond chance", "missed"
DOUBT, ENOUGH = 0.1, 200  # how far below the rule an interval may reach, with so many examples or more
ROUNDING = 1e-9  # 0.98 as a ratio of two scores may come out as a little less
Fact = Mapping[str, Any]  # what `Retention.fact` returns
Way = TypeVar("Way")


def rule_holds(value: float, low: float, n: int, min_retention: float) -> bool:
    """Say whether the rule holds: the value keeps it, and the examples can tell, see the top of the module.

    Args:
        value: the share that is kept; NaN: of a teacher that scores nothing, nothing can be lost.
        low: the lower end of its interval.
        n: examples that were asked.
    """
    if math.isnan(value):
        return True
    can_tell = n < ENOUGH or low >= min_retention - DOUBT
    return can_tell and value >= min_retention - ROUNDING


def verdict(value: float, low: float, high: float, min_retention: float) -> str:
    """Say what a split on which nothing was chosen tells about the rule.

    `HELD`: even the lower end of the interval keeps ``min_retention``. `ABOVE`, `BELOW`: the value does, or does not,
    and the interval has both sides of it, so these examples cannot tell. `MISSED`: even the upper end keeps less.
    """
    asked = min_retention - ROUNDING
    if low >= asked:
        return HELD
    if high < asked:
        return MISSED
    return ABOVE if value >= asked else BELOW


@dataclass(frozen=True)
class Retention:
    """What share of its teacher's score a model keeps, with the paired 95 % interval; NaN: of a score of 0 or less.

    ``n`` examples were asked; of these the teacher alone has ``lost`` right, the model alone ``won``. ``guessed`` is
    what the best single answer to all of them would keep.
    """

    value: float
    low: float
    high: float
    n: int
    lost: int
    won: int
    guessed: float = math.nan

    @property
    def is_known(self) -> bool:
        """Whether the teacher has a score of which something can be kept."""
        return not math.isnan(self.value)

    def holds(self, min_retention: float) -> bool:
        """Say whether the rule holds, see `rule_holds`."""
        return rule_holds(self.value, self.low, self.n, min_retention)

    def verdict(self, min_retention: float) -> str:
        """Say what a split on which nothing was chosen tells about the rule; '' where there is nothing to keep."""
        return verdict(self.value, self.low, self.high, min_retention) if self.is_known else ""

    def fact(self, min_retention: float) -> dict[str, Any]:
        """Return what a record keeps of it: numbers (None: there is nothing to keep), the rule, and the verdict."""
        value, low, high = (each if self.is_known else None for each in (self.value, self.low, self.high))
        counts = {"n": self.n, "lost": self.lost, "won": self.won}
        counts |= {} if math.isnan(self.guessed) else {"guessed": self.guessed}
        rule = {"min_retention": min_retention, "verdict": self.verdict(min_retention)}
        return {"value": value, "low": low, "high": high} | counts | rule

    @property
    def words(self) -> str:
        """The value with its interval: "98.3% (97.1% to 99.4%)"; '' where there is nothing to keep."""
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})" if self.is_known else ""


def retention(
    task: Scorable, logits: np.ndarray, teacher_logits: np.ndarray, gold: Gold, resamples: int = 1000, seed: int = 0
) -> Retention:
    """Return what ``logits`` [n, classes] keep of what ``teacher_logits`` [n, classes] score on the same n examples.

    Draws in which the teacher scores nothing are left out of the interval. InputError as in `metrics.score`.
    """
    right, teacher_right = (metrics.answers(each, gold) == gold.labels for each in (logits, teacher_logits))
    counts = len(gold.labels), int((teacher_right & ~right).sum()), int((right & ~teacher_right).sum())
    score, teacher_score = (metrics.score(task, each, gold) for each in (logits, teacher_logits))
    if teacher_score <= 0:
        return Retention(math.nan, math.nan, math.nan, *counts)
    drawn, teacher_drawn = metrics.paired_scores(task, logits, teacher_logits, gold, seed, resamples).T
    scored = teacher_drawn > 0
    low, high = np.quantile(drawn[scored] / teacher_drawn[scored], [0.025, 0.975])
    guessed = metrics.chance(task, gold) / teacher_score
    return Retention(score / teacher_score, float(low), float(high), *counts, guessed)


def until_one_holds(ways: Iterable[Way], holds: Callable[[Way], bool], every: bool = False) -> list[Way]:
    """Try ``ways`` in their order until one of them ``holds``, and return those that were tried; ``every``: all."""
    tried: list[Way] = []
    for way in ways:
        tried.append(way)
        if holds(way) and not every:
            break
    return tried


def budget(what: str, kept: Retention, teacher_score: float, min_retention: float) -> str:
    """Say what ``what`` keeps on dev of a teacher's score, 0 to 1, and how much of the budget is left to be spent."""
    if not kept.is_known:
        return "The teacher scores nothing on dev: there is nothing to keep, and no rule to ask."
    points = 100 * (kept.value - min_retention) * teacher_score
    left = f"**{points:.1f} points** may still be spent"
    if not kept.holds(min_retention):
        below = f"it is {-points:.1f} points below the rule already"
        left = f"{below if points < 0 else 'dev cannot tell whether it does'}, and nothing may be spent"
    return (
        f"On dev the {what} keeps {kept.words} of the teacher's {teacher_score:.1%}; the rule asks for "
        f"{min_retention:.1%}: {left}."
    )


def certificate(fact: Fact | None) -> str:
    """Say in a sentence what a `Retention.fact` of test shows; '' where there is nothing to keep."""
    if not fact or fact["value"] is None:
        return ""
    meaning = {
        HELD: "even the lower end of the interval is not below it",
        ABOVE: "the value is not below it, and the interval reaches to both sides, so these examples cannot decide",
        BELOW: "the value is below it, and the interval reaches to both sides, so these examples cannot decide",
        MISSED: "even the upper end of the interval is below it",
    }[verdict_of(fact)]
    guessed = f" The best single answer to all of them would keep {fact['guessed']:.1%}." if "guessed" in fact else ""
    return (
        f"On test it keeps {words(fact)} of its teacher's score (paired: both answered the same {fact['n']:,} "
        f"examples; {fact['lost']:,} only the teacher got right, {fact['won']:,} only this model).{guessed} "
        f"The rule by which it was chosen on dev asks for {fact['min_retention']:.1%}. On test that is "
        f"**{verdict_of(fact)}**: {meaning}."
    )


def verdict_of(fact: Fact) -> str:
    """Return the `verdict` of a `Retention.fact` that has a value; by its numbers, since older records say others."""
    return verdict(fact["value"], fact["low"], fact["high"], fact["min_retention"])


def missed(fact: Fact | None) -> str:
    """Return what a headline has to say in its own sentence where the model misses the rule on test; else ''."""
    if not fact or fact["value"] is None or verdict_of(fact) != MISSED:
        return ""
    asked = f"{fact['min_retention']:.1%}"
    return f" (**below the rule**: on test it keeps {words(fact)} of its teacher's score, not {asked})"


def words(fact: Fact) -> str:
    """Write the value of a `Retention.fact` with its interval."""
    return f"{fact['value']:.1%} ({fact['low']:.1%} to {fact['high']:.1%})"
