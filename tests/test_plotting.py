"""How numbers and words are written on figures."""

import textwrap

import pytest
from matplotlib import pyplot as plt

from fflib import plotting

NUMBERS = {0: "0", 0.01234: "0.0123", 4.567: "4.57", 89.44: "89.4", 99.96: "100", 999.9: "1,000", 123456: "123,456"}


@pytest.mark.parametrize("value, words", [*NUMBERS.items(), (1e-7, "0.0000001"), (2, "2")])
def test_numbers_keep_three_digits_and_never_an_exponent(value, words):
    assert plotting.number(value) == words


@pytest.mark.parametrize("width", [5, 9, 24, 80])
def test_folded_words_keep_to_the_width_in_as_few_lines_and_lose_nothing(width):
    for count in range(1, 14):
        words = " ".join("abc"[: 1 + i % 3] for i in range(count))
        lines = plotting.fold(words, width).split("\n")
        assert " ".join(lines) == words and max(map(len, lines)) <= width
        assert len(lines) == len(textwrap.wrap(words, width))
    assert plotting.fold("", 9) == ""
    assert plotting.fold("wait at most 100 ms", 18) == "wait at\nmost 100\N{NO-BREAK SPACE}ms"


@pytest.mark.parametrize("inches", [6.2, 8.4])
def test_a_caption_longer_than_its_figure_is_folded_and_its_own_lines_stay(inches):
    long = "100,000,000 requests a day, 2 times as many at the peak; " * 5
    figure, _ = plt.subplots(figsize=(inches, 3))
    plt.close(figure)
    plotting.put_caption(figure, f"a line of its own\n{long}")
    figure.draw_without_rendering()
    (caption,) = [text for text in figure.findobj(plt.Text) if text.get_text().startswith("a line of its own\n")]
    assert " ".join(caption.get_text().split()) == f"a line of its own {long.strip()}"
    box = plt.Text.get_window_extent(caption)
    assert figure.bbox.contains(*box.min) and figure.bbox.contains(*box.max)
    assert box.width > 0.7 * figure.bbox.width, "folded no earlier than it must be"
