import numpy as np
import pytest
from drawing import LONG, checked, filled, inside, parts, texts, words_of
from matplotlib import pyplot as plt

from fflib.plotting import BLUE, VERMILION
from fflib.serving import figures as drawn


def xy(lines):
    return sorted(line.get_xydata()[0].tolist() for line in lines)


def division(instances, threads, rate, p95, kind="process", chosen=False, model="student", p50=None):
    latency = {"throughput_per_s": rate, "p50_ms": p50 or 0.6 * p95, "p95_ms": p95}
    return {"model": model, "instances": instances, "threads": threads, "kind": kind, "chosen": chosen, **latency}


TWELVE = [
    division(2**i, 32 // 2**i, 120 * 2 ** (0.3 * i) * less, 9 * 2 ** (0.7 * i) * more, kind, i == 4 and less == 1)
    for i in range(6)
    for kind, less, more in (("process", 1, 1), ("thread", 0.93, 1.2))
]
EQUAL = [division(2**i, 8 // 2**i, 5000 - i, 3, model="pruned") for i in range(4)]
DIVISIONS = {
    "two models": TWELVE + EQUAL,
    "one": [division(1, 2, 140, 7, chosen=True)],
    "small": [division(1, 2, 0.011, 90_000, "thread"), division(2, 1, 0.019, 120_000, p50=119_000)],
}


@pytest.mark.parametrize("rows", DIVISIONS.values(), ids=DIVISIONS)
def test_each_division_stands_where_its_data_say_and_is_named(rows):
    figure = checked(drawn.divisions(rows, "caption"))
    models = list(dict.fromkeys(row["model"] for row in rows))
    assert [panel.get_title(loc="left") for panel in figure.axes] == models and "caption" in texts(figure)
    for panel, model in zip(figure.axes, models, strict=True):
        own = [row for row in rows if row["model"] == model]
        for key in ("p50", "p95"):
            assert xy(parts(panel, key)) == sorted([row["throughput_per_s"], row[f"{key}_ms"]] for row in own)
        rings = [[row["throughput_per_s"], row["p95_ms"]] for row in own if row["chosen"]]
        assert xy(parts(panel, "ring")) == sorted(rings)
        for mark, row in zip(parts(panel, "p95"), own, strict=True):
            assert (mark.get_color(), mark.get_marker()) == drawn.KINDS[row["kind"]][:2]
        ties = [line.get_xydata().tolist() for line in parts(panel, "tie")]
        assert ties == [[[row["throughput_per_s"], row[key]] for key in ("p50_ms", "p95_ms")] for row in own]
        labels = parts(panel, "label", plt.Text)
        names = sorted(" ".join(label.get_text().split()).split(":")[0] for label in labels)
        assert names == sorted(f"{row['instances']} x {row['threads']}" for row in own)
        for label in labels:  # a label is at its own mark, and speaks of what that is best in
            at = [row for row in own if (row["throughput_per_s"], row["p95_ms"]) == label.xy]
            words = " ".join(label.get_text().split())
            assert words.split(":")[0] in [f"{row['instances']} x {row['threads']}" for row in at]
            most, soonest = max(row["throughput_per_s"] for row in own), min(row["p95_ms"] for row in own)
            assert "most per second" not in words or label.xy[0] == most
            assert "lowest latency" not in words or label.xy[1] == soonest
        assert "most per second" in texts(panel) and "lowest latency" in texts(panel)
        boxes = [plt.Text.get_window_extent(label) for label in labels]
        assert all(inside(panel.bbox, box) for box in boxes)


def test_the_best_two_divisions_are_weighed_against_each_other():
    many, one, both = division(2, 1, 200, 20), division(1, 2, 100, 10), division(2, 1, 300, 5, model="other")
    assert drawn._trade([[many, one]]).endswith("answers 2.0 times as many, at 2.0 times the latency")
    assert drawn._trade([[many, one], [both]]).endswith("2.0 times the latency (for 1 of 2 models)")
    assert drawn._trade([[both]]).endswith("the most throughput also has the lowest latency")
    slower = division(4, 1, 200, 25)  # as many answers, later: not the best in anything
    figure = drawn.divisions([slower, many, one])
    words = {" ".join(label.get_text().split()) for label in parts(figure, "label", plt.Text)}
    assert words == {"2 x 1: most per second", "4 x 1", "1 x 2: lowest latency"}
    assert "answers 2.0 times as many, at 2.0 times the latency" in texts(figure)


def at(offered, p50, p95, p99, refused=0.0):
    latency = {"offered_per_s": offered, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}
    return {**latency, "answered_per_s": offered * (1 - refused), "refused_share": refused}


LOADS = [at(20, 7, 9, None), at(60, 8, 13, 20), at(100, 12, 31, 60), at(118, 80, 300, 420)]
LOADS += [at(160, 250, 700, 1100, 0.25)]
GUESSED = [at(20, 6.5, 8.5, 12), at(100, 11, 30, 55), at(140, 240, 690, 1000, 0.15)]
NOTHING = at(5000.0, None, None, None, 1.0)
CASES = {
    "many": (LOADS, 2, 120, GUESSED),
    "below capacity": (LOADS[:3], 2, 120, ()),
    "one": (LOADS[:1], 0, 0.3, ()),
    "nothing answered": ([*LOADS, NOTHING], 2, 120, ()),
    "nothing at all": ([NOTHING], 0, 120, ()),
}


@pytest.mark.parametrize("points, knee, capacity, simulated", CASES.values(), ids=CASES)
def test_the_load_is_drawn_as_measured_and_as_simulated(points, knee, capacity, simulated):
    figure = checked(drawn.load(points, knee, capacity, simulated, "caption"))
    top, low = figure.axes
    for rows, suffix in ((points, ""), (simulated, ", simulated")):
        curves = {key: (name, [row[key] for row in rows]) for key, (name, *_) in drawn.PERCENTILES.items()}
        curves["answered"] = "answered", [row["answered_per_s"] for row in rows]
        curves["refused"] = "refused", [row["refused_share"] * row["offered_per_s"] for row in rows]
        for name, values in curves.values():
            lines = parts(figure, name + suffix)
            assert len(lines) == any(value is not None for value in values)
            for line in lines:
                assert line.get_xdata().tolist() == [row["offered_per_s"] for row in rows]
                assert np.array_equal(line.get_ydata(), np.array(values, dtype=float), equal_nan=True)
                assert (line.get_markerfacecolor() == "white") == (line.get_linestyle() == "--") == bool(suffix)
    for panel in (top, low):
        (line,), (shade,) = parts(panel, "knee"), parts(panel, "beyond", plt.Rectangle)
        assert {*line.get_xdata()} == {points[knee]["offered_per_s"]}
        assert shade.get_x() == capacity and shade.get_x() + shade.get_width() == panel.get_xlim()[1]
    assert top.get_yscale() == "log" and low.get_xlim()[1] > max(row["offered_per_s"] for row in points)
    said = texts(figure)
    assert ("simulated" in said) == bool(simulated) and "caption" in said
    assert f"knee: {drawn.number(points[knee]['offered_per_s'])} per second" in said
    assert f"beyond capacity: {drawn.number(capacity)} per second" in said


def test_intervals_of_the_95th_percentile_are_bars():
    known = [row | {"p95_interval_ms": (0.8 * row["p95_ms"], 1.3 * row["p95_ms"])} for row in LOADS]
    figure = checked(drawn.load(known, 2, 120, GUESSED, "caption"))
    bars = parts(figure, "interval")
    assert [tuple(bar.get_ydata()) for bar in bars] == [row["p95_interval_ms"] for row in known]
    low, high = figure.axes[0].get_ylim()
    assert low < 0.8 * 9 and high > 1.3 * 700
    entries = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert entries[entries.index("its 95% interval") - 1] == "95th percentile"
    assert "interval" not in texts(drawn.load(LOADS, 2, 120, GUESSED, "caption"))


def test_the_load_promises_only_what_was_measured():
    title = drawn._promise
    start = "At the knee, 100 per second, 95% are answered within 31 ms"
    assert title(LOADS, 2) == f"{start}; at 160 per second within 700 ms, and 25% are refused"
    assert title(LOADS[:4], 2) == f"{start}; at 118 per second within 300 ms"
    assert title(LOADS[:3], 2) == f"{start}: the highest load offered"
    assert title([*LOADS, NOTHING], 2) == f"{start}; at 5,000 per second, too few to say, and 100% are refused"
    assert "within" not in title([NOTHING], 0)
    assert title(LOADS, 2) in texts(drawn.load(LOADS, 2, 120))


def machines(way, count, p99, usd=None):
    rate = {"rate_per_machine_per_s": 1200 / count, "usd_per_day": 16.25 * count if usd is None else usd}
    return {"way": way, "machines": count, "p99_ms": p99, **rate}


FLEETS = {
    "three": [machines("teacher, one by one", 240, 95), machines("student", 14, 88.4), machines(LONG, 5, 100)],
    "one": [machines(LONG, 1, 9.5, 0.0042)],
    "late": [machines("slow", 3, 101), machines("as many", 12_345, 40), machines("and as many", 12_345, 99)],
}


@pytest.mark.parametrize("rows", FLEETS.values(), ids=FLEETS)
def test_the_machines_of_each_way_are_counted_and_priced(rows):
    figure = checked(drawn.fleet(rows, 100, "caption"))
    bars = parts(figure, "bar", plt.Rectangle)
    assert [bar.get_width() for bar in bars] == [row["machines"] for row in rows] and figure.axes[0].get_xlim()[0] == 0
    labels = [" ".join(label.get_text().split()) for label in figure.axes[0].get_yticklabels()]
    assert labels == [row["way"] for row in rows]
    fewest = min(row["machines"] for row in rows if row["p99_ms"] <= 100)
    said = words_of(figure)
    for bar, row, price, each in zip(bars, rows, said[::2], said[1::2], strict=True):
        late = row["p99_ms"] > 100
        assert filled(bar, VERMILION) == late
        assert filled(bar, BLUE) == (row["machines"] == fewest and not late)
        plural = "s" * (row["machines"] > 1)
        assert price == f"{row['machines']:,} machine{plural}, {drawn.number(row['usd_per_day'])} USD a day"
        rate, p99 = drawn.number(row["rate_per_machine_per_s"]), drawn.number(row["p99_ms"])
        assert each == f"{rate} per second each; 99% within {p99} ms" + ": too late" * late
    assert "caption" in texts(figure) and "99% of the answers within 100 ms" in texts(figure)
    assert all(tick == round(tick) for tick in figure.axes[0].get_xticks())


def test_the_fleet_is_praised_only_for_what_is_in_time():
    def title(*rows):
        return " ".join(drawn.fleet(rows, 100).get_suptitle().split())

    four, two, late = machines("four", 4, 90), machines("two", 2, 99), machines("late", 1, 101)
    assert title(four, two) == "From 4 machines (four) to 2 (two)"
    assert title(late, four, two) == "From 4 machines (four) to 2 (two); red: too late"
    assert title(four, four | {"way": "five"}) == "4 machines for 99% of the answers in time (with each way of serving)"
    assert title(late, two) == "2 machines for 99% of the answers in time (the one way in time: two); red: too late"
    assert title(machines("one", 1, 9)) == "1 machine for 99% of the answers in time (the one way in time: one)"
    assert title(late) == "No way answers 99% within 100 ms"


def policy(name, short, long, rate=180):
    return {"policy": name, "short_p95_ms": short, "long_p95_ms": long, "throughput_per_s": rate}


POLICIES = {
    "three": [policy("one by one", 120, 160, 90.2), policy(LONG, 12, 96), policy("oldest first", 60, 80)],
    "one": [policy("one by one", 0.0021, 0.0022, 12345)],
    "same": [policy(name, 50, 50) for name in "abcdefgh"],
    "far": [policy("a", 0.5, 90_000), policy("b", 90_000, 0.5)],
}


@pytest.mark.parametrize("rows", POLICIES.values(), ids=POLICIES)
def test_short_and_long_requests_stand_where_they_are_in_the_row_of_their_policy(rows):
    figure = checked(drawn.by_length(rows, "caption"))
    (axes,) = figure.axes
    for key in ("short_p95_ms", "long_p95_ms"):
        assert [line.get_xydata().tolist() for line in parts(figure, key)] == [
            [[r[key], i]] for i, r in enumerate(rows)
        ]
    between = [line.get_xydata().tolist() for line in parts(figure, "between")]
    assert between == [[[row["short_p95_ms"], i], [row["long_p95_ms"], i]] for i, row in enumerate(rows)]
    assert [" ".join(label.get_text().split()) for label in axes.get_yticklabels()] == [row["policy"] for row in rows]
    assert words_of(figure) == [f"{drawn.number(row['throughput_per_s'])} answers per second" for row in rows]
    low, high = axes.get_xlim()
    values = [row[key] for row in rows for key in ("short_p95_ms", "long_p95_ms")]
    assert low < min(values) and max(values) < high and sum(low <= tick <= high for tick in axes.get_xticks()) >= 2


def test_what_short_requests_gain_long_ones_may_lose():
    rows = POLICIES["three"]
    assert f"soonest with: {LONG}; long ones then take 1.2 times their best" in texts(drawn.by_length(rows))
    best = "soonest with: oldest first; and so are long ones"
    assert best in texts(drawn.by_length([rows[0], rows[2]]))
    assert "soonest" not in texts(drawn.by_length(POLICIES["same"]))


@pytest.mark.parametrize("ratio", [1, 1.01, 1.3, 1.7, 2.4, 3.9, 6, 9, 30, 900, 3e4, 1e7])
def test_a_log_axis_has_some_numbers_and_not_too_many_at_any_scale(ratio):
    figure, axes = plt.subplots()
    plt.close(figure)
    for low in np.geomspace(0.003, 4000, 23):
        drawn._log_axis(axes.xaxis, [low, low * ratio])
        begin, end = axes.get_xlim()
        assert begin < low <= low * ratio < end
        ticks = [tick for tick in axes.get_xticks() if begin <= tick <= end]
        assert 2 <= len(ticks) <= 11
        labels = [drawn.number(tick) for tick in ticks]
        assert len({*labels}) == len(labels)


def test_the_global_style_is_left_alone():
    before = dict(plt.rcParams)
    drawn.fleet(FLEETS["one"], 100)
    drawn.divisions(DIVISIONS["one"])
    assert dict(plt.rcParams) == before and not plt.get_fignums()
