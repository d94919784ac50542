import numpy as np
import pytest
from matplotlib import pyplot as plt

from fflib import display, plotting
from fflib.model.training import History
from fflib.runs import ladder
from fflib.runs.ladder import Rung


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(plt.Text))


def rung(name, throughput, accuracy=None):
    return vars(Rung(name, "", "m", "e", "fp32", "none", 1, 2, throughput_per_s=throughput, accuracy=accuracy))


def test_operators_are_grouped_and_nothing_is_lost():
    profile = {"aten::addmm": 6.0, "aten::gelu": 1.0, "aten::native_layer_norm": 2.0, "aten::unheard_of": 0.5}
    groups = plotting.group_operators(profile)
    assert groups["matrix products"] == 6 and groups["other"] == 0.5
    assert sum(groups.values()) == pytest.approx(sum(profile.values()))


def test_the_ladder_shows_each_measured_rung_and_its_speed_up():
    table = ladder.ladder([rung("reference padded", 2.0), rung("teacher", 30.0, 0.9), rung("broken", None)])
    drawn = texts(plotting.ladder(table, "padded reference", ["teacher"], "caption"))
    assert "15.0x" in drawn and "90.0%" in drawn and "broken" not in drawn and "caption" in drawn


def test_the_padding_share_stands_over_each_panel():
    lengths = np.array([10, 20, 30, 40])
    figure = plotting.padding(lengths, {"fixed": np.full(4, 50.0), "none": lengths.astype(float)})
    assert "50% is padding" in texts(figure) and "0% is padding" in texts(figure)


def test_every_figure_draws_and_leaves_the_global_style_alone():
    before = dict(plt.rcParams)
    profile = {"aten::addmm": 6.0, "aten::gelu": 1.0}
    plotting.anatomy({"a": profile, "b": profile}).canvas.draw()
    plotting.curves({"p": {"l": ([1, 2, 4], [3, 2, 1])}}, "x", "y", "t", log_x=True, log_y=True).canvas.draw()
    plotting.training(History(loss=[(20, 0.5), (40, 0.4)], dev_score=[(20, 0.6), (40, 0.7)]), 0.5).canvas.draw()
    assert dict(plt.rcParams) == before
    assert not plt.get_fignums()


def test_a_table_leaves_empty_what_was_not_measured():
    shown = display.table([{"a": 1.234, "b": None, "c": float("nan"), "d": 7}]).data
    assert "1.23" in shown and "None" not in shown and "nan" not in shown and "| 7" in shown


def test_source_shows_the_function_as_it_stands():
    assert "def group_operators" in display.source(plotting.group_operators).data
