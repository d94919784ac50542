from itertools import combinations

import numpy as np
import pytest
from matplotlib import pyplot as plt

from fflib.pruning import figures as drawn


def model(name, x, accuracy, kind="uniform", retrained=True, chosen=False, width=0.012):
    ends = {"low": accuracy - width, "high": accuracy + 0.8 * width}
    return {"name": name, "x": x, "accuracy": accuracy, "kind": kind, "retrained": retrained, "chosen": chosen, **ends}


UNPRUNED = model("unpruned", 11.4, 0.905)
FEW = [model("75 %/75 %", 8.9, 0.901), model("33 %/50 %", 5.7, 0.888, chosen=True), model("slow", 12, 0.88)]
MANY = [  # twenty, some at equal times, half of them at nearly equal accuracies
    model(f"{share} % of all {kind}", 11 * share / 100, best - slope * (1 - share / 100) ** 2, kind, retrained)
    for kind, best, slope, retrained in (
        ("uniform", 0.904, 0.06, True),
        ("uniform", 0.9, 0.4, False),
        ("latency-aware", 0.906, 0.05, True),
        ("depth", 0.903, 0.08, True),
    )
    for share in (80, 65, 50, 35, 20)
]
MANY[12]["chosen"] = MANY[14]["chosen"] = True


@pytest.fixture(scope="module", params=[FEW, MANY, MANY[:1], []], ids=["few", "many", "one", "none"])
def shown(request):
    return request.param, show(request.param)


def texts(figure):
    return " ".join(" ".join(text.get_text() for text in figure.findobj(plt.Text)).split())


def parts(figure, gid, kind=plt.Line2D):
    return figure.findobj(lambda artist: isinstance(artist, kind) and artist.get_gid() == gid)


def xy(lines):
    return sorted(line.get_xydata()[0].tolist() for line in lines)


def show(points, floor=0.896):
    figure = drawn.pareto(points, UNPRUNED, floor, "caption", floor_label="99 % of the unpruned accuracy")
    figure.draw_without_rendering()
    return figure


def test_the_front_of_known_points():
    points = [model("", x, y) for x, y in ((3, 0.9), (1, 0.8), (2, 0.8), (2, 0.85), (4, 0.9), (1, 0.7), (5, 0.95))]
    assert drawn.pareto_front(points) == [1, 3, 0, 6]
    assert drawn.pareto_front(points[:1]) == [0] and drawn.pareto_front([]) == []
    assert drawn.pareto_front([points[0], points[1], points[0]]) == [1, 0, 2]  # equals do not beat each other


@pytest.mark.parametrize("seed", range(20))
def test_the_front_holds_the_best_of_every_budget_and_nothing_else(seed):
    draw = np.random.default_rng(seed).integers(0, 8, (15, 2)).tolist()
    front = [draw[i] for i in drawn.pareto_front([{"x": x, "accuracy": y} for x, y in draw])]
    best = {budget: max(y for x, y in draw if x <= budget) for budget in range(8) if budget >= min(draw)[0]}
    for budget, accuracy in best.items():
        assert max(y for x, y in front if x <= budget) == accuracy
    for x, y in front:  # each is needed: nothing as fast is better, nothing faster is as good
        assert y == best[x] and (x - 1 not in best or best[x - 1] < y)
    assert front == sorted(front) and all(front.count(point) == draw.count(point) for point in front)


def test_each_pruned_model_stands_where_its_data_say_and_is_hollow_unless_retrained(shown):
    points, figure = shown
    for retrained in (True, False):
        expected = sorted([p["x"], p["accuracy"]] for p in points if p["retrained"] == retrained)
        marks = [mark for mark in parts(figure, "point") if (mark.get_markerfacecolor() != "white") == retrained]
        assert xy(marks) == expected
    ends = sorted(line.get_ydata().tolist() for line in parts(figure, "interval"))
    assert ends == sorted([p["low"], p["high"]] for p in points)
    assert xy(parts(figure, "ring")) == sorted([p["x"], p["accuracy"]] for p in points if p["chosen"])
    looks = {(mark.get_label(), mark.get_color(), mark.get_marker()) for mark in parts(figure, "point")}
    kinds = {p["kind"] for p in points}
    assert {kind for kind, *_ in looks} == kinds and len(looks) == len({look[1:] for look in looks}) == len(kinds)


def test_the_front_is_a_step_up_to_the_right_edge(shown):
    points, figure = shown
    (line,) = parts(figure, "front")
    x, y = line.get_xydata().T
    models = [*points, UNPRUNED]
    for time, accuracy in zip(x[::2], y[::2], strict=True):
        assert accuracy == max(p["accuracy"] for p in models if p["x"] <= time * 1.000001)
    assert len(x) == 2 * len(drawn.pareto_front(models)) and x[-1] == figure.axes[0].get_xlim()[1]
    assert np.all((np.diff(x) == 0) | (np.diff(y) == 0)) and np.all(np.diff(x) >= 0) and np.all(np.diff(y) >= 0)


def test_the_front_and_the_chosen_are_named_others_where_there_is_room(shown):
    points, figure = shown
    names = parts(figure, "label", plt.Text)
    named = [texts(name) for name in names]
    front = drawn.pareto_front([*points, UNPRUNED])
    shapes = {name.removesuffix(", tuned only").removesuffix(", retrained") for name in named}
    assert {p["name"] for i, p in enumerate(points) if p["chosen"] or i in front} <= shapes
    assert len(named) == len(set(named)) and shapes <= {p["name"] for p in points}
    boxes = [plt.Text.get_window_extent(name) for name in names]  # without the line that ties it to its point
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    inside = figure.axes[0].bbox
    assert all(inside.contains(*box.min) and inside.contains(*box.max) for box in boxes)


def test_a_shape_with_and_without_retraining_has_two_names():
    pair = [model("uniform", 4, 0.88), model("uniform", 4, 0.8, retrained=False), model("searched", 6, 0.7)]
    names = {text.get_text().replace("\n", " ") for text in parts(show(pair), "label", plt.Text)}
    assert names == {"uniform, retrained", "uniform, tuned only", "searched"}


def test_the_rule_is_a_dashed_line_with_its_name_and_may_be_left_out():
    figure, free = show(FEW), show([*FEW, model("as cut", 6, 0.7, retrained=False)], floor=None)
    (level,) = parts(figure, "level")
    assert set(level.get_ydata()) == {0.896} and level.get_linestyle() == "--"
    words = texts(figure)
    assert all(word in words for word in ("99 % of the unpruned accuracy", "caption", "unpruned (interval", "(ms, log"))
    assert "hollow" not in words and "hollow" in texts(free)
    assert not parts(free, "level") and "99 %" not in texts(free)


@pytest.mark.parametrize("layers, heads, neurons", [(1, 1, 1), (2, 12, 1536), (6, 12, 100), (12, 12, 3072)])
def test_importance_shows_every_head_and_sorts_the_neurons(layers, heads, neurons):
    random = np.random.default_rng(0)
    head_scores = [random.random(heads).tolist() for _ in range(layers)]
    neuron_scores = [random.random(neurons).tolist() for _ in range(layers)]
    figure = drawn.importance_map(head_scores, neuron_scores, "caption")
    figure.draw_without_rendering()
    left, right, _ = figure.axes
    assert np.allclose(left.collections[0].get_array(), head_scores)
    assert left.get_ylim() == (0.5, layers + 0.5)  # layer 1 at the bottom
    assert len(right.lines) == layers and right.get_yscale() == "log"
    for line, scores in zip(right.lines, neuron_scores, strict=True):
        assert line.get_ydata().tolist() == sorted(scores, reverse=True)
    assert "grey" not in texts(figure) and "caption" in texts(figure)


def test_layers_may_have_fewer_heads_than_others_or_none():
    figure = drawn.importance_map([[0.1, 0.2, 0.7], [], [0.5]], [[0.3, 0.0, 0.4], [], [0.1]])
    figure.draw_without_rendering()
    cells = np.ma.filled(figure.axes[0].collections[0].get_array(), -1)
    assert cells.tolist() == [[0.1, 0.2, 0.7], [-1, -1, -1], [0.5, -1, -1]]
    neurons = figure.axes[1].lines[0].get_ydata()
    assert neurons[:2].tolist() == [0.4, 0.3] and np.isnan(neurons[2])  # zero has no place on a log axis
    assert all(word in texts(figure) for word in ("grey: no such head", "layer 2 (none)", "2 of 4 heads carry half"))
    for heads, neurons in (([[]], [[]]), ([[], []], [[1.0], [2.0]]), ([[0.0, 0.0]], [[0.0]])):
        drawn.importance_map(heads, neurons).draw_without_rendering()


@pytest.mark.parametrize(
    "scores, count", [([1, 1, 1, 1], 2), ([1, 1, 1, 1, 1], 3), ([1, 8, 1, 9, 1], 2), ([1, 2, 30], 1)]
)
def test_half_of_the_importance_is_counted_from_the_top(scores, count):
    figure = drawn.importance_map([scores[:2], scores[2:]], [scores])
    assert f"{count} of {len(scores)} heads carry half" in texts(figure)
    assert f"{count} of {len(scores)} neurons carry half" in texts(figure)


LINE = [(1.0, 0.9, 0.89, 0.91), (0.5, 0.8, 0.7, 0.85), (0.25, 0.6, None, None)]


def test_the_lines_of_the_controls_end_in_the_unpruned_model():
    figure = drawn.controls({"one share": LINE[1:2], "all": LINE}, 0.93, 0.5, "heads kept")
    short, whole = [line for line in figure.axes[0].lines if line.get_gid() != "level"]
    assert short.get_xydata().tolist() == [[0.5, 0.8], [1.0, 0.93]]
    assert len(whole.get_xydata()) == len(LINE), "measured at all of them already"
    alone = drawn.controls({"one share": LINE[1:2]}, 0.93, 0.5, "heads kept").axes[0]
    assert alone.get_xlim()[1] > 1 and alone.get_ylim()[1] > 0.93


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_controls_have_a_line_each_beside_the_unpruned_and_guessing(count):
    figure = drawn.controls({f"way {i}": LINE for i in range(count)}, 0.9, 0.5, "heads kept", "caption")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    lines = [line for line in axes.lines if line.get_gid() != "level"]
    assert len(lines) == count
    assert all(line.get_xydata().tolist() == [[x, y] for x, y, *_ in sorted(LINE)] for line in lines)
    bars = [segment.tolist() for segment in axes.collections[0].get_segments()]
    assert [[0.5, 0.7], [0.5, 0.85]] in bars and [[1.0, 0.89], [1.0, 0.91]] in bars
    assert axes.get_ylim()[0] <= 0.5 and axes.get_ylim()[1] > 0.91
    levels = {line.get_ydata()[0]: line.get_linestyle() for line in parts(figure, "level")}
    assert levels == {0.9: "--", 0.5: ":"}
    assert all(word in texts(figure) for word in ("unpruned", "guessing", "heads kept", "caption", "way 0"))


def test_the_names_of_two_levels_do_not_touch_however_near_they_are():
    for near in (0.5, 0.899, 0.9):
        figure = drawn.controls({"one": LINE[:1]}, 0.9, near, "heads kept")
        figure.draw_without_rendering()
        names = [text for text in figure.axes[0].texts if text.get_text() in ("unpruned", "guessing")]
        first, second = (name.get_window_extent() for name in names)
        assert not first.padded(-2).overlaps(second.padded(-2))


def test_the_parts_of_an_elastic_model_are_drawn_by_depth():
    figure = drawn.elastic({"6 layers": LINE, "3 layers": LINE[:1]}, 0.91, caption="caption")
    figure.draw_without_rendering()
    assert [line.get_label() for line in figure.axes[0].lines[:2]] == ["6 layers", "3 layers"]
    assert all(word in texts(figure) for word in ("unpruned", "width kept", "caption")) and "guessing" not in texts(
        figure
    )


@pytest.mark.parametrize("units", [1, 12, 3072])
def test_operations_and_time_are_drawn_in_a_panel_each(units):
    steps = sorted({0, units // 2, units})
    half = {"operations": [(k, k / units) for k in steps], "time": [(k, 0.4 + 0.6 * k / units) for k in steps[::-1]]}
    for curves in ({"heads": half, "neurons": half}, {"heads": half}):
        figure = drawn.flop_and_time(curves, "caption")
        figure.draw_without_rendering()
        assert len(figure.axes) == len(curves)
        for panel, name in zip(figure.axes, curves, strict=True):
            operations, time = panel.lines
            assert operations.get_xydata().tolist() == [list(map(float, pair)) for pair in half["operations"]]
            assert time.get_xydata().tolist() == [list(map(float, pair)) for pair in sorted(half["time"])]
            assert operations.get_marker() in ("", "None") and time.get_marker() == "s"
            assert name in panel.get_xlabel() and panel.get_ylim()[0] == 0


@pytest.mark.parametrize("layers, models", [(1, 1), (2, 3), (6, 4), (12, 5)])
def test_the_bars_are_as_long_as_the_share_kept(layers, models):
    kept = {f"model {i}": [(3 * (layer % 5), 768 * (i % 3)) for layer in range(layers)] for i in range(models)}
    figure = drawn.shapes(kept, [(12, 1536)] * layers, "caption")
    figure.draw_without_rendering()
    shown = [panel for panel in figure.axes if panel.get_visible()]
    assert len(shown) == models and "caption" in texts(figure)
    for panel, (name, pairs) in zip(shown, kept.items(), strict=True):
        bars = [bar.get_width() for bar in parts(panel, "kept", plt.Rectangle)]
        assert bars == [share for heads, neurons in pairs for share in (heads / 12, neurons / 1536)]
        assert [text.get_text() for text in panel.texts] == [f"{units:,}" for pair in pairs for units in pair]
        assert panel.get_title(loc="left") == name


def test_a_layer_that_is_gone_is_empty_and_says_so():
    kept = {"depth": [(12, 1536), None, (0, 0)], "odd": [(6, 0), (1, 384), None]}
    figure = drawn.shapes(kept, [(12, 1536), (1, 1536), (0, 8)])  # a layer without heads from the start
    figure.draw_without_rendering()
    for panel, gone in zip(figure.axes, (1, 2), strict=True):
        (bar,) = parts(panel, "removed", plt.Rectangle)
        assert bar.get_y() + bar.get_height() / 2 == pytest.approx(gone)
        assert [text.get_text() for text in panel.texts].count("removed") == 1
        assert len(parts(panel, "kept", plt.Rectangle)) == 4
    with pytest.raises(ValueError, match="longer"):
        drawn.shapes({"too few": [(1, 1)]}, [(12, 1536)] * 2)
    plt.close("all")


TIMES = [("good", 2.0, 2.1), ("slow one", 3.0, 4.5), ("latency-aware", 8.0, 5.6), ("just", 5.0, 5.4)]


@pytest.mark.parametrize("points", [TIMES, TIMES[:1], [("alone", 0.02, 9.0)]], ids=["typical", "one", "far"])
def test_only_predictions_that_are_off_are_named(points):
    figure = drawn.predicted(points, "caption")
    figure.draw_without_rendering()
    assert xy(parts(figure, "point")) == sorted([guess, time] for _, guess, time in points)
    off = [p for p in points if abs(p[2] / p[1] - 1) > 0.1]
    names = [texts(name) for name in parts(figure, "label", plt.Text)]
    assert sorted(name.split(" (")[0] for name in names) == sorted(name for name, *_ in off)
    assert f"{len(points) - len(off)} of {len(points)}" in texts(figure) and "caption" in texts(figure)
    (axes,) = figure.axes
    assert axes.get_xlim() == axes.get_ylim() and axes.get_xscale() == axes.get_yscale() == "log"
    if len(points) > 1:
        assert {"slow one (+50%)", "latency-aware (\N{MINUS SIGN}30%)"} == set(names)


def test_the_global_style_is_left_alone():
    before = dict(plt.rcParams)
    show(FEW)
    drawn.shapes({"one": [None]}, [(12, 1536)])
    assert dict(plt.rcParams) == before and not plt.get_fignums()
