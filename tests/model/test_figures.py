from matplotlib import pyplot as plt

from fflib.model import figures
from fflib.model.training import History


def test_a_training_shows_its_loss_its_score_and_guessing():
    history = History(loss=[(20, 0.5), (40, 0.4)], dev_score=[(20, 0.6), (40, 0.7)])
    figure = figures.training(history, 0.5)
    figure.canvas.draw()
    left, right = figure.axes
    assert left.lines[0].get_ydata().tolist() == [0.5, 0.4] and right.lines[0].get_ydata().tolist() == [0.6, 0.7]
    assert right.lines[1].get_ydata()[0] == 0.5 and not plt.get_fignums()


def test_a_short_training_stands_beside_the_long_one():
    long = History(loss=[(20, 0.5)], dev_score=[(20, 0.6), (400, 0.8)])
    short = History(loss=[(20, 0.7)], dev_score=[(10, 0.5), (20, 0.55)])
    figure = figures.training(long, 0.5, short)
    figure.canvas.draw()
    right = figure.axes[1]
    assert [line.get_xdata().tolist() for line in right.lines[:2]] == [[20, 400], [10, 20]]
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["comes with the book", "trained here"]
