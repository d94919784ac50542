"""A copy of the project whose chapters need a kernel and no more, with nothing to set up: for what make itself does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from fflib import environment
from fflib.files import ROOT

TOP = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Made up

# %% tags=["parameters"]
run: str = ""  # its name
run_dir: str = ""  # its folder
size: str = ""  # smoke, standard or full
task: str = "docs"  # the task
threads: int = 0  # of every engine
n_train: int = 96  # training examples
"""
# What a chapter does: it waits while there is a file `wait`, fails where there is `fail`, and leaves its result.
DOES = """
# %%
import json, pathlib, time
from fflib import files
from fflib.runs import provenance, params
folder, chapter = files.resolve(run_dir), "CHAPTER"
(folder.parent / "begun").write_text(chapter)
while (folder.parent / "wait").exists():
    time.sleep(0.05)
if (folder.parent / "fail").exists():
    raise files.InputError(f"n_train is {n_train}, but there are 5; give n_train=5 at most")

# %%
values = {"run": run, "run_dir": run_dir, "size": size, "task": task, "threads": threads, "n_train": n_train}
record = {"chapter": chapter, "key": provenance.chapter_key(chapter, values), "written": "1", "facts": {}, "rungs": []}
record |= {"parameters": values, "machine": {}, "schema_version": 1}
(folder / "ladder.md").write_text("the ladder")
files.write_json(folder / "results" / f"{chapter}.json", record)
"""


def copied(folder: Path) -> Path:
    """Copy what make needs into ``folder``, which must not exist; one run, a, of two chapters."""
    ignored = shutil.ignore_patterns("__pycache__", "*.ipynb", "kept", "sweeps")
    for name in ("fflib", "params", ".ci"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("Makefile", "Snakefile"):
        shutil.copy(ROOT / name, folder)
    (folder / ".ci" / "setup").write_text("")
    snakefile = (folder / "Snakefile").read_text()
    begin, end = snakefile.index("NEEDS = {"), snakefile.index("TIMED = ")
    needs = 'NEEDS = {"01_baseline": [], "02_batching": ["01_baseline"]}\n'
    (folder / "Snakefile").write_text(snakefile[:begin] + needs + snakefile[end:])
    (folder / "notebooks").mkdir()
    for name in ("references.bib", "glossary.md"):
        shutil.copy(ROOT / "notebooks" / name, folder / "notebooks")
    for chapter in ("01_baseline", "02_batching"):
        (folder / "notebooks" / f"{chapter}.py").write_text(TOP + DOES.replace("CHAPTER", chapter))
    for kind, text in (("size", "{}"), ("hardware", "threads: 0\n")):
        for path in (folder / "params" / kind).glob("*.yaml"):
            path.write_text(text)
    for name in ("a", "b"):
        (folder / "params" / f"{name}.yaml").write_text("task: docs\n")
    (folder / "outputs").mkdir()
    return folder


def make(folder: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """Start make in the copy, in a group of its own; its words on stdout and stderr go to `log`."""
    # What libraries and other tests have put there would be told of.
    names = ("FFLIB_OUTPUTS", "FFLIB_RUN_BY", "MAKELEVEL", "MAKEFLAGS", *environment.BENDS)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    with (folder / "log").open("w") as log:
        command = ["make", *words, f"VENV={Path(sys.prefix)}"]
        return subprocess.Popen(
            command, cwd=folder, env=environ | variables, stdout=log, stderr=log, start_new_session=True, text=True
        )


def made(folder: Path, *words: str, **variables: str) -> tuple[int, str]:
    """Run make in the copy to its end; return its status and what it said."""
    status = make(folder, *words, **variables).wait(timeout=200)
    return status, (folder / "log").read_text()


def until(is_so: Callable[[], object], what: str, seconds: float = 100) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not {what} in {seconds} s"
        time.sleep(0.05)


def at_work(folder: Path) -> list[psutil.Process]:
    """Return the processes that work in the copy."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found
