"""What predictions cost in money."""

from __future__ import annotations

SECONDS_PER_HOUR = 3600


def usd_per_100m(throughput_per_s: float, usd_per_hour: float) -> float:
    """Price in USD of 100 million predictions on a machine rented at ``usd_per_hour`` (FastFormers, Table 3)."""
    return 100e6 / throughput_per_s / SECONDS_PER_HOUR * usd_per_hour
