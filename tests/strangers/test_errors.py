"""Errors reach the reader: one sentence, with what to do, and a status that is not 0.

By symptom: nine lines of snakemake around one of ours; "the error above" with none above; a traceback on a full disk.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from fflib import environment
from fflib.book import execute, lock, snake, workflow
from fflib.files import ROOT, InputError, write_json
from fflib.runs import cli, params

RULE = "RuleException:\nCalledProcessError in file \"/a b/Snakefile\", line 120:\nCommand 'set -e; python -m x' {}."
JOB = {"event": LogEvent.JOB_ERROR, "output": ["outputs/a/results/01_baseline.json"]}


def said(capsys, *records, dryrun=False):
    """Give snakemake's records to the handler; return what it prints on stdout and stderr."""
    handler = snake.LogHandler(SimpleNamespace(dryrun=dryrun), None)
    for level, message, extra in records:
        record = logging.LogRecord("snakemake", level, "", 0, message, None, None)
        vars(record).update(extra)
        handler.emit(record)
    printed = capsys.readouterr()
    return printed.out, printed.err


@pytest.mark.parametrize("status", [1, 2, 130, 138, 143])
def test_a_chapter_that_ends_by_itself_has_said_why_and_snakemake_adds_nothing(capsys, status):
    follows = "Exiting because a job execution failed. Look above for error messages"
    last = "WorkflowError:\nAt least one job did not complete successfully."
    records = [(logging.ERROR, RULE.format(f"returned non-zero exit status {status}"), {"event": LogEvent.ERROR})]
    records += [(logging.ERROR, "Error in rule chapter, jobid: 1", JOB), (logging.ERROR, follows, {})]
    records += [(logging.ERROR, last, {"event": LogEvent.ERROR}), (logging.INFO, "Complete log(s): x", {})]
    assert said(capsys, *records) == ("", "")


@pytest.mark.parametrize("how", ["died with <Signals.SIGKILL: 9>", "returned non-zero exit status 137"])
def test_one_that_the_system_killed_could_not_so_it_is_said_for_it(capsys, how):
    out, err = said(capsys, (logging.ERROR, RULE.format(how), {}), (logging.ERROR, "Error in rule chapter", JOB))
    assert out == "" and err.count("\n") == 1
    assert err.startswith("error: what makes outputs/a/results/01_baseline.json was ended by SIGKILL (often by the sys")


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "InputError in file \"/a b/Snakefile\", line 34:\nthere is no run 'x'\n"
            '  File "/a b/Snakefile", line 34, in <module>\n  File "/a b/fflib/runs/params.py", line 103, in load_run',
            "there is no run 'x'",
        ),
        ("OSError: [Errno 28] No space left on device: '.snakemake/log'", "[Errno 28] No space left on device: '.sn"),
        (
            'InputFunctionException in rule chapter in file "/a b/Snakefile", line 112:\nError:\n  InputError: '
            "unknown task 'x'; the tasks are a, or a file\nWildcards:\n  folder=outputs/a\n  chapter=09\nTraceback:\n"
            '  File "/a b/Snakefile", line 118, in <lambda>\n  File "/a b/fflib/registry.py", line 40, in get_task '
            "(rule chapter, line 147, /a b/Snakefile)",
            "error: unknown task 'x'; the tasks are a, or a file\n",
        ),
        ("MissingOutputException in rule chapter in file /a: Job 1 completed", "Job 1 completed"),
        ("WorkflowError:\nFailed to open source file.", "Failed to open source file."),
    ],
)
def test_what_snakemake_itself_finds_is_one_sentence(capsys, message, sentence):
    out, err = said(capsys, (logging.ERROR, message, {"event": LogEvent.ERROR}))
    assert out == "" and err.count("\n") == 1 and err.startswith("error: ") and sentence in err
    assert "line 34" not in err


def test_a_dry_run_prints_each_step_and_its_reason(capsys):
    job = {"event": LogEvent.JOB_INFO, "output": ["a.json"], "reason": "Missing output files: a.json"}
    records = [(logging.INFO, " Rule: chapter", job), (logging.INFO, "Building DAG of jobs...", {})]
    assert said(capsys, *records, dryrun=True) == ("output: a.json\nreason: Missing output files: a.json\n", "")
    assert said(capsys, *records) == ("", "")


def test_snakemake_finds_the_handler_and_ends_with_our_sentence(tmp_path):
    command = [sys.executable, "-m", "fflib.book.snake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
    command += ["--directory", str(tmp_path), "--dry-run", "--logger", "fflib", "--config", "run=007"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr == "error: snakemake reads run=7 as no text; write it as run=' \"7\" '\n"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/x"),
            "/data/x could not be written or read; the disk is",
        ),
        (OSError(errno.EROFS, "Read-only file system", "/data/x"), "it can only be read: choose another folder"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), "change its permissions"),
        (OSError(errno.ENOSPC, "No space left on device"), "a file could not be written or read; the disk is full"),
        (MemoryError(), "there is not enough memory"),
        (InputError("give another"), "give another"),
    ],
)
def test_what_the_machine_refuses_is_a_sentence(capsys, error, says):
    def fails():
        raise error

    assert cli.ended(fails) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and says in told and told.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "message", "says"),
    [
        ("OSError", "[Errno 28] No space left on device: 'a'", "the disk is full: make room there"),
        ("SafetensorError", "Error: I/O error: No space left on device (os error 28)", "the disk is full: make room"),
        ("Fail", "[ONNXRuntimeError] : 1 : FAIL : open /a/b failed: Permission denied", "change its permissions"),
        ("RuntimeError", "DefaultCPUAllocator: not enough memory: you tried to allocate", "end other programs"),
        ("MemoryError", "", "end other programs"),
        ("KeyError", "'a'", ""),
    ],
)
def test_what_a_kernel_tells_as_text_has_its_remedy_too(kind, message, says):
    assert says in cli.remedy(kind, message) and bool(says) == bool(cli.remedy(kind, message))


def test_what_is_wrong_with_the_code_keeps_its_traceback():
    def fails():
        raise OSError(errno.ECHILD, "of no use to a reader")

    with pytest.raises(ChildProcessError):
        cli.ended(fails)


def test_outputs_that_cannot_be_written_are_told_before_anything_runs():
    command = [sys.executable, "-m", "fflib.book.workflow", "book", "--size", "smoke"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(environment.BENDS)}
    plain["FFLIB_OUTPUTS"] = "/proc/nowhere"
    done = subprocess.run(command, env=plain, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: /proc/nowhere cannot be written (") and "FFLIB_OUTPUTS" in done.stderr


def test_so_is_a_cache_that_cannot_be(monkeypatch, tmp_path):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("FFLIB_CACHE", "/proc/nowhere")
    with pytest.raises(InputError, match="/proc/nowhere cannot be written"):
        workflow.check_room()


def test_a_disk_that_is_nearly_full_is_told_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    workflow.check_room()
    monkeypatch.setattr(workflow.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5e6))
    with pytest.raises(InputError, match="GB free, but a run wants .*; make room"):
        workflow.check_room()


def test_a_file_system_without_locks_is_told_from_a_second_run(monkeypatch, tmp_path, capsys):
    def refused(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(lock.fcntl, "flock", refused)
    with lock.of_book("make book RUN=a"):
        assert "this file system has no locks" in capsys.readouterr().err
        holder = rf"make book RUN=a, process {os.getpid()}, since .*; wait for it, or stop"
        with pytest.raises(InputError, match=holder), lock.of_book("make book RUN=b"):
            raise AssertionError
    gone = {"what": "a", "process": 999999999, "host": socket.gethostname(), "since": "x"}
    write_json(tmp_path / lock.BOOK, gone)
    with lock.of_book("make book RUN=b"):  # who noted that is gone
        pass


def test_nothing_is_set_aside_where_the_key_of_a_later_chapter_cannot_be_told(monkeypatch, tmp_path):
    """As for data that went missing: all keys are asked for before the first result is touched."""
    from fflib.runs import provenance, records

    def key(chapter, values):
        if chapter == "09_story":
            raise InputError("data.csv is not there")
        return "new"

    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(provenance, "chapter_key", key)
    run = params.load_run("docs-cpu", "smoke")
    path = records.path_of(run.folder, "01_baseline")
    path.parent.mkdir(parents=True)
    path.write_text('{"key": "old"}')
    with pytest.raises(InputError, match=r"data\.csv"):
        execute.check(run)
    assert path.exists()
