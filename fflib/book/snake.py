"""Snakemake as the book runs it: what it says through its logger interface, here each failure in one sentence.

python -m fflib.book.snake OPTIONS        what `run` starts: snakemake's command line, with `LogHandler`

The plugin is no package of its own: it is registered with snakemake in the process that runs it. (Longer than 200
lines: how snakemake is started, stopped and listened to are one thing.)
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

from fflib.book import cluster, lifeline
from fflib.files import ROOT, resolve
from fflib.runs import nodes, sweep_plan

LOGGER = "snakemake_logger_plugin_fflib"
OPTIONS = ("--nolock", "--rerun-incomplete", "--rerun-triggers", "mtime", "params", "input")
ALL_CORES = ("--cores", "all")  # of this machine; on a cluster the profile says how much goes on at once
CLUSTER_EVENTS = (LogEvent.JOB_INFO, LogEvent.JOB_FINISHED, LogEvent.JOB_ERROR)
FOLLOWS = ("Exiting because a job execution failed", "WorkflowError: At least one job did not complete")
STATUS = re.compile(r"returned non-zero exit status (\d+)|died with <Signals\.(SIG\w+)")

IN = r"(?: in (?:file \"[^\"]*\"|rule \w+(?: in file \"[^\"]*\")?))?(?:, line \d+)?"
HEAD = re.compile(rf"^(?:(?:Error|\w*(?:Error|Exception){IN}): ?)+")
TAIL = re.compile(r"(?: Wildcards: .*? Traceback:)?(?: File \"[^\"]*\", line \d+, in \S+)+(?: \(rule [^()]*\))?$")


def run(config: Mapping[str, str], *options: str, targets: tuple[str, ...] = ()) -> int:
    """Run snakemake over the project's Snakefile and return its status; each failure is told on stderr.

    It and all it starts end where this process is stopped or killed.
    """
    name = nodes.on_cluster()
    where = ("--profile", str(cluster.profile(name))) if name else ALL_CORES
    with _started(config, *where, *options, targets=targets) as process:
        return _waited(process)


def dry_run(config: Mapping[str, str]) -> tuple[int, str]:
    """Return snakemake's status and what it would make: lines 'output: ...' and 'reason: ...'."""
    with _started(config, *ALL_CORES, "--dry-run", stdout=subprocess.PIPE) as process:
        said = process.stdout.read() if process.stdout else ""
        return _waited(process), said


def _started(
    config: Mapping[str, str], *options: str, targets: tuple[str, ...] = (), stdout: int | None = None
) -> subprocess.Popen[str]:
    lifeline.hand_down()
    # In quotes, for snakemake takes 007 for a number; and these between spaces, for it takes quotes off the ends.
    settings = [f"{name}= {json.dumps(value, ensure_ascii=False)} " for name, value in config.items() if value]
    command = [sys.executable, "-m", __name__, *OPTIONS, "--logger", "fflib", *options, "--config", *settings]
    command += ["--", *targets] if targets else []
    # A group of its own, so that all of it can be stopped.
    return subprocess.Popen(command, cwd=ROOT, env=_variables(), text=True, stdout=stdout, start_new_session=True)


def _variables() -> dict[str, str]:
    """Keep snakemake's cache here and not under the home folder; Hugging Face's models stay where they always are."""
    usual = os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME", "/")) / ".cache"
    models = os.environ.get("HF_HOME") or str(Path(usual) / "huggingface")
    return os.environ | {"HF_HOME": models, "XDG_CACHE_HOME": str(ROOT / ".cache")}


def _waited(process: subprocess.Popen[str]) -> int:
    try:
        return process.wait()
    except BaseException:
        _end(process)
        raise


def _end(process: subprocess.Popen[str]) -> None:
    """Stop the whole group: asked first, so that chapters clean up, then made to."""
    _signal_group(process.pid, _asks())
    until = time.monotonic() + lifeline.GRACE_S
    while time.monotonic() < until and _signal_group(process.pid, 0):
        process.poll()
        time.sleep(0.1)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _asks() -> signal.Signals:
    """Return what asks snakemake to stop: on a cluster an interrupt, at which it cancels jobs, where it else waits."""
    return signal.SIGINT if nodes.on_cluster() else signal.SIGTERM


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a group of processes; say whether there is one."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS refuses where only dead ones are left
        return False
    return True


class LogHandler(LogHandlerBase):
    """Prints what nobody else does: errors on stderr, each as one sentence, and in a dry run each step on stdout."""

    writes_to_stream, writes_to_file, has_filter, has_formatter, needs_rulegraph = True, False, True, True, False

    def __post_init__(self) -> None:
        """Begin with no failure of a chapter."""
        self._failure = ""
        self._made: dict[int, str] = {}  # by number: what a job makes

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record if it is one of those."""
        event, text = getattr(record, "event", None), " ".join(str(record.msg).split())
        if nodes.on_cluster() and event in CLUSTER_EVENTS:
            self._on_cluster(record)
            return
        if event == LogEvent.JOB_INFO and self.common_settings.dryrun:
            print(f"output: {', '.join(record.output)}\nreason: {record.reason}", flush=True)
        elif text.startswith("Nothing to be done"):
            print(text, flush=True)
        elif event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
            made = ", ".join(getattr(record, "output", ()))
            _tell(_of_a_chapter(made, self._failure))
        elif record.levelno >= logging.ERROR and STATUS.search(text):
            self._failure = text
        elif record.levelno >= logging.ERROR and not text.startswith(FOLLOWS):
            _tell(_plain(text))

    def _on_cluster(self, record: logging.LogRecord) -> None:
        """Tell of a job when it is handed over, when it is done, and why it ended otherwise."""
        if record.event == LogEvent.JOB_FINISHED:
            _say(f"{self._made.get(record.job_id, 'a step')}: done")
            return
        made = ", ".join(record.output)
        self._made[record.jobid] = made
        if self.common_settings.dryrun:
            print(f"output: {made}\nreason: {record.reason}", flush=True)
        elif record.event == LogEvent.JOB_INFO:
            _say(f"{made}: handed to the cluster")
        else:
            _tell(_of_a_job(made, str(getattr(record, "rule_msg", "") or "")))


def _of_a_job(made: str, message: str) -> str:
    """Return what is to be said of a job that failed; keep it with its run where the chapter itself said nothing."""
    folder, chapter = resolve(made).parent.parent, Path(made).stem
    why = sweep_plan.failure(folder, [chapter])
    if not why:
        why = cluster.failure(message) or " ".join(message.split()) or "its job failed"
        if made.endswith(".json"):
            sweep_plan.note_failure(folder, chapter, f"{chapter} did not end: {why}")
    return f"{made}: {why}; what is done is kept: run make again to go on"


def _of_a_chapter(made: str, failure: str) -> str:
    """Return what is to be said of a step that failed; '' where it has said so itself, having ended by itself."""
    found = STATUS.search(failure)
    if not found:
        return ""
    killed = found[2] or _signal_of(int(found[1]))
    if not killed or killed in ("SIGINT", "SIGTERM", "SIGUSR1"):
        return ""
    why = "often by the system, for want of memory" if killed == "SIGKILL" else "a crash in a library"
    return f"what makes {made} was ended by {killed} ({why}); what is done is kept: run make again to go on"


def _signal_of(status: int) -> str:
    try:
        return signal.Signals(status - 128).name
    except ValueError:
        return ""


def _plain(text: str) -> str:
    """Take the names of exceptions and the places in code off both ends of snakemake's errors."""
    return TAIL.sub("", HEAD.sub("", text))


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _tell(sentence: str) -> None:
    if sentence:
        print(f"error: {sentence}", file=sys.stderr, flush=True)


def main() -> None:
    """Run snakemake's command line in this process."""
    from snakemake.cli import main as snakemake

    lifeline.watch(lambda: _stop_group())
    if nodes.on_cluster():  # where make runs in the background, its shell has it ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
    LoggerPluginRegistry().register_plugin(LOGGER, sys.modules[__name__])
    snakemake(sys.argv[1:])


def _stop_group() -> None:
    """Stop all that works for a run that is gone; this process leads their group."""
    os.killpg(os.getpid(), _asks())
    time.sleep(lifeline.GRACE_S)
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
