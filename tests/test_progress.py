import fcntl
import gc
import json
import os
import pty
import struct
import termios
import time

import pytest

from fflib import progress, spent


class Log:
    """What goes to a stderr that is no terminal."""

    def __init__(self, capsys):
        self._capsys, self._text = capsys, ""

    def getvalue(self):
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def log(monkeypatch, capsys):
    monkeypatch.delenv(progress.STATE_VARIABLE, raising=False)
    return Log(capsys)


@pytest.fixture
def state(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    monkeypatch.setenv(progress.STATE_VARIABLE, str(path))
    monkeypatch.setattr(progress, "JUMP_S", -1)
    return path


def later(monkeypatch, seconds):
    """Let the clocks be ``seconds`` further on."""
    monotonic, wall = time.monotonic(), time.time()
    monkeypatch.setattr(progress.time, "monotonic", lambda: monotonic + seconds)
    monkeypatch.setattr(progress.time, "time", lambda: wall + seconds)


def test_without_a_terminal_a_loop_says_a_line_a_minute(log, monkeypatch):
    monkeypatch.setattr(progress, "JUMP_S", -1)
    later(monkeypatch, 0)  # from now on the clocks stand, however slow the machine is
    with progress.bar(200, "train", "step") as bar:
        for _ in range(50):
            bar.update()
        assert log.getvalue() == "", "less than a minute"
        bar.set_postfix(dev="0.5")
        later(monkeypatch, 100)
        bar.update(50)
        bar.update()
    assert log.getvalue() == "train 100 of 200, 1:40 left (dev 0.5)\n", "a half took 100 seconds; one line, not two"


def test_on_a_terminal_a_loop_is_a_bar(monkeypatch):
    monkeypatch.delenv(progress.STATE_VARIABLE, raising=False)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.set_blocking(leader, False)  # else a bar that says nothing would stop the tests
    with os.fdopen(follower, "w") as stream:
        monkeypatch.setattr("sys.stderr", stream)
        with progress.bar(2, "train", "step") as bar:
            bar.update()
        stream.flush()
        shown = os.read(leader, 10_000).decode()
    os.close(leader)
    assert "train:   0%" in shown and "0/2" in shown


def test_a_kernel_leaves_its_loops_in_a_file_the_outermost_first(state, capsys):
    with progress.bar(4, "shapes", "candidate"):
        with progress.bar(10, "train", "step"):
            assert [str(loop) for loop in progress.loops(state)] == ["shapes 0 of 4", "train 0 of 10"]
        assert [loop.what for loop in progress.loops(state)] == ["shapes"]
    assert progress.loops(state) == [] and capsys.readouterr().err == "" and list(state.parent.iterdir()) == [state]


def test_the_file_is_written_rarely_and_the_reader_lets_time_pass(state, monkeypatch):
    later(monkeypatch, 0)
    bar = progress.bar(100, "time", "pass")
    before = state.stat().st_mtime_ns, state.read_text()
    for _ in range(20):
        bar.update()
    assert (state.stat().st_mtime_ns, state.read_text()) == before, "within two seconds nothing is written"
    later(monkeypatch, 30)
    bar.update(10)
    assert progress.loops(state)[0].done == 30
    assert progress.loops(state)[0].left_s == pytest.approx(70, abs=1), "30 in 30 seconds, so 70 for the other 70"
    later(monkeypatch, 12)  # of the 30 that are over
    assert progress.loops(state)[0].left_s == pytest.approx(58, abs=1)
    later(monkeypatch, 500)
    assert progress.loops(state)[0].left_s == 0
    bar.close()


def test_what_was_done_before_tells_nothing_of_the_speed(log, monkeypatch):
    later(monkeypatch, 0)
    bar = progress.bar(100, "train", "step")
    bar.update(40)  # a training that goes on
    later(monkeypatch, 10)
    bar.update(20)
    assert bar.loop().left_s == pytest.approx(20, abs=0.5), "20 in 10 seconds, 40 are left"


def test_a_loop_that_an_error_ended_is_gone(state):
    def fails():
        bar = progress.bar(4, "time", "pass")
        bar.update()
        raise AssertionError("a logit is off")

    with pytest.raises(AssertionError) as told:
        fails()
    del told
    gc.collect()
    with progress.bar(2, "train", "step"):
        assert [loop.what for loop in progress.loops(state)] == ["train"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"at_s": 1, "loops": [{"what": "x"}]}', '{"loops": []}'])
def test_a_file_that_says_nothing_is_no_error(tmp_path, content):
    (tmp_path / "x").write_text(content)
    assert progress.loops(tmp_path / "x") == [] and progress.loops(tmp_path / "none") == []


def test_a_folder_that_is_gone_stops_no_work(state):
    bar = progress.bar(4, "time", "pass")
    state.unlink()
    state.parent.rmdir()
    bar.close()


@pytest.mark.parametrize(("seconds", "written"), [(0, "0:00"), (9.6, "0:10"), (70, "1:10"), (3600, "1:00:00")])
def test_a_duration_as_on_a_clock(seconds, written):
    assert progress.clock(seconds) == written


def test_a_loops_seconds_count_by_what_it_does(state):
    spent.restart()
    began = time.perf_counter()
    with progress.bar(1, "train", "step"):
        time.sleep(0.15)
    took = time.perf_counter() - began
    assert set(spent.by_kind(time.time())) == {"start", "training", "rest"}
    assert 0.1 <= spent.by_kind(time.time())["training"] <= took + 0.05, "as a tenth of a second"
    assert set(progress.KIND_OF_UNIT.values()) <= set(spent.KINDS)


def test_the_state_is_whole_json(state):
    with progress.bar(1, "train", "step"):
        assert json.loads(state.read_text())["loops"][0]["total"] == 1
