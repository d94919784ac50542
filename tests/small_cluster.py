"""A copy of the project whose chapters are fakes, as jobs of Slurm: each takes no time, or waits until it is let go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from virtual_slurm import Cluster

from fflib.files import ROOT

PATIENCE_S = 900  # on a busy machine each job takes a minute or two, and Slurm lets a job of a dead node wait two
# Stands for fflib.book.sweep, execute and render: notes where it runs, waits while it is held, and leaves its result.
FAKE = '''"""A chapter or a book that takes no time."""
import argparse, json, os, pathlib, time
parser = argparse.ArgumentParser()
parser.add_argument("what"), parser.add_argument("chapter", nargs="?")
for name in ("run", "sweep", "size", "hardware", "set", "book", "cluster"):
    parser.add_argument("--" + name, default="")
chosen = parser.parse_args()
outputs = pathlib.Path(os.environ["FFLIB_OUTPUTS"])
folder = outputs / chosen.run if chosen.chapter else pathlib.Path(chosen.what)
name = chosen.chapter or "book"
with open(outputs / "order.txt", "a") as order:
    cpus = os.environ["SLURM_CPUS_ON_NODE"]
    order.write(f"{folder.name} {name} {os.environ['SLURMD_NODENAME']} {cpus} {os.environ['SLURM_JOB_ID']}\\n")
while (outputs / f"hold {folder.name} {name}").exists():
    time.sleep(0.1)
seconds = outputs / f"seconds {name}"
time.sleep(float(seconds.read_text()) if seconds.exists() else 0)
path = folder / "results" / f"{name}.json" if chosen.chapter else folder / "book" / "index.html"
path.parent.mkdir(parents=True, exist_ok=True)
record = dict.fromkeys(("parameters", "machine", "facts"), {}) | {"rungs": [], "key": ""}
path.write_text(json.dumps(record | {"chapter": name, "written": f"{time.time():020.3f}"}))
'''
KEYS = "chapter_key = lambda chapter, values, *card: chapter + str(values)\npage_key = lambda: 'page'\n"
CARD = "card = lambda: {}\n"
DRIVER = """
import sys
from fflib.book import cluster, lifeline, snake
cluster.enter("slurm")
with lifeline.stoppable():
    sys.exit(snake.run({"sweep": sys.argv[1], "cluster": "slurm"}, "--keep-going"))
"""


def copied(folder: Path, needs: Mapping[str, Sequence[str]]) -> Path:
    """Copy what snakemake needs: the chapters of ``needs``, and the sweeps two (a, b), one (c) and four (a to d)."""
    for name in ("fflib", "params", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb", "kept"))
    for name in ("execute", "sweep", "render"):
        (folder / "fflib" / "book" / f"{name}.py").write_text(FAKE)
    (folder / "fflib" / "runs" / "provenance.py").write_text(KEYS)
    (folder / "fflib" / "measure" / "hardware.py").write_text(CARD)
    snakefile = (ROOT / "Snakefile").read_text()
    begin, end = snakefile.index("NEEDS = {"), snakefile.index("TIMED = ")
    (folder / "Snakefile").write_text(snakefile[:begin] + f"NEEDS = {dict(needs)}\n" + snakefile[end:])
    for name in "abcd":
        (folder / "params" / f"{name}.yaml").write_text("task: docs\n")
    for name, runs in (("two", "[a, b]"), ("one", "[c]"), ("four", "[a, b, c, d]")):
        (folder / "params" / "sweeps" / f"{name}.yaml").write_text(f"runs: {runs}\n")
    settings = folder / "params" / "cluster" / "slurm" / "config.yaml"
    quick = {"latency-wait: 60": "latency-wait: 5", "status-checks: 20": "status-checks: 2"}
    text = settings.read_text()
    for long, short in quick.items():
        assert long in text
        text = text.replace(long, short)
    settings.write_text(text + "seconds-between-status-checks: 2\n")
    return folder


def until(is_so: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not {what} in {seconds} s"
        time.sleep(0.2)


class Sweep:
    """A sweep that goes on; its outputs are in a folder of their own."""

    def __init__(self, project: Path, name: str, outputs: Path, cluster: Cluster, hold: str = "") -> None:
        self.outputs, self.log = outputs, outputs / "log"
        outputs.mkdir(exist_ok=True)
        (outputs / "order.txt").write_text("")
        if hold:
            (outputs / f"hold {hold}").touch()
        environ = os.environ | cluster.variables | {"FFLIB_OUTPUTS": str(outputs), "PYTHONPATH": ""}
        with self.log.open("w") as log:
            command = [sys.executable, "-c", DRIVER, name]
            self.process = subprocess.Popen(command, cwd=project, env=environ, stdout=log, stderr=log)

    def ran(self, what: str) -> list[str]:
        """The node, the processors and the job of the last time that a step began; [] before it did."""
        lines = [line.split() for line in (self.outputs / "order.txt").read_text().splitlines()]
        return next((line[2:] for line in reversed(lines) if line[:2] == what.split()), [])

    def steps(self) -> list[str]:
        return [" ".join(line.split()[:2]) for line in (self.outputs / "order.txt").read_text().splitlines()]

    def until(self, is_so, what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < end and self.process.poll() is None, f"not {what}:\n{self.log.read_text()}"
            time.sleep(0.2)

    def let_go(self) -> None:
        for path in self.outputs.glob("hold *"):
            path.unlink()

    def end(self) -> tuple[int, str]:
        try:
            return self.process.wait(timeout=PATIENCE_S), self.log.read_text()
        finally:
            self.process.kill()
