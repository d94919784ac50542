"""GitHub's workflows name only what exists, keep what failed, and fix the versions of what they use."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from fflib.files import ROOT
from fflib.runs import param_files

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = {*re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)}
CHOICES = {  # a variable of make: the values it may take
    "RUN": {*param_files.runs()},
    "SIZE": {*param_files.names("size")},
    "HARDWARE": {*param_files.names("hardware")},
    "SWEEP": {*param_files.names("sweep")},
}


def jobs():
    for path in FILES:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            yield pytest.param(job, id=f"{path.stem}-{name}")


def commands(job):
    """The words of each call of make: ['book', 'RUN=docs-cpu', ...]."""
    scripts = "\n".join(step.get("run", "") for step in job["steps"])
    spaceless = re.sub(r"\$\{\{\s*(\S+?)\s*\}\}", r"${{\1}}", scripts)
    return [match.split() for match in re.findall(r"^\s*make\s+(.*)$", spaceless, re.MULTILINE)]


def values(job, word):
    """What a word can be: itself, or each value of the matrix that it names."""
    found = re.fullmatch(r"\$\{\{matrix\.(\w+)\}\}", word)
    return [str(value) for value in job["strategy"]["matrix"][found[1]]] if found else [word]


def test_both_workflows_are_there():
    assert [path.name for path in FILES] == ["nightly.yml", "smoke.yml"]


@pytest.mark.parametrize("job", [*jobs()])
def test_every_call_of_make_names_a_target_and_values_that_exist(job):
    for target, *settings in commands(job):
        assert target in TARGETS
        for name, _, word in (setting.partition("=") for setting in settings if "=" in setting):
            assert name not in CHOICES or {*values(job, word)} <= CHOICES[name], f"{name}={word}"


@pytest.mark.parametrize("job", [*jobs()])
def test_what_a_job_leaves_is_kept_whatever_happened(job):
    keeping = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    assert keeping and all(step.get("if") == "always()" for step in keeping)
    assert len({step["with"]["name"] for step in keeping}) == len(keeping), "two artefacts of one name are refused"
    for step in keeping:  # jobs of a matrix share the names of artefacts otherwise
        varied = job.get("strategy", {}).get("matrix", {})
        assert all(f"matrix.{name}" in step["with"]["name"] for name in varied)


@pytest.mark.parametrize("job", [*jobs()])
def test_actions_are_pinned_by_major_version_and_scripts_read_no_event(job):
    for step in job["steps"]:
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "actions/checkout@v5"))
        assert "github.event" not in step.get("run", ""), "text of a stranger would become a command"


@pytest.mark.parametrize("job", [param for param in jobs() if "matrix" in param.values[0].get("strategy", {})])
def test_one_failure_ends_no_other_job_and_every_python_is_one_that_the_project_takes(job):
    assert job["strategy"]["fail-fast"] is False
    (setup,) = [step["with"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
    allowed = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    spaceless = re.sub(r"\s", "", setup["python-version"])
    assert all(allowed.contains(version) for version in values(job, spaceless))
    assert setup["cache-dependency-path"] == "requirements.lock"


def test_torch_comes_from_the_index_for_the_cpu_before_anything_else_is_made():
    for path in FILES:
        workflow = yaml.safe_load(path.read_text())
        assert workflow["env"]["PIP_ARGS"] == "${{ vars.PIP_ARGS }}"
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            calls = commands(job)
            assert not calls or (calls[0][0] == "setup" and 'PIP_ARGS="$PIP_ARGS"' in calls[0])


def test_the_nights_cover_every_task_of_the_sweeps_in_two_sizes_and_are_gathered():
    (path,) = [path for path in FILES if path.stem == "nightly"]
    nightly = yaml.safe_load(path.read_text())["jobs"]
    matrix = nightly["book"]["strategy"]["matrix"]
    for sweep in param_files.names("sweep"):
        assert {*param_files.read("sweep", sweep)["runs"]} <= {*matrix["run"]}
    assert {"smoke", "standard"} <= {*matrix["size"]}
    assert nightly["summary"]["needs"] == "book" and nightly["summary"]["if"] == "always()"
    assert "NEVER COMPARED" in path.read_text()


def test_a_codespace_has_four_cores_a_python_that_the_book_takes_and_a_set_up_that_exists():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["hostRequirements"]["cpus"] == 4
    python = re.search(r"python:(\d+\.\d+)", container["image"])[1]
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert python in SpecifierSet(wanted)
    make, target = container["postCreateCommand"].split()
    assert make == "make" and target in TARGETS
    assert "timings mean little" in container["postAttachCommand"], "its machine is shared, which a reader must know"
