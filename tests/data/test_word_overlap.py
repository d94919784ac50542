"""What a bag of words sees, counted by hand."""

import numpy as np
import pytest

from fflib.data import word_overlap


def named(pair, rarity=None):
    return dict(zip(word_overlap.COLUMNS, word_overlap.features([pair], rarity or {})[0], strict=True))


def test_names_of_code_come_apart_into_words():
    assert word_overlap.words("Return max_iter of fitModel(X2).") == [
        "return",
        "max",
        "iter",
        "of",
        "fit",
        "model",
        "x2",
    ]
    assert word_overlap.words("...") == []
    assert word_overlap.words_and_pairs("to be or") == ["to", "be", "or", "to be", "be or"]


@pytest.mark.parametrize("forms", [("returns", "returned", "return"), ("normalized", "normalization"), ("axes", "axe")])
def test_forms_of_a_word_have_one_stem(forms):
    assert len({word_overlap.stem(form) for form in forms}) == 1


def test_a_stem_keeps_three_letters():
    assert [word_overlap.stem(word) for word in ("is", "red", "used", "king")] == ["is", "red", "used", "king"]


def test_shares_are_those_counted_by_hand():
    """First: six different words; second: five. They share "the" and "axis"; by stems also "sum"."""
    seen = named(("axis: the axis which is summed over", "sum the array along axis"))
    assert seen["first's words in second"] == pytest.approx(2 / 6)
    assert seen["second's words in first"] == pytest.approx(2 / 5)
    stems = {word_overlap.stem(word) for word in ("axis", "the", "which", "is", "summed", "over")}
    shared = stems & {word_overlap.stem(word) for word in ("sum", "the", "array", "along", "axis")}
    assert seen["first's stems in second"] == pytest.approx(len(shared) / len(stems))
    assert seen["first's head in its rest"] == seen["first's head in second"] == 1
    assert seen["second's head in first"] == 0, "there is no colon, so it has no head"
    assert seen["shared words, log"] == pytest.approx(np.log(3))
    assert seen["first's length, log"] == pytest.approx(np.log(8)), "seven words, one of them twice"


def test_rare_words_weigh_more_and_unknown_ones_most():
    rarity = {"the": 1.0, "axis": 4.0}
    seen = named(("the axis", "the unheard"), rarity)
    assert seen["first's rare words in second"] == pytest.approx(1 / 5)
    assert seen["second's rare words in first"] == pytest.approx(1 / (1 + 4))


def test_no_words_share_nothing():
    assert not any(named(("?", "!")).values())
    assert word_overlap.features([], {}).shape == (0, len(word_overlap.COLUMNS))
