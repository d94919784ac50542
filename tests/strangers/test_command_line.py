"""What the command line says is what runs: heeded, or refused in a sentence before anything is changed.

By symptom: `SIZE=smoke make book` runs for 20 minutes; `make book size=smoke` too; a run named 007 is not found.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from fflib import environment
from fflib.book import lifeline, snake, workflow
from fflib.files import ROOT

VARIABLES = ("RUN", "SIZE", "HARDWARE", "SET", "SWEEP", "CLUSTER", "NODES", "WITH", "MINUTES", "LIVE", "PORT")
PRINTS = "\nshow-what-counts:\n\t@echo $$RUN,$$SIZE,$$HARDWARE,$$SET,$$SWEEP,$$WITH\n"


def make(*words: str, **variables: str) -> tuple[int, str]:
    """Run make with nothing to do but to print what its recipes would read."""
    names = (*VARIABLES, "VENV", "MAKEFLAGS", "MAKELEVEL")
    environ = {name: value for name, value in os.environ.items() if name not in names}
    command = ["make", "--no-print-directory", "-f", "-", *words]
    text = (ROOT / "Makefile").read_text() + PRINTS
    done = subprocess.run(command, input=text, env=environ | variables, capture_output=True, text=True, cwd=ROOT)
    return done.returncode, done.stdout + done.stderr


def test_variables_in_front_of_make_count_as_those_behind_it_do():
    assert make("show-what-counts", SIZE="smoke", SET="a=1 b=[2, 3]") == (0, "docs-cpu,smoke,,a=1 b=[2, 3],,\n")
    assert make("show-what-counts", "SIZE=full", SIZE="smoke") == (0, "docs-cpu,full,,,,\n"), "behind wins"
    assert make("show-what-counts", RUN="007") == (0, "007,,,,,\n")


@pytest.mark.parametrize(
    ("words", "variables", "says"),
    [
        (["book", "size=smoke"], {}, "there is no variable size"),
        (["book", "SIZES=smoke"], {}, "there is no variable SIZES"),
        (["book", "HARDWEAR=cpu"], {}, "there is no variable HARDWEAR"),
        (["book"], {"size": "smoke"}, "there is no variable size"),
        (["book", "SWEEP=superglue"], {}, "make book does not heed SWEEP; it heeds RUN SIZE HARDWARE SET"),
        (["sweep", "SWEEP=superglue", "RUN=a"], {}, "make sweep does not heed RUN"),
        (["export", "WITH=paper"], {}, "make export does not heed WITH"),
        (["test", "SIZE=smoke"], {}, "make test does not heed SIZE"),
    ],
)
def test_what_would_be_ignored_is_refused_in_a_sentence(words, variables, says):
    status, said = make("-n", *words, **variables)
    assert status != 0 and says in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("words", [["book", "RUN=a", "SIZE=smoke"], ["plan", "SWEEP=s"], ["setup", "PYTHON=p"], []])
def test_what_is_heeded_is_taken(words):
    assert make("-n", *words)[0] == 0


def test_every_variable_that_a_recipe_reads_is_heeded_by_its_target():
    text = (ROOT / "Makefile").read_text()
    options = {f"$({name})": value for name, value in re.findall(r"^(\w*OPTIONS) = (.*)$", text, re.MULTILINE)}
    for target, recipe in re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)+)", text, re.MULTILINE):
        for _ in range(3):  # options hold options
            for name, value in options.items():
                recipe = recipe.replace(name, value)
        read = {*re.findall(r"\$\$\{?([A-Z]+)\b", recipe)} & {*VARIABLES}
        heeds = re.search(rf"^HEEDS\.{target} =(.*)$", text, re.MULTILINE)
        assert heeds is None or {*heeds[1].split()} == read, target


def test_a_misspelt_variable_in_front_is_told():
    assert workflow.misspelt({"SIEZ": "smoke", "SIZE": "full", "LINES": "24", "RUNS": "1", "SWEEP_DIR": "/x"}) == [
        "SIEZ='smoke' counts for nothing; for SIZE write SIZE=smoke"
    ]
    assert workflow.misspelt({"HARDWEAR": "a"}) == ["HARDWEAR='a' counts for nothing; for HARDWARE write HARDWARE=a"]


@pytest.mark.parametrize("value", ["007", "1e3", "on", "null", "[1]", "{a: 1}", "a=1 b='2'", 'say "it"', "Ümläut: x"])
def test_snakemake_gets_values_as_they_were_typed(value, monkeypatch):
    """It takes 007 for 7, on for True, and [1] for a list."""
    from snakemake.cli import parse_config

    given = []
    monkeypatch.setenv(lifeline.VARIABLE, "")
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: given.append(command))
    snake._started({"run": value, "size": ""})
    assert parse_config(given[0][given[0].index("--config") + 1 :]) == {"run": value}


@pytest.mark.parametrize("arguments", [["--run", "007"], ["--set", "n_train=1 n_train=2"], ["--size", "Smoke"]])
def test_a_slip_is_one_sentence_and_status_2(arguments, tmp_path):
    command = [sys.executable, "-m", "fflib.book.workflow", "book", *arguments]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(environment.BENDS)}
    environ = plain | {"FFLIB_OUTPUTS": str(tmp_path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert [*tmp_path.iterdir()] == []
