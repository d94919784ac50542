"""The limit of the processor."""

from __future__ import annotations

from fflib.story import limit


def test_the_best_rate_counts_threads_in_proportion():
    one_thread = {"best rate measured, GOP/s": 50.0, "GOP/s": 40.0, "threads": 1}
    both = {"best rate measured, GOP/s": 80.0, "GOP/s": 90.0, "threads": 2}
    assert limit.best_rate([one_thread, both], threads=2) == 100
    assert limit.best_rate([both], threads=4) == 180


def test_the_rows_say_which_is_measured():
    assert [(row["throughput_per_s"], row["kind"]) for row in limit.rows(5.0, 20.0)] == [
        (5.0, "measured"),
        (20.0, "limit"),
    ]
