"""What each policy takes from a queue that is given; `test_online` sees them at work."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fflib.files import InputError
from fflib.serving import scheduling
from fflib.serving.scheduling import Queue, WaitUntil

LENGTHS = np.array([10, 10, 10, 30, 10])


def at_once(lengths):
    return Queue([(i, 0.0) for i in range(len(lengths))], lengths)


def test_one_by_one_takes_the_oldest():
    assert scheduling.one_by_one(at_once(LENGTHS), 7.0) == [0]


def test_adaptive_waits_for_company_until_the_deadline_of_the_oldest_unless_it_is_full():
    queue = Queue([(0, 1.0), (1, 1.5)], LENGTHS)
    assert scheduling.adaptive(100)(queue, 1.5) == [0, 1]
    assert scheduling.adaptive(100, 2.0)(queue, 2.9) == WaitUntil(3.0)
    assert scheduling.adaptive(100, 2.0)(queue, 3.0) == [0, 1]
    assert scheduling.adaptive(19, 2.0)(queue, 1.5) == [0] and scheduling.adaptive(5, math.inf)(queue, 1.5) == [0]
    assert scheduling.adaptive(20, 2.0)(queue, 1.5) == WaitUntil(3.0)  # full, but nobody is left out
    assert scheduling.adaptive(60)(at_once(LENGTHS), 0.0) == [0, 1, 2]  # a fourth of 30 tokens would make 4 x 30 > 60


def test_like_lengths_takes_the_oldest_and_those_nearest_to_it():
    queue = at_once(np.array([50, 10, 48, 12, 52, 11]))
    assert scheduling.like_lengths(160)(queue, 0.0) == [0, 2, 4]
    assert scheduling.like_lengths(103)(queue, 0.0) == [0, 2]
    assert scheduling.like_lengths(1)(queue, 0.0) == [0]  # beyond the budget, but it goes


def test_like_lengths_pads_no_more_than_it_may():
    """The oldest has 50 tokens; 48 costs 2 of 98 and 52 then 6 of 150; 40 would make 4 x 52 of 190: 0.095."""
    queue = at_once(np.array([50, 10, 48, 40, 52]))
    for most, taken in ((0.1, [0, 2, 4, 3]), (0.05, [0, 2, 4]), (0.03, [0, 2]), (0.01, [0])):
        assert scheduling.like_lengths(10_000, most)(queue, 0.0) == taken
    assert scheduling.like_lengths(10_000)(queue, 0.0) == [0, 2, 4, 3, 1]


def test_within_takes_its_own_and_nothing_else():
    queue = at_once(np.array([50, 10, 48, 12, 52, 30]))
    assert scheduling.within(1000, 10, 50)(queue, 0.0) == [1, 2, 3, 5]
    assert scheduling.within(40, 10, 50)(queue, 0.0) == [1]
    assert scheduling.within(1000, 60, 90)(queue, 0.0) == []
    with pytest.raises(InputError, match="no length is in"):
        scheduling.within(1000, 60, 60)


def test_short_first_takes_the_shortest_and_its_neighbours():
    queue = at_once(np.array([50, 10, 48, 12, 52, 11]))
    policy = scheduling.short_first(36, patience_s=2.0)
    assert policy(queue, 1.9) == [1, 5, 3]
    assert policy(queue, 2.0) == [0]
    assert scheduling.short_first(160, 2.0)(queue, 2.0) == [0, 2, 4]  # the overdue one takes company of its own length
    equal = Queue([(i, 0.0) for i in range(3)], {0: 9, 1: 9, 2: 9})  # lengths by any key
    assert scheduling.short_first(18, 2.0)(equal, 0.0) == [0, 1]


def test_of_equal_lengths_the_oldest_goes_first():
    queue = Queue([(i, 0.0) for i in range(100)], np.tile([9, 11, 10], 34))
    tens, others = list(range(2, 100, 3)), [i for i in range(100) if i % 3 < 2]
    assert list(queue.nearest(10)) == tens + others
