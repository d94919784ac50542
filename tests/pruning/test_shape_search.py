"""The search for a shape against brute force, and against tables and losses that are known by hand."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fflib.files import InputError
from fflib.model import flops
from fflib.model.config import EncoderConfig, LayerShape
from fflib.pruning import shape_search
from fflib.pruning.latency_table import LatencyTable

LENGTHS = np.array([10, 20])
TABLE = LatencyTable(
    heads=(0, 4),
    neurons=(0, 16, 32),
    lengths=(10, 20),
    attention_ms=np.array([[1.0, 2.0], [5.0, 10.0]]),
    feed_forward_ms=np.array([[1.0, 2.0], [4.0, 8.0], [6.0, 12.0]]),
    rest_ms=np.array([2.0, 3.0]),
)
FULL = [LayerShape(4, 8, 32)] * 2


@dataclass(frozen=True)
class Item:
    cost: float
    loss: float


def total(chosen, what="cost"):
    return sum(getattr(option, what) for option in chosen)


def random_choices(rng):
    sizes = rng.integers(1, 6, rng.integers(1, 5))
    if rng.random() < 0.5:  # small whole numbers: ties, and budgets that are met exactly
        return [[Item(*map(float, rng.integers(0, 5, 2))) for _ in range(n)] for n in sizes]
    return [[Item(*rng.random(2)) for _ in range(n)] for n in sizes]


def least_loss(choices, budget):
    return min((total(c, "loss") for c in itertools.product(*choices) if total(c) <= budget + 1e-9), default=None)


def layers(attention=((0, 3.0), (4, 0.0)), feed_forward=((0, 2.0), (16, 0.5), (32, 0.0)), removed=(4.0, 9.0)):
    return shape_search.options(TABLE, LENGTHS, [dict(attention)] * 2, [dict(feed_forward)] * 2, removed)


def test_the_solver_finds_what_brute_force_finds():
    rng = np.random.default_rng(0)
    solved = 0
    for _ in range(400):
        choices = random_choices(rng)
        cheapest, dearest = (sum(f(option.cost for option in choice) for choice in choices) for f in (min, max))
        budget = float(np.round(rng.uniform(cheapest - 0.3, dearest + 0.3), rng.integers(0, 3)))
        wanted = least_loss(choices, budget)
        if wanted is None:
            with pytest.raises(InputError, match="no shape"):
                shape_search.solve(choices, budget)
            continue
        chosen = shape_search.solve(choices, budget)
        assert all(option in choice for option, choice in zip(chosen, choices, strict=True))
        assert total(chosen) <= budget + 1e-6
        # Rounding up may cost a bin for each choice, no more.
        smaller = least_loss(choices, budget - len(choices) * (budget - cheapest) / shape_search.BINS)
        assert wanted - 1e-9 <= total(chosen, "loss") <= smaller + 1e-9
        solved += abs(total(chosen, "loss") - wanted) < 1e-9
    assert solved > 300  # it is nearly always the very best


def test_a_budget_that_is_met_exactly_is_enough():
    choices = [[Item(0.1, 5), Item(0.7, 1)], [Item(0.2, 5), Item(0.3, 0)], [Item(0.1, 0)]]
    assert total(shape_search.solve(choices, 0.7 + 0.3 + 0.1), "loss") == 1
    assert total(shape_search.solve(choices, 1.1 + 2.5, fixed=2.5), "loss") == 1
    assert total(shape_search.solve(choices, 0.4), "loss") == 10
    assert shape_search.solve([[Item(2.0, 3)]], 2.0) == (Item(2.0, 3),)


def test_what_costs_more_and_loses_more_is_never_chosen():
    choices = [[Item(2.0, 2.0), Item(1.0, 1.0)], [Item(1.0, 4.0), Item(3.0, 4.0)]]
    assert shape_search.solve(choices, 100.0) == (Item(1.0, 1.0), Item(1.0, 4.0))
    items = [Item(3.0, 1.0), Item(1.0, 5.0), Item(2.0, 5.0), Item(2.0, 2.0), Item(1.0, 6.0), Item(4.0, 1.0)]
    seen = [shape_search.solve([items], budget)[0] for budget in np.arange(1, 5, 0.25)]
    assert list(dict.fromkeys(seen)) == [items[1], items[3], items[0]]


def test_a_budget_out_of_reach_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"within 0\.5 ms.* 3\.25 ms; ask for less"):
        shape_search.solve([[Item(1.0, 0), Item(2.0, 0)], [Item(1.25, 0)]], 0.5, fixed=1.0)


def test_options_join_the_halves_of_a_layer():
    first, second = layers()
    assert len(first) == len(second) == 2 * 3 + 1
    by_counts = {option.counts: option for option in first}
    assert by_counts[4, 16].cost == pytest.approx(7.5 + 6) and by_counts[4, 16].loss == pytest.approx(0.5)
    assert by_counts[0, 0].cost == pytest.approx(1.5 + 1.5) and by_counts[0, 0].loss == pytest.approx(5)
    assert by_counts[None].cost == 0 and [layer[-1].loss for layer in (first, second)] == [4, 9]
    assert None not in {option.counts for option in layers(removed=None)[0]}


def test_the_costs_of_options_add_up_to_the_model():
    fixed = TABLE.model_ms((), LENGTHS)
    chosen = shape_search.solve(layers(), TABLE.model_ms(FULL, LENGTHS), fixed)
    assert [option.counts for option in chosen] == [(4, 32)] * 2  # all of it just fits
    assert fixed + total(chosen) == pytest.approx(TABLE.model_ms(FULL, LENGTHS))


def test_the_layer_that_matters_less_is_removed():
    fixed = TABLE.model_ms((), LENGTHS)
    chosen = shape_search.solve(layers(), fixed + 16.5, fixed)
    assert [option.counts for option in chosen] == [None, (4, 32)]


def test_search_keeps_the_candidate_of_least_true_loss_and_measures_each_once():
    choices, fixed, asked = layers(), TABLE.model_ms((), LENGTHS), []
    rng = np.random.default_rng(5)

    def evaluate(candidate):
        asked.append(candidate)
        return float(rng.random())

    budget = fixed + 22
    best, tried = shape_search.search(choices, budget, evaluate, n_candidates=6, seed=1, fixed=fixed)
    assert asked[0] == shape_search.solve(choices, budget, fixed) and asked == list(tried)
    assert 2 <= len(asked) == len(set(asked)) <= 6
    assert tried[best] == min(tried.values())
    assert all(fixed + total(candidate) <= budget + 1e-6 for candidate in asked)
    again = shape_search.search(choices, budget, lambda candidate: 0.0, n_candidates=6, seed=1, fixed=fixed)
    assert list(again[1]) == asked and again[0] == asked[0]  # of equals the plain estimate's


def test_search_with_one_candidate_trusts_the_estimate():
    _, tried = shape_search.search(layers(), 30.0, lambda candidate: 1.0, n_candidates=1, seed=0)
    assert list(tried) == [shape_search.solve(layers(), 30.0)]


def test_the_uniform_shape_is_the_slowest_within_the_budget():
    whole = TABLE.model_ms(FULL, LENGTHS)
    assert shape_search.uniform_at(TABLE, LENGTHS, FULL, whole) == [(4, 32)] * 2
    seen = []
    for budget in np.linspace(TABLE.model_ms([LayerShape(0, 8, 0)] * 2, LENGTHS), whole, 7):
        kept = shape_search.uniform_at(TABLE, LENGTHS, FULL, budget)
        sizes = [LayerShape(heads, 8, neurons) for heads, neurons in kept]
        assert TABLE.model_ms(sizes, LENGTHS) <= budget + 1e-6 and kept[0] == kept[1]
        larger = [(round(s * 4), round(s * 4) * 8) for s in np.linspace(0, 1, 101)]
        for heads, neurons in larger:
            other = TABLE.model_ms([LayerShape(heads, 8, neurons)] * 2, LENGTHS)
            assert other <= TABLE.model_ms(sizes, LENGTHS) + 1e-6 or other > budget
        seen.append(kept[0])
    assert seen == sorted(seen) and len(set(seen)) > 3
    with pytest.raises(InputError, match="no shape is within"):
        shape_search.uniform_at(TABLE, LENGTHS, FULL, 1.0)
    least = shape_search.least_uniform_ms(TABLE, LENGTHS, FULL)
    assert least == TABLE.model_ms([LayerShape(0, 8, 0)] * 2, LENGTHS)
    assert shape_search.uniform_at(TABLE, LENGTHS, FULL, least) == [(0, 0)] * 2


def test_by_operations_loses_least_for_the_operations_that_fit_the_time():
    """Time and operations disagree here: neurons cost more time than their operations say."""
    config = EncoderConfig(50, 32, tuple(FULL), max_position_embeddings=64)
    choices, fixed = layers(), TABLE.model_ms((), LENGTHS)
    whole_ms = TABLE.model_ms(FULL, LENGTHS)
    assert shape_search.by_operations(choices, config, LENGTHS, whole_ms, fixed) == [(4, 32), (4, 32)]
    ms = {option.counts: option.cost for option in choices[0]}

    def flop(wanted) -> float:
        kept = tuple(replace(FULL[0], num_heads=pair[0], intermediate_size=pair[1]) for pair in wanted if pair)
        return flops.forward_flop(replace(config, layers=kept), round(LENGTHS.mean()))

    def loss(wanted) -> float:
        return sum(next(o.loss for o in choice if o.counts == c) for choice, c in zip(choices, wanted, strict=True))

    for budget in np.linspace(0.35, 0.9, 7) * whole_ms:
        wanted = shape_search.by_operations(choices, config, LENGTHS, budget, fixed)
        assert fixed + sum(ms[count] for count in wanted) <= budget + 1e-9
        rivals = itertools.product(*[[option.counts for option in choice] for choice in choices])
        assert loss(wanted) <= min(loss(other) for other in rivals if flop(other) <= 0.99 * flop(wanted)) + 1e-9
    with pytest.raises(InputError, match="ask for less speed-up"):
        shape_search.by_operations(choices, config, LENGTHS, 0.5 * fixed, fixed)


def test_a_last_layer_that_costs_nothing_stays_whole():
    half = np.array([[1.0], [2.0], [4.0]])
    table = LatencyTable((0, 1, 2), (0, 1, 2), (8,), half, half, np.array([1.0]), np.array([0.5]))
    losses = [{0: 9.0, 1: 3.0, 2: 0.0}] * 2
    choices = shape_search.options(table, np.array([8]), losses, losses, [20.0, 20.0])
    assert {option.cost for option in choices[1]} == {0.0}, "there is nothing to save"
    assert None in [option.counts for option in choices[0]]
    assert None not in [option.counts for option in choices[1]], "without it the layer before would be the last"
    fixed = table.fixed_ms(np.array([8]))
    shape = shape_search.counts(shape_search.solve(choices, fixed + 4.0, fixed))
    assert shape == [(1, 1), (2, 2)]
    config = EncoderConfig(9, 4, (LayerShape(2, 2, 2),) * 2)
    assert shape_search.by_operations(choices, config, np.array([8]), fixed + 4.0, fixed)[1] == (2, 2)
