"""Reference results: a finished run kept for git, small and without dataset text or paths, and read again.

python -m fflib.book.reference --run docs-cpu     writes outputs/reference/docs-cpu

(Longer than 200 lines: what is kept, what is cut, and what is refused are one contract.)
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from PIL import Image

from fflib.book import glossary, redaction
from fflib.book.redaction import IMAGE
from fflib.data import registry
from fflib.data import splits as data
from fflib.data.splits import Split
from fflib.files import ROOT, InputError, shown, swapped_in
from fflib.runs import cli, params, records
from fflib.runs import ladder as rungs
from fflib.runs import run_folder as sides
from fflib.runs.params import BASELINE
from fflib.runtime import peers_table
from fflib.story import factors, headline_told

REFERENCES = ROOT / "outputs" / "reference"
MAIN = "docs-cpu"  # the reference whose ladder README shows
STORY = "09_story"
MAX_BYTES = 3_000_000
# Of the story, for pages outside the notebooks; those of other chapters are in the notebooks alone.
FIGURES = ("ladder", "waterfall", "accuracy_against_speed", "leave_one_out", "latency", "limits")
CARD_FIGURES = ("card_ladder", "card_batches")  # of a run on a graphics card, which has no story
SIGNIFICANT_DIGITS = 6
COLOURS = 256
PREFERRED = ("text/markdown", IMAGE)  # what a page shows of an output that comes in several kinds


@dataclass(frozen=True)
class Reference:
    """A kept run. Its numbers are those of the machine that ``about`` names, and of the code of that day."""

    name: str
    about: dict[str, Any]  # run, size, hardware, task, note, written, machine, data_fingerprint, seeds, n_train ...
    ladder: pd.DataFrame  # the columns of `ladder.COLUMNS`
    records: list[dict[str, Any]]  # the results of the chapters, as `records.current` returns them

    @property
    def headline(self) -> headline_told.Fact | None:
        """What the run's story measured against both baselines; None: it is of code that multiplied steps."""
        return headline_told.of_records(self.records)

    def way(self) -> pd.DataFrame:
        """Return both baselines and the rungs that lead to the run's last choice, which is the last row."""
        measured = [each for each in self.records if each["chapter"] < STORY or each["chapter"] == params.CARD]
        stack = rungs.stack(self.ladder, factors.last_rung(measured))
        stack[1:1] = [rungs.UNPADDED] if rungs.UNPADDED not in stack else []
        return self.ladder.set_index("rung", drop=False).loc[stack]


def keep(
    run_folder: Path,
    name: str,
    splits: Sequence[Split],
    note: str = "",
    hardware: str = "",
    folder: Path = REFERENCES,
    notebooks: bool = True,
) -> Path:
    """Keep a finished run as the reference ``name`` and return its folder; an old one is replaced whole or not at all.

    Args:
        splits: all of train, dev and test of the run's task, without a limit: no text of theirs may be in what is kept.
        note: one sentence that readers need beside the numbers, such as that the data are a subset.
        hardware: the name of the run's file in params/hardware.
        notebooks: keep them too; without them its numbers alone, of which other runs' chapters make their tables.

    Raises:
        InputError: a chapter is missing or was made with other code, a text of ``splits`` shows, or it is too large.
    """
    return write(contents_of(run_folder, splits, note, hardware, notebooks), name, folder)


def contents_of(
    run_folder: Path, splits: Sequence[Split], note: str = "", hardware: str = "", notebooks: bool = True
) -> dict[str, str | bytes]:
    """Return what is kept of a run by path: text as str, images as bytes. Without ``notebooks``: its numbers alone.

    InputError as in `keep`, but for the size.
    """
    on_card = records.path_of(run_folder, params.CARD).exists()
    kept = [records.current(run_folder, chapter) for chapter in (params.ON_CARD if on_card else params.chapters())]
    records.all_current(run_folder)  # refuses chapters that saw different data
    contents = _contents(run_folder, kept, _about(kept, splits, note, hardware), notebooks)
    redaction.refuse_leaks(contents, splits)
    return contents


def write(contents: Mapping[str, str | bytes], name: str, folder: Path = REFERENCES) -> Path:
    """Write the files ``contents`` as the reference ``name``, whole or not at all; see `keep`."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"{name!r} cannot name a reference; take letters, digits, '-', '_' and '.' only")
    size = sum(len(content if isinstance(content, bytes) else content.encode()) for content in contents.values())
    if size > MAX_BYTES:
        limit = f"more than {MAX_BYTES / 1e6:.0f} MB"
        raise InputError(f"the reference would take {size / 1e6:.1f} MB, {limit}; keep its numbers alone (--numbers)")
    with swapped_in(folder / name) as new:
        for path, content in contents.items():
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (new / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def names(folder: Path = REFERENCES) -> list[str]:
    """Name the references there are."""
    return sorted(path.parent.name for path in folder.glob("[!.]*/about.json"))


def read(name: str, folder: Path = REFERENCES) -> Reference:
    """Read a reference; it may be of another machine and of older code. InputError: it is missing or damaged."""
    there = names(folder)
    others = ", ".join(other for other in there if other != name) or "no others"
    if name not in there:
        raise InputError(f"there is no reference {name!r} in {shown(folder)}; there are {others}")
    try:
        about = json.loads((folder / name / "about.json").read_text(encoding="utf-8"))
        side = sides.load(folder / name)
        reference = Reference(name, about, side.ladder, side.records)
        is_whole = about["machine"]["cpu"] and len(reference.way())
    except (InputError, OSError, ValueError, LookupError, TypeError):  # whatever a file lacks or holds too much
        is_whole = False
    if not is_whole:
        raise InputError(f"the reference {name!r} is damaged; keep it again or take another: there are {others}")
    return reference


def instead_of(run: str, folder: Path = REFERENCES) -> Reference:
    """Return what stands for a run that was not made here: its reference if that has the story, else that of `MAIN`."""
    own = read(run, folder) if run in names(folder) else None
    is_of_this_book = own and STORY in {record["chapter"] for record in own.records}
    return own if is_of_this_book else read(MAIN, folder)


def record_of(records: Sequence[Mapping[str, Any]], chapter: str) -> Mapping[str, Any]:
    """Return the record of a chapter."""
    return next(record for record in records if record["chapter"] == chapter)


def _about(records: list[dict[str, Any]], splits: Sequence[Split], note: str, hardware: str) -> dict[str, Any]:
    baseline = record_of(records, BASELINE)
    parameters = baseline["parameters"]
    task = registry.get_task(parameters["task"]).name
    sizes = {split.name: len(split) for split in splits if split.task == task}
    if set(sizes) != set(data.SPLITS):
        raise InputError(f"the run is on {task}; give its splits {', '.join(data.SPLITS)}, so that leaks can be found")
    counts = {f"n_{name}": min(parameters[f"n_{name}"] or size, size) for name, size in sizes.items()}  # 0: all
    return {
        "run": parameters["run"],
        "size": parameters["size"],
        "hardware": hardware,
        "task": task,
        "note": note,
        "written": max(record["written"] for record in records),
        "machine": baseline["machine"],
        "data_fingerprint": baseline["facts"]["data_fingerprint"],
        "seeds": parameters["seeds"],
        **counts,
    }


def _contents(
    run_folder: Path, records: list[dict[str, Any]], about: dict[str, Any], notebooks: bool
) -> dict[str, str | bytes]:
    sources = {record["parameters"].get("data_source") for record in records} - {None, "auto", "hub"}
    without_paths = redaction.path_remover(run_folder, sources)
    contents: dict[str, str | bytes] = {
        "about.json": json.dumps(_slim(about, without_paths), indent=1, ensure_ascii=False) + "\n"
    }
    for name in ("ladder.csv", "ladder.md"):
        contents[name] = without_paths(_present(run_folder / name).read_text(encoding="utf-8"))
    if race := _race(run_folder, records):
        contents[peers_table.FILE] = json.dumps(_slim(race, without_paths), indent=1, ensure_ascii=False) + "\n"
    for record in records:
        chapter, slim = record["chapter"], _slim(record, without_paths)
        contents[f"results/{chapter}.json"] = json.dumps(slim, separators=(",", ":"), ensure_ascii=False) + "\n"
        if notebooks:
            contents[f"{chapter}.ipynb"] = _notebook(_present(run_folder / f"{chapter}.ipynb"), without_paths)
    if notebooks:
        told = FIGURES if records[-1]["chapter"] != params.CARD else CARD_FIGURES
        contents |= {f"figures/{name}.png": figure(run_folder, name) for name in told}
        contents[glossary.FILE.name] = glossary.FILE.read_text(encoding="utf-8")  # which they link to
    return contents


def _race(run_folder: Path, records: Sequence[Mapping[str, Any]]) -> peers_table.Record | None:
    """Return the race of engines on this very run; None: there was none. InputError: it is damaged, or of another."""
    race = peers_table.read(run_folder / peers_table.FILE)
    written = [record["written"] for record in records if record["chapter"] == peers_table.CHAPTER]
    if race and race["run_written"] not in written:
        command = peers_table.COMMAND.format(run=race["run"])
        raise InputError(
            f"{peers_table.FILE} is of another time this run was made; remove it, or race again: {command}"
        )
    return race


def figure(run_folder: Path, name: str) -> bytes:
    """Return a figure that a run left, as a small PNG. InputError: it is missing or damaged."""
    path = _present(run_folder / "figures" / f"{name}.png")
    return _recompressed(path.read_bytes(), path)


def _present(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{shown(path)} is missing; run the book again (make book)")
    return path


def _slim(value: Any, without_paths: Callable[[str], str]) -> Any:
    """Round the floats of JSON and change its strings; images stay."""
    if isinstance(value, Mapping):
        return {without_paths(key): item if key == IMAGE else _slim(item, without_paths) for key, item in value.items()}
    if isinstance(value, list):
        return [_slim(item, without_paths) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return without_paths(value) if isinstance(value, str) else value


def _notebook(path: Path, without_paths: Callable[[str], str]) -> str:
    """Return an executed notebook without progress bars, times and duplicates, and with small figures."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises whatever its parts raise
        raise InputError(f"{shown(path)} is no readable notebook; remove it and run the book again") from error
    _drop(notebook.metadata, "papermill", "widgets")
    for cell in notebook.cells:
        _drop(cell.metadata, "papermill", "execution")
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.get("outputs", []):
            shown_kinds = [kind for kind in PREFERRED if kind in output.get("data", {})]
            if shown_kinds:
                output.data = {kind: output.data[kind] for kind in shown_kinds}
            if IMAGE in shown_kinds:
                output.data[IMAGE] = b64encode(_recompressed(b64decode(output.data[IMAGE]), path)).decode()
    return nbformat.writes(nbformat.from_dict(_slim(notebook, without_paths))) + "\n"


def _drop(metadata: dict[str, Any], *keys: str) -> None:
    for key in keys:
        metadata.pop(key, None)


def _recompressed(png: bytes, path: Path) -> bytes:
    """Return a PNG with a palette, on white where it was transparent; as it was where that is smaller."""
    try:
        image = Image.open(io.BytesIO(png)).convert("RGBA")
    except OSError as error:
        raise InputError(f"a figure of {shown(path)} is damaged; run the book again") from error
    on_white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    small = io.BytesIO()
    on_white.quantize(COLOURS, dither=Image.Dither.NONE).save(small, format="PNG", optimize=True)
    return min(small.getvalue(), png, key=len)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; what the user can mend is one sentence on stderr and status 2."""
    parser = argparse.ArgumentParser(prog="python -m fflib.book.reference", description=(__doc__ or "").splitlines()[0])
    params.add_run_options(parser)
    parser.add_argument("--as", dest="name", default="", help="the reference's name; empty: the run's folder")
    parser.add_argument("--note", default="", help="a sentence that stands beside the numbers")
    parser.add_argument("--numbers", action="store_true", help="keep its numbers alone, without its notebooks")
    options = parser.parse_args(arguments)

    def keep_run() -> None:
        run = params.run_of(options)
        values = run.chapter_values(BASELINE)
        splits = [data.load_split(values["task"], split, values["data_source"], None) for split in data.SPLITS]
        name, notebooks = options.name or run.folder.name, not options.numbers
        kept = keep(run.folder, name, splits, options.note, run.hardware, REFERENCES, notebooks)
        print(f"kept: {shown(kept)}")

    return cli.ended(keep_run)


if __name__ == "__main__":
    sys.exit(main())
