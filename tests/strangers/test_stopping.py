"""Stopping and starting: no orphans, no half notebooks, nothing changed by a run that is refused.

By symptom: the book goes on for minutes after `kill`; temporary notebooks for ever; a second make sets results aside;
a failed run takes the place of a good notebook.
"""

from __future__ import annotations

import signal
import time

import pytest
from small_project import at_work, copied, made, make, until


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """In a folder whose name is no friend of scripts."""
    return copied(tmp_path_factory.mktemp("with a 'quote' & Ümläute {x}") / "pro ject")


@pytest.fixture
def waiting(project):
    """A make whose first chapter waits."""
    (project / "outputs" / "a" / "results" / "01_baseline.json").unlink(missing_ok=True)
    (project / "outputs" / "begun").unlink(missing_ok=True)
    (project / "outputs" / "wait").touch()
    process = make(project, "book", "RUN=a")
    until((project / "outputs" / "begun").exists, "begun")
    yield process
    (project / "outputs" / "wait").unlink(missing_ok=True)
    process.kill()


def test_a_book_is_made_and_a_second_time_nothing_is_done(project):
    assert made(project, "book", "RUN=a")[0] == 0
    log = (project / "log").read_text()
    assert "the ladder" in log
