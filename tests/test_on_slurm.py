"""Sweeps on a real Slurm of virtual nodes: a cancelled job, a dead node, a drained one, two sweeps at once, a refusal.

The chapters are fakes that take no time, or wait until they are let go; the Snakefile, the profile in params/cluster
and snakemake's plugin are the real ones. Skipped where Slurm or the plugin is not installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import virtual_slurm

from fflib.files import ROOT

PLUGIN = "snakemake_executor_plugin_slurm"
MISSING = virtual_slurm.missing() or (
    "" if importlib.util.find_spec(PLUGIN) else 'no plugin here: pip install -e ".[slurm]"'
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING)]
PATIENCE_S = 400

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
path = folder / "results" / f"{name}.json" if chosen.chapter else folder / "book" / "index.html"
path.parent.mkdir(parents=True, exist_ok=True)
record = dict.fromkeys(("parameters", "machine", "facts"), {}) | {"rungs": [], "key": ""}
path.write_text(json.dumps(record | {"chapter": name, "written": f"{time.time():020.3f}"}))
'''
KEYS = "chapter_key = lambda chapter, values, *card: chapter + str(values)\npage_key = lambda: 'page'\n"
CARD = "card = lambda: {}\n"
DRIVER = """
import sys
from fflib.book import cluster, snake
cluster.enter("slurm")
sys.exit(snake.run({"sweep": sys.argv[1], "cluster": "slurm"}, "--keep-going"))
"""


@pytest.fixture(scope="module")
def slurm():
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="vs") as folder:  # a short path: sockets have no more room
        Path(folder).chmod(0o755)
        with virtual_slurm.started(Path(folder) / "s", nodes=3) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with fake chapters, two in each run."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("fflib", "params", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb", "kept"))
    for name in ("execute", "sweep", "render"):
        (folder / "fflib" / "book" / f"{name}.py").write_text(FAKE)
    (folder / "fflib" / "runs" / "provenance.py").write_text(KEYS)
    (folder / "fflib" / "measure" / "hardware.py").write_text(CARD)
    snakefile = (ROOT / "Snakefile").read_text()
    begin, end = snakefile.index("NEEDS = {"), snakefile.index("TIMED = ")
    needs = 'NEEDS = {"00_introduction": ["01_baseline"], "01_baseline": []}\n'
    (folder / "Snakefile").write_text(snakefile[:begin] + needs + snakefile[end:])
    for name in "abc":
        (folder / "params" / f"{name}.yaml").write_text("task: docs\n")
    for name, runs in (("two", "[a, b]"), ("one", "[c]")):
        (folder / "params" / "sweeps" / f"{name}.yaml").write_text(f"runs: {runs}\n")
    settings = folder / "params" / "cluster" / "slurm" / "config.yaml"
    quick = {"latency-wait: 60": "latency-wait: 5", "status-checks: 20": "status-checks: 2"}
    text = settings.read_text()
    for long, short in quick.items():
        assert long in text
        text = text.replace(long, short)
    settings.write_text(text + "seconds-between-status-checks: 2\n")
    return folder


class Sweep:
    """A sweep that goes on; its outputs are in a folder of their own."""

    def __init__(self, project: Path, name: str, outputs: Path, cluster, hold: str = "") -> None:
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


def test_a_cancelled_job_stops_no_other_run_and_a_rerun_does_what_is_missing(slurm, project, tmp_path):
    """Meanwhile a node is drained: nothing more begins on it."""
    sweep = Sweep(project, "two", tmp_path / "o", slurm, hold="a 01_baseline")
    sweep.until(lambda: sweep.ran("a 01_baseline") and sweep.ran("b 01_baseline"), "both runs began")
    node, cpus, job = sweep.ran("a 01_baseline")
    assert sweep.ran("b 01_baseline")[0] != node, "each has a node of its own"
    assert int(cpus) == virtual_slurm.CPUS, "with all its processors"
    slurm.ask("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    slurm.ask("scancel", job)
    status, said = sweep.end()
    assert status != 0 and {"b 00_introduction", "b book"} <= {*sweep.steps()}
    assert "01_baseline.json: it was cancelled" in said and f"job {job}" in said and "run make again" in said
    assert "it was cancelled" in (tmp_path / "o" / "a" / "failed.txt").read_text(), "for the tables and the sweep's end"
    assert "a book" not in sweep.steps()

    again = Sweep(project, "two", tmp_path / "o", slurm)
    again.outputs.joinpath("hold a 01_baseline").unlink()
    assert again.end()[0] == 0
    assert again.steps() == ["a 01_baseline", "a 00_introduction", "a book"], "only what was missing"
    assert node not in {again.ran(step)[0] for step in again.steps()}, "it is drained"
    slurm.ask("scontrol", "update", f"nodename={node}", "state=resume")


def test_where_a_node_dies_its_job_goes_to_another_while_a_second_sweep_goes_on(slurm, project, tmp_path):
    first = Sweep(project, "two", tmp_path / "o", slurm, hold="a 01_baseline")
    second = Sweep(project, "one", tmp_path / "p", slurm)
    first.until(lambda: first.ran("a 01_baseline"), "a began")
    node, _, job = first.ran("a 01_baseline")
    slurm.kill_node(node)
    first.let_go()
    try:
        status, said = first.end()
        assert status == 0, said
        other = first.ran("a 01_baseline")
        assert other[0] != node and other[2] == job, "Slurm put the same job back into the queue"
        assert second.end() == (0, second.log.read_text()) and second.steps()[-1] == "c book"
    finally:
        slurm.start_node(node)


def test_a_refusal_of_the_queue_is_one_sentence(slurm, project, tmp_path):
    settings = project / "params" / "cluster" / "slurm" / "config.yaml"
    text = settings.read_text()
    settings.write_text(text.replace("  mem_mb: 0 ", "  slurm_partition: nope\n  mem_mb: 0 "))
    try:
        status, said = Sweep(project, "one", tmp_path / "o", slurm).end()
    finally:
        settings.write_text(text)
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert status != 0 and "the cluster did not take its job: " in line and "nvalid partition" in line


def test_the_plugin_that_is_installed_is_one_that_the_project_takes():
    import tomllib
    from importlib import metadata

    from packaging.requirements import Requirement

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (wanted,) = map(Requirement, extras["slurm"])
    assert wanted.specifier.contains(metadata.version(wanted.name))
    assert json.dumps(wanted.name) == json.dumps(PLUGIN.replace("_", "-"))
