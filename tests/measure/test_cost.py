"""Energy: counters of the kernel's form, in a made-up folder; estimates by hand."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import examples_of

from fflib.data import batching
from fflib.measure import cost
from fflib.measure import timing as measure
from fflib.runs import ladder


def package(root, name, microjoules, largest=1000, kind="package-0"):
    folder = root / name
    folder.mkdir(parents=True)
    for file, text in (("name", kind), ("energy_uj", microjoules), ("max_energy_range_uj", largest)):
        (folder / file).write_text(f"{text}\n")
    return folder / "energy_uj"


def test_all_packages_are_added_and_nothing_else(tmp_path):
    first = package(tmp_path, "intel-rapl:0", 100)
    second = package(tmp_path, "intel-rapl:1", 50, kind="package-1")
    part = package(tmp_path, "intel-rapl:0:0", 7, kind="core")  # part of package 0: counted already
    meter = cost.meter(tmp_path)
    before = meter.read()
    first.write_text("300\n"), second.write_text("80\n"), part.write_text("900\n")
    assert meter.joules_since(before) == pytest.approx((200 + 30) / 1e6)


def test_a_counter_that_starts_again(tmp_path):
    counter = package(tmp_path, "intel-rapl:0", 990, largest=999)
    meter = cost.meter(tmp_path)
    before = meter.read()
    counter.write_text("15\n")  # 990 ... 999, 0 ... 15
    assert meter.joules_since(before) == pytest.approx(25 / 1e6)


def test_no_meter_where_there_is_none_or_it_cannot_be_read(tmp_path):
    assert cost.meter(tmp_path / "none") is None
    other = tmp_path / "dtpm" / "other"
    other.mkdir(parents=True)
    assert cost.meter(tmp_path / "dtpm") is None  # another kind of power limit
    counter = package(tmp_path / "locked", "intel-rapl:0", 1)
    counter.unlink()
    counter.mkdir()  # not readable as a file, whoever runs the tests
    assert cost.meter(tmp_path / "locked") is None


def test_estimates_by_hand():
    # 8 W for 1,000 requests at 100 a second: 80 J
    assert cost.estimated_wh_per_1k(4.0, 2, 100.0) == pytest.approx(80 / 3600)
    assert cost.wh_per_1k(3600.0, 500) == pytest.approx(2.0)


class _Falling:
    """A meter by which the n-th interval takes n joules."""

    def __init__(self):
        self.count = 0

    def read(self):
        return [0]

    def joules_since(self, before):
        self.count += 1
        return float(self.count)


def variant_of(examples):
    def predict(inputs):
        return np.zeros((len(inputs["input_ids"]), 2))

    return measure.Variant("one", predict, batching.in_order(examples.lengths, 1), checked=measure.Check(0, 1, 3))


def test_timings_carry_the_joules_of_each_round(monkeypatch):
    monkeypatch.setattr(cost, "meter", lambda: _Falling())
    examples = examples_of([3, 4, 5])
    variant = variant_of(examples)
    timing = measure.time_interleaved([variant], examples, rounds=3)["one"]
    assert timing.joules.tolist() == [1, 2, 3]
    assert timing.wh_per_1k == pytest.approx(2 / 3600 / 3 * 1e3)

    def answer(examples, plan):
        return [np.zeros((1, 2)) for _ in plan], 0.1, [0.1] * len(plan)

    plans, right = {"a": variant.plan}, {"a": np.zeros((3, 2))}
    at_once = measure.time_at_once({"a": answer}, examples, plans, right, rounds=2)["a"]
    assert at_once.joules.tolist() == [2, 3], "the round that warms up does not count"


def test_no_meter_no_joules(monkeypatch):
    monkeypatch.setattr(cost, "meter", lambda: None)
    examples = examples_of([3, 4, 5])
    timing = measure.time_interleaved([variant_of(examples)], examples, rounds=2)["one"]
    assert timing.joules is None and timing.wh_per_1k is None
    made = ladder.Rung("one", "", "", "", "fp32", "none", 1, 1).timed(timing, None, usd_per_hour=1.0)
    assert made.energy_wh_per_1k is None and made.energy_source == ""


def test_a_package_without_a_range_is_left_out(tmp_path):
    (package(tmp_path, "intel-rapl:0", 5).parent / "max_energy_range_uj").unlink()
    second = package(tmp_path, "intel-rapl:1", 50, kind="package-1")
    meter = cost.meter(tmp_path)
    assert meter.files == (second,) and len(meter.ranges) == 1


def rung(name, **values):
    return {
        "rung": name,
        "stacks_on": "",
        "threads": 2,
        "instances": 1,
        "throughput_per_s": 10.0,
        "energy_source": "",
    } | values


def test_the_ladder_estimates_what_was_not_counted_and_says_so():
    counted = {"energy_wh_per_1k": 0.5, "energy_source": cost.COUNTED}
    failed = {"throughput_per_s": None, "stacks_on": "one core"}
    rows = [
        rung("one core", threads=1),
        rung("two by one", threads=1, instances=2),
        rung("counted", **counted),
        rung("failed", **failed),
    ]
    table = ladder.ladder(rows, watts_per_core=36.0).set_index("rung")
    assert table["energy_wh_per_1k"].tolist()[:3] == pytest.approx([1.0, 2.0, 0.5])
    assert np.isnan(table.loc["failed", "energy_wh_per_1k"]) and table.loc["failed", "energy_source"] == ""
    assert table["energy_source"].tolist()[:3] == ["estimated: 36 W a busy core"] * 2 + [cost.COUNTED]
    assert ladder.ladder(rows)["energy_wh_per_1k"].isna().sum() == 3, "no estimate unless it is asked for"
