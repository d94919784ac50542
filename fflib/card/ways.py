"""What the ways of the chapter are predicted to take and took, as rows; and the ways that cannot be taken here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fflib.card import limits
from fflib.card.limits import Limits, Work
from fflib.data import batching
from fflib.measure.race import Race
from fflib.measure.timing import Timing, Variant
from fflib.model.config import EncoderConfig
from fflib.story import cpu_or_gpu
from fflib.story.cpu_or_gpu import Part

CARD, PROCESSOR = "graphics card", "processor"


@dataclass(frozen=True)
class Asked:
    """What a way asks of the device in one round: its batches' work, in a precision."""

    work: Sequence[Work]
    precision: str
    n_requests: int

    def predicted(self, known: Limits) -> tuple[float, str]:
        """Return the most requests a second that the limits allow, and which limit it is."""
        seconds, limit = limits.bound(self.work, known, self.precision)
        return self.n_requests / seconds, limit


def asked(
    way: Variant, lengths: np.ndarray, config: EncoderConfig, precision: str, launches: int, blanks: bool = True
) -> Asked:
    """Return what a way asks for; ``lengths`` are those of all its requests, ``blanks`` says that it computes these."""
    computed = batching.padded_lengths(lengths, way.plan, way.pad_to) if blanks else lengths
    work = [limits.work(config, computed[group], precision, launches) for group in way.plan]
    return Asked(work, precision, sum(map(len, way.plan)))


def prediction_rows(asked_by: Mapping[str, Asked], known: Limits, race: Race | None = None) -> list[dict[str, Any]]:
    """Return a row a way: what the limits allow, which one is nearest, and with a race what was measured."""
    rows = []
    for name, each in asked_by.items():
        predicted, limit = each.predicted(known)
        row: dict[str, Any] = {"way": name, "in": each.precision, "at most, requests/s": predicted, "limit": limit}
        if race:
            measured = race[name].throughput_per_s
            row |= {"measured, requests/s": measured, "share of it": measured / predicted}
        rows.append(row)
    return rows


def by_length(card: Timing, processor: Timing, plan: batching.Plan, usd: Mapping[str, float]) -> dict[str, Any]:
    """Return the parts of `cpu_or_gpu.plan`: the requests of each batch of ``plan``, on the card and one by one.

    Args:
        card: of the batches of ``plan``.
        processor: of the same requests one by one, in their order.
        usd: an hour of each device.
    """
    on_card, alone = np.median(card.seconds, axis=0), np.median(processor.seconds, axis=0)
    return {
        f"batch {i}": {
            CARD: Part(float(on_card[i - 1]), usd[CARD]),
            PROCESSOR: Part(float(alone[group].sum()), usd[PROCESSOR]),
        }
        for i, group in enumerate(plan, start=1)
    }


def hybrid_rows(parts: Mapping[str, Mapping[str, Part]], plan: batching.Plan, lengths: np.ndarray) -> list[dict]:
    """Return a row for each part: its texts, what it costs on each device, and where it goes."""
    taken = cpu_or_gpu.plan(parts).device_by_part
    return [
        {
            "texts of": f"{lengths[group].min()} to {lengths[group].max()} tokens",
            "requests": len(group),
            "card, ms": 1e3 * parts[name][CARD].seconds,
            "processor, ms": 1e3 * parts[name][PROCESSOR].seconds,
            "card, USD for 100 million": 1e8 * parts[name][CARD].usd / len(group),
            "processor, USD for 100 million": 1e8 * parts[name][PROCESSOR].usd / len(group),
            "goes to the": taken[name],
        }
        for name, group in zip(parts, plan, strict=True)
    ]


def total_rows(parts: Mapping[str, Mapping[str, Part]], n_requests: int) -> list[dict[str, Any]]:
    """Return what all parts take on the processor alone, on the card alone, and divided between the two."""
    plans = {f"{device} alone": cpu_or_gpu.alone(parts, device) for device in (PROCESSOR, CARD)}
    plans["each part where it is cheaper"] = cpu_or_gpu.plan(parts)
    slowest = plans[f"{PROCESSOR} alone"].seconds
    return [
        {
            "all texts": name,
            "ms": 1e3 * each.seconds,
            "times as fast": slowest / each.seconds,
            "USD for 100 million requests": 1e8 * each.usd / n_requests,
        }
        for name, each in plans.items()
    ]
