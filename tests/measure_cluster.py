"""Measure how much of its nodes' time a sweep uses, on virtual nodes of a real Slurm, and keep it for the book's page.

python tests/measure_cluster.py      ten minutes, on a quiet machine; writes outputs/reference/cluster.json

The chapters only wait, so that nodes which share this machine's processors do not slow each other down. Measured is
what comes besides the chapters: the queue, snakemake's start on the node, and the time until its end is seen.
"""

from __future__ import annotations

import platform
import tempfile
import time
from pathlib import Path

import small_cluster
import virtual_slurm
from small_cluster import Sweep

from fflib.book import farm
from fflib.files import ROOT, write_json
from fflib.measure import hardware

CHAPTERS = {"01_baseline": 60.0}  # seconds
BOOK_S = 5.0
RUNS = 4
NODES = (1, 2, 4)
KEPT = ROOT / "outputs" / "reference" / "cluster.json"


def measured(folder: Path, project: Path) -> dict[str, float]:
    """Return the seconds that the sweep takes, by the number of nodes."""
    found = {}
    for nodes in NODES:
        outputs = folder / f"o{nodes}"
        outputs.mkdir()
        for name, seconds in (CHAPTERS | {"book": BOOK_S}).items():
            (outputs / f"seconds {name}").write_text(str(seconds))
        with virtual_slurm.started(folder / f"s{nodes}", nodes) as cluster:
            began = time.perf_counter()
            status, said = Sweep(project, "four", outputs, cluster).end()
            assert status == 0, said
            found[str(nodes)] = round(time.perf_counter() - began, 1)
            print(nodes, found[str(nodes)], flush=True)
    return found


def main() -> None:
    small_cluster.PATIENCE_S = 3000
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="vm") as name:
        folder = Path(name)
        folder.chmod(0o755)
        project = small_cluster.copied(folder / "p", {name: [] for name in CHAPTERS})
        seconds = measured(folder, project)
    sweep = farm.made_up(RUNS, CHAPTERS | {"book": BOOK_S})
    by_hand = {count: round(farm.makespan_s(sweep, int(count), 0), 1) for count in seconds}
    card = {name: hardware.card()[name] for name in ("cpu", "cores_available")}
    about = {"chapters": CHAPTERS, "book_s": BOOK_S, "runs": RUNS, "machine": card, "python": platform.python_version()}
    write_json(KEPT, about | {"seconds": seconds, "without_overhead_s": by_hand})


if __name__ == "__main__":
    main()
