"""The page "On a cluster": what to copy and type there, and how long the sweep takes on how many nodes.

The seconds are the same estimates as `make plan` gives, from records; how they fall onto nodes is `fflib.book.farm`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fflib.book import farm
from fflib.book.farm import Step
from fflib.book.pages import cluster_figure
from fflib.book.pages.sources import Book, Missing, template
from fflib.runs import params, sweep_plan, times
from fflib.runs.times import about

FIGURE = "cluster"
SWEEP, MANY = "superglue", 10  # the sweep of the figure; so many runs of ten chapters are a hundred jobs
NODES = (1, 2, 4, 8, 16)
SHOWN = (1, 2, 4, 8)  # in the table
KEPT = "cluster.json"  # in `times.KEPT`, from tests/measure_cluster.py


def page_of(book: Book, figures: Path) -> str:
    """Return the page as Markdown, and write its figure into ``figures``. Missing: no record tells of a chapter."""
    sweep = sweep_steps()
    many = farm.made_up(MANY, mean_run(sweep))
    kept = measured()
    lines = {
        f"{SWEEP}: {count_runs(sweep)} runs, {len(sweep)} jobs": {n: farm.efficiency(sweep, n) for n in NODES},
        f"{MANY} like runs, {len(many)} jobs": {n: farm.efficiency(many, n) for n in NODES},
    }
    if kept:
        steps, overhead_s = small_sweep(kept)
        points = {int(n): farm.efficiency(steps, int(n), overhead_s) for n in kept["seconds"]}
        lines[f"the small sweep that was measured, {len(steps)} jobs"] = points
    figure = cluster_figure.efficiency(lines, efficiency_measured(kept), NODES, caption=caption())
    figures.mkdir(parents=True, exist_ok=True)
    figure.savefig(figures / f"{FIGURE}.png", dpi=150)
    return template("cluster").format(figure=FIGURE, table=table(sweep, many), check=check_words(kept))


def sweep_steps() -> list[Step]:
    """Return the steps of the whole sweep with the seconds that records tell. Missing: none tells of one of them."""
    runs = sweep_plan.load(SWEEP).runs
    wanted = [(run, params.BASELINE) for run in params.before(runs)]
    wanted += [(run, chapter) for run in runs for chapter in (*sweep_plan.order(), times.BOOK)]
    guesses = times.estimates(wanted, times.here(), [run.folder.name for run in runs])
    if unknown := [chapter for (_, chapter), guess in zip(wanted, guesses, strict=True) if not guess]:
        raise Missing(f"no record tells how long {unknown[0]} takes")
    return farm.steps_of(wanted, [guess.seconds for guess in guesses if guess])


def count_runs(steps: list[Step]) -> int:
    """Count the runs of which there is a whole book among the steps."""
    return sum(step.name.endswith(f" {times.BOOK}") for step in steps)


def mean_run(steps: list[Step]) -> dict[str, float]:
    """Return the mean seconds of each chapter of a book, the rendering left out."""
    found: dict[str, list[float]] = {}
    for step in steps:
        found.setdefault(step.name.partition(" ")[2], []).append(step.seconds)
    return {chapter: sum(found[chapter]) / len(found[chapter]) for chapter in sweep_plan.order()}


def measured() -> dict[str, Any]:
    """Read what `tests/measure_cluster.py` kept; {} where it kept nothing."""
    try:
        return json.loads((times.KEPT / KEPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def small_sweep(kept: Mapping[str, Any]) -> tuple[list[Step], float]:
    """Return the steps of the sweep that was measured, and what each paid besides its seconds on the fewest nodes."""
    steps = farm.made_up(kept["runs"], kept["chapters"] | {times.BOOK: kept["book_s"]})
    fewest = min(kept["seconds"], key=int)
    low, high = 0.0, float(kept["seconds"][fewest])
    for _ in range(40):  # the longer each step's overhead, the longer the whole
        middle = (low + high) / 2
        is_longer = farm.makespan_s(steps, int(fewest), middle) > kept["seconds"][fewest]
        low, high = (low, middle) if is_longer else (middle, high)
    return steps, low


def efficiency_measured(kept: Mapping[str, Any]) -> dict[int, float]:
    """Return which share of so many virtual nodes' time the chapters of the measured sweep worked."""
    if not kept:
        return {}
    work_s = kept["runs"] * (sum(kept["chapters"].values()) + kept["book_s"])
    return {int(nodes): work_s / (int(nodes) * seconds) for nodes, seconds in kept["seconds"].items()}


def check_words(kept: Mapping[str, Any]) -> str:
    """Say how far the simulation was off where a sweep really ran; a sentence that nothing was measured, if so."""
    if not kept:
        return "No sweep on several nodes is kept with this book, so the lines are simulated only."
    steps, overhead_s = small_sweep(kept)
    fewest = min(kept["seconds"], key=int)
    pairs = [
        f"{about(farm.makespan_s(steps, int(n), overhead_s))} and {about(seconds)} on {n} nodes"
        for n, seconds in kept["seconds"].items()
        if n != fewest
    ]
    where = f"{fewest} {'node' if fewest == '1' else 'nodes'}"
    return (
        f"The grey marks were measured: a sweep of {kept['runs']} runs, whose chapters only wait, on a real Slurm of "
        f"virtual nodes that share one busy machine. There each job paid {overhead_s:.0f} seconds besides its own, by "
        f"the time on {where}. With that the simulation says, and the clock said: {'; '.join(pairs)}."
    )


def caption() -> str:
    """Say below the figure where its seconds come from."""
    return f"simulated from the records that make plan uses; {farm.OVERHEAD_S:.0f} s of each job for the handing over"


def table(sweep: list[Step], many: list[Step]) -> str:
    """Return a Markdown table: how long both sweeps take on so many nodes."""
    rows = [
        f"| {n} | {about(farm.makespan_s(sweep, n))} | {farm.efficiency(sweep, n):.0%} | "
        f"{about(farm.makespan_s(many, n))} | {farm.efficiency(many, n):.0%} |"
        for n in SHOWN
    ]
    head = f"| nodes | {SWEEP} takes | of it, work | {MANY} like runs take | of it, work |"
    return "\n".join([head, "|--:|:--|--:|:--|--:|", *rows])
