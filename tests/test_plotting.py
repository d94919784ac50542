"""How numbers and words are written on figures."""

import textwrap

import pytest

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
