"""The rule of fitness: strict where it is decided, forgiving elsewhere by no more than chance."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from fflib.files import InputError
from fflib.measure import fitness
from fflib.measure.timing import Check


def below(count, n, rule):
    """The probability that a file which keeps ``rule`` of all labels keeps fewer than ``count`` of ``n``."""
    exact = Fraction(rule).limit_denominator(100)
    return float(sum(math.comb(n, k) * exact**k * (1 - exact) ** (n - k) for k in range(count)))


@pytest.mark.parametrize(("rule", "n"), [(0.95, 32), (0.95, 1500), (0.9, 96), (0.9, 16), (0.8, 4), (1.0, 20)])
@pytest.mark.parametrize("chance", [fitness.BY_CHANCE, fitness.NEARLY_NEVER])
def test_only_what_chance_does_not_explain_is_refused(rule, n, chance):
    count = round(fitness.least(rule, n, chance) * n)
    assert below(count, n, rule) <= chance < below(count + 1, n, rule) or rule == 1 == count / n


def test_the_more_texts_the_nearer_to_the_rule():
    shares = [fitness.least(0.95, n) for n in (20, 100, 1000, 10_000)]
    assert shares == sorted(shares) and 0.94 < shares[-1] < 0.95


def test_nobody_is_checked_who_keeps_fewer_than_the_rule():
    assert fitness.verdict(Check(9.0, 0.95, 100), 0.95) == "checked"
    assert fitness.verdict(Check(0.0, 0.94, 100), 0.95) == "timed, not served"


@pytest.mark.parametrize("rule", [0.5, 0.0, 0.79, 1.01])
def test_half_of_the_labels_are_no_rule(rule):
    with pytest.raises(InputError, match=f"min_agreement is {rule:g}; .* give a share from 0.8 to 1"):
        fitness.check_rule(rule)
    with pytest.raises(InputError):
        fitness.least(rule, 100)
