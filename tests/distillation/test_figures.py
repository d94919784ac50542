from itertools import combinations

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import same_color
from small_classifier import classifier

from fflib.data.metrics import Scored
from fflib.data.retention import Retention
from fflib.distillation import figures as drawn
from fflib.plotting import BLUE

ROUTES = ("two-stage", "one-stage", "small general start")


def student(name, x, accuracy, width=0.012, route=ROUTES[0], chosen=False):
    ends = {"low": accuracy - width, "high": accuracy + 0.8 * width}
    return {"name": name, "x": x, "accuracy": accuracy, "route": route, "chosen": chosen, **ends}


TEACHER = student("teacher", 120, 0.92)
FEW = [
    student("3 layers", 300, 0.905, chosen=True),
    student("2 layers", 420, 0.86),
    student("small general model, fine-tuned on the task", 260, 0.88, route=ROUTES[2]),
]
# The speeds of three routes to the same architecture are equal, their accuracies nearly so.
MANY = [
    student(
        f"{layers} layers, 384 wide", 1200 / layers, 0.93 - 0.06 / layers - 0.008 * i, 0.012, route, i + layers == 3
    )
    for layers in (1, 2, 3, 4, 6)
    for i, route in enumerate(ROUTES)
]
TIED = [
    student("a student with a rather long name, distilled in two stages", 150, 0.80, 0.07),
    student("tied one", 300, 0.82, 0.08, chosen=True),
    student("tied two", 300, 0.82, 0.06, ROUTES[1]),
    student("tied three", 303, 0.82, 0.07, ROUTES[2]),
    student("at the left edge", 8, 0.83, 0.07, ROUTES[1]),
    student("at the right edge", 9000, 0.62, 0.1, ROUTES[1]),
]
FAKE = pytest.mark.parametrize("points", [FEW, MANY, TIED], ids=["few", "many", "tied"])


def texts(figure):
    return " ".join(" ".join(text.get_text() for text in figure.findobj(plt.Text)).split())


def parts(figure, gid, kind=plt.Line2D):
    return figure.findobj(lambda artist: isinstance(artist, kind) and artist.get_gid() == gid)


def extent(text):
    """Return the pixels of the text alone, without the line that ties it to its point."""
    return plt.Text.get_window_extent(text)


def overlaps(boxes):
    return [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_the_curve_of_depth_has_each_student_the_rule_and_the_ring():
    kept = {"2x16": (2, 0.9), "2x16@last": (2, 0.97), "3x16": (3, 0.985), "teacher": (6, 1.0)}
    points = [
        {"name": name, "x": x, "accuracy": y, "low": y - 0.02, "high": y + 0.01, "chosen": name == "3x16"}
        for name, (x, y) in kept.items()
    ]
    figure = drawn.depth_curve(points, 0.98, "caption")
    figure.draw_without_rendering()
    marks = [(line.get_xdata()[0], line.get_ydata()[0]) for line in parts(figure, "student")]
    assert marks == list(kept.values()) and [*parts(figure, "ring")[0].get_ydata()] == [0.985]
    assert [tuple(line.get_ydata()) for line in parts(figure, "interval")] == [(p["low"], p["high"]) for p in points]
    above = [same_color(line.get_color(), BLUE) for line in parts(figure, "student")]
    assert above == [False, False, True, True] and "the rule: 98.0%" in texts(figure) and "caption" in texts(figure)
    labels = [extent(text) for text in parts(figure, "label", plt.Text)]
    assert len(labels) == 4 and not overlaps(labels)


def test_a_point_of_the_curve_is_made_of_a_model_and_what_it_keeps():
    found = drawn.kept_by("2x16", classifier(2), Retention(0.97, 0.95, 0.99, 50, 2, 1), chosen=True)
    assert found == {"name": "2x16", "chosen": True, "x": 2, "accuracy": 0.97, "low": 0.95, "high": 0.99}


def show(points):
    figure = drawn.students(points, TEACHER, 0.9, "caption", floor_label="98% of the teacher")
    figure.draw_without_rendering()
    return figure


def test_both_routes_have_their_numbered_steps():
    shown = drawn.routes("after FastFormers").findobj(plt.Text)
    numbers = sorted(text.get_text() for text in shown if text.get_text().isdigit())
    assert numbers == sorted("123" + "12345")
    words = [text.get_text() for text in shown]
    assert words.count("small task\nmodel") == words.count("large pretrained\nmodel") == 2
    for name in ("Task-agnostic", "Task-specific", "teacher", "hidden states", "logits", "after FastFormers"):
        assert name in " ".join(" ".join(words).split())


def test_the_words_of_the_routes_do_not_overlap_and_are_in_a_box_or_beside_it():
    figure = drawn.routes()
    figure.draw_without_rendering()
    shown = [text for text in figure.findobj(plt.Text) if text.get_text() and text.get_visible()]
    assert not overlaps([text.get_window_extent() for text in shown])
    boxes = [box.get_window_extent() for box in figure.findobj(drawn.FancyBboxPatch) if box.get_boxstyle().pad == 0]
    for text in (text.get_window_extent() for text in shown if not text.get_text().isdigit()):
        for box in boxes:
            inside = box.contains(*text.min) and box.contains(*text.max)
            assert inside or not box.overlaps(text)


@FAKE
def test_each_student_stands_where_its_data_say(points):
    figure = show(points)
    marks = parts(figure, "student")
    assert len(marks) == len(parts(figure, "interval")) == len(points)
    assert sorted(mark.get_xydata()[0].tolist() for mark in marks) == sorted([p["x"], p["accuracy"]] for p in points)
    ends = sorted(line.get_ydata().tolist() for line in parts(figure, "interval"))
    assert ends == sorted([p["low"], p["high"]] for p in points)
    bottom, top = figure.axes[0].get_ylim()
    assert bottom < min(p["low"] for p in points) and top > max(p["high"] for p in points)


@FAKE
def test_the_names_of_the_students_do_not_overlap_and_stay_inside(points):
    figure = show(points)
    names = parts(figure, "label", plt.Text)
    assert sorted(texts(name) for name in names) == sorted(p["name"] for p in points)
    boxes = [extent(name) for name in names]
    assert not overlaps(boxes)
    inside = figure.axes[0].bbox
    assert all(inside.contains(*box.min) and inside.contains(*box.max) for box in boxes)


@FAKE
def test_only_the_chosen_student_is_ringed_and_bold(points):
    figure = show(points)
    chosen = [p for p in points if p["chosen"]]
    rings = [ring.get_xydata()[0].tolist() for ring in parts(figure, "ring")]
    assert sorted(rings) == sorted([p["x"], p["accuracy"]] for p in chosen)
    bold = [texts(name) for name in parts(figure, "label", plt.Text) if name.get_weight() == "bold"]
    assert sorted(bold) == sorted(p["name"] for p in chosen)


def test_the_teacher_the_floor_and_the_routes_are_named():
    figure = show(FEW)
    assert all(
        word in texts(figure)
        for word in ("teacher (95 % interval)", "98% of the teacher", "requests per", "caption", ROUTES[2])
    )
    heights = [line.get_ydata()[0] for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert 0.9 in heights and TEACHER["accuracy"] in heights


def test_the_ablation_is_sorted_in_points_and_says_what_is_noise():
    rows = [
        {"name": "attention", "difference": -0.003, "low": -0.009, "high": 0.003},
        {"name": "start", "difference": -0.064, "low": -0.07, "high": -0.058},
        {"name": "augmentation", "difference": 0.01, "low": None, "high": None},
        {"name": "one seed only", "difference": 0.02},
    ]
    figure = drawn.ablation(rows, 0.912, "caption")
    effects = [mark.get_xdata()[0] for mark in parts(figure, "effect")]
    assert effects == pytest.approx([-6.4, -0.3, 1.0, 2.0])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["start", "attention", "augmentation", "one seed only"]
    shown = texts(figure)
    assert shown.count("may be chance") == 1 and shown.count("no interval") == 2
    assert "91.2%" in shown and "\N{MINUS SIGN}6.4" in shown and "caption" in shown
    colors = [mark.get_color() for mark in parts(figure, "effect")]
    assert colors[0] == colors[2] != colors[1]


def test_the_data_curve_shows_each_route_the_teacher_and_guessing():
    n = (100, 1000, 10000)
    lines = {name: (n, (0.5, 0.6, 0.7), (0.2, 0.5, 0.6), (0.6, 0.7, 0.97)) for name in ROUTES}
    figure = drawn.data_curve(lines, 0.91, 0.33, "caption")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    shown = {line.get_label(): line for line in axes.lines}
    assert all(np.array_equal(shown[name].get_xydata(), np.transpose(lines[name][:2])) for name in ROUTES)
    bars = [segment.tolist() for bar in axes.collections for segment in bar.get_segments()]
    assert bars[:3] == [[[100, 0.2], [100, 0.6]], [[1000, 0.5], [1000, 0.7]], [[10000, 0.6], [10000, 0.97]]]
    assert len(bars) == 9 and axes.get_ylim()[0] < 0.2 and axes.get_ylim()[1] > 0.97
    assert all(word in texts(figure) for word in ("the teacher", "guessing", "10,000", "caption", *ROUTES))
    styles = {line.get_ydata()[0]: line.get_linestyle() for line in axes.lines if line.get_marker() == "None"}
    assert styles[0.91] == "--" and styles[0.33] == ":"


def test_a_layer_map_ties_each_student_layer_to_its_teacher_layer():
    maps = {"uniform": (2, 4, 6), "last": (4, 5, 6)}
    figure = drawn.layer_maps(maps, 6, "caption")
    assert len(figure.axes) == 2 and "caption" in texts(figure)
    for panel, (name, taught) in zip(figure.axes, maps.items(), strict=True):
        assert panel.get_title(loc="left") == name
        numbers = {}
        for text in panel.texts:
            numbers.setdefault(text.get_position()[0], []).append(text)
        teacher, student_layers = (
            {int(t.get_text()): t.get_position()[1] for t in stack if t.get_text().isdigit()}
            for _, stack in sorted(numbers.items())
        )
        assert list(teacher) == [1, 2, 3, 4, 5, 6] and list(student_layers) == [1, 2, 3]
        ends = [tuple(line.get_ydata()) for line in parts(panel, "learns")]
        assert ends == [pytest.approx((teacher[layer], student_layers[i])) for i, layer in enumerate(taught, 1)]
        used = [box.get_facecolor() for box in panel.patches[:6]]
        assert len(set(used)) == 2 and {i for i, color in enumerate(used, 1) if color == used[5]} == set(taught)


def test_each_stage_has_its_losses_in_its_own_panel_and_scale():
    inside, answers = [(20, 8.0), (40, 3.0)], [(20, 0.4), (40, 0.2), (60, 0.1)]
    stages = {"inside": {"3x384": inside, "1x384": inside[:1]}, "answers": {"3x384": answers, "1x384": answers}}
    figure = drawn.losses(stages, "caption")
    for panel, (name, students) in zip(figure.axes, stages.items(), strict=True):
        assert panel.get_title(loc="left") == name and panel.get_ylim()[0] == 0
        for line, (student, history) in zip(panel.lines, students.items(), strict=True):
            assert line.get_label() == student and line.get_marker() == "."  # one point alone is seen too
            assert line.get_xydata().tolist() == [list(map(float, pair)) for pair in history]
    assert figure.axes[0].get_ylim()[1] > 5 > figure.axes[1].get_ylim()[1]
    assert "caption" in texts(figure)


def test_the_global_style_is_left_alone():
    before = dict(plt.rcParams)
    drawn.routes()
    show(FEW)
    assert dict(plt.rcParams) == before and not plt.get_fignums()


def test_a_point_is_a_model_with_its_interval():
    teacher = drawn.point("teacher", 120.0, Scored(0.92, 0.91, 0.93))
    assert teacher == student("teacher", 120.0, 0.92, route="teacher") | {"low": 0.91, "high": 0.93}
    assert drawn.point("3x384", 300.0, Scored(0.9, 0.8, 1.0), chosen=True)["route"] == "student"
