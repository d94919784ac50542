"""What the driver of a card tells, asked through a made-up NVML; and nothing where there is none."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from fflib.measure import cost, device, nvml


@pytest.fixture(autouse=True)
def _ask_anew():
    nvml._library.cache_clear()
    yield
    nvml._library.cache_clear()


def no_support(card):
    raise RuntimeError("Not Supported")


@pytest.fixture
def library(monkeypatch):
    counter = iter(range(1000, 100_000, 500))  # millijoules
    found = SimpleNamespace(
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda number: f"card {number}",
        nvmlSystemGetDriverVersion=lambda: b"580.1",
        nvmlDeviceGetPowerUsage=lambda card: 70_500,
        nvmlDeviceGetPowerManagementLimit=no_support,
        nvmlDeviceGetClockInfo=lambda card, kind: {1: 1980, 2: 3201}[kind],
        nvmlDeviceGetPerformanceState=lambda card: 0,
        nvmlDeviceGetTemperature=lambda card, kind: 41,
        nvmlDeviceGetTotalEnergyConsumption=lambda card: next(counter),
    )
    monkeypatch.setitem(sys.modules, "pynvml", found)
    return found


def test_the_driver_tells_its_version_clocks_and_power(library):
    assert nvml.driver() == "580.1" and nvml.lacking() == ""
    told = nvml.state()
    assert (told["sm_mhz"], told["memory_mhz"], told["watts"], told["power_state"]) == (1980, 3201, 70.5, 0)
    assert told["limit_watts"] is None, "what a card does not tell is unknown, not 0"


def test_the_counter_is_read_in_millijoules(library):
    meter = nvml.meter()
    before = meter.read()
    assert meter.joules_since(before) == 0.5


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it raises then
    assert 'pip install -e ".[gpu]"' in nvml.lacking()
    assert nvml.driver() == "" and nvml.meter() is None and set(nvml.state().values()) == {None}


def test_without_a_driver_it_says_so(library):
    library.nvmlInit = lambda: no_support(None)
    assert "finds no driver" in nvml.lacking() and nvml.meter() is None


@pytest.mark.parametrize(("steps", "joules"), [([0, 500, 500, 1500], [0.5, 1.0]), ([0, 500, 500, 500], None)])
def test_a_round_shorter_than_a_step_of_the_counter_is_unknown(monkeypatch, steps, joules):
    counter = iter(steps)
    monkeypatch.setattr(device, "is_card", lambda: True)
    monkeypatch.setattr(nvml, "meter", lambda: nvml.CardMeter(lambda: next(counter)))
    tally = cost.Tally(["a way"])
    for _ in range(2):
        with tally.counted("a way"):
            pass
    found = tally.last("a way", 2)
    assert (found is None) if joules is None else found.tolist() == joules
    assert cost.counted_by() == nvml.COUNTED
