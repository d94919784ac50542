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
