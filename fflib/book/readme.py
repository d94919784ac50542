"""README's ladder and tables: what stands between its markers is made from the reference results.

python -m fflib.book.readme            writes it
python -m fflib.book.readme --check    says whether it is current
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fflib.book import reference_sweep
from fflib.book.reference import MAIN, REFERENCES, STORY, Reference, names, read, record_of
from fflib.book.reference_sweep import ReferenceSweep
from fflib.data import retention
from fflib.files import ROOT, InputError, shown, write_text
from fflib.runs import cli
from fflib.runs import ladder as rungs
from fflib.runs.params import BASELINE
from fflib.story import headline_told
from fflib.story.factors import AGAINST

README = ROOT / "README.md"
BEGIN, END = "<!-- ladder:begin -->", "<!-- ladder:end -->"


def section(reference: Reference, further: Sequence[Reference] = (), sweeps: Sequence[ReferenceSweep] = ()) -> str:
    """Return what README shows: the ladder of ``reference`` as figure and table, and one row for each further one.

    Of each sweep its figure and its tables.
    """
    figure = f"{shown(REFERENCES)}/{reference.name}/figures/ladder.png"
    alt = f"The ladder of {reference.name}: a bar a rung, speed-up against the padded reference"
    ladder = rungs.ladder_markdown(reference.way())
    told = headline_told.sentence(reference.headline)
    certificate = retention.certificate(_retention(reference))
    parts = [f"{_measured(reference)} `make book` measures yours.", told, f"![{alt}]({figure})", ladder]
    parts += [f"The last row: {certificate[0].lower()}{certificate[1:]}"] if certificate else []
    if further:
        rows = pd.DataFrame([_summary(each) for each in further])
        table = rows.to_markdown(index=False, disable_numparse=True)
        parts += ["Other runs, each from its padded baseline to its last rung:", table]
        parts += ["\n".join(f"- {each.name}: {_measured(each)}" for each in further)]
    parts += [part for sweep in sweeps for part in _tables(sweep)]
    return "\n\n".join(parts)


def _tables(sweep: ReferenceSweep) -> list[str]:
    minutes = sum(sweep.about["seconds"].values()) / 60
    note = f" {sweep.about['note'].rstrip('.')}." if sweep.about["note"] else ""
    multiplied = " Its factors are products of steps." * ("factors" not in sweep.rows)  # of code that measured none
    origin = f"All runs of `make sweep SWEEP={sweep.name}` ({sweep.about['size']} size, {minutes:.0f} minutes)."
    figure = f"{shown(REFERENCES)}/{sweep.name}/figures/{reference_sweep.FIGURE}.png"
    image = f"![By task: times as fast, and the accuracy kept]({figure})"
    return [origin + note + multiplied, image, sweep.text.strip()]


def write(readme: Path = README, folder: Path = REFERENCES) -> None:
    """Put the references' ladder between README's markers. InputError: no reference, or not one pair of markers."""
    write_text(readme, _with_section(readme, folder))


def is_current(readme: Path = README, folder: Path = REFERENCES) -> bool:
    """Say whether README shows what the references hold. InputError as in `write`."""
    return readme.read_text(encoding="utf-8") == _with_section(readme, folder)


def _with_section(readme: Path, folder: Path) -> str:
    there = names(folder)
    if not there:
        raise InputError(f"{shown(folder)} holds no reference yet; make one: python -m fflib.book.reference --run NAME")
    main = MAIN if MAIN in there else there[0]
    sweeps = [reference_sweep.read(name, folder) for name in reference_sweep.names(folder)]
    text_between = section(read(main, folder), [read(name, folder) for name in there if name != main], sweeps)
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if text.count(BEGIN) != 1 or text.count(END) != 1 or not (begin and end):
        raise InputError(f"{readme.name} needs one line {BEGIN} and below it one line {END}; mend it")
    return f"{before}{BEGIN}\n{text_between}\n{END}{after}"


def _measured(reference: Reference) -> str:
    """Say in a sentence where the numbers come from."""
    about, machine = reference.about, reference.about["machine"]
    versions = f"PyTorch {machine['versions']['torch']}, ONNX Runtime {machine['versions']['onnxruntime']}"
    run = f"run {about['run']}, task {about['task']}, size {about['size']}"
    note = f" {about['note'].rstrip('.')}." if about["note"] else ""
    cores = f"{machine['cores_available']} cores"
    return f"Measured on {machine['cpu']}, {cores}: {run}, {about['written'][:10]}, {versions}.{note}"


def _kept(fact: retention.Fact | None) -> str:
    if not fact or fact["value"] is None:
        return ""
    return f"{fact['value']:.1%} ({fact['low']:.1%} to {fact['high']:.1%}, {fact['verdict']})"


def _retention(reference: Reference) -> retention.Fact | None:
    """Return what the story says its last rung keeps on test; None: it is of older code, or is not there."""
    stories = [record["facts"] for record in reference.records if record["chapter"] == STORY]
    return stories[0].get("retention") if stories else None


def _summary(reference: Reference) -> dict[str, str]:
    last, teacher = reference.way().iloc[-1], record_of(reference.records, BASELINE)["facts"]["teacher"]
    return {
        "reference": reference.name,
        "task": reference.about["task"],
        "teacher accuracy": f"{teacher['accuracy']:.1%}",
        "final accuracy (95 %)": f"{last['accuracy']:.1%} ({last['accuracy_low']:.1%} to {last['accuracy_high']:.1%})",
        "retention": _kept(_retention(reference)) or rungs.kept_words(last["retention"]),
        "vs padded": _factor(reference, last, "padded", AGAINST[0]),
        "vs unpadded": _factor(reference, last, "unpadded", AGAINST[1]),
        "p50 ms": f"{last['latency_p50_ms']:.1f}",
    }


def _factor(reference: Reference, last: pd.Series, kind: str, against: str) -> str:
    """Write the measured factor of the last rung with its interval; of a run that measured none, what it is."""
    if reference.headline:
        return headline_told.factor_words(reference.headline["against"][against])
    return f"{last[f'speedup_vs_{kind}']:.1f}x, product of steps"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; every failure is one sentence on stderr and a non-zero status."""
    parser = argparse.ArgumentParser(prog="python -m fflib.book.readme", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, say whether it is current")
    check = parser.parse_args(arguments).check

    def act() -> int:
        if not check:
            write(README, REFERENCES)
        elif not is_current(README, REFERENCES):
            print("error: README.md is stale; write it anew: python -m fflib.book.readme", file=sys.stderr)
            return 1
        return 0

    return cli.ended(act)


if __name__ == "__main__":
    sys.exit(main())
