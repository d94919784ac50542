"""Stopping and starting: no orphans, no half notebooks, nothing changed by a run that is refused.

By symptom: the book goes on for minutes after `kill`; temporary notebooks for ever; a second make sets results aside;
a failed run takes the place of a good notebook.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from small_project import at_work, copied, made, make, until


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """In a folder whose name is no friend of scripts."""
    return copied(tmp_path_factory.mktemp("with a 'quote' & Ümläute {x}") / "pro ject")


@pytest.fixture
def waiting(project):
    """A make whose first chapter waits; and what was there before it began."""
    begun, wait = project / "outputs" / "begun", project / "outputs" / "wait"
    begun.unlink(missing_ok=True)
    wait.touch()
    process = make(project, "book", "RUN=a", "SET=n_train=7")
    until(begun.exists, "begun")
    yield process
    wait.unlink(missing_ok=True)
    process.kill()


def names(processes):
    return [process.cmdline() for process in processes]


def number_of(project, module):
    return next(process.pid for process in at_work(project) if module in process.cmdline()[:4])


def test_a_book_is_made_then_nothing_is_left_to_do(project):
    status, said = made(project, "book", "RUN=a")
    assert status == 0 and "the ladder" in said, said
    assert not [path for path in (project / "outputs").rglob("*.tmp*")]
    status, said = made(project, "plan", "RUN=a")
    assert status == 0 and said.startswith("Nothing to be done"), said


def test_what_is_refused_changes_nothing_and_a_failure_keeps_the_good_notebook(project):
    folder = project / "outputs" / "a"
    notebook, result = folder / "01_baseline.ipynb", folder / "results" / "01_baseline.json"
    good = notebook.read_bytes(), result.read_bytes()
    for settings, says in (("n_train=-5", "n_train"), ("threads=4000", "threads is 4000"), ("n_trian=5", "n_train")):
        status, said = made(project, "book", "RUN=a", f"SET={settings}")
        assert status != 0 and says in said.splitlines()[0], said
        assert (notebook.read_bytes(), result.read_bytes()) == good
    (project / "outputs" / "fail").touch()
    status, said = made(project, "book", "RUN=a", "SET=n_train=6")
    (project / "outputs" / "fail").unlink()
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert status != 0 and len(errors) == 1 and "n_train is 6, but there are 5; give n_train=5 at most" in errors[0]
    assert "failed-01_baseline.ipynb" in errors[0] and (folder / "failed-01_baseline.ipynb").exists()
    assert "rule " not in said and "jobid" not in said and "Traceback" not in said
    assert notebook.read_bytes() == good[0]
    result.with_suffix(".json.old").replace(result)


def test_a_second_make_is_refused_and_told_by_whom_and_kill_ends_all_of_the_first(project, waiting):
    results = project / "outputs" / "a" / "results"
    before = {path: path.stat().st_mtime_ns for path in results.iterdir()}
    status, said = _second(project)
    holder = number_of(project, "fflib.book.workflow")
    assert status != 0 and f"(make book RUN=a, process {holder}, since " in said
    assert {path: path.stat().st_mtime_ns for path in results.iterdir()} == before
    waiting.terminate()
    _nothing_goes_on(project)
    assert "make: stopped; what is done is kept" in (project / "log").read_text()


def _second(project):
    command = [sys.executable, "-m", "fflib.book.workflow", "book", "--run", "b"]
    done = subprocess.run(command, cwd=project, env=os.environ | {"PYTHONPATH": ""}, capture_output=True, text=True)
    return done.returncode, done.stderr


def _nothing_goes_on(project):
    until(lambda: not at_work(project), "ended", 30)
    assert not [path.name for path in (project / "outputs").rglob(".*.tmp*")], "temporary notebooks"


def test_sigterm_of_the_whole_group_leaves_nothing(project, waiting):
    os.killpg(waiting.pid, signal.SIGTERM)
    _nothing_goes_on(project)


@pytest.mark.parametrize("module", ["make", "fflib.book.snake"])
def test_whatever_is_killed_outright_the_rest_ends(project, waiting, module):
    os.kill(waiting.pid if module == "make" else number_of(project, module), signal.SIGKILL)
    _nothing_goes_on(project)
