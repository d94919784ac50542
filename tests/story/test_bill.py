"""Costs by the ladder's factors."""

from __future__ import annotations

import pytest

from fflib.runs import ladder
from fflib.story import bill, fastformers


def rung(name, below, per_s, usd, wh, anchor=None):
    row = {"rung": name, "stacks_on": below, "throughput_per_s": per_s, "paired_baseline_per_s": anchor}
    return row | {"usd_per_100m": usd, "energy_wh_per_1k": wh, "energy_source": "counted"}


LADDER = ladder.ladder(
    [
        rung(ladder.PADDED, "", 2.0, 900.0, 6.0),
        rung(ladder.UNPADDED, ladder.PADDED, 6.0, 300.0, 2.0),
        # The machine ran three times as fast by then: 5 times its neighbour of the same rounds, not 15 times.
        rung("last", ladder.PADDED, 30.0, 60.0, 0.4, anchor=6.0),
    ]
)


def test_costs_follow_the_factors_and_not_the_drift_of_the_machine():
    rows = {row["rung"]: row for row in bill.bill(LADDER, [ladder.PADDED, "last"])}
    assert list(rows) == [ladder.PADDED, ladder.UNPADDED, "last"]
    usd, kwh = ([rows[name][key] for name in rows] for key in ("USD for 100 million", "kWh for 100 million"))
    assert usd == pytest.approx([900, 300, 180]), "180 is a fifth of 900"
    assert kwh == pytest.approx([600, 200, 120])
    assert rows["last"]["requests for 1 USD"] == "555,556" and rows["last"]["energy"] == "counted"


def test_how_many_machines_a_day_keeps_busy():
    assert bill.machines_always_busy(LADDER, "last", 10 * 86_400) == pytest.approx(1), "it answers 2 x 5 a second"


def test_a_price_says_whose_it_is():
    default = fastformers.USD_PER_HOUR
    assert "0.677 USD an hour, the price of the paper's machine with 8 cores, and not of this one with 2; set" in (
        bill.price_words(default, 2)
    )
    assert "not of this one" not in bill.price_words(default, 8)
    assert bill.price_words(1.2, 2) == "1.2 USD an hour", "whoever set a price knows whose it is"
    told = bill.two_prices(default, 2)
    assert "own requests per second, at 0.677" in told and "bill of chapter 9" in told


def test_the_papers_prices_follow_from_its_seconds():
    for row in bill.papers_bill():
        paper, again = (float(row[column].replace(",", "")) for column in ("USD, paper", "USD, from its seconds"))
        assert again == pytest.approx(paper, rel=0.03), row
