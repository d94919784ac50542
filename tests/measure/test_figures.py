import numpy as np
import pytest
from matplotlib import pyplot as plt

from fflib.measure import figures, operators


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(plt.Text))


def test_operators_are_grouped_and_nothing_is_lost():
    profile = {"aten::addmm": 6.0, "aten::gelu": 1.0, "aten::native_layer_norm": 2.0, "aten::unheard_of": 0.5}
    groups = operators.group_operators(profile)
    assert groups["matrix products"] == 6 and groups["other"] == 0.5
    assert sum(groups.values()) == pytest.approx(sum(profile.values()))


def test_the_title_says_that_products_take_most_of_the_time_only_where_they_do():
    profile = {"aten::addmm": 6.0, "aten::gelu": 1.0}
    assert "Matrix products take most" in texts(figures.anatomy({"a": profile}))
    other = profile | {"aten::unheard_of": 9.0}
    assert "Matrix products take most" not in texts(figures.anatomy({"a": profile, "b": other}))


def test_the_padding_share_stands_over_each_panel():
    lengths = np.array([10, 20, 30, 40])
    figure = figures.padding(lengths, {"fixed": np.full(4, 50.0), "none": lengths.astype(float)})
    assert "50% is padding" in texts(figure) and "0% is padding" in texts(figure)


def test_every_figure_draws_and_leaves_the_global_style_alone():
    before = dict(plt.rcParams)
    profile = {"aten::addmm": 6.0, "aten::gelu": 1.0}
    figures.anatomy({"a": profile, "b": profile}).canvas.draw()
    figures.curves({"p": {"l": ([1, 2, 4], [3, 2, 1])}}, "x", "y", "t", log_x=True, log_y=True).canvas.draw()
    assert dict(plt.rcParams) == before
    assert not plt.get_fignums()
