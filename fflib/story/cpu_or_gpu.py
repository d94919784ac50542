"""Processor or graphics card: what each costs at a given load, and which part of the work to give to which.

Plain functions of measured numbers; nothing is measured here. The hybrid is FastFormers' (2010.13382, Table 4, systems
3 and 4): each task goes where it is cheaper, and both machines work at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fflib.measure import cost


@dataclass(frozen=True)
class Server:
    """One machine and what it answers: requests a second at full load, and its price in USD an hour.

    ``alone_ms`` is the latency of a request that has the machine to itself, ``wh_per_1k`` the energy of a thousand
    requests; None: not measured. ``machine`` names it.
    """

    per_s: float
    usd_per_hour: float
    alone_ms: float | None = None
    wh_per_1k: float | None = None
    machine: str = ""

    @property
    def usd_per_100m(self) -> float:
        """USD of 100 million requests, if the machine always has something to do."""
        return cost.usd_per_100m(self.per_s, self.usd_per_hour)


@dataclass(frozen=True)
class Part:
    """What one part of the work, a task or the texts of like length, takes on a device."""

    seconds: float
    usd_per_hour: float
    joules: float | None = None

    @property
    def usd(self) -> float:
        """Its price, if the machine is paid for while it works on this part."""
        return self.seconds * self.usd_per_hour / cost.SECONDS_PER_HOUR


@dataclass(frozen=True)
class Plan:
    """Which device each part goes to, and what all of it takes: the devices at the same time, or one after the other.

    ``joules`` is None where a part's are not known.
    """

    device_by_part: Mapping[str, str]
    seconds: float
    seconds_in_turn: float
    usd: float
    joules: float | None


def break_even_load(cpu: Server, card: Server) -> float | None:
    """Return the load, in requests a second, above which cards cost less than processors; None: they never do.

    Machines are rented whole, as many as the load needs. Above ``k`` times what one processor answers, ``k + 1`` are
    rented, so it is at such a load that the cards become the cheaper ones.
    """
    if card.usd_per_100m >= cpu.usd_per_100m:
        return None
    k = 0
    while (k + 1) * cpu.usd_per_hour <= (int(k * cpu.per_s / card.per_s) + 1) * card.usd_per_hour:
        k += 1
    return k * cpu.per_s


def machines(load_per_s: float, server: Server) -> int:
    """Return how many machines answer so many requests a second, one at least."""
    return max(1, math.ceil(load_per_s / server.per_s))


def break_even_batch(per_s_by_batch: Mapping[int, float], usd_per_hour: float, cpu: Server) -> int | None:
    """Return the smallest batch at which a card that is never idle answers for less than the processor; None: none.

    ``per_s_by_batch`` is what the card answers a second by the requests in a batch, those that were measured.
    """
    paying = (
        batch for batch, per_s in per_s_by_batch.items() if cost.usd_per_100m(per_s, usd_per_hour) < cpu.usd_per_100m
    )
    return min(paying, default=None)


def plan(parts: Mapping[str, Mapping[str, Part]], by: str = "usd") -> Plan:
    """Give each of ``parts`` {name: {device: what it takes there}} to the device where it takes least ``by``.

    ``by`` is "usd" or "seconds". With one device in each part this is what that device alone takes.
    """
    taken = {name: min(on, key=lambda device: getattr(on[device], by)) for name, on in parts.items()}
    chosen = {name: parts[name][device] for name, device in taken.items()}
    by_device: dict[str, float] = {}
    for name, device in taken.items():
        by_device[device] = by_device.get(device, 0.0) + chosen[name].seconds
    joules = [part.joules for part in chosen.values()]
    return Plan(
        taken,
        max(by_device.values()),
        sum(by_device.values()),
        sum(part.usd for part in chosen.values()),
        None if None in joules else sum(joules),
    )


def alone(parts: Mapping[str, Mapping[str, Part]], device: str) -> Plan:
    """Return the plan in which one device does all of ``parts``."""
    return plan({name: {device: on[device]} for name, on in parts.items()})


def overall_speedup(share_by_task: Mapping[str, float], speedup_by_task: Mapping[str, float]) -> float:
    """Return the speed-up of all tasks together: those that took the largest share of the time before count most.

    This is why the overall factor of Table 4 is no mean of its tasks' factors. ``share_by_task`` adds up to 1.
    """
    return 1 / sum(share / speedup_by_task[task] for task, share in share_by_task.items())


def share_of_time(overall: tuple[float, float], of_task: tuple[float, float]) -> float:
    """Return the share of the time before that one task had, by two systems that differ in that task alone.

    ``overall`` are their speed-ups over all tasks, ``of_task`` those of the task; `overall_speedup` solved for it.
    """
    (first, second), (mine, its) = overall, of_task
    return (1 / second - 1 / first) / (1 / its - 1 / mine)


def rows(cpu: Server, card: Server) -> list[dict[str, Any]]:
    """Return a row for each of the two: requests a second, USD, latency of a request alone, energy, machine."""
    return [
        {
            "on": name,
            "requests/s": server.per_s,
            "USD an hour": server.usd_per_hour,
            "USD for 100 million": server.usd_per_100m,
            "one request alone, ms": server.alone_ms,
            "Wh for 1,000": server.wh_per_1k,
            "measured on": server.machine,
        }
        for name, server in (("processor", cpu), ("graphics card", card))
    ]


def verdict(cpu: Server, card: Server, batch: int | None) -> str:
    """Say in sentences from which load and which batch on the card is the cheaper one."""
    load = break_even_load(cpu, card)
    if load is None:
        return (
            "At these prices the card is never the cheaper one, however many requests there are: "
            f"{card.usd_per_100m:,.0f} USD against {cpu.usd_per_100m:,.0f} USD for 100 million of them."
        )
    least = f"batches of {batch:,} or more" if batch else "larger batches than were measured"
    return (
        f"Above **{load:,.0f} requests a second** a card costs less than the processors that this load needs. A card "
        f"that is never idle answers for less than a processor in {least}."
    )
