import pytest
from drawing import LONG, checked, filled, parts, texts, words_of
from matplotlib import pyplot as plt

from fflib.measure.operators import group_operators
from fflib.plotting import BLUE
from fflib.runtime import figures as drawn
from fflib.runtime import fusions

NAMES = ("no optimisation", "basic", "extended", "all", "attention fused", "skip-LayerNorm fused", "embedding fused")
NAMES += ("bias+GELU fused", "the paper's recipe", "this book's")


def variant(model, name, ms, kept=True, default=False):
    row = {"model": model, "variant": name, "ms": ms, "low": 0.98 * ms, "high": 1.01 * ms}
    return row | {"off": 1e-6 if kept else 4.3, "kept": kept, "default": default}


def variants(model, base, wrong=(), default=9, names=NAMES):
    return [variant(model, name, base * (2 - 0.1 * i), i not in wrong, i == default) for i, name in enumerate(names)]


THREE = variants("teacher", 110, (8,)) + variants("student", 8, (4, 8)) + variants("pruned student, int8", 2, (8,))
ODD = variants("a model the name of which is long", 0.0123, (9,)) + variants("b", 54321, (0,), 4, [LONG, *NAMES[:6]])
GRAPHS = {"three": THREE, "one": variants("student", 5, default=0, names=NAMES[:1]), "odd": ODD}


@pytest.mark.parametrize("rows", GRAPHS.values(), ids=GRAPHS)
def test_each_variant_has_its_bar_and_interval_and_says_if_it_may_not_be_served(rows):
    figure = checked(drawn.graph_variants(rows, "caption"))
    models, names = (list(dict.fromkeys(row[key] for row in rows)) for key in ("model", "variant"))
    assert len(figure.axes) == len(models) and "caption" in texts(figure)
    labels = [" ".join(label.get_text().split()) for label in figure.axes[0].get_yticklabels()]
    assert labels == names
    for panel, model in zip(figure.axes, models, strict=True):
        own = [row for row in rows if row["model"] == model]
        assert panel.get_title(loc="left").split() == model.split() and panel.get_xlim()[0] == 0
        words = words_of(panel)
        assert words.count("not measured") == len(names) - len(own) == sum("not measured" in word for word in words)
        words = [word for word in words if word != "not measured"]
        drawings = parts(panel, "bar", plt.Rectangle), parts(panel, "interval")
        for bar, line, said, row in zip(*drawings, words, own, strict=True):
            assert bar.get_width() == row["ms"] and bar.get_y() + bar.get_height() / 2 == names.index(row["variant"])
            assert line.get_xdata().tolist() == [row["low"], row["high"]]
            assert (bar.get_hatch() is not None) == (not row["kept"])
            assert filled(bar, BLUE) == (row["default"] and row["kept"])
            wrong = ", not served: logits off by 4.3" * (not row["kept"])
            assert said == f"{drawn.number(row['ms'])} ms{wrong}"
        # The words stand within their panel, so that no panel's words reach the next.
        boxes = [plt.Text.get_window_extent(text) for text in parts(panel, "words", plt.Text)]
        assert all(box.x1 < panel.bbox.x1 + 6 for box in boxes)


def title(*rows):
    return drawn._verdict(drawn.by_model(rows))


def test_the_title_says_whether_the_default_is_right_and_the_fastest():
    best, second = variants("a", 5, names=NAMES[:2], default=1), variants("b", 5, names=NAMES[:2], default=0)
    assert title(*best) == "No graph that may be served is clearly faster than the default (blue)"
    assert "is 1.1 times as fast as the default (blue)" in title(*second)
    assert "1.1 times as fast as the default for 1 of 2 models (blue)" in title(*best, *second)
    second[1]["high"] = second[0]["low"]  # the intervals touch: not clearly faster
    assert title(*second).startswith("No graph")
    wrong = variants("b", 5, (1,), 0, NAMES[:2])  # the faster one keeps too few labels
    assert title(*wrong).startswith("No graph") and title(*wrong).endswith("(blue; hatched: timed, not served)")
    assert "The default keeps too few labels (bold; hatched" in title(*variants("c", 5, (1,), 1, NAMES[:2]))
    assert "too few labels for 1 of 2 models" in title(*best, *variants("c", 5, (1,), 1, NAMES[:2]))
    assert title(*variants("c", 5, default=9, names=NAMES[:2])) == "What each variant of the graph takes"
    assert title(*best, *second) in texts(drawn.graph_variants(best + second))


def test_the_title_weighs_a_default_that_nothing_beats_against_the_papers_recipe():
    def pair(model, gain, **paper):
        return variant(model, "this book's", 5, default=True), variant(model, drawn.PAPER, 5 * gain) | paper

    fp32, int8 = pair("student, fp32", 1.62), pair("student, int8", 2)
    both = "1.6 times as fast as the paper's for fp32 and 2.0 times for int8 (blue)"
    assert title(*fp32, *int8) == f"This book's graph is {both}"
    assert title(*int8) == "This book's graph is 2.0 times as fast as the paper's (blue)"
    unlike = "for student, fp32, 3.1 times for teacher and 2.0 times for student, int8 (blue)"
    assert title(*fp32, *pair("teacher", 3.14), *int8).endswith(unlike)
    wrong = pair("student, int8", 2, kept=False)
    assert title(*fp32, *wrong) == f"This book's graph is {both[:-1]}; hatched: timed, not served)"
    # A default that is not clearly faster everywhere, or is beaten, is not praised.
    for other in (pair("student, int8", 2, low=5.05), pair("student, int8", 1), int8[:1]):
        assert title(*fp32, *other).startswith("No graph that may be served is clearly faster")
    beaten = title(*fp32, *int8, variant("student, int8", "all", 4))
    assert beaten == "Another graph that may be served is 1.2 times as fast as the default for 1 of 2 models (blue)"
    assert title(*fp32, int8[0] | {"kept": False}, int8[1]).startswith(
        "The default keeps too few labels for 1 of 2 models"
    )
    assert title(*fp32, *int8) in texts(drawn.graph_variants([*fp32, *int8]))
    assert drawn.PAPERS == fusions.PAPERS
    told = variant("student, fp32", drawn.TOLD, 5 * 1.2)  # the better form of the paper's recipe is what counts
    assert "1.2 times as fast as the paper's for fp32 and 2.0 times for int8" in title(*fp32, told, *int8)


PAPER = {"MatMulIntegerToFloat": 1.2, "DynamicQuantizeLinear": 0.5, "Attention": 0.8, "SkipLayerNormalization": 1.4}
PAPER |= {"EmbedLayerNormalization": 0.2, "FastGelu": 0.4, "Gather": 0.03, "NoSuchOperator": 0.05}
OURS = {"DynamicQuantizeMatMul": 1.5, "MatMul": 0.25, "Gemm": 0.05, "Softmax": 0.1, "LayerNormalization": 0.2}
OURS |= {"Add": 0.1}
PROFILES = {"the paper's graph": PAPER, "this book's": OURS}


def test_each_operator_is_of_one_kind_and_no_time_is_lost():
    named = [operator for operators in drawn.OPERATORS.values() for operator in operators]
    assert len(named) == len({*named})
    groups = group_operators(PAPER, drawn.OPERATORS)
    assert groups["LayerNorm"] == pytest.approx(1.6) and groups["other"] == 0.05 and groups["fp32 products"] == 0
    assert sum(groups.values()) == pytest.approx(sum(PAPER.values()))
    alike = {"MatMul": 1, "MatMulInteger": 2, "FusedMatMul": 4}
    assert group_operators(alike, drawn.OPERATORS)["fp32 products"] == 5


@pytest.mark.parametrize(
    "profiles",
    [PROFILES, {"one": {"Foo": 1234.5, "MatMul": 0.0003}}, dict.fromkeys(("a", "b", LONG, "d", "e", "f", "g"), OURS)],
    ids=["two", "one", "seven"],
)
def test_the_operators_of_each_graph_are_bars_on_one_axis(profiles):
    figure = checked(drawn.operators(profiles, "caption"))
    (axes,) = figure.axes
    kinds = [label.get_text() for label in axes.get_yticklabels()]
    grouped = [group_operators(profile, drawn.OPERATORS) for profile in profiles.values()]
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
