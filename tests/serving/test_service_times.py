"""Service times: fits that recover what was made up, alone and beside others, and draws that vary as measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fflib.files import InputError
from fflib.serving import service_times
from fflib.serving.service_times import ServiceTimes

CALL_S, TOKEN_S, PAIR_S = 2e-3, 5e-5, 4e-7


def made_up(seed, noise, count=60):
    """Batches of 1 to 32 texts of 8 to 128 tokens that take what the coefficients say, up to a relative noise."""
    rng = np.random.default_rng(seed)
    rows, lengths = rng.integers(1, 33, count), rng.integers(8, 129, count)
    seconds = CALL_S + rows * lengths * TOKEN_S + rows * lengths**2 * PAIR_S
    return rows, lengths, seconds * (1 + noise * rng.uniform(-1, 1, count))


def test_fit_recovers_the_coefficients():
    fitted = ServiceTimes.fit(*made_up(0, noise=0.0))
    np.testing.assert_allclose([fitted.call_s, fitted.token_s, fitted.pair_s], [CALL_S, TOKEN_S, PAIR_S], rtol=1e-6)
    assert fitted.ratios == pytest.approx(1)
    assert fitted.seconds(4, 10) == pytest.approx(CALL_S + 40 * TOKEN_S + 400 * PAIR_S)


@pytest.mark.parametrize("seed", range(3))
def test_fit_bears_noise_and_keeps_its_spread(seed):
    rows, lengths, seconds = made_up(seed, noise=0.1, count=200)
    fitted = ServiceTimes.fit(rows, lengths, seconds)
    for shape in ((1, 8), (1, 128), (32, 8), (32, 128)):
        truth = CALL_S + shape[0] * shape[1] * (TOKEN_S + shape[1] * PAIR_S)
        assert fitted.seconds(*shape) == pytest.approx(truth, rel=0.15)
    assert fitted.ratios.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.15)  # a uniform distribution's
    rng = np.random.default_rng(seed)
    drawn = np.array([fitted.draw(4, 64, rng) for _ in range(4000)]) / fitted.seconds(4, 64)
    near = fitted.ratios[np.argsort(np.abs(fitted.predicted_s - fitted.seconds(4, 64)))[: 2 * service_times.ALIKE]]
    assert set(drawn.round(9)) <= set(near.round(9)) and len(set(drawn.round(9))) == service_times.ALIKE
    assert drawn.mean() == pytest.approx(1, abs=0.03)


def test_the_small_batches_count_as_much_as_the_large():
    """The large batches say, with one outlier, that there is no cost of a call; the small ones know better."""
    rows, lengths, seconds = made_up(1, noise=0.0)
    seconds[(rows * lengths).argmax()] *= 1.3
    fitted = ServiceTimes.fit(rows, lengths, seconds)
    assert fitted.call_s == pytest.approx(CALL_S, rel=0.1)
    assert fitted.ratios.max() == pytest.approx(1.3, rel=0.05)  # a slow batch is drawn as slow


def test_no_coefficient_is_negative():
    rows, lengths, _ = made_up(2, noise=0.0)
    fitted = ServiceTimes.fit(rows, lengths, 1e-3 + 1e-4 * np.sqrt(rows * lengths))  # would want pairs below 0
    assert min(fitted.call_s, fitted.token_s, fitted.pair_s) == 0
    assert fitted.call_s > 0


@pytest.mark.parametrize(
    ("rows", "lengths", "seconds", "message"),
    [
        ([1, 2], [8, 8, 9], [1, 1, 1], "2, 3 and 3 values"),
        ([1, 2, 3], [8, 9, 10], [1, 0, 1], "not all positive"),
        ([1, 2, 3], [8, 9, 10], [1, math.nan, 1], "not all positive"),
        ([2, 2, 2, 2], [16, 16, 16, 16], [1, 2, 3, 4], "too alike"),
        ([1, 2], [8, 9], [1, 2], "too alike"),
        ([], [], [], "too alike"),
    ],
)
def test_what_cannot_be_fitted(rows, lengths, seconds, message):
    with pytest.raises(InputError, match=message):
        ServiceTimes.fit(np.array(rows), np.array(lengths), np.array(seconds))


def test_the_fit_tells_what_company_costs():
    """Every cost is half as much again beside others, and the call twice as much: each is found, at any company."""
    rows, lengths, alone_s = made_up(4, noise=0.0)
    company = np.random.default_rng(4).choice([0.0, 0.5, 1.0], len(rows))
    seconds = alone_s * (1 + 0.5 * company) + 0.5 * CALL_S * company
    fitted = ServiceTimes.fit(rows, lengths, seconds, company)
    np.testing.assert_allclose([fitted.call_s, fitted.token_s, fitted.pair_s], [CALL_S, TOKEN_S, PAIR_S], rtol=1e-6)
    np.testing.assert_allclose(fitted.beside_s, [CALL_S, TOKEN_S / 2, PAIR_S / 2], rtol=1e-6)
    assert fitted.seconds(4, 10, 1.0) == pytest.approx(2 * CALL_S + 1.5 * (40 * TOKEN_S + 400 * PAIR_S))
    assert fitted.seconds(4, 10) == pytest.approx(CALL_S + 40 * TOKEN_S + 400 * PAIR_S)


def test_company_that_never_changes_is_part_of_the_costs():
    rows, lengths, seconds = made_up(0, noise=0.0)
    for company in (np.zeros(len(rows)), np.ones(len(rows))):
        fitted = ServiceTimes.fit(rows, lengths, seconds, company)
        assert fitted.seconds(4, 10, company[0]) == pytest.approx(CALL_S + 40 * TOKEN_S + 400 * PAIR_S)


def test_an_interruption_of_short_batches_does_not_stretch_the_long():
    """One in ten short batches is held up by 5 ms, four times its length; no long one is held up so much."""
    rng = np.random.default_rng(0)
    rows, lengths = np.repeat([1, 32], 200), np.full(400, 64) + rng.integers(-4, 5, 400)
    seconds = 1e-3 + rows * lengths * TOKEN_S / 10 + 5e-3 * (rng.random(400) < 0.1)
    fitted = ServiceTimes.fit(rows, lengths, seconds)
    short, long = ([fitted.draw(count, 64, rng) for _ in range(2000)] for count in (1, 32))
    assert np.percentile(short, 97) > 4 * np.median(short)
    assert np.percentile(long, 97) < 1.7 * np.median(long)


def test_texts_of_one_length_are_fitted_by_the_call_and_the_tokens():
    rows = np.array([1, 2, 4, 8])
    service = ServiceTimes.fit(rows, np.full(4, 16), 0.5 + 0.01 * rows * 16)
    assert [service.seconds(int(n), 16) for n in rows] == pytest.approx(list(0.5 + 0.01 * rows * 16))
    assert service.pair_s == 0
