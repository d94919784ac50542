"""What `make clean` removes and what it leaves, in a folder of its own; it runs without an environment."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from fflib.files import ROOT


@pytest.fixture
def clean(tmp_path):
    """Run `make clean` in a made-up project; return status, words, and which folders of runs are left at ``where``."""
    project = tmp_path / "a project"
    for name in (".ci/clean", "Makefile"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    for name in ("fflib/__pycache__", "tests", "notebooks", ".cache/tokenized", "params"):
        (project / name).mkdir(parents=True)
    (project / "params" / "small.yaml").write_text("task: docs\nsize: smoke\n")
    for outputs in (project / "outputs", tmp_path / "home" / "out"):
        for name in ("docs-cpu", "docs-cpu-smoke", "small", "a b", "reference"):
            (outputs / name / "results").mkdir(parents=True)

    def run(*words, where=project / "outputs", lock="", **variables):
        (where / ".book.lock").write_text(lock)
        names = ("FFLIB_OUTPUTS", "FFLIB_CACHE", "MAKELEVEL", "MAKEFLAGS", "RUN", "SIZE", "HARDWARE")
        environ = {name: value for name, value in os.environ.items() if name not in names}
        environ |= {"HOME": str(tmp_path / "home")} | variables
        command = ["make", "--no-print-directory", "clean", "VENV=", *words]
        done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True)
        left = {path.name for path in where.iterdir() if path.is_dir()}
        return done.returncode, done.stdout + done.stderr, left

    run.home, run.project = tmp_path / "home", project
    return run


ALL = {"docs-cpu", "docs-cpu-smoke", "small", "a b", "reference"}


@pytest.mark.parametrize(
    ("words", "removed"),
    [
        ([], "docs-cpu"),
        (["SIZE=smoke"], "docs-cpu-smoke"),
        (["SIZE=standard"], "docs-cpu"),
        (["HARDWARE=cpu", "SIZE=smoke"], "docs-cpu-smoke"),
        (["RUN=small", "SIZE=smoke"], "small"),
        (["RUN=a b"], "a b"),
    ],
)
def test_the_folder_of_the_run_that_is_named_goes_and_the_caches(clean, words, removed):
    status, said, left = clean(*words)
    assert (status, left) == (0, ALL - {removed}) and f"removing the outputs of {removed}, and the caches" in said
    assert not (clean.project / ".cache").exists() and not (clean.project / "fflib" / "__pycache__").exists()


@pytest.mark.parametrize("size", ['"smoke"', "'smoke'", "smoke  # quick", "  smoke"])
def test_the_size_of_a_run_is_read_as_yaml_has_it(clean, size):
    """By symptom: `make clean RUN=small SIZE=standard` removes the run in smoke size, which is its own."""
    (clean.project / "params" / "small.yaml").write_text(f"task: docs\nsize: {size}\n")
    status, said, left = clean("RUN=small", "SIZE=standard")
    assert (status, left) == (0, ALL) and "there are no outputs of small-standard" in said
    assert clean("RUN=small", "SIZE=smoke")[2] == ALL - {"small"}


def test_a_home_is_found_where_the_environment_names_it(clean):
    status, said, left = clean(where=clean.home / "out", FFLIB_OUTPUTS="~/out")
    assert (status, left) == (0, ALL - {"docs-cpu"}) and (clean.project / "outputs" / "docs-cpu").exists(), said


def test_a_run_that_left_nothing_is_told_with_those_that_did(clean):
    status, said, left = clean("RUN=other")
    assert (status, left) == (0, ALL)
    assert "there are no outputs of other, but of: a b docs-cpu docs-cpu-smoke small; removing the caches" in said


@pytest.mark.parametrize(
    ("words", "variables", "says"),
    [
        (["RUN=reference"], {}, "'reference' is no name of a run"),
        (["RUN=../x"], {}, "'../x' is no name of a run"),
        (["RUN=."], {}, "'.' is no name of a run"),
        (["SIZE=../../x"], {}, "'docs-cpu-../../x' is no folder of a run"),
        ([], {"FFLIB_OUTPUTS": "~nobody/out"}, "write FFLIB_OUTPUTS (~nobody/out) without ~NAME"),
        ([], {"FFLIB_OUTPUTS": "~/out", "HOME": ""}, "so write FFLIB_OUTPUTS without ~"),
    ],
)
def test_what_is_no_folder_of_a_run_is_refused_and_nothing_is_removed(clean, words, variables, says):
    status, said, left = clean(*words, **variables)
    assert status != 0 and says in said and left == ALL and (clean.project / ".cache").exists()


def test_nothing_is_taken_away_from_a_run_that_goes_on(clean):
    lock = '{"what": "make book RUN=a", "process": %d, "host": "%s", "since": "now"}'
    status, said, left = clean(lock=lock % (os.getpid(), os.uname().nodename))
    assert status != 0 and f"a run is going on in outputs (process {os.getpid()})" in said and left == ALL
    for stale in (lock % (2**22 + 1, os.uname().nodename), lock % (os.getpid(), "elsewhere"), "half a li"):
        assert clean(lock=stale)[0] == 0


def test_a_cache_elsewhere_is_left_and_told(clean, tmp_path):
    (tmp_path / "cache").mkdir()
    status, said, _ = clean(FFLIB_CACHE=str(tmp_path / "cache"))
    assert status == 0 and "stays as it is" in said and (tmp_path / "cache").exists()
