import numpy as np
import pytest
from drawing import checked, parts, texts
from matplotlib import pyplot as plt
from matplotlib.colors import same_color
from matplotlib.patches import StepPatch

from fflib.engine.gemm import VARIANTS
from fflib.quantization import figures as drawn

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    "share, words", [(0.35, "35%"), (0.000123, "0.012%"), (1, "100%"), (0, "0%"), (3e-7, "0.00003%")]
)
def test_shares_keep_two_digits(share, words):
    assert drawn.percent(share) == words


def test_a_span_is_one_number_where_its_ends_look_the_same():
    assert drawn.span(2.31, 0.94, 1.2) == "0.94 to 2.3" and drawn.span(2.31, 2.33) == "2.3"
    assert drawn.span(9.99) == "10" and drawn.span(1234.5) == "1,234"


@pytest.mark.parametrize("shapes", [[(8, 6)], [(384, 1536), (1536, 384), (4, 1)]], ids=["one", "three"])
def test_the_largest_weights_of_the_columns_are_sorted_below_that_of_the_tensor(shapes):
    weights = {f"matrix {i}": RANDOM.normal(size=shape) for i, shape in enumerate(shapes)}
    figure = checked(drawn.weight_scales(weights, "caption"))
    assert len(figure.axes) == len(weights) and "caption" in texts(figure)
    for panel, matrix in zip(figure.axes, weights.values(), strict=True):
        (steps,), (line,), (dot,) = parts(panel, "columns", StepPatch), parts(panel, "tensor"), parts(panel, "median")
        largest = np.abs(matrix).max(axis=0)
        assert steps.get_data().values.tolist() == sorted(largest, reverse=True)
        assert set(line.get_ydata()) == {largest.max()} and dot.get_ydata() == np.median(largest)
        assert f"{127 * np.median(largest) / largest.max():.0f} of 127 steps" in texts(panel)


def test_what_the_median_column_uses_is_known():
    matrix = np.array([[1, 0.5, -0.25], [-4, 1, 2]])
    assert "the median column uses 64 of 127 steps" in texts(drawn.weight_scales({"one": matrix}))
    assert "127 of 127 steps" in texts(drawn.weight_scales({"even": np.ones((3, 4))}))
    assert "the median column uses 32 of 64 steps" in texts(drawn.weight_scales({"one": matrix}, steps=64))
    assert "0 of 127 steps" in texts(checked(drawn.weight_scales({"zeros": np.zeros((3, 4))})))


def test_the_codes_are_counted_on_the_same_axes():
    one, many = np.array([[-127, 0, 0, 1]], np.int8), np.array([[-127, 64, 64, 127]], np.int8)
    figure = checked(drawn.weight_codes(one, many, "caption", error_tensor=0.0024, error_column=0.0005))
    for panel, codes in zip(figure.axes, (one, many), strict=True):
        shares = parts(panel, "codes", StepPatch)[0].get_data().values
        assert len(shares) == 255 and shares.sum() == 1
        assert all(shares[code + 127] == np.mean(codes == code) for code in range(-127, 128))
        assert panel.get_xlim() == (-128, 128)
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    words = texts(figure)
    assert all(word in words for word in ("0.24%", "0.05%", "4.8 times smaller", "caption", "99% of them: 255 codes"))


@pytest.mark.parametrize("errors", [(0.1, 0.1), (0.1, 0.2), (0, 0), (0.1, 0)])
def test_a_smaller_error_is_claimed_only_where_it_is_known(errors):
    codes = np.zeros((2, 2), int)
    figure = checked(drawn.weight_codes(codes, codes, error_tensor=errors[0], error_column=errors[1]))
    assert "smaller" not in texts(figure) and "99% of them: 1 codes" in texts(figure)


def test_most_of_the_codes_are_shaded():
    codes = np.append(np.repeat(np.arange(-50, 51), 99), [-120, 120])
    figure = drawn.weight_codes(codes, codes // 10, error_tensor=0.2, error_column=0.1)
    for span, given in zip(parts(figure, "middle", plt.Rectangle), (codes, codes // 10), strict=True):
        low, high = span.get_x(), span.get_x() + span.get_width()
        assert np.mean((low < given) & (given < high)) >= 0.99 and (low, high) != (given.min() - 0.5, given.max() + 0.5)


SAMPLES = np.append(RANDOM.standard_t(4, 5000).clip(-12, 12), [15.2, -14])


@pytest.mark.parametrize(
    "samples, clips",
    [
        (SAMPLES, {"largest": 15.2, "percentile": 8.55, "entropy": 5.1}),
        (SAMPLES, {"largest": 15.2, "percentile": 15.2, "entropy": 15.1}),
        (SAMPLES[:30], {"largest": 400, "percentile": 1, "entropy": 1}),
        (np.zeros(3), {"largest": 0.0}),
    ],
    ids=["typical", "close", "far", "zeros"],
)
def test_the_thresholds_stand_where_they_are_and_say_what_is_beyond(samples, clips):
    figure = checked(drawn.activations(samples, clips, "caption", "attention"))
    (histogram,) = parts(figure, "values", StepPatch)
    assert histogram.get_data().values.sum() == len(samples)
    assert sorted(line.get_xdata()[0] for line in parts(figure, "clip")) == sorted(clips.values())
    names = [label.get_text() for label in parts(figure, "label", plt.Text)]
    assert len(names) == len(clips) and "attention" in texts(figure) and "caption" in texts(figure)
    for method, clip in clips.items():
        share = np.mean(np.abs(samples) > clip)
        assert f"{method}: {clip:.3g}\n{drawn.percent(share) if share else 'none'} beyond" in names
    # No label is crossed by the line of a threshold, nor covers a part of the histogram.
    lines = [line.get_window_extent() for line in parts(figure, "clip")]
    labels = [plt.Text.get_window_extent(label) for label in parts(figure, "label", plt.Text)]
    peak = figure.axes[0].transData.transform((0, histogram.get_data().values.max()))[1]
    assert not any(label.overlaps(line) for label in labels for line in lines)
    assert all(label.y0 > peak for label in labels)


NAMES = ("fp32", "dynamic", "static, largest", "static, percentile", "static, entropy", "per column", "mixed", "7", "8")


def recipes(models, names=NAMES, default=1):
    return [
        {"model": model, "recipe": name, "ms": ms / (1 if i == 0 else 2 + 0.05 * i), "agreement": best - 0.001 * i}
        | {"low": best - 0.001 * i - 0.01, "high": best - 0.0005 * i}
        | {"default": i == default, "served": best - 0.001 * i >= 0.89}
        for model, (ms, best) in models.items()
        for i, name in enumerate(names)
    ]


MODELS = {"teacher": (110, 0.92), "student": (14, 0.9), "pruned student": (5, 0.88)}
SAME = [row | {"ms": 9.0} for row in recipes({"student": (14, 0.9)})]
ROWS = {
    "many": recipes(MODELS),
    "few": recipes({"student": (14, 0.9)}, NAMES[:3]),
    "same": SAME,
    "all": recipes({"teacher": (110, 1), "student": (14, 1)}),
    "one": recipes({"student": (14, 0.9)}, NAMES[:1], default=0),
    "far": [*recipes({"student": (14, 0.9)}), recipes({"student": (9000, 0.4)}, ["slow"])[0]],
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_each_recipe_stands_where_its_data_say_and_is_numbered(rows):
    figure = checked(drawn.recipes(rows, "caption"))
    models = list(dict.fromkeys(row["model"] for row in rows))
    assert len(figure.axes) == len(models) and "agree with fp32" in texts(figure) and "caption" in texts(figure)
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    others = [name for name in dict.fromkeys(row["recipe"] for row in rows) if name != "fp32"]
    assert key == [f"{i}  {name}" for i, name in enumerate(others, 1)]
    for panel, model in zip(figure.axes, models, strict=True):
        own = [row for row in rows if row["model"] == model]
        points = [line.get_xydata()[0].tolist() for line in parts(panel, "point")]
        assert sorted(points) == sorted([row["ms"], row["agreement"]] for row in own)
        ends = [line.get_ydata() for line in parts(panel, "interval")]
        assert sorted(map(list, ends)) == sorted([row["low"], row["high"]] for row in own)
        rings = [line.get_xydata()[0].tolist() for line in parts(panel, "ring")]
        assert rings == [[row["ms"], row["agreement"]] for row in own if row["default"]]
        (level,) = parts(panel, "level")
        assert set(level.get_ydata()) == {own[0]["agreement"]} and level.get_linestyle() == "--"
        labels = parts(panel, "label", plt.Text)
        for label, row in zip(labels, sorted(own, key=lambda row: row["ms"]), strict=True):
            assert label.get_text() == (
                row["recipe"] if row["recipe"] == "fp32" else f"{others.index(row['recipe']) + 1}"
            )
            assert label.xy == (row["ms"], row["high"]) and (label.get_weight() == "bold") == row["default"]
        boxes = [plt.Text.get_window_extent(label) for label in labels]
        assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))
        assert all(panel.bbox.x0 <= box.x0 and box.x1 <= panel.bbox.x1 for box in boxes)
        highest = panel.transData.transform([(1, row["high"]) for row in own])[:, 1].max()
        assert all(box.y0 > highest for box in boxes)


def test_what_keeps_too_few_labels_is_hollow_and_claims_no_gain():
    rows = recipes({"a": (14, 0.895)}, NAMES[:8])  # the last two fall below the rule
    figure = checked(drawn.recipes(rows))
    hollow = [line.get_xdata()[0] for line in parts(figure, "point") if same_color(line.get_markerfacecolor(), "white")]
    assert sorted(hollow) == sorted(row["ms"] for row in rows if not row["served"]) and len(hollow) == 2
    assert "ringed; hollow: not served" in texts(figure)
    unfit = [row | {"served": not row["default"]} for row in rows]
    assert "times as fast" not in texts(drawn.recipes(unfit)), "nothing is claimed of a default that is not served"


def test_the_gain_of_the_default_is_claimed_only_if_there_is_one():
    two = [*recipes({"a": (14, 0.9)}, NAMES[:2]), *recipes({"b": (9, 0.9)}, NAMES[:3], default=2)]
    assert "The default recipe (ringed) is 2.0 to 2.1 times as fast as fp32" in texts(drawn.recipes(two))
    slow = [row | {"ms": 28 if row["default"] else 14} for row in recipes({"a": (14, 0.9)}, NAMES[:2])]
    assert "0.5 times as fast as fp32" in texts(drawn.recipes(slow))
    for rows in (ROWS["one"], recipes({"a": (14, 0.9)}, NAMES[1:3]), recipes({"a": (14, 0.9)}, default=99)):
        assert "times as fast" not in texts(checked(drawn.recipes(rows)))


TOKENS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_rates_and_their_limit_are_drawn(count):
    fp32, int8 = [400 * n / (n + 6) for n in TOKENS], [900 * n / (n + 20) for n in TOKENS]
    rows = [(f"384 to {384 * i:,}", TOKENS, fp32, [i * rate for rate in int8]) for i in range(1, count + 1)]
    figure = checked(drawn.product_rates(rows, 4, "caption"))
    assert len(figure.axes) == count
    for panel, (shape, tokens, *rates) in zip(figure.axes, rows, strict=True):
        for name, expected in zip(("fp32", "int8"), rates, strict=True):
            (line,) = parts(panel, name)
            assert line.get_xdata().tolist() == tokens and line.get_ydata().tolist() == expected
        (limit,) = parts(panel, "limit")
        assert set(limit.get_ydata()) == {4 * max(fp32)} and panel.get_title(loc="left") == shape
        assert panel.get_xscale() == "log" and panel.get_ylim()[1] > max(4 * max(fp32), *rates[1])
    gains = [b / a for _, _, x, y in rows for a, b in zip(x, y, strict=True)]
    assert f"{drawn.span(*gains)} times the rate of fp32" in texts(figure)
    assert "4 times the best fp32 rate: the most by instruction count" in texts(figure)


def test_a_limit_far_above_the_rates_is_told_and_not_drawn():
    figure = checked(drawn.product_rates([("384 to 384", [1, 8], [10.0, 40.0], [20.0, 100.0])], 32, "caption"))
    assert not parts(figure.axes[0], "limit") and figure.axes[0].get_ylim()[1] < 200
    assert "32 times the best fp32 rate, is far above: 1,280" in texts(figure)


@pytest.mark.parametrize("int8", [9.0, 20.0, 20.1, 300.0])
def test_the_names_of_two_rates_do_not_touch_however_near_they_are(int8):
    figure = checked(drawn.product_rates([("64 to 64", [16], [20.0], [int8])], 4))
    names = {text.get_text(): text.get_window_extent() for text in parts(figure, "label", plt.Text)}
    assert (names["int8"].y0 > names["fp32"].y0) == (int8 >= 20)


def product(name, *times):
    return {"name": name} | dict(zip([f"{variant}, us" for variant in VARIANTS], times, strict=True))


PRODUCTS = [product("384 to 1,536 (feed-forward)", 410, 170, 450, 480), product("scores", 31, 17.2, 33.0, 61)]


@pytest.mark.parametrize("rows", [PRODUCTS, PRODUCTS[:1], [product("odd", 0.31, 0.172, 33, 1261)]])
def test_the_bars_of_the_products_are_as_long_as_their_times(rows):
    figure = checked(drawn.packing(rows, "caption"))
    assert len(figure.axes) == len(rows) and "caption" in texts(figure)
    for panel, row in zip(figure.axes, rows, strict=True):
        assert [bar.get_width() for bar in parts(panel, "time", plt.Rectangle)] == [row[f"{v}, us"] for v in VARIANTS]
        assert panel.get_title(loc="left") == row["name"]
    ratios = [[row[f"fp32, {f}, us"] / row[f"int8, {f}, us"] for row in rows] for f in ("constant", "both computed")]
    claim = "int8 is {} times as fast as fp32 with a constant factor, {} times where both are computed"
    assert claim.format(*(drawn.span(*values) for values in ratios)) in texts(figure)


CHANGES = {
    "fp32": 10 ** RANDOM.normal(-6, 0.3, 300),
    "dynamic, one scale for all tokens": 10 ** RANDOM.normal(-1.4, 0.4, 300),
    "dynamic, a scale per token": np.where(RANDOM.random(300) < 0.3, 0, 10 ** RANDOM.normal(-2.5, 0.4, 300)),
    "static": np.zeros(300),
}


@pytest.mark.parametrize("names", [list(CHANGES), ["static"], ["fp32"]], ids=["all", "zeros", "no zeros"])
def test_changes_stand_where_they_are_and_zeros_apart(names):
    figure = checked(
        drawn.batch_mates({n: CHANGES[n] for n in names}, {n: (len(n) % 3, 300) for n in names}, "caption")
    )
    (axes,) = figure.axes
    for i, (name, dots) in enumerate(zip(names, parts(figure, "requests"), strict=True)):
        values, (x, y) = CHANGES[name], dots.get_xydata().T
        assert x[values > 0].tolist() == values[values > 0].tolist() and np.all(np.abs(y - i) < 0.5)
        least = min((v[v > 0].min() for n, v in CHANGES.items() if n in names and v.any()), default=1)
        assert np.all(x[values == 0] < least) and np.all(x > axes.get_xlim()[0])
    medians = [line.get_xdata()[0] for line in parts(figure, "median")]
    expected = [np.median(CHANGES[name]) for name in names]
    assert all(a == b or b == 0 for a, b in zip(medians, expected, strict=True))
    zeros = any((CHANGES[name] == 0).any() for name in names)
    assert ("no change" in texts(figure)) == zeros and "caption" in texts(figure)
    words = [text.get_text() for text in parts(figure, "flips", plt.Text)]
    assert words == [f"{len(name) % 3} of 300\nlabels change" for name in names]


def test_the_flips_are_counted_in_the_title():
    ways = {name: np.ones(3) for name in "abc"}
    flips = {"a": (2, 3), "b": (0, 3), "c": (1, 3)}
    assert "change labels under 2 of 3 recipes" in texts(drawn.batch_mates(ways, flips))
    assert "The other texts of a batch change no label" in texts(drawn.batch_mates({"b": ways["b"]}, flips))
    assert "under 1 of 1 recipe" in texts(drawn.batch_mates({"a": np.array([1e-12, 9.0])}, {"a": (1, 2)}))


def test_the_global_style_is_left_alone():
    before = dict(plt.rcParams)
    drawn.packing(PRODUCTS)
    drawn.recipes(ROWS["few"])
    assert dict(plt.rcParams) == before and not plt.get_fignums()
