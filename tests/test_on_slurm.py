"""Sweeps on a real Slurm of virtual nodes: a cancelled job, a dead node, a drained one, two sweeps at once, a refusal.

The chapters are fakes that take no time, or wait until they are let go; the Snakefile, the profile in params/cluster
and snakemake's plugin are the real ones. Skipped where Slurm or the plugin is not installed.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from pathlib import Path

import pytest
import small_cluster
import virtual_slurm
from small_cluster import Sweep

from fflib.files import ROOT

PLUGIN = "snakemake_executor_plugin_slurm"
MISSING = virtual_slurm.missing() or (
    "" if importlib.util.find_spec(PLUGIN) else 'no plugin here: pip install -e ".[slurm]"'
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING)]


@pytest.fixture(scope="module")
def slurm():
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="vs") as folder:  # a short path: sockets have no more room
        Path(folder).chmod(0o755)
        with virtual_slurm.started(Path(folder) / "s", nodes=3) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with fake chapters, two in each run."""
    needs = {"00_introduction": ["01_baseline"], "01_baseline": []}
    return small_cluster.copied(tmp_path_factory.mktemp("project"), needs)


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


def test_a_sweep_that_is_stopped_cancels_its_jobs(slurm, project, tmp_path):
    sweep = Sweep(project, "one", tmp_path / "o", slurm, hold="c 01_baseline")
    sweep.until(lambda: sweep.ran("c 01_baseline"), "c began")
    job = sweep.ran("c 01_baseline")[2]
    assert job in slurm.jobs("running")
    sweep.process.terminate()
    assert sweep.end()[0] != 0
    small_cluster.until(lambda: job not in slurm.jobs("running,completing"), "its job ended")
    assert slurm.ask("squeue", "--noheader", f"--jobs={job}", "--states=all", "--format=%T").strip() == "CANCELLED"


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
