import pytest

from fflib.distillation.losses import layer_map
from fflib.story import tinybert


def test_the_full_recipe_is_the_mean_of_its_four_printed_scores():
    mnli_matched, mnli_mismatched, mrpc, cola = 82.8, 82.9, 85.8, 50.8
    assert pytest.approx((mnli_matched + mnli_mismatched + mrpc + cola) / 4, abs=0.051) == tinybert.FULL
    assert max(tinybert.WITHOUT.values()) < tinybert.FULL, "every part is worth something"


def test_the_maps_are_by_the_names_of_the_book_and_the_first_is_the_recipes():
    names = [row["TinyBERT learns from"] for row in tinybert.maps()]
    assert all(layer_map(name, 4, 12) for name in names) and tinybert.maps()[0]["mean score"] == tinybert.FULL
    assert max(tinybert.LEARN_FROM.values()) == tinybert.FULL


def test_the_rows_say_what_each_part_is_worth():
    rows = tinybert.rows()
    assert [row["TinyBERT without"] for row in rows] == [*tinybert.WITHOUT]
    assert rows[0]["points lost"] == pytest.approx(19.3) and list(rows[0]) == [
        "TinyBERT without",
        "mean score",
        "points lost",
    ]
