"""What the card's driver tells through NVML: its version, clocks, power state, and the energy counter.

From ``nvidia-ml-py``, an optional extra (``pip install -e ".[gpu]"``). Without it nothing fails: what it would tell is
empty, and `lacking` says so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

FIRST = 0
COUNTED = "measured: the card's counter (NVML)"
MISSING = (
    "nvidia-ml-py is not installed, so clocks, power and energy of the card are not recorded; "
    'install it with: .venv/bin/python -m pip install -e ".[gpu]"'
)


@functools.cache
def _library() -> Any:
    """Return NVML, begun; None where it is not installed, or there is no driver to ask."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # ImportError, or whatever NVML raises without a driver
        return None
    return pynvml


def lacking() -> str:
    """Say why the driver tells nothing, '' where it does."""
    if _library():
        return ""
    try:
        import pynvml  # noqa: F401  only whether it is there
    except ImportError:
        return MISSING
    return "NVML finds no driver, so clocks, power and energy of the card are not recorded; see whether nvidia-smi runs"


def _asked(question: Callable[[Any, Any], Any]) -> Any:
    """Return what the first card answers; None where it cannot be asked, or does not tell, as some cards do not."""
    if (library := _library()) is None:
        return None
    try:
        return question(library, library.nvmlDeviceGetHandleByIndex(FIRST))
    except Exception:  # NVMLError_NotSupported and its like
        return None


def driver() -> str:
    """Return the version of the driver, '' where it is not told."""
    told = _asked(lambda nvml, card: nvml.nvmlSystemGetDriverVersion())
    return told.decode() if isinstance(told, bytes) else told or ""


def state() -> dict[str, Any]:
    """Return clocks (MHz), power state, power and its limit (W) and temperature (C) as they are now; None: not told."""
    watts = _asked(lambda nvml, card: nvml.nvmlDeviceGetPowerUsage(card))
    limit = _asked(lambda nvml, card: nvml.nvmlDeviceGetPowerManagementLimit(card))
    return {
        "sm_mhz": _asked(lambda nvml, card: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM)),
        "memory_mhz": _asked(lambda nvml, card: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_MEM)),
        "power_state": _asked(lambda nvml, card: nvml.nvmlDeviceGetPerformanceState(card)),
        "watts": watts and watts / 1e3,
        "limit_watts": limit and limit / 1e3,
        "celsius": _asked(lambda nvml, card: nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)),
    }


@dataclass(frozen=True)
class CardMeter:
    """The card's energy counter, in millijoules since the driver was loaded; of the card alone, not of its host.

    It moves on in steps of some ten milliseconds, so that a short round may count as nothing; that is no zero but
    unknown, see `cost.Tally`.
    """

    counter: Callable[[], int]

    def read(self) -> list[int]:
        """Return the counter as it stands."""
        return [self.counter()]

    def joules_since(self, before: Sequence[int]) -> float:
        """Return the joules since ``before`` was read."""
        return (self.counter() - before[0]) / 1e3


def meter() -> CardMeter | None:
    """Return the first card's meter; None where the driver does not count."""

    def counter() -> int | None:
        return _asked(lambda nvml, card: nvml.nvmlDeviceGetTotalEnergyConsumption(card))

    return CardMeter(counter) if counter() is not None else None
