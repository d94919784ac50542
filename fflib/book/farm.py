"""How long a sweep takes on so many nodes: its steps and their seconds, put onto nodes as a scheduler would.

Plain numbers in, plain numbers out: the seconds come from `fflib.runs.times`. A chapter that times something has a node
alone, other steps share one. Each step pays `OVERHEAD_S` besides its own seconds: waiting in the queue of an empty
cluster, snakemake's start on the node, and the time until make sees that it has ended.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fflib.book import cluster
from fflib.runs import params
from fflib.runs.times import Wanted, about

OVERHEAD_S = 40.0  # about half of it is the profile's time between two looks at the queue
SHARING = 4  # so many steps that time nothing share a node
NODES_SHOWN = (1, 2, 4, 8)


@dataclass(frozen=True)
class Step:
    """A step of a sweep: which others must be done before it begins, and whether it needs a node alone."""

    name: str
    seconds: float
    needs: tuple[str, ...] = ()
    alone: bool = True


def steps_of(wanted: Sequence[Wanted], seconds: Sequence[float]) -> list[Step]:
    """Return the steps ``wanted``, which stand in their order, each after the one before it in its run.

    A run that begins after another one waits for that one's teacher.
    """
    found: list[Step] = []
    last: dict[str, str] = {}
    names = {f"{run.folder.name} {chapter}" for run, chapter in wanted}
    for (run, chapter), takes in zip(wanted, seconds, strict=True):
        folder = run.folder.name
        needs = [last[folder]] if folder in last else []
        teacher = f"{run.before.folder.name} {params.BASELINE}" if run.before else ""
        needs += [teacher] if chapter == params.BASELINE and teacher in names else []
        last[folder] = f"{folder} {chapter}"
        found.append(Step(last[folder], takes, tuple(needs), cluster.is_timed(chapter)))
    return found


def makespan_s(steps: Sequence[Step], nodes: int, overhead_s: float = OVERHEAD_S) -> float:
    """Return the seconds from the first step's begin to the last one's end; what is first in ``steps`` goes first.

    ValueError: no node, or steps that wait for each other or for one that is not there.
    """
    if nodes < 1:
        raise ValueError(f"there are {nodes} nodes; give at least 1")
    waiting, done, now = list(steps), set(), 0.0
    running: list[tuple[float, int, int, Step]] = []  # until when, in which place, on which node
    load = [0] * nodes  # how many shares of a node are taken, of `SHARING`
    while waiting or running:
        for step in [each for each in waiting if done.issuperset(each.needs)]:
            share = SHARING if step.alone else 1
            # A step that shares goes where others share already, so that nodes stay whole for those that do not.
            fits = [i for i in range(nodes) if load[i] + share <= SHARING]
            if fits:
                node = max(fits, key=lambda i: load[i])
                load[node] += share
                waiting.remove(step)
                heapq.heappush(running, (now + step.seconds + overhead_s, len(waiting), node, step))
        if not running:
            raise ValueError(f"{waiting[0].name} waits for what never ends: {', '.join(waiting[0].needs)}")
        now, _, node, step = heapq.heappop(running)
        load[node] -= SHARING if step.alone else 1
        done.add(step.name)
    return now


def efficiency(steps: Sequence[Step], nodes: int, overhead_s: float = OVERHEAD_S) -> float:
    """Return which share of the nodes' time went into the steps' own seconds: 1 where no node ever waits."""
    return sum(step.seconds for step in steps) / (nodes * makespan_s(steps, nodes, overhead_s))


def told(steps: Sequence[Step], nodes: Sequence[int]) -> list[str]:
    """Return a line for each number of nodes: how long it takes, and which share of their time is worked."""
    return [
        f"on {count} {'node' if count == 1 else 'nodes'} {about(makespan_s(steps, count))}, "
        f"of which the chapters work {efficiency(steps, count):.0%}"
        for count in nodes
    ]


def made_up(runs: int, chapters: Mapping[str, float]) -> list[Step]:
    """Return the steps of a sweep of so many like runs, each of ``chapters`` (name: seconds) one after another."""
    found = []
    for run in range(runs):
        names = [f"run {run} {chapter}" for chapter in chapters]
        for i, (chapter, seconds) in enumerate(chapters.items()):
            found.append(Step(names[i], seconds, tuple(names[i - 1 : i]) if i else (), cluster.is_timed(chapter)))
    return found
