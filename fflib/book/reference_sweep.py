"""Reference sweeps: the tables of a finished sweep and the numbers of its runs kept for git, and read again.

python -m fflib.book.reference_sweep --sweep superglue     writes outputs/reference/superglue

What holds of a reference (`reference`) holds of each run here, but that no notebook of it is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fflib.book import reference
from fflib.data import splits
from fflib.data.splits import Split
from fflib.files import InputError, shown
from fflib.runs import cli, params, records, sweep_plan
from fflib.runs.params import Run
from fflib.runs.sweep_plan import Sweep

ABOUT = "sweep.json"
TABLES = ("tables.csv", "tables.md")
FIGURE = "tables"


@dataclass(frozen=True)
class ReferenceSweep:
    """A kept sweep. ``rows`` hold the columns of `tables.COLUMNS`, ``text`` both tables and the notes on them."""

    name: str
    about: dict[str, Any]  # runs, size, note, seconds of each run's chapters, written
    rows: pd.DataFrame
    text: str


def keep(
    sweep: Sweep,
    splits_of: Callable[[Run], Sequence[Split]],
    note: str = "",
    folder: Path | None = None,
) -> Path:
    """Keep a finished sweep as the reference of its name and return its folder; all of it or nothing.

    Args:
        splits_of: returns a run's train, dev and test without a limit, of which no text may be in what is kept.
        note: one sentence that readers need beside the numbers.

    Raises:
        InputError: a run or the tables are missing, were made with other code or in another order, or as in
            `reference.keep`.
    """
    closing = sweep.closing.folder
    record = records.current(closing, params.TABLES)
    contents: dict[str, str | bytes] = {}
    for run in sweep.runs:
        own = reference.contents_of(run.folder, splits_of(run), note, run.hardware, notebooks=False)
        contents |= {f"{run.folder.name}/{path}": content for path, content in own.items()}
    lacking = any(row["status"] != "ok" for row in record["facts"]["rows"] if row["run"])
    if lacking or sweep_plan.went_on(sweep):
        raise InputError(f"the tables of {sweep.name} lack a run; make them again: make sweep SWEEP={sweep.name}")
    seconds = {run.folder.name: round(_seconds(run, params.chapters())) for run in sweep.runs}
    seconds |= {run.folder.name: round(_seconds(run, [params.BASELINE])) for run in params.before(sweep.runs)}
    about = {"runs": [run.folder.name for run in sweep.runs], "size": sweep.closing.size, "note": note}
    about |= {"seconds": seconds}
    contents[ABOUT] = json.dumps(about | {"written": record["written"]}, indent=1) + "\n"
    contents |= {name: (closing / name).read_text(encoding="utf-8") for name in TABLES}
    contents[f"figures/{FIGURE}.png"] = reference.figure(closing, FIGURE)
    return reference.write(contents, sweep.name, folder or reference.REFERENCES)


def _seconds(run: Run, chapters: Sequence[str]) -> float:
    """Sum what chapters of a run took, trainings only where they were not there already."""
    return sum(records.current(run.folder, chapter)["seconds"] for chapter in chapters)


def names(folder: Path) -> list[str]:
    """Name the reference sweeps there are."""
    return sorted(path.parent.name for path in folder.glob(f"[!.]*/{ABOUT}"))


def read(name: str, folder: Path) -> ReferenceSweep:
    """Read a reference sweep. InputError: it is missing or damaged."""
    here = folder / name
    try:
        about = json.loads((here / ABOUT).read_text(encoding="utf-8"))
        rows, text = pd.read_csv(here / TABLES[0]), (here / TABLES[1]).read_text(encoding="utf-8")
        return ReferenceSweep(name, {"note": about["note"], "runs": about["runs"]} | about, rows, text)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"the reference sweep {name!r} is missing or damaged in {shown(folder)}; keep it again"
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; what the user can mend is one sentence on stderr and status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m fflib.book.reference_sweep", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--sweep", required=True, help="a file in params/sweeps")
    parser.add_argument("--note", default="", help="a sentence that stands beside the numbers")
    parser.add_argument("--size", default="")
    parser.add_argument("--hardware", default="")
    options = parser.parse_args(arguments)

    def splits_of(run: Run) -> list[Split]:
        values = run.chapter_values(params.BASELINE)
        return [splits.load_split(values["task"], split, values["data_source"], None) for split in splits.SPLITS]

    def keep_sweep() -> None:
        sweep = sweep_plan.load(options.sweep, options.size, options.hardware)
        print(f"kept: {shown(keep(sweep, splits_of, options.note))}")

    return cli.ended(keep_sweep)


if __name__ == "__main__":
    sys.exit(main())
