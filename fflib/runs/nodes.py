"""Which machine a result may come from: this one, or, on a cluster, one of its nodes.

A chapter's key holds the machine that it was measured on. On a cluster the nodes measure and other machines look: the
login node, on which snakemake decides what is to run, and nodes that are shared, on which pages are made. There a
result counts by the machine that its own record names. That all chapters of a run come from one kind of node, so that
their seconds may stand in one table, is checked by each chapter that times something (`fflib.book.cluster`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from fflib.files import content_hash

VARIABLE = "FFLIB_CLUSTER"  # the profile's name, for each process of a run on a cluster
DECISIVE = ("cpu", "cores_available")  # what two nodes must share


def on_cluster() -> str:
    """Return the name of the cluster's profile, '' where everything runs on this machine."""
    return os.environ.get(VARIABLE, "")


def job() -> str:
    """Return the number of the cluster's job that this process is part of, '' where it is none of Slurm."""
    return os.environ.get("SLURM_JOB_ID", "") if on_cluster() else ""


def mark() -> dict[str, str]:
    """Return what tells one node from another of its kind, for the record's machine; {} where there are no nodes.

    It is made from the node's name, which is nobody's business but the reader's.
    """
    name = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    return {"node": content_hash(name)[:4]} if on_cluster() else {}


def card_for(record: Mapping[str, Any]) -> dict[str, object]:
    """Return the machine that counts for a result: this one; on a cluster with its record's processor and cores."""
    from fflib.measure import hardware

    measured = record.get("machine") or {}
    there = {name: measured.get(name) for name in DECISIVE} if on_cluster() and isinstance(measured, dict) else {}
    return hardware.card() | there
