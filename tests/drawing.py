"""What tests of figures share: the words on a figure, its parts, and that nothing overlaps."""

from __future__ import annotations

from itertools import combinations

from matplotlib import pyplot as plt
from matplotlib.colors import same_color

LONG = "a way of serving with a name that goes on for longer than anyone would like"


def texts(figure):
    return " ".join(" ".join(text.get_text() for text in figure.findobj(plt.Text)).split())


def parts(figure, gid, kind=plt.Line2D):
    return figure.findobj(lambda artist: isinstance(artist, kind) and artist.get_gid() == gid)


def checked(figure):
    """Lay a figure out, and see that its words neither leave it nor touch each other."""
    figure.draw_without_rendering()
    unseen = set()  # labels of ticks beyond the limits, which are there but not drawn
    for axis, ends in [
        (a, e) for axes in figure.axes for a, e in zip((axes.xaxis, axes.yaxis), limits(axes), strict=True)
    ]:
        beyond = [tick for tick in axis.get_major_ticks() if not min(ends) <= tick.get_loc() <= max(ends)]
        unseen |= {label for tick in beyond for label in (tick.label1, tick.label2)}
    shown = [text for text in figure.findobj(plt.Text) if text.get_text().strip() and text not in unseen]
    shown = [(text.get_text(), plt.Text.get_window_extent(text).padded(-1)) for text in shown if text.get_visible()]
    outside = [words for words, box in shown if not inside(figure.bbox, box)]
    pairs = [(a, b) for (a, box), (b, other) in combinations(shown, 2) if box.overlaps(other)]
    assert not outside and not pairs
    return figure


def limits(axes):
    return axes.get_xlim(), axes.get_ylim()


def inside(frame, box):
    return frame.contains(*box.min) and frame.contains(*box.max)


def filled(bar, color):
    return same_color(bar.get_facecolor(), color)


def words_of(figure):
    return [" ".join(text.get_text().split()) for text in parts(figure, "words", plt.Text)]


def words(figure, gid):
    """Return the texts that carry a name."""
    return [" ".join(text.get_text().split()) for text in parts(figure, gid, plt.Text)]


def title_of(figure):
    return " ".join(figure.get_suptitle().split())
