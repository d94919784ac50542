"""A sweep on so many nodes: against schedules that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fflib.book import farm
from fflib.book.farm import Step
from fflib.runs import params
from fflib.runs.params import Run


def chain(run: str, *seconds: float) -> list[Step]:
    names = [f"{run}{i}" for i in range(len(seconds))]
    return [
        Step(name, s, tuple(names[i - 1 : i]) if i else ())
        for i, (name, s) in enumerate(zip(names, seconds, strict=True))
    ]


def test_one_node_takes_the_sum_and_as_many_nodes_as_runs_take_the_longest_run():
    steps = chain("a", 10, 20) + chain("b", 5, 5) + chain("c", 40)
    assert farm.makespan_s(steps, 1, 0) == 80
    assert farm.makespan_s(steps, 3, 0) == 40
    assert farm.makespan_s(steps, 100, 0) == 40, "a run's chapters come one after another"
    assert farm.efficiency(steps, 1, 0) == 1 and farm.efficiency(steps, 4, 0) == 0.5


def test_each_step_pays_for_its_handing_over():
    assert farm.makespan_s(chain("a", 10, 20), 2, 7) == 44


def test_what_shares_a_node_goes_on_at_once_and_what_times_does_not():
    pages = [Step(f"page {i}", 10, alone=False) for i in range(farm.SHARING + 1)]
    assert farm.makespan_s(pages, 1, 0) == 20 and farm.makespan_s(pages, 2, 0) == 10
    assert farm.makespan_s([*pages[:2], Step("timed", 10)], 2, 0) == 10, "both pages on one node, so one is left whole"
    assert farm.makespan_s([pages[0], Step("timed", 10)], 1, 0) == 20


def test_steps_that_wait_for_nothing_that_ends_are_refused():
    with pytest.raises(ValueError, match="a waits for"):
        farm.makespan_s([Step("a", 1, ("b",)), Step("b", 1, ("a",))], 2)
    with pytest.raises(ValueError, match="0 nodes"):
        farm.makespan_s([Step("a", 1)], 0)


@given(st.lists(st.lists(st.floats(0.1, 100), min_size=1, max_size=4), min_size=1, max_size=6), st.integers(1, 8))
def test_it_is_never_below_what_is_possible_nor_above_twice_that(runs, nodes):
    steps = [step for i, run in enumerate(runs) for step in chain(f"{i}-", *run)]
    takes, whole, longest = farm.makespan_s(steps, nodes, 0), sum(map(sum, runs)), max(map(sum, runs))
    least = max(whole / nodes, longest)
    assert least - 1e-6 <= takes <= whole / nodes + longest + 1e-6, "Graham's bound of a list schedule"


def test_the_steps_of_a_sweep_wait_for_their_run_and_for_the_teacher_that_they_begin_with():
    first = Run("a", "cpu", "smoke", Path("outputs/a"), {})
    after = replace(first, name="b", folder=Path("outputs/b"), before=first)
    wanted = [(first, params.BASELINE), (first, "02_batching"), (after, params.BASELINE), (after, "00_introduction")]
    found = farm.steps_of(wanted, [1.0, 2.0, 3.0, 4.0])
    assert [step.needs for step in found] == [(), ("a 01_baseline",), ("a 01_baseline",), ("b 01_baseline",)]
    assert [step.alone for step in found] == [True, True, True, False]
    assert farm.makespan_s(found, 2, 0) == 8
    assert farm.steps_of(wanted[2:], [3.0, 4.0])[0].needs == (), "that teacher is there already"


def test_what_is_told_has_a_line_for_each_number_of_nodes():
    steps = chain("a", 600) + chain("b", 600)
    one, two = farm.told(steps, (1, 2))
    assert one.startswith("on 1 node about 21 min, of which the chapters work 94%") and two.startswith(
        "on 2 nodes about 11 min"
    )


def test_a_made_up_sweep_has_so_many_like_runs():
    steps = farm.made_up(10, {"01_baseline": 100.0, "00_introduction": 10.0})
    assert len(steps) == 20 and farm.makespan_s(steps, 10, 0) == 110 and sum(step.alone for step in steps) == 10
