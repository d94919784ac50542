"""Where the seconds of a book went: by chapter and by kind, and which cells took longest.

python -m fflib.book.profile --run docs-cpu                      prints both tables
python -m fflib.book.profile --run docs-cpu --size smoke --keep  keeps the first, for the estimates of other machines
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fflib import spent
from fflib.book.life import headings
from fflib.files import InputError, shown, write_json
from fflib.runs import cli, params, records, times

RENDERING, UNTOLD = "rendering", "not told apart"  # by a record from before the kinds were counted
COLUMNS = (spent.START, *spent.KINDS, RENDERING, spent.REST, UNTOLD)
OPENS = ".open("  # in the cell that imports and opens the bench

Seconds = Mapping[str, float]


def by_chapter(folder: Path) -> dict[str, dict[str, float]]:
    """Return the seconds of each chapter of a run by kind, and of its rendering.

    Of a record without kinds the executed notebook, where it still has the times of its cells, tells the start from the
    rest. InputError: the folder holds no record.
    """
    found = {record["chapter"]: _by_kind(folder, record) for record in records.readable(folder).values()}
    if not found:
        raise InputError(f"{shown(folder)} holds no chapter's result yet; run the book first (make book)")
    rendering = folder / times.BOOK / times.SECONDS
    if rendering.exists():
        found[times.BOOK] = {RENDERING: float(rendering.read_text())}
    return found


def _by_kind(folder: Path, record: Mapping[str, Any]) -> dict[str, float]:
    if record.get("seconds_by_kind"):
        return dict(record["seconds_by_kind"])
    notebook = _notebook(folder / f"{record['chapter']}.ipynb")
    whole_s = notebook.get("metadata", {}).get("papermill", {}).get("duration")
    if not whole_s:
        return {UNTOLD: float(record.get("seconds", 0.0))}
    durations = [(_source(cell), _seconds(cell)) for cell in notebook["cells"]]
    opens = next((i for i, (source, _) in enumerate(durations) if OPENS in source), -1)
    work_s = sum(seconds for _, seconds in durations[opens + 1 :])
    return {spent.START: round(whole_s - work_s, 1), UNTOLD: round(work_s, 1)}


def table(seconds: Mapping[str, Seconds]) -> str:
    """Return a table of whole seconds: a row for each chapter and their sum, a column for each kind there is."""
    frame = pd.DataFrame.from_dict(seconds, orient="index").reindex(columns=list(COLUMNS)).dropna(axis=1, how="all")
    frame["all"] = frame.sum(axis=1)
    frame.loc["all"] = frame.sum()
    rows = frame.map(lambda value: "" if pd.isna(value) else f"{value:.0f}")
    return str(rows.to_markdown(disable_numparse=True, colalign=["left", *["right"] * len(frame.columns)]))


def slowest(folder: Path, count: int) -> str:
    """Return a table of the cells that took longest, by their section; '' where no notebook has times."""
    rows = []
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        cells = _notebook(path).get("cells", [])
        heading = headings([{**cell, "source": _source(cell)} for cell in cells])
        rows += [
            {"chapter": path.stem, "section": heading[_source(cell)], "begins": _source(cell).splitlines()[0][:60],
             "seconds": f"{_seconds(cell):.0f}"}
            for cell in cells
            if cell["cell_type"] == "code" and _seconds(cell)
        ]  # fmt: skip
    rows.sort(key=lambda row: -int(row["seconds"]))
    return str(pd.DataFrame(rows[:count]).to_markdown(index=False, disable_numparse=True)) if rows else ""


def keep(folder: Path, kept: Path) -> Path:
    """Write a run's seconds, its size and machine into the table in ``kept`` and return that file.

    InputError: a chapter of the book has not run.
    """
    found = [*records.readable(folder).values()]
    there = {record["chapter"] for record in found}
    if lacking := sorted({*(params.ON_CARD if params.CARD in there else params.chapters())} - there):
        raise InputError(f"{shown(folder)} lacks {lacking[0]}; run the whole book first (make book)")
    last = max(found, key=lambda record: record["written"])
    machine = {name: last["machine"].get(name) for name in times.ALIKE}
    entry = {"size": last["parameters"]["size"], "machine": machine, "written": last["written"]}
    path = kept / times.TABLE
    write_json(path, times.table(kept) | {folder.name: entry | {"seconds": by_chapter(folder)}})
    return path


def _notebook(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _source(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])


def _seconds(cell: Mapping[str, Any]) -> float:
    return cell["metadata"].get("papermill", {}).get("duration") or 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; what the user can mend is one sentence on stderr and status 2."""
    parser = argparse.ArgumentParser(prog="python -m fflib.book.profile", description=(__doc__ or "").splitlines()[0])
    params.add_run_options(parser)
    parser.add_argument("--cells", type=int, default=10, help="how many of the slowest cells to show")
    parser.add_argument("--keep", action="store_true", help=f"keep the seconds in {shown(times.KEPT / times.TABLE)}")
    options = parser.parse_args(arguments)

    def show() -> None:
        folder = params.run_of(options).folder
        kept = times.KEPT / folder.name
        here = folder if records.readable(folder) or not kept.is_dir() else kept
        print(f"seconds of {shown(here)}\n\n{table(by_chapter(here))}")
        if cells := slowest(here, options.cells):
            print(f"\n{cells}")
        if options.keep:
            print(f"\nkept: {shown(keep(folder, times.KEPT))}")

    return cli.ended(show)


if __name__ == "__main__":
    sys.exit(main())
