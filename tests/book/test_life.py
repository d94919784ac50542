"""The sign of life, on a terminal and without one, while made-up chapters run that need no more than Python."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from fflib import progress
from fflib.book import execute, life
from fflib.files import ROOT, write_json
from fflib.runs import param_files, params, times
from fflib.runs.outlook import Outlook

TOP = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["parameters"]
run: str = ""  # its name
run_dir: str = ""  # its folder
size: str = ""  # smoke, standard or full
task: str = ""  # the task
"""
COUNTS = """
# %% [markdown]
# # 1 · Made up
# ## 1.1 Think

# %%
import time
time.sleep(2.5)

# %% [markdown]
# ## 1.2 `Count` to *twenty*

# %%
from fflib import progress
with progress.bar(20, "train", "step") as bar:
    for _ in range(20):
        time.sleep(0.2)
        bar.update()

# %%
import json, pathlib
folder = pathlib.Path(run_dir) / "results"
record = json.loads((folder / "01_baseline.json.old").read_text())
(folder / "01_baseline.json").write_text(json.dumps(record))
"""
DIES = "\n# %%\nimport os, time\ntime.sleep(1)\nos.kill(os.getpid(), 9)\n"
WAITS = "\n# %%\nimport pathlib, time\npathlib.Path(run_dir, 'waits').touch()\ntime.sleep(60)\n"
# What `python -m fflib.book.execute` does, over other chapters and with more lines than one a minute.
DRIVER = """import sys, pathlib
from fflib.book import execute, life
from fflib import progress
from fflib.runs import param_files, params, times
home = pathlib.Path(sys.argv.pop(1))
params.NOTEBOOKS, param_files.PARAMS, times.KEPT = home / "notebooks", home / "params", home / "kept"
life.LINE_EVERY_S = life.DRAW_EVERY_S = 0.5
if __name__ == "__main__":
    sys.exit(execute.main())
"""
COLUMNS = 96


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A project with a book of two chapters, which took 300 and 120 seconds the last time."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_introduction.py").write_text(TOP)
    for folder, name, text in (("size", "standard", "{}"), ("hardware", "cpu", "{}"), ("", "made-up", "task: docs")):
        path = tmp_path / "params" / folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "driver.py").write_text(DRIVER)
    for chapter, seconds in (("01_baseline", 300), ("00_introduction", 120)):
        content = {"chapter": chapter, "key": "k", "written": "1", "seconds": seconds, "facts": {}, "rungs": []}
        content |= {"parameters": {"size": "standard"}, "machine": times.here()}
        write_json(tmp_path / "outputs" / "made-up" / "results" / f"{chapter}.json.old", content)
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def started(home: Path, code: str, stderr: int) -> subprocess.Popen:
    (home / "notebooks" / "01_baseline.py").write_text(TOP + code)
    command = [sys.executable, str(home / "driver.py"), str(home), "chapter", "01_baseline", "--run", "made-up"]
    return subprocess.Popen(command, stderr=stderr, cwd=ROOT)


def logged(home: Path, code: str, do=lambda process: None) -> tuple[int, list[str]]:
    """Run a chapter without a terminal, ``do`` something meanwhile; return the status and the lines."""
    with (home / "log").open("w") as log:
        process = started(home, code, log.fileno())
        do(process)
        status = process.wait(timeout=120)
    return status, [line for line in (home / "log").read_text().splitlines() if line]


def test_without_a_terminal_it_says_how_it_begins_what_it_does_and_how_it_ends(home):
    status, lines = logged(home, COUNTS)
    assert status == 0
    assert lines[0] == "01_baseline: begins, chapter 1 of 2; the chapter: about 5 min left; the book: about 7 min left"
    # 300 s as the last time, and 120 s to come: what is done took what it was to take.
    assert re.fullmatch(r"01_baseline: done in 0:\d\d; the book: about 2 min left", lines[-1])
    does = [line.removeprefix("01_baseline: ").partition(";")[0] for line in lines[1:-1]]
    left = re.compile(r"; the chapter: about [45] min left; the book: about [67] min left$")  # on a busy machine less
    assert all(left.search(line) for line in lines[1:-1])
    assert "1.1 Think" in does
    counting = [re.fullmatch(r"1\.2 Count to twenty: train (\d+) of 20(, 0:0\d left)?", line) for line in does]
    done = [int(match[1]) for match in counting if match]
    assert len(done) > 3 and done == sorted(done) and 0 < done[-1] < 20
    known = {"starts", "1.1 Think", "1.2 Count to twenty"}
    assert all(match or line in known for match, line in zip(counting, does, strict=True)), does


def test_on_a_terminal_it_is_one_line_that_fits_and_goes(home):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    process = started(home, COUNTS, follower)
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 10_000)
        except OSError:  # how Linux says that nobody is left at the other end
            break
        if not part:
            break
        shown += part
    os.close(leader)
    assert process.wait(timeout=60) == 0
    *drawn, last = shown.decode().split(life.CLEAR)
    assert re.fullmatch(r"01_baseline: done in 0:\d\d; the book: about 2 min left\r\n", last)
    drawn = [line for line in drawn if line]
    assert len(drawn) > 8 and not any("\n" in line for line in drawn) and max(map(len, drawn)) < COLUMNS
    whole = r"\[\.{10}\] 1 of 2, 01_baseline: (.+) \| book: about 7 min left"
    does = [match[1] for line in drawn if (match := re.fullmatch(whole, line))]
    assert len(does) == len(drawn) and "1.1 Think" in does
    assert any(re.fullmatch(r"1\.2 Count to twenty: train \d+ of 20", line) for line in does)
    assert any(re.fullmatch(r"train \d+ of 20, 0:0\d left", line) for line in does), "the section went, to fit"


def test_a_kernel_that_dies_is_one_sentence_and_leaves_no_thread(home, monkeypatch, capfd):
    monkeypatch.setattr(params, "NOTEBOOKS", home / "notebooks")
    monkeypatch.setattr(param_files, "PARAMS", home / "params")
    monkeypatch.setattr(times, "KEPT", home / "kept")
    for variable in (progress.STATE_VARIABLE, "FFLIB_STARTED", "PYTHONWARNINGS"):
        monkeypatch.setenv(variable, "")  # so that what `execute` sets goes with the test
    (home / "notebooks" / "01_baseline.py").write_text(TOP + DIES)
    with pytest.raises(execute.ChapterFailed, match="01_baseline failed: its kernel died .*; run again") as told:
        execute.run_chapter(params.load_run("made-up"), "01_baseline")
    assert told.value.code == execute.EXIT_KERNEL_DIED
    assert life.THREAD not in [thread.name for thread in threading.enumerate()]
    assert capfd.readouterr().err.count("01_baseline: begins, ") == 1


def test_what_is_stopped_ends_with_one_sentence(home):
    def stop(process):
        until = time.monotonic() + 60
        while not (home / "outputs" / "made-up" / "waits").exists():
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)

    status, lines = logged(home, WAITS, stop)
    assert status == execute.EXIT_INTERRUPTED
    assert lines[-1] == "error: 01_baseline was interrupted; run again to go on from here"
    assert all(line.startswith("01_baseline: ") for line in lines[:-1]), "and no traceback"


# Its parts


def test_a_cell_stands_under_the_last_heading_above_it():
    cells = [
        {"cell_type": "code", "source": "first"},
        {"cell_type": "markdown", "source": "# 1 · One\ntext\n```\n# no heading\n```\n## 1.1 *Two* #"},
        {"cell_type": "code", "source": "second"},
        {"cell_type": "markdown", "source": "no heading"},
        {"cell_type": "code", "source": "third"},
    ]
    assert life.headings(cells) == {"first": "", "second": "1.1 Two", "third": "1.1 Two"}


@pytest.fixture
def alive(tmp_path):
    headings = {"a": "1.1 Do", "b": "1.2 Measure"}
    return life.Life("01_baseline", Outlook("1 of 9", "book", 100, None), tmp_path / "state.json", headings)


def left(alive, *loops, at_s=None) -> None:
    """Let the kernel have left ``loops``: what, done, total and seconds left."""
    names = ("what", "done", "total", "left_s")
    content = [dict(zip(names, loop, strict=True)) | {"note": ""} for loop in loops]
    write_json(alive._state, {"at_s": at_s or time.time(), "loops": content})


def test_of_loops_inside_each_other_the_outermost_and_the_innermost_are_told(alive):
    alive.cell_started({"source": "a"}, 3)
    left(alive, ("shapes", 1, 4, None), ("tuning", 2, 5, 9.0), ("train", 7, 8, 60.0))
    assert "1.1 Do: shapes 1 of 4, train 7 of 8, 1:00 left;" in alive.line()


def test_a_loop_of_an_earlier_cell_is_over(alive):
    left(alive, ("train", 1, 4, None))
    os.utime(alive._state, (0, time.time() - 5))
    alive.cell_started({"source": "b"}, 4)
    assert alive.line().startswith("01_baseline: 1.2 Measure; ")
    alive.cell_started({"source": "the parameters that papermill adds"}, 5)
    assert alive.line().startswith("01_baseline: 1.2 Measure; "), "it has no heading of its own"


def test_a_chapter_takes_at_least_as_long_as_its_loop(alive):
    left(alive, ("train", 1, 4, 590.0))
    assert alive.line().endswith("; the chapter: about 10 min left"), "100 s by the estimate; the book is not known"
    assert alive.drawing() == "1 of 9, 01_baseline: train 1 of 4, 9:50 left"


def test_the_bar_is_of_the_book_and_the_line_fits(tmp_path):
    """Done are 250 seconds, left are 750: a quarter."""
    alive = life.Life("01_baseline", Outlook("3 of 9", "book", 150, 600, 250), tmp_path / "s", {"a": "1.1 Do"})
    alive.cell_started({"source": "a"}, 3)
    assert alive.drawing() == "[##........] 3 of 9, 01_baseline: 1.1 Do | book: about 12 min left"
    left(alive, ("shapes", 1, 4, None), ("train", 7, 8, 70.0))
    assert alive.drawing(120).endswith(": 1.1 Do: shapes 1 of 4, train 7 of 8, 1:10 left | book: about 12 min left")
    assert alive.drawing(85).endswith(": train 7 of 8, 1:10 left | book: about 12 min left")
    for columns in range(1, 120):
        assert len(alive.drawing(columns)) <= columns


def test_where_nothing_is_known_it_tells_no_time(tmp_path):
    alive = life.Life("01_baseline", Outlook("1 of 9", "book", None, None), tmp_path / "none", {})
    assert alive.first_line() == "01_baseline: begins, chapter 1 of 9"
    assert alive.line() == "01_baseline: starts" and alive.drawing() == "1 of 9, 01_baseline: starts"


def test_a_terminal_that_is_gone_stops_no_chapter(alive, monkeypatch):
    class Gone:
        def isatty(self):
            return False

        def write(self, text):
            raise OSError("hung up")

    monkeypatch.setattr("sys.stderr", Gone())
    monkeypatch.setattr(life, "LINE_EVERY_S", 0.01)
    with life.shown(alive):
        time.sleep(0.05)
    assert life.THREAD not in [thread.name for thread in threading.enumerate()]
