"""The headline, on ways whose speeds are known: a clock of the test's own tells their seconds."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import examples_of

from fflib.data import batching
from fflib.files import InputError
from fflib.story import headline
from fflib.story.headline import Factor, Way

RANDOM = np.random.default_rng(5)
LENGTHS = np.minimum(64, 4 + RANDOM.gamma(2, 8, 400).astype(int))  # a long tail
TEXTS = examples_of(LENGTHS)
PER_TOKEN_S = 1e-4


def right(texts):
    return np.stack([texts.lengths, -texts.lengths], 1).astype(float)


class World:
    """A machine that gets slower with every pass; each way takes so many times as long a token as the last rung."""

    def __init__(self, drift=0.0, noise=0.0):
        self.drift, self.noise, self.asked = drift, noise, []
        self.random = np.random.default_rng(1)

    def way(self, name, times, wrong_after=np.inf, **options):
        def answer(texts, plan):
            order = np.concatenate(plan)
            self.asked.append((name, texts.lengths, plan))
            calls = sum(each[0] == name for each in self.asked)
            slowness = (1 + self.drift * len(self.asked)) * np.exp(self.noise * self.random.normal())
            seconds = times * PER_TOKEN_S * slowness * texts.lengths.sum()
            return [right(texts)[order] + (calls > wrong_after)], seconds, [seconds]

        return Way(answer, right, **options)


def measured(world, rounds=6, seed=0, **times):
    starts = {name: world.way(name, factor, count=6) for name, factor in times.items()}
    return headline.measure(world.way("last", 1.0), starts, TEXTS, 60, rounds, seed)


def test_on_a_still_machine_the_factor_is_the_ratio():
    found = measured(World(), padded=40.0, teacher=3.0)
    for name, times in {"padded": 40.0, "teacher": 3.0}.items():
        assert found.factors[name].value == pytest.approx(times, rel=0.02)
        assert found.factors[name].low <= found.factors[name].value <= found.factors[name].high
        per_s = 1 / (times * PER_TOKEN_S * LENGTHS.mean())
        assert found.per_s[name] == pytest.approx(per_s, rel=0.05)
    assert found.last_per_s == pytest.approx(1 / (PER_TOKEN_S * LENGTHS.mean()), rel=0.05)


def test_a_machine_that_gets_ten_times_slower_changes_no_factor():
    still = measured(World(), padded=40.0)
    world = World(drift=0.3)
    drifting = measured(world, padded=40.0)
    assert 1 + world.drift * len(world.asked) > 10
    assert drifting.factors["padded"].value == pytest.approx(still.factors["padded"].value, rel=0.05)
    assert drifting.last_per_s < 0.5 * still.last_per_s


def test_the_interval_covers_the_ratio_in_nearly_all_of_many_runs():
    world = World(noise=0.1)
    hits = [measured(world, seed=i, way=8.0).factors["way"].holds(8.0) for i in range(150)]
    assert np.mean(hits) >= 0.93, "it promises 95 %"
    widths = [measured(World(noise=noise), way=8.0).factors["way"] for noise in (0.01, 0.2)]
    assert widths[0].high - widths[0].low < widths[1].high - widths[1].low


@pytest.mark.parametrize(("n", "low", "high"), [(2, 1, 2), (5, 1, 5), (6, 1, 6), (9, 2, 8), (15, 4, 12)])
def test_the_interval_of_the_median_by_signs(n, low, high):
    """As tables of the sign test give it (95 %): for 9 values from the second to the eighth, for 15 from the fourth."""
    found = Factor.of(np.arange(n, 0, -1.0))
    assert (found.low, found.high) == (low, high) and found.value == (n + 1) / 2


def test_the_last_rung_is_timed_on_both_sides_of_every_start_and_all_get_other_requests_each_round():
    world = World()
    measured(world, rounds=2, padded=4.0, teacher=2.0)
    names = [name for name, *_ in world.asked]
    assert len(names) == 3 * (2 + 2 * 3), "a round that checks, then two; the last rung twice: to warm up, and timed"
    for i, name in enumerate(names):
        if name != "last":
            assert names[i - 1] == names[i + 1] == "last"
    of_last = [lengths for name, lengths, _ in world.asked if name == "last"]
    assert all(len(lengths) == 60 for lengths in of_last)
    assert len({tuple(lengths) for lengths in of_last}) == 3
    assert all(len(lengths) == 6 and len(plan) == 6 for name, lengths, plan in world.asked if name != "last")


def test_each_is_asked_in_its_own_batches():
    world = World()
    last = world.way("last", 1.0, plan=lambda lengths: batching.sorted_by_length(lengths, 20))
    headline.measure(last, {"a": world.way("a", 2.0, count=3)}, TEXTS, 60, 1)
    assert {name: [len(group) for group in plan] for name, _, plan in world.asked} == {"last": [20] * 3, "a": [1] * 3}


@pytest.mark.parametrize("wrong_after", [0, 1, 3])
def test_a_wrong_answer_stops_it_before_or_while_it_is_timed(wrong_after):
    world = World()
    starts = {"a": world.way("a", 2.0, wrong_after=wrong_after, count=3)}
    with pytest.raises(AssertionError, match="a: a logit is off by 1, more than 0.001"):
        headline.measure(world.way("last", 1.0), starts, TEXTS, 10, rounds=4)
    last = world.way("last", 1.0, wrong_after=0)
    with pytest.raises(AssertionError, match="the last rung: a logit is off"):
        headline.measure(last, {"a": world.way("b", 2.0)}, TEXTS, 10, rounds=4)


def test_what_is_asked_of_few_stands_for_all():
    few = headline.representatives(LENGTHS, 6)
    assert len(few) == 6 and LENGTHS[few].mean() == pytest.approx(LENGTHS.mean(), rel=0.02)
    assert headline.representatives(np.array([3, 9]), 5).tolist() == [0, 1]
    rng = np.random.default_rng(0)
    draws = np.concatenate([headline.drawn(LENGTHS, 50, rng) for _ in range(400)])
    counts = np.bincount(draws, minlength=len(LENGTHS))
    assert counts.min() > 0.5 * 50 and counts.max() < 1.7 * 50, "each text about as often as any other"


def test_without_rounds_or_starts_there_is_none():
    for rounds, starts in ((0, {"a": World().way("a", 1.0)}), (3, {})):
        with pytest.raises(InputError, match="give no headline"):
            headline.measure(World().way("last", 1.0), starts, TEXTS, 10, rounds)
