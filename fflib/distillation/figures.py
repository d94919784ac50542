"""The figures of distillation: the two routes, the students, and what each part of the recipe brings.

As everywhere, functions take plain numbers and return a matplotlib Figure. Accuracies and differences are fractions
of 1. (Longer than 200 lines: a diagram is a plan of boxes, and labels that never overlap need their own placing.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.patches import FancyBboxPatch

from fflib.data.metrics import Scored
from fflib.data.retention import Retention
from fflib.model.encoder import Classifier
from fflib.plotting import (
    ABOVE,
    BLACK,
    BLUE,
    FOLD,
    GREEN,
    GREY,
    LINES,
    ORANGE,
    VERMILION,
    Point,
    aside,
    put_caption,
    put_head,
    put_name,
    styled,
)

SPEED = "requests per second (log scale)"
LARGE, SMALL, RESULT = (BLUE, BLUE, "white"), (ORANGE, ORANGE, BLACK), (ORANGE, BLACK, BLACK)  # fill, edge, ink
DATA, UNUSED, LANE = ("white", GREEN, BLACK), ("0.87", "0.87", BLACK), ("0.955", "0.955", BLACK)
HEAD, LEFT, CENTRED = {"va": "center", "weight": "bold"}, {"va": "center"}, {"va": "center", "ha": "center"}
STEP = {"color": "white", "weight": "bold", "bbox": {"boxstyle": "circle", "fc": BLACK, "ec": "white"}, **CENTRED}
ARROW = {"arrowstyle": "-|>", "color": "0.25", "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
# The plan of `routes` in tenths of an inch: boxes (left, bottom, width, height, kind, words) and so on.
BOXES = (
    (0.6, 38.4, 82.8, 20.8, LANE, ""), (0.6, 0.2, 82.8, 37, LANE, ""), (44, 60.6, 14, 3.4, LARGE, "large model"),
    (59.5, 60.6, 14, 3.4, SMALL, "small model"), (3, 45.5, 17, 7, LARGE, "large pretrained\nmodel"),
    (34, 45.5, 17, 7, SMALL, "small general\nmodel"), (65, 45.5, 17, 7, RESULT, "small task\nmodel"),
    (20.5, 39.4, 13, 3.4, DATA, "general text"), (51.5, 39.4, 13, 3.4, DATA, "task labels"),
    (31, 24.5, 51, 7, LARGE, "teacher: large model, fine-tuned on the task"),
    (19.5, 18.4, 12, 3.4, DATA, "task labels"),
    (3, 24.5, 17, 7, LARGE, "large pretrained\nmodel"), (3, 6.5, 15, 7, SMALL, "small general\nmodel"),
    (25, 6.5, 14, 7, SMALL, "student\nat its start"), (47, 6.5, 13, 7, SMALL, "student\nhalf taught"),
    (68, 6.5, 14, 7, RESULT, "small task\nmodel"), (75, 60.6, 8, 3.4, DATA, "data"),
    (37, 0.9, 12, 3.4, DATA, "task texts"), (58, 0.9, 12, 3.4, DATA, "task texts"),
)  # fmt: skip
ARROWS = (
    (20, 49, 34, 49), (51, 49, 65, 49), (27, 42.8, 27, 47.4), (58, 42.8, 58, 47.4), (20, 28, 31, 28), (18, 10, 25, 10),
    (25.5, 21.8, 25.5, 26.4), (39, 10, 47, 10), (60, 10, 68, 10), (34, 24.5, 34, 13.5), (43, 24.5, 43, 11.6),
    (64, 24.5, 64, 11.6), (43, 4.3, 43, 8.4), (64, 4.3, 64, 8.4),
)  # fmt: skip
WORDS = (
    (3, 52, STEP, "1"), (27, 49, STEP, "2"), (58, 49, STEP, "3"), (3, 31, STEP, "1"), (25.5, 28, STEP, "2"),
    (25, 13, STEP, "3"), (43, 10, STEP, "4"), (64, 10, STEP, "5"),
    (27, 51.6, CENTRED, "distil"), (58, 51.6, CENTRED, "fine-tune"),
    (3, 56, HEAD, "A  Task-agnostic: distil first, on general text; learn the task last"), (21.5, 11.4, CENTRED, "or"),
    (3, 35, HEAD, "B  Task-specific: learn the task first; then distil on it"), (25.5, 30.6, CENTRED, "fine-tune"),
    (34.8, 19, LEFT, "start\nfrom its\nlayers"), (64.8, 19, LEFT, "stage two,\nthe answers:\nits logits"),
    (43.8, 19, LEFT, "stage one,\nthe inside:\nits hidden states,\nits attention"),
)  # fmt: skip


@styled
def routes(caption: str = "") -> plt.Figure:
    """Draw the two routes to a small task model: distil before the task is known (A), or after (B)."""
    figure, axes = plt.subplots(figsize=(8.4, 6.4), subplot_kw={"xlim": (0, 84), "ylim": (0, 64.2)})
    axes.axis("off")
    axes.set_title("Two routes to a small model for a task")
    for box in BOXES:
        _box(axes, *box)
    for *start, x, y in ARROWS:
        axes.annotate("", (x, y), start, arrowprops=ARROW)
    for x, y, how, words in WORDS:
        axes.text(x, y, words, **how)
    put_caption(figure, caption)
    return figure


def _box(axes: plt.Axes, left: float, bottom: float, width: float, height: float, kind: tuple, words: str) -> None:
    """Draw a box in the colours of its kind, with its words inside."""
    look = {"boxstyle": "round,pad=0,rounding_size=0.8", "fc": kind[0], "ec": kind[1], "lw": 1.8}
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, **look))
    axes.text(left + width / 2, bottom + height / 2, words, color=kind[2], **CENTRED)


def point(name: str, per_s: float, scored: Scored, route: str = "", chosen: bool = False) -> Point:
    """Return a model as `students` draws it: by its throughput, its accuracy and the interval of that."""
    route = route or ("teacher" if name == "teacher" else "student")
    where = {"x": per_s, "accuracy": scored.value, "low": scored.low, "high": scored.high}
    return {"name": name, "route": route, "chosen": chosen, **where}


def kept_by(name: str, model: Classifier, kept: Retention, chosen: bool = False) -> Point:
    """Return a model as `depth_curve` draws it: by its layers, and the share of its teacher's score that it keeps."""
    where = {"x": len(model.encoder.layers), "accuracy": kept.value, "low": kept.low, "high": kept.high}
    return {"name": name, "chosen": chosen, **where}


@styled
def students(
    points: Sequence[Point], teacher: Point, floor: float, caption: str = "", *, floor_label: str, xlabel: str = SPEED
) -> plt.Figure:
    """Draw accuracy against speed: the chosen student ringed, ``floor`` what the retention rule asks for."""
    figure, axes = plt.subplots(figsize=(8.4, 4.6 + 0.08 * len(points)))
    axes.axhspan(teacher["low"], teacher["high"], color=BLUE, alpha=0.1, lw=0)
    axes.axhline(teacher["accuracy"], color=BLUE, lw=1)
    axes.axhline(floor, color=BLACK, linestyle="--", lw=1.2)
    axes.text(1.01, floor, floor_label, transform=axes.get_yaxis_transform(), va="center")
    axes.plot(teacher["x"], teacher["accuracy"], "*", color=BLUE, ms=15, label=f"{teacher['name']} (95 % interval)")
    order = list(dict.fromkeys(point["route"] for point in points))
    speeds = [teacher["x"], *(point["x"] for point in points)]
    apart = "; routes are moved apart a little" if len(order) > 1 else ""
    axes.set(xscale="log", xlim=(min(speeds) / 1.6, max(speeds) * 1.6), xlabel=xlabel + apart)
    looks = {route: (*LINES[(i + 1) % len(LINES)], aside(axes, i, len(order))) for i, route in enumerate(order)}
    axes.update_datalim([(point["x"], point[end]) for point in points for end in ("low", "high")])
    for point in sorted(points, key=lambda point: point["chosen"]):
        x, y, (color, marker, beside) = point["x"], point["accuracy"], looks[point["route"]]
        axes.plot([x, x], [point["low"], point["high"]], color=color, lw=1.4, transform=beside, gid="interval")
        axes.plot(x, y, marker, color=color, mec="white", ms=8.5, label=point["route"], transform=beside, gid="student")
        if point["chosen"]:
            axes.plot(x, y, "o", ms=19, mfc="none", mec=BLACK, mew=1.8, transform=beside, gid="ring")
    axes.xaxis.set(major_locator=ticker.LogLocator(subs=(1, 2, 5)), major_formatter="{x:,g}")
    put_head(axes, "Accuracy and speed of each student", "test accuracy (bars: 95 % interval)")
    put_caption(figure, caption)
    figure.draw_without_rendering()  # the layout must stand before labels are measured
    marks, taken = [line.get_window_extent() for line in axes.lines], []
    for point in sorted(points, key=lambda point: (not point["chosen"], point["x"])):
        taken += put_name(axes, point, looks[point["route"]], marks, taken)
    return figure


@styled
def depth_curve(points: Sequence[Point], min_retention: float, caption: str = "") -> plt.Figure:
    """Draw what share of the teacher's score each student keeps over its layers, with the rule as a line.

    ``points`` hold name, x (layers), accuracy (the share kept, of 1), low, high and chosen.
    """
    figure, axes = plt.subplots(figsize=(8.4, 4.4))
    axes.axhline(min_retention, color=BLACK, linestyle="--", lw=1.4)
    axes.text(1.01, min_retention, f"the rule:\n{min_retention:.1%}", transform=axes.get_yaxis_transform(), va="center")
    looks = []
    for point in points:
        alike = [other["name"] for other in points if other["x"] == point["x"]]
        beside = aside(axes, alike.index(point["name"]), len(alike))
        color = BLUE if point["accuracy"] >= min_retention else VERMILION
        looks.append((color, "o", beside))
        x, y, where = point["x"], point["accuracy"], {"transform": beside}
        axes.plot([x, x], [point["low"], point["high"]], color=color, lw=1.4, gid="interval", **where)
        axes.plot(x, y, "o", color=color, mec="white", ms=8.5, gid="student", **where)
        if point["chosen"]:
            axes.plot(x, y, "o", ms=19, mfc="none", mec=BLACK, mew=1.8, gid="ring", **where)
    axes.update_datalim([(point["x"], point[end]) for point in points for end in ("low", "high")])
    axes.autoscale_view()
    layers = sorted({point["x"] for point in points})
    axes.set(
        xticks=range(layers[0], layers[-1] + 1),
        xlim=(layers[0] - 0.7, layers[-1] + 0.7),
        xlabel="its layers",
    )
    axes.set_title("What share of its teacher's dev score each student keeps (ringed: chosen)")
    axes.yaxis.set(label_text="share (bars: paired 95 % interval)")
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1))
    put_caption(figure, caption)
    figure.draw_without_rendering()  # the layout must stand before labels are measured
    marks, taken = [line.get_window_extent() for line in axes.lines], []
    for point, look in sorted(zip(points, looks, strict=True), key=lambda pair: not pair[0]["chosen"]):
        taken += put_name(axes, point, look, marks, taken)
    return figure


@styled
def ablation(rows: Sequence[Point], full: float, caption: str = "") -> plt.Figure:
    """Draw what each change (name, difference, low and high if known) does to the recipe's dev accuracy ``full``."""
    rows = sorted(rows, key=lambda row: row["difference"])
    figure, axes = plt.subplots(figsize=(8.4, 1.5 + 0.48 * len(rows)))
    axes.axvline(0, color=BLACK, lw=1.2)
    for i, row in enumerate(rows):
        middle, low, high = 100 * np.array([row.get(key) for key in ("difference", "low", "high")], dtype=float)
        noise, unknown = bool(low <= 0 <= high), math.isnan(low)
        color = "0.68" if noise else BLUE
        axes.plot([0, middle], [i, i], color=color, lw=7, alpha=0.35, solid_capstyle="butt")
        axes.plot([low, high], [i, i], color=color, marker="|", ms=9, gid="interval")
        axes.plot(middle, i, "o", color=color, mfc="white" if unknown else color, ms=8, gid="effect")
        words = f"{middle:+.1f}".replace("-", "\N{MINUS SIGN}") + "  no interval" * unknown + "  may be chance" * noise
        axes.text(1.02, i, words, transform=axes.get_yaxis_transform(), va="center", color=GREY if noise else BLACK)
    axes.set_yticks(range(len(rows)), [FOLD(row["name"]) for row in rows])
    axes.set(
        ylim=(len(rows) - 0.5, -0.5),
        xlabel="change of the dev accuracy (points); left of zero: worse",
    )
    axes.set_title(f"What each change to the recipe does ({full:.1%} on dev without a change)")
    put_caption(figure, caption)
    return figure


@styled
def data_curve(
    lines: Mapping[str, Sequence[Sequence[float]]], teacher_accuracy: float, chance: float, caption: str = ""
) -> plt.Figure:
    """Draw dev accuracy over the number of training examples: {line: (n, accuracy, low, high)}."""
    figure, axes = plt.subplots(figsize=(8.4, 4.4))
    sizes = sorted({size for n, *_ in lines.values() for size in n})
    axes.set(
        xscale="log",
        xlim=(sizes[0] / 1.2, sizes[-1] * 1.2),
        xlabel="training examples (log scale)" + "; lines are moved apart a little" * (len(lines) > 1),
    )
    for i, ((name, (n, accuracy, low, high)), (color, marker)) in enumerate(zip(lines.items(), LINES, strict=False)):
        beside = aside(axes, i, len(lines))
        axes.vlines(n, low, high, color, lw=1.4, transform=beside)
        axes.update_datalim([*zip(n, low, strict=True), *zip(n, high, strict=True)])
        axes.plot(n, accuracy, marker=marker, color=color, label=name, transform=beside)
    for value, style, words in ((teacher_accuracy, "--", "the teacher"), (chance, ":", "guessing")):
        axes.axhline(value, color=BLACK, linestyle=style, lw=1.4)
        axes.text(1.01, value, words, transform=axes.get_yaxis_transform(), va="center")
    axes.set_xticks(sizes, [f"{size:,g}" for size in sizes])
    put_head(axes, "Dev accuracy by the number of training texts", "dev accuracy (bars: 95 % interval)")
    put_caption(figure, caption)
    return figure


@styled
def layer_maps(maps: Mapping[str, Sequence[int]], teacher_layers: int, caption: str = "") -> plt.Figure:
    """Draw which teacher layer each student layer learns from: a panel a map {name: (g(1), ..., g(M))}, 1 below."""
    figure, panels = plt.subplots(1, len(maps), figsize=(8.4, 1.3 + 0.27 * teacher_layers), squeeze=False)
    for panel, (name, taught) in zip(panels[0], maps.items(), strict=True):
        panel.set(xlim=(0, max(21, 84 / len(maps))), ylim=(0, 2.6 * teacher_layers + 2.4))  # in tenths of an inch
        panel.axis("off")
        panel.set_title(FOLD(name), fontsize=9.5, weight="normal")
        above = 2.6 * (teacher_layers - len(taught)) / 2
        for layer in range(1, teacher_layers + 1):
            _box(panel, 1, 2.6 * layer - 2.5, 6.5, 2.2, LARGE if layer in taught else UNUSED, str(layer))
        for i, layer in enumerate(taught, 1):
            panel.plot([7.6, 13.4], [2.6 * layer - 1.4, above + 2.6 * i - 1.4], color="0.25", lw=1.4, gid="learns")
            _box(panel, 13.5, above + 2.6 * i - 2.5, 6.5, 2.2, SMALL, str(i))
        panel.text(4.25, 2.6 * teacher_layers + 0.4, "teacher", ha="center", weight="bold")
        panel.text(16.75, above + 2.6 * len(taught) + 0.4, "student", ha="center", weight="bold")
    figure.suptitle("Which teacher layer each student layer learns from (grey: not used)", **ABOVE)
    put_caption(figure, caption)
    return figure


@styled
def losses(stages: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], caption: str = "") -> plt.Figure:
    """Draw the training losses, a panel a stage, each on its own scale: {stage: {student: [(step, loss), ...]}}."""
    figure, panels = plt.subplots(1, len(stages), figsize=(8.4, 3.2), squeeze=False)
    for panel, (name, students_losses) in zip(panels[0], stages.items(), strict=True):
        for (student, history), (color, _) in zip(students_losses.items(), cycle(LINES), strict=False):
            panel.plot(*np.reshape(history, (-1, 2)).T, color=color, marker=".", label=student)
        panel.set(xlabel="step", ylabel="training loss", ylim=(0, None))
        panel.set_title(FOLD(name), fontsize=10, weight="normal")
    panels[0][0].legend(fontsize=8)
    figure.suptitle("Training loss in each stage (each panel has its own scale)", **ABOVE)
    put_caption(figure, caption)
    return figure
