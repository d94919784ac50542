import threading
import time

import pytest

from fflib import spent


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved: clock[0] is its time in seconds."""
    now = [100.0]
    monkeypatch.setattr(spent.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(spent.time, "time", lambda: 1e9 + now[0])
    monkeypatch.delenv(spent.STARTED_VARIABLE, raising=False)
    spent.restart()
    yield now
    monkeypatch.undo()
    spent.restart()


def test_of_kinds_inside_each_other_the_inner_one_counts(clock):
    with spent.on("training"):
        clock[0] += 5
        with spent.on("prediction"):
            clock[0] += 2
            with spent.on("prediction"):
                clock[0] += 1
        clock[0] += 4
    clock[0] += 7
    assert spent.by_kind(1e9 + 100) == {"start": 0, "training": 9, "prediction": 3, "rest": 7}


def test_all_kinds_sum_to_what_has_passed_since_the_process_began(clock, monkeypatch):
    monkeypatch.setenv(spent.STARTED_VARIABLE, str(1e9 + 88))
    with spent.on("export"):
        clock[0] += 3
    clock[0] += 1
    found = spent.by_kind(1e9 + 100)
    assert found["start"] == 12 and sum(found.values()) == 16


def test_an_error_ends_what_was_counted_and_a_function_can_be_counted(clock):
    @spent.on("scoring")
    def score(fails):
        clock[0] += 2
        assert not fails

    score(False)
    with pytest.raises(AssertionError):
        score(True)
    clock[0] += 10
    assert spent.by_kind(1e9 + 100) == {"start": 0, "scoring": 4, "rest": 10}


def test_what_is_going_on_counts_up_to_now_and_a_new_chapter_begins_at_nothing(clock):
    with spent.on("timing"):
        clock[0] += 3
        assert spent.by_kind(1e9 + 100)["timing"] == 3
        spent.restart()
        clock[0] += 5
    assert spent.by_kind(1e9 + 103) == {"start": 0, "rest": 5}, "its end finds nothing to end"


def test_other_threads_count_nothing():
    spent.restart()

    def work():
        with spent.on("timing"):
            time.sleep(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "timing" not in spent.by_kind(time.time())


def test_an_unknown_kind_is_a_slip_of_the_code():
    with pytest.raises(AssertionError, match="no kind 'trainig'"), spent.on("trainig"):
        pass
