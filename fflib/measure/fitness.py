"""Fit to serve: a file in other numbers than its model's is judged by the labels that it keeps.

The rule, ``min_agreement``, is a share of the model's labels. It is decided on all of dev. On other texts the same file
may keep a few more or less by chance; what chance cannot explain is refused there, too. Who is not fit may be timed, to
see what the damage would buy, and is shown as "not served".
"""

from __future__ import annotations

from fflib.files import InputError
from fflib.measure.timing import Check

CHECKED, NOT_SERVED = "checked", "timed, not served"
LOWEST = 0.8  # no rule is laxer: what changes more labels is not a rounded model but another one
BY_CHANCE = 0.025  # of samples from a file that just keeps the rule are so far below it that the file is refused
NEARLY_NEVER = 0.001  # the same for a file that was found fit on these very texts, in other batches


def check_rule(min_agreement: float) -> None:
    """Raise InputError where ``min_agreement`` is no rule that keeps a model what it is."""
    if not LOWEST <= min_agreement <= 1:
        raise InputError(
            f"min_agreement is {min_agreement:g}; a file that keeps so few labels is another model, "
            f"so give a share from {LOWEST} to 1"
        )


def verdict(check: Check, min_agreement: float) -> str:
    """Say whether what was timed may be served: it keeps ``min_agreement`` of the labels, or it does not."""
    return CHECKED if check.label_agreement >= min_agreement else NOT_SERVED


def least(min_agreement: float, n: int, chance: float = BY_CHANCE) -> float:
    """Return the share of ``n`` labels below which a file that keeps the rule falls at most so often by ``chance``.

    InputError as in `check_rule`.
    """
    check_rule(min_agreement)
    from scipy.stats import binom  # only now: it takes a second to load

    return float(binom.ppf(chance, n, min_agreement)) / n
