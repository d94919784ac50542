import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import same_color
from test_figures_quantization import checked, inside, parts, texts

from fflib import figures_runtime as drawn
from fflib.figures import BLUE, VERMILION

NAMES = ("no optimisation", "basic", "extended", "all", "attention fused", "skip-LayerNorm fused", "embedding fused")
NAMES += ("bias+GELU fused", "the paper's recipe", "this book's")
LONG = "a way of serving with a name that goes on for longer than anyone would like"


def filled(bar, color):
    return same_color(bar.get_facecolor(), color)


def words_of(figure):
    return [" ".join(text.get_text().split()) for text in parts(figure, "words", plt.Text)]


def xy(lines):
    return sorted(line.get_xydata()[0].tolist() for line in lines)


NUMBERS = {0: "0", 0.01234: "0.0123", 4.567: "4.57", 89.44: "89.4", 99.96: "100", 999.9: "1,000", 123456: "123,456"}


@pytest.mark.parametrize("value, words", [*NUMBERS.items(), (1e-7, "0.0000001"), (2, "2")])
def test_numbers_keep_three_digits_and_never_an_exponent(value, words):
    assert drawn.number(value) == words


@pytest.mark.parametrize("width", [5, 9, 24, 80])
def test_folded_words_keep_to_the_width_in_as_few_lines_and_lose_nothing(width):
    for count in range(1, 14):
        words = " ".join("abc"[: 1 + i % 3] for i in range(count))
        lines = drawn._fold(words, width).split("\n")
        assert " ".join(lines) == words and max(map(len, lines)) <= width
        assert len(lines) == len(drawn.textwrap.wrap(words, width))
    assert drawn._fold("", 9) == ""
    assert drawn._fold("wait at most 100 ms", 18) == "wait at\nmost 100\N{NO-BREAK SPACE}ms"


def variant(model, name, ms, kept=True, default=False):
    row = {"model": model, "variant": name, "ms": ms, "low": 0.98 * ms, "high": 1.01 * ms}
    return row | {"off": 1e-6 if kept else 4.3, "kept": kept, "default": default}


def variants(model, base, wrong=(), default=9, names=NAMES):
    return [variant(model, name, base * (2 - 0.1 * i), i not in wrong, i == default) for i, name in enumerate(names)]


THREE = variants("teacher", 110, (8,)) + variants("student", 8, (4, 8)) + variants("pruned student, int8", 2, (8,))
ODD = variants("a model the name of which is long", 0.0123, (9,)) + variants("b", 54321, (0,), 4, [LONG, *NAMES[:6]])
GRAPHS = {"three": THREE, "one": variants("student", 5, default=0, names=NAMES[:1]), "odd": ODD}


@pytest.mark.parametrize("rows", GRAPHS.values(), ids=GRAPHS)
def test_each_variant_has_its_bar_and_interval_and_says_if_it_is_wrong(rows):
    figure = checked(drawn.graph_variants(rows, "caption"))
    models, names = (list(dict.fromkeys(row[key] for row in rows)) for key in ("model", "variant"))
    assert len(figure.axes) == len(models) and "caption" in texts(figure)
    labels = [" ".join(label.get_text().split()) for label in figure.axes[0].get_yticklabels()]
    assert labels == names
    for panel, model in zip(figure.axes, models, strict=True):
        own = [row for row in rows if row["model"] == model]
        assert panel.get_title(loc="left").split() == model.split() and panel.get_xlim()[0] == 0
        words = words_of(panel)
        assert words.count("not measured") == len(names) - len(own) == sum("not" in word for word in words)
        words = [word for word in words if word != "not measured"]
        drawings = parts(panel, "bar", plt.Rectangle), parts(panel, "interval")
        for bar, line, said, row in zip(*drawings, words, own, strict=True):
            assert bar.get_width() == row["ms"] and bar.get_y() + bar.get_height() / 2 == names.index(row["variant"])
            assert line.get_xdata().tolist() == [row["low"], row["high"]]
            assert (bar.get_hatch() is not None) == (not row["kept"])
            assert filled(bar, BLUE) == (row["default"] and row["kept"])
            wrong = ", wrong: logits off by 4.3" * (not row["kept"])
            assert said == f"{drawn.number(row['ms'])} ms{wrong}"
        # The words stand within their panel, so that no panel's words reach the next.
        boxes = [plt.Text.get_window_extent(text) for text in parts(panel, "words", plt.Text)]
        assert all(box.x1 < panel.bbox.x1 + 6 for box in boxes)


def test_the_title_says_whether_the_default_is_right_and_the_fastest():
    def title(*rows):
        return " ".join(drawn.graph_variants([*rows]).get_suptitle().split())

    best, second = variants("a", 5, names=NAMES[:2], default=1), variants("b", 5, names=NAMES[:2], default=0)
    assert title(*best) == "No graph that answers right is clearly faster than the default (blue)"
    assert "is 1.1 times as fast as the default (blue)" in title(*second)
    assert "1.1 times as fast as the default for 1 of 2 models (blue)" in title(*best, *second)
    second[1]["high"] = second[0]["low"]  # the intervals touch: not clearly faster
    assert title(*second).startswith("No graph")
    wrong = variants("b", 5, (1,), 0, NAMES[:2])  # the faster one answers wrong
    assert title(*wrong).startswith("No graph") and title(*wrong).endswith("(blue; hatched: wrong answers)")
    assert "The default answers wrong (bold; hatched" in title(*variants("c", 5, (1,), 1, NAMES[:2]))
    assert "wrong for 1 of 2 models" in title(*best, *variants("c", 5, (1,), 1, NAMES[:2]))
    assert title(*variants("c", 5, default=9, names=NAMES[:2])) == "What each variant of the graph takes"


PAPER = {"MatMulIntegerToFloat": 1.2, "DynamicQuantizeLinear": 0.5, "Attention": 0.8, "SkipLayerNormalization": 1.4}
PAPER |= {"EmbedLayerNormalization": 0.2, "FastGelu": 0.4, "Gather": 0.03, "NoSuchOperator": 0.05}
OURS = {"DynamicQuantizeMatMul": 1.5, "MatMul": 0.25, "Gemm": 0.05, "Softmax": 0.1, "LayerNormalization": 0.2}
OURS |= {"Add": 0.1}
PROFILES = {"the paper's graph": PAPER, "this book's": OURS}


def test_each_operator_is_of_one_kind_and_no_time_is_lost():
    named = [operator for operators in drawn.OPERATORS.values() for operator in operators]
    assert len(named) == len({*named})
    groups = drawn.group_operators(PAPER)
    assert groups["LayerNorm"] == pytest.approx(1.6) and groups["other"] == 0.05 and groups["fp32 products"] == 0
    assert sum(groups.values()) == pytest.approx(sum(PAPER.values()))
    assert drawn.group_operators({"MatMul": 1, "MatMulInteger": 2, "FusedMatMul": 4})["fp32 products"] == 5


@pytest.mark.parametrize(
    "profiles",
    [PROFILES, {"one": {"Foo": 1234.5, "MatMul": 0.0003}}, dict.fromkeys(("a", "b", LONG, "d", "e", "f", "g"), OURS)],
    ids=["two", "one", "seven"],
)
def test_the_operators_of_each_graph_are_bars_on_one_axis(profiles):
    figure = checked(drawn.operators(profiles, "caption"))
    (axes,) = figure.axes
    kinds = [label.get_text() for label in axes.get_yticklabels()]
    grouped = [drawn.group_operators(profile) for profile in profiles.values()]
    assert {*kinds} == {kind for groups in grouped for kind, time in groups.items() if time}
    times = [max(groups[kind] for groups in grouped) for kind in kinds if kind != "other"]
    assert times == sorted(times, reverse=True) and "other" not in kinds[:-1]
    expected = [groups[kind] for groups in grouped for kind in kinds]
    bars = parts(figure, "bar", plt.Rectangle)
    assert [bar.get_width() for bar in bars] == expected and axes.get_xlim()[0] == 0
    assert [round(bar.get_y() + bar.get_height() / 2) for bar in bars] == [*range(len(kinds))] * len(grouped)
    assert words_of(figure) == [drawn.number(time) if time else "none" for time in expected]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    totals = [drawn.number(sum(profile.values())) for profile in profiles.values()]
    assert legend == [f"{name}: {total} ms in all" for name, total in zip(profiles, totals, strict=True)]


def test_the_saving_is_that_of_the_faster_graph_whichever_it_is():
    for order in (PROFILES, dict(reversed(PROFILES.items()))):
        words = texts(drawn.operators(order))
        assert "This book's takes 2.38 ms less than the paper's graph; it saves the most on: LayerNorm, 1.4 ms" in words
    assert "The largest part of the time goes to: int8 products, 75%" in texts(
        drawn.operators({"a": {"QAttention": 3, "Add": 1}, "b": {"Add": 4}})
    )


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
    assert "answers 2.0 times as many, at 2.0 times the latency" in texts(drawn.divisions([many, one]))
    assert "2.0 times the latency (for 1 of 2 models)" in texts(drawn.divisions([many, one, both]))
    assert "the most also has the lowest latency" in texts(drawn.divisions([both]))
    slower = division(4, 1, 200, 25)  # as many answers, later: not the best in anything
    figure = drawn.divisions([slower, many, one])
    words = {" ".join(label.get_text().split()) for label in parts(figure, "label", plt.Text)}
    assert words == {"2 x 1: most per second", "4 x 1", "1 x 2: lowest latency"}


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


def test_the_load_promises_only_what_was_measured():
    def title(points, knee):
        return " ".join(drawn.load(points, knee, 120).get_suptitle().split())

    start = "At the knee, 100 per second, 95% are answered within 31 ms"
    assert title(LOADS, 2) == f"{start}; at 160 per second within 700 ms, and 25% are refused"
    assert title(LOADS[:4], 2) == f"{start}; at 118 per second within 300 ms"
    assert title(LOADS[:3], 2) == f"{start}: the highest load offered"
    assert title([*LOADS, NOTHING], 2) == f"{start}; at 5,000 per second, too few to say, and 100% are refused"
    assert "within" not in title([NOTHING], 0)


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
    assert title(four, four | {"way": "five"}) == "Each way needs 4 machines"
    assert title(late, two) == "Two needs 2 machines; red: too late"
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
    assert f"soonest under: {LONG}; long ones then take 1.2 times their best" in texts(drawn.by_length(rows))
    best = "soonest under: oldest first; and so are long ones"
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
