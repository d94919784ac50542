"""What predictions cost: the price, and the energy, counted by the processor where it can be, else estimated from time.

Both kinds of energy are of the processor alone: memory, disks and the power supply's losses come on top. Where a
graphics card is in use, what it counts is of the card alone, and nothing is estimated from the processor's cores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fflib.measure import device, nvml

SECONDS_PER_HOUR = 3600
POWERCAP = Path("/sys/class/powercap")  # Linux: running average power limit (RAPL), Intel's and AMD's alike
COUNTED = "measured: the processor's counters (RAPL)"
JOULES_PER_WH = 3600


def usd_per_100m(throughput_per_s: float, usd_per_hour: float) -> float:
    """Price in USD of 100 million predictions on a machine rented at ``usd_per_hour`` (FastFormers, Table 3)."""
    return 100e6 / throughput_per_s / SECONDS_PER_HOUR * usd_per_hour


@dataclass(frozen=True)
class Meter:
    """The energy counters of all processor packages: files of microjoules that start again at ``ranges``."""

    files: tuple[Path, ...]
    ranges: tuple[int, ...]

    def read(self) -> list[int]:
        """Return the counters as they stand, in microjoules."""
        return [int(file.read_text()) for file in self.files]

    def joules_since(self, before: Sequence[int]) -> float:
        """Return the joules since ``before`` was read; a counter may have started again once meanwhile."""
        pairs = zip(self.read(), before, self.ranges, strict=True)
        return sum((now - then) % (largest + 1) for now, then, largest in pairs) / 1e6


def meter(root: Path = POWERCAP) -> Meter | None:
    """Return the machine's meter; None where there is none or it may not be read, as in most virtual machines.

    Other programs on the machine are counted too: a timing that is to be trusted runs alone anyway.
    """
    counters: dict[str, tuple[Path, int]] = {}  # by the package: some kernels list one twice, once more as "mmio"
    for folder in sorted(root.glob("*"), key=lambda folder: ("mmio" in folder.name, folder.name)):
        try:
            if (name := (folder / "name").read_text().strip()).startswith("package"):
                counters.setdefault(name, (folder / "energy_uj", int((folder / "max_energy_range_uj").read_text())))
        except (OSError, ValueError):  # no counter of energy: another kind of power limit
            continue
    found = Meter(tuple(file for file, _ in counters.values()), tuple(largest for _, largest in counters.values()))
    try:
        found.read()  # only the administrator may, on many systems
    except (OSError, ValueError):
        return None
    return found if counters else None


def counted_by() -> str:
    """Name what counts energy on the device in use, for records."""
    return nvml.COUNTED if device.is_card() else COUNTED


class Tally:
    """The joules that each of several ways took each time, by the meter of the device in use if it has one."""

    def __init__(self, names: Iterable[str]) -> None:
        self._meter: Meter | nvml.CardMeter | None = nvml.meter() if device.is_card() else meter()
        self._joules: dict[str, list[float]] = {name: [] for name in names}

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        """Count the block as one time of ``name``."""
        before = self._meter.read() if self._meter else []
        yield
        if self._meter:
            self._joules[name].append(self._meter.joules_since(before))

    def last(self, name: str, count: int) -> np.ndarray | None:
        """Return the joules of the last ``count`` times of ``name``, at least one; None where nothing is counted.

        A card's counter moves in steps: where a time ended before the next step, how much it took is unknown.
        """
        if not self._meter:
            return None
        counted = np.array(self._joules[name][-count:])
        return None if isinstance(self._meter, nvml.CardMeter) and not counted.all() else counted


def wh_per_1k(joules: float, requests: float) -> float:
    """Return watt-hours of a thousand predictions, of which ``requests`` took ``joules``."""
    return joules / JOULES_PER_WH / requests * 1e3


def estimated_wh_per_1k(watts_per_core: float, cores: int, throughput_per_s: float) -> float:
    """Estimate watt-hours of a thousand predictions: so many cores at full load for the time they take."""
    return wh_per_1k(watts_per_core * cores, throughput_per_s)


def estimated(watts_per_core: float) -> str:
    """Return the label of an estimate, for records."""
    return f"estimated: {watts_per_core:g} W a busy core"
