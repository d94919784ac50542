"""The same cut for both sides: gains over the same requests, and a difference that the rounds can tell."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import examples_of

from fflib.beyond import same_cut
from fflib.measure.race import Race
from fflib.measure.timing import Timing


def race(**seconds):
    """A race of ways that answered two requests in three rounds, {way: seconds of a request in each round}."""
    made = {name: Timing(np.array([[s, s] for s in each]), np.array([1, 1])) for name, each in seconds.items()}
    return Race({name.replace("_", " "): timing for name, timing in made.items()})


SERVED = race(whole=[4, 4, 4], first_8_alone=[2, 2, 2], first_16_alone=[3.0, 2.5, 3.5])
REFERENCE = race(whole=[90, 90, 90], first_8_alone=[30, 30, 30], first_16_alone=[70, 60, 80])


def test_what_is_left_has_a_range_and_a_difference_within_it_is_told_to_mean_nothing():
    whole, first_8, first_16 = found = same_cut.rows(SERVED, REFERENCE)
    assert whole["left"] == whole["low"] == whole["high"] == 1
    assert (first_8["own"], first_8["reference"]) == (2, 3) and first_8["left"] == pytest.approx(2 / 3)
    assert first_8["low"] == first_8["high"] == pytest.approx(2 / 3), "no round differs from another"
    assert first_16["low"] < first_16["left"] < first_16["high"]
    told = same_cut.told(found, 2, (3, 3))
    assert (
        "the reference gains more (first 8 alone)" in told and "cannot tell which gains more (first 16 alone)" in told
    )
    assert "the same 2 requests" in told and "served model gains more" not in told.replace("which gains more", "")


def test_each_way_reads_as_much_as_it_says():
    seen = []

    def predict(inputs):
        seen.append(inputs["input_ids"].shape[1])
        return np.array([[0.0, 1.0]])

    ways, right = same_cut.ways(predict, [4, 8], examples_of((10,)))
    assert [*ways] == [*right] == ["whole", "first 4 alone", "first 8 alone"] and seen == [10, 4, 8]
    assert all(logits.shape == (1, 2) for logits in right.values())
