"""What the rungs of a ladder cost, in money and energy, and what FastFormers' rungs cost (2010.13382, Table 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from fflib.measure import cost
from fflib.runs import ladder as rungs
from fflib.story import fastformers

BILLED = ["usd_per_100m", "energy_wh_per_1k"]
SECONDS_A_DAY = 86_400


def bill(ladder: pd.DataFrame, stack: Sequence[str]) -> list[dict[str, Any]]:
    """Return what both baselines and the rungs of a ``stack`` cost, a row a rung, by the ladder's factors.

    `ladder.csv` counts each rung by its own requests per second. Here the padded reference's are multiplied by the
    factors, so that no drift of the machine between chapters is in the costs.
    """
    table = ladder.set_index("rung")
    rows = table.loc[[rungs.PADDED, rungs.UNPADDED, *stack[1:]]].reset_index()
    drift = rows["throughput_per_s"] / (rows["speedup_vs_padded"] * table.loc[rungs.PADDED, "throughput_per_s"])
    rows[BILLED] = rows[BILLED].mul(drift, axis=0)
    return [
        {
            "rung": row.rung,
            "USD for 100 million": row.usd_per_100m,
            "requests for 1 USD": f"{1e8 / row.usd_per_100m:,.0f}",
            "kWh for 100 million": row.energy_wh_per_1k * 1e8 / 1e3 / 1e3,
            "energy": row.energy_source,
        }
        for row in rows.itertuples()
    ]


def machines_always_busy(ladder: pd.DataFrame, last: str, requests_per_day: float) -> float:
    """Return how many machines answer so many requests a day with the rung ``last``, if none ever waits."""
    table = ladder.set_index("rung")
    per_s = table.loc[last, "speedup_vs_padded"] * table.loc[rungs.PADDED, "throughput_per_s"]
    return requests_per_day / SECONDS_A_DAY / per_s


def price_words(usd_per_hour: float, cores: int) -> str:
    """Write a price with whose it is: the default is that of the paper's machine, whatever machine a run is on."""
    words = f"{usd_per_hour:g} USD an hour"
    if usd_per_hour != fastformers.USD_PER_HOUR:
        return words
    here = f", and not of this one with {cores}" if cores != fastformers.CORES else ""
    return (
        f"{words}, the price of the paper's machine with {fastformers.CORES} cores{here}; set `usd_per_hour` to yours"
    )


def two_prices(usd_per_hour: float, cores: int) -> str:
    """Say what a ladder's column of costs is counted by, and how it differs from `bill`."""
    return (
        f"*USD/100M* takes each rung's own requests per second, at {price_words(usd_per_hour, cores)}. "
        "The bill of chapter 9 multiplies those of the padded reference by the factors instead, so it has other "
        "dollars wherever the machine was faster or slower when a rung was timed."
    )


def papers_bill() -> list[dict[str, Any]]:
    """Return the paper's price column beside what follows from its seconds at one price per hour, a row a rung."""
    return [
        {
            "the paper's rung": row.rung,
            "seconds": row.seconds,
            "USD, paper": f"{row.usd_per_100m:,.0f}",
            "USD, from its seconds": f"{cost.usd_per_100m(row.throughput_per_s, fastformers.USD_PER_HOUR):,.0f}",
        }
        for row in fastformers.table().itertuples()
    ]
