"""A run on a cluster: `make sweep SWEEP=superglue CLUSTER=slurm`. Snakemake hands each chapter over as a job.

How it does so stands in a profile, ``params/cluster/NAME/config.yaml``, with which snakemake's own executor plugin
works; nothing here talks to a scheduler. What is different from one machine, and is told here: the login node measures
nothing, chapters of several runs go on at once, and those of one run must come from one kind of node.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from fflib.files import ROOT, InputError, shown
from fflib.measure import cores, hardware
from fflib.runs import nodes, params, records

PROFILES = ROOT / "params" / "cluster"
CONFIG = "config.yaml"
COMMANDS = {"slurm": "sbatch"}  # by executor: what must be there to hand over a job
# What Slurm says of a job that it ended, and what that means.
ENDED = {
    "CANCELLED": "it was cancelled",
    "TIMEOUT": "it took longer than the profile's runtime",
    "OUT_OF_MEMORY": "it wanted more memory than the profile's mem_mb",
    "NODE_FAIL": "its node died",
    "PREEMPTED": "another job took its place",
    "FAILED": "the job failed",
}
STATUS = re.compile(r"SLURM[- ](?:job|status)\D*'(\d+)'.*?(" + "|".join(ENDED) + ")", re.DOTALL)
REFUSED = re.compile(r"error message was '(.*?)'\.?\s*(?:sbatch call|For further|$)", re.DOTALL)


def names() -> list[str]:
    """Return the names of the profiles."""
    return sorted(path.parent.name for path in PROFILES.glob(f"*/{CONFIG}"))


def add_option(parser: argparse.ArgumentParser) -> None:
    """Give a command line the option that names a profile; `enter` takes its value."""
    parser.add_argument("--cluster", default="", help="a folder in params/cluster; empty: this machine alone")


def enter(name: str) -> None:
    """Let this process, and all that it starts, work for a cluster; '' for this machine alone.

    InputError: there is no such profile.
    """
    os.environ.pop(nodes.VARIABLE, None)
    if name:
        profile(name)
        os.environ[nodes.VARIABLE] = name


def profile(name: str) -> Path:
    """Return the folder of a profile. InputError: there is none of that name."""
    if name not in names():
        raise InputError(f"there is no cluster {name!r} in {shown(PROFILES)}; there are {', '.join(names())}")
    return PROFILES / name


def check(name: str) -> None:
    """Raise InputError where the plugin that a profile asks for, or the command that it calls, is not there."""
    path = profile(name) / CONFIG
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{shown(path)} is no YAML ({' '.join(str(error).split())}); mend it there") from error
    executor = settings.get("executor") if isinstance(settings, dict) else None
    if not isinstance(executor, str):
        raise InputError(f"{shown(path)} names no executor; give it a line such as 'executor: slurm'")
    if not importlib.util.find_spec(f"snakemake_executor_plugin_{executor.replace('-', '_')}"):
        extra = f'.venv/bin/python -m pip install -e ".[{executor}]"'
        raise InputError(f"CLUSTER={name} needs snakemake's plugin for {executor}; install it with: {extra}")
    command = COMMANDS.get(executor)
    if command and not shutil.which(command):
        raise InputError(f"there is no {command} here; start a run on {executor} where jobs can be handed over")


def key(run: params.Run, chapter: str) -> str:
    """Return the key that a chapter's result should have; on a cluster with the node that its own record names."""
    from fflib.runs import provenance  # only now: it reads all of fflib

    values = run.chapter_values(chapter)
    there = records.readable(run.folder, f"results/{chapter}.json").values() if nodes.on_cluster() else []
    return provenance.chapter_key(chapter, values, *map(nodes.card_for, there))


def check_node(run: params.Run, chapter: str) -> None:
    """Raise InputError where a chapter that times something is on a node that it may not be measured on.

    That is one that lends the job only a part of its processors, or one of another kind than the run's chapters so far.
    """
    lent, granted = _cpus_of_job(), len(cores.logical_cpus())
    if lent and granted < lent:
        raise InputError(
            f"{chapter}'s job has {lent} processors of its node and may use {granted} of them; in the profile, give "
            f"chapters 'cpus_per_task: {lent}'"
        )
    here = {name: hardware.card()[name] for name in nodes.DECISIVE}
    for record in records.readable(run.folder).values():
        there = {name: record["machine"].get(name) for name in nodes.DECISIVE}
        if there != here and record["chapter"] in timed_before(chapter):
            raise InputError(
                f"{chapter} is on {_told(here)}, but {record['chapter']} of {run.folder.name} was measured on "
                f"{_told(there)}; let the profile ask for one kind of node (constraint or slurm_partition)"
            )


def timed_before(chapter: str) -> list[str]:
    """Name the chapters before one whose seconds stand beside its own; the introduction times nothing."""
    introduction, *others = params.chapters()
    return [each for each in others if each < chapter]


def is_timed(chapter: str) -> bool:
    """Whether a chapter times something, and so must have its machine alone: all of a run but its introduction."""
    return chapter in params.chapters()[1:]


def failure(message: str) -> str:
    """Say in a few words why the cluster ended or refused a job, by what the executor said; '' where it did not."""
    if found := STATUS.search(message):
        return f"{ENDED[found[2]]} (job {found[1]}, {found[2]})"
    if "sbatch failed" in message and (refused := REFUSED.search(message)):
        reasons = [" ".join(part.split()) for part in re.split(r"sbatch: error:", refused[1])]
        return f"the cluster did not take its job: {': '.join(filter(None, reasons))}"
    return ""


def _cpus_of_job() -> int:
    """Return how many processors of this node the job has; 0 where nothing tells."""
    counts = re.match(r"\d+", os.environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
    return int(counts[0]) if counts else 0


def _told(card: dict[str, Any]) -> str:
    return f"{card['cpu']} with {card['cores_available']} cores"
