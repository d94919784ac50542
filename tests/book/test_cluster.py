"""A run on a cluster, as far as no scheduler is needed: profiles, nodes, keys, locks, and what is told of jobs."""

from __future__ import annotations

import argparse
import contextlib
import os

import pytest
import yaml

from fflib.book import cluster, lock, snake, workflow
from fflib.files import ROOT, InputError, write_json
from fflib.measure import cores, hardware
from fflib.runs import nodes, params, provenance, records

HERE = {"cpu": "A Processor", "cores_available": 4}
CHAPTERS = params.chapters()


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    for name in (nodes.VARIABLE, "SLURM_JOB_ID", "SLURM_JOB_CPUS_PER_NODE", "SLURMD_NODENAME", "FFLIB_RUN_BY"):
        monkeypatch.delenv(name, raising=False)
    usual = {"system": "S", "python": "3", "versions": {}}
    monkeypatch.setattr(hardware, "card", lambda: usual | HERE)
    return tmp_path


@pytest.fixture
def run():
    return params.load_run("docs-cpu", "smoke")


def leave(run, chapter, **machine):
    card = hardware.card() | machine
    values = run.chapter_values(chapter)
    record = {"schema_version": records.SCHEMA_VERSION, "chapter": chapter, "written": "1", "facts": {}, "rungs": []}
    key = provenance.chapter_key(chapter, values, card)
    write_json(records.path_of(run.folder, chapter), record | {"key": key, "parameters": values, "machine": card})


def on_cluster(monkeypatch, **variables):
    monkeypatch.setenv(nodes.VARIABLE, "slurm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_a_profile_that_is_not_there_is_refused():
    assert "slurm" in cluster.names(), "and those that a reader adds"
    with pytest.raises(InputError, match="no cluster 'slurn' in params/cluster; there are .*slurm"):
        cluster.enter("slurn")
    assert not nodes.on_cluster()


@pytest.mark.parametrize("name", cluster.names())
def test_a_profile_names_its_executor_and_no_machine(name):
    text = (cluster.profile(name) / cluster.CONFIG).read_text()
    settings = yaml.safe_load(text)
    assert settings["executor"] and settings["jobs"] > 1 and "latency-wait" in settings
    assert "/home" not in text and "cores" not in settings, "those would be the cores of all jobs together"


def test_what_a_variable_of_the_reader_says_does_not_count():
    os.environ[nodes.VARIABLE] = "slurm"
    cluster.enter("")
    assert not nodes.on_cluster()


def test_a_missing_plugin_and_a_missing_command_are_told_with_what_to_do(monkeypatch):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'needs snakemake\'s plugin for slurm; .* install -e "\.\[slurm\]"'):
        cluster.check("slurm")
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(cluster.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="there is no sbatch here"):
        cluster.check("slurm")


@pytest.mark.parametrize(
    ("text", "says"), [("a: [", "is no YAML"), ("jobs: 3\n", "names no executor"), ("- a\n", "names no executor")]
)
def test_a_damaged_profile_is_told(monkeypatch, tmp_path, text, says):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / cluster.CONFIG).write_text(text)
    monkeypatch.setattr(cluster, "PROFILES", tmp_path)
    with pytest.raises(InputError, match=says):
        cluster.check("mine")


def test_elsewhere_a_result_counts_by_the_node_that_measured_it(run, monkeypatch):
    """The login node and nodes that share look at what others measured."""
    leave(run, "01_baseline", cpu="Another", cores_available=64)
    with pytest.raises(InputError, match="hardware than now"):
        records.current(run.folder, "01_baseline")
    assert records.is_stale(run.folder, "01_baseline", cluster.key(run, "01_baseline"))
    on_cluster(monkeypatch)
    assert records.current(run.folder, "01_baseline")["chapter"] == "01_baseline"
    assert not records.is_stale(run.folder, "01_baseline", cluster.key(run, "01_baseline"))
    leave(run, "01_baseline", cpu="Another", cores_available=64, python="2")
    assert records.is_stale(run.folder, "01_baseline", cluster.key(run, "01_baseline")), "other packages are others"


def test_a_runs_chapters_come_from_one_kind_of_node(run, monkeypatch):
    on_cluster(monkeypatch)
    leave(run, "01_baseline")
    leave(run, "00_introduction", cpu="Whatever shares")
    leave(run, "06_runtime", cpu="An older run's, of a chapter after this one")
    cluster.check_node(run, "02_batching")
    leave(run, "01_baseline", cpu="Another", cores_available=64)
    with pytest.raises(
        InputError, match="02_batching is on A Processor with 4 cores, but 01_baseline .* Another with 64"
    ):
        cluster.check_node(run, "02_batching")
    cluster.check_node(run, "01_baseline")


def test_a_job_that_may_use_a_part_of_its_node_times_nothing(run, monkeypatch):
    monkeypatch.setattr(cores, "logical_cpus", lambda: (0,))
    on_cluster(monkeypatch, SLURM_JOB_CPUS_PER_NODE="8(x1)")
    with pytest.raises(InputError, match="has 8 processors of its node and may use 1 of them; .*cpus_per_task: 8"):
        cluster.check_node(run, "01_baseline")
    on_cluster(monkeypatch, SLURM_JOB_CPUS_PER_NODE="1")
    cluster.check_node(run, "01_baseline")


def test_all_chapters_but_the_introduction_and_the_tables_have_a_node_alone():
    assert [name for name in [*CHAPTERS, params.TABLES] if not cluster.is_timed(name)] == [CHAPTERS[0], params.TABLES]


def test_a_node_is_marked_but_not_named(monkeypatch):
    assert nodes.mark() == {}
    on_cluster(monkeypatch, SLURMD_NODENAME="secret-12")
    first = nodes.mark()["node"]
    on_cluster(monkeypatch, SLURMD_NODENAME="secret-13")
    assert len(first) == 4 and first != nodes.mark()["node"] and "secret" not in first


def test_two_runs_chapters_go_on_at_once_but_one_runs_do_not(run, monkeypatch, tmp_path):
    monkeypatch.setattr(lock, "WAIT_S", 0.0)
    on_cluster(monkeypatch, SLURM_JOB_ID="4711")
    with lock.of_book("make sweep"), lock.of_chapter("01_baseline of a", tmp_path / "a"):
        with lock.of_chapter("01_baseline of b", tmp_path / "b"):
            pass
        with (
            pytest.raises(InputError, match=r"01_baseline of a, process .* stop it with: scancel 4711"),
            lock.of_chapter("02_batching of a", tmp_path / "a"),
        ):
            pass


STATUS = "SLURM-job '12' failed, SLURM status is: '{}'. Detailed failure reason unavailable"
DIED = "SLURM-job '12' failed due to a node failure, SLURM status is: 'NODE_FAIL'. Failed nodes will be excluded"
SBATCH = (
    "SLURM sbatch failed. The error message was 'sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy'.\n    sbatch call:\n  sbatch -x\n"
)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (STATUS.format("CANCELLED"), "it was cancelled (job 12, CANCELLED)"),
        (STATUS.format("TIMEOUT"), "it took longer than the profile's runtime (job 12, TIMEOUT)"),
        (DIED, "its node died (job 12, NODE_FAIL)"),
        (SBATCH, "the cluster did not take its job: QOSMaxSubmitJobPerUserLimit: Batch job submission failed: "
         "Job violates accounting/QOS policy"),
        ("something else", ""),
    ],
)  # fmt: skip
def test_why_a_job_ended_is_told_in_words(said, told):
    assert cluster.failure(said) == told


def test_a_failed_job_is_one_sentence_and_kept_for_the_end_of_the_sweep(run):
    made = f"{run.folder}/results/01_baseline.json"
    told = snake._of_a_job(made, STATUS.format("CANCELLED"))
    assert told == f"{made}: it was cancelled (job 12, CANCELLED); what is done is kept: run make again to go on"
    again = snake._of_a_job(made, STATUS.format("FAILED"))
    assert "01_baseline did not end: it was cancelled" in again, "what was noted first, as the chapter's own words are"


def test_make_tells_snakemake_the_profile_and_not_the_cores_of_the_login_node(monkeypatch):
    calls = []
    monkeypatch.setattr(
        snake, "_started", lambda config, *options, targets=(): calls.append(options) or contextlib.nullcontext()
    )
    monkeypatch.setattr(snake, "_waited", lambda process: 0)
    snake.run({}, "--keep-going")
    on_cluster(monkeypatch)
    snake.run({}, "--keep-going")
    profile = str(ROOT / "params" / "cluster" / "slurm")
    assert calls == [("--cores", "all", "--keep-going"), ("--profile", profile, "--keep-going")]


def test_the_login_node_is_not_asked_for_the_cores_of_a_node(run, monkeypatch):
    wide = argparse.Namespace(values={"threads": 10**6}, check_device=lambda: None)
    with pytest.raises(InputError, match="threads"):
        workflow.check_machine(wide)
    on_cluster(monkeypatch)
    workflow.check_machine(wide)
