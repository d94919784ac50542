import pytest

from fflib.story import tinybert


def test_the_means_are_those_of_the_printed_scores():
    printed = {  # MNLI-m, MNLI-mm, MRPC, CoLA
        "inside": (71.7, 72.3, 70.1, 11.2),
        "augmentation": (80.5, 81.0, 82.4, 29.8),
        "attention": (79.9, 80.7, 82.3, 41.1),
        "hidden": (81.7, 82.1, 84.1, 43.7),
        "the teacher's answers": (80.5, 81.0, 84.3, 48.2),
        "embedding": (82.3, 82.3, 85.0, 46.7),
    }
    for part, scores in printed.items():
        assert tinybert.WITHOUT[part] == pytest.approx(sum(scores) / 4, abs=0.051), part
    assert pytest.approx((82.8 + 82.9 + 85.8 + 50.8) / 4, abs=0.051) == tinybert.FULL


def test_the_rows_say_what_each_part_is_worth():
    rows = tinybert.rows()
    assert [row["TinyBERT without"] for row in rows] == [*tinybert.WITHOUT]
    assert rows[0]["points lost"] == pytest.approx(19.3) and list(rows[0]) == [
        "TinyBERT without",
        "mean score",
        "points lost",
    ]
