"""README's headline and its tables: what stands between its two pairs of markers is made from the reference results.

The headline, a figure and a sentence, belongs to the first screen; the ladder and the tables stand further below.

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
from fflib.story import bill, headline_told
from fflib.story.factors import AGAINST

README = ROOT / "README.md"
HEADLINE_BEGIN, HEADLINE_END = "<!-- headline:begin -->", "<!-- headline:end -->"
BEGIN, END = "<!-- ladder:begin -->", "<!-- ladder:end -->"
TEACHER, FAST_TEACHER = AGAINST[3:5]


def headline(reference: Reference) -> str:
    """Return what README's first screen shows of ``reference``: the figure of its ladder, and what it says."""
    figure = f"{shown(REFERENCES)}/{reference.name}/figures/ladder.png"
    alt = f"The ladder of {reference.name}: a bar for each rung, its speed-up over the padded reference"
    way, machine = reference.way(), reference.about["machine"]
    first, last = way.iloc[0], way.iloc[-1]
    padded, unpadded = (_factor(reference, last, *each) for each in (("padded", AGAINST[0]), ("unpadded", AGAINST[1])))
    sentence = (
        f"The classifier at the end of this book is **{padded}** as fast as a stock `{first['model']}` that pads every "
        f"request, and **{unpadded}** as fast as the same model without padding, measured on "
        f"{machine['cores_available']} cores of {machine['cpu']}, from tokens to answers."
    )
    told = " ".join(filter(None, (sentence, _beside_teacher(reference), _kept_on_test(reference))))
    return f"![{alt}]({figure})\n\n{told}"


def _beside_teacher(reference: Reference) -> str:
    """Say how fast the last rung is beside its teacher, the model whose accuracy it keeps; '' where not measured."""
    against = reference.headline["against"] if reference.headline else {}
    found = {name: headline_told.factor_words(against[name]) for name in (TEACHER, FAST_TEACHER) if name in against}
    if TEACHER not in found:
        return ""
    teacher = record_of(reference.records, BASELINE)["facts"]["teacher"]
    name = f"`{teacher['name']}`" if "name" in teacher else "it"
    faster = f", and {found[FAST_TEACHER]} as fast as that teacher on ONNX Runtime" if FAST_TEACHER in found else ""
    return (
        f"The stock model was not trained for the task. The classifier's teacher was: beside {name} this one is "
        f"{found[TEACHER]} as fast{faster}."
    )


def _kept_on_test(reference: Reference) -> str:
    """Say what the last rung keeps of its teacher's score; '' where no story tells."""
    fact = _retention(reference)
    if not fact or fact["value"] is None:
        return ""
    guessed = f"; a constant answer would keep {fact['guessed']:.1%}" if "guessed" in fact else ""
    return (
        f"It keeps {retention.words(fact)} of its teacher's score on test texts, whose right answers no choice of the "
        f"run looked at{guessed}."
    )


def section(reference: Reference, further: Sequence[Reference] = (), sweeps: Sequence[ReferenceSweep] = ()) -> str:
    """Return README's results: the ladder of ``reference``, and folded a row for each further one.

    Of each sweep, folded too, its figure and its tables.
    """
    ladder = rungs.ladder_markdown(reference.way())
    told = headline_told.sentence(reference.headline)
    certificate = retention.certificate(_retention(reference))
    price = record_of(reference.records, BASELINE)["parameters"].get("usd_per_hour")
    dollars = bill.two_prices(price, reference.about["machine"]["cores_available"]) if price else ""
    parts = [f"{_measured(reference)} `make book` measures yours.", ladder, f"{told} {certificate}".strip()]
    parts += [dollars] if dollars else []
    if further:
        rows = pd.DataFrame([_summary(each) for each in further])
        table = rows.to_markdown(index=False, disable_numparse=True)
        origins = "\n".join(f"- {each.name}: {_measured(each)}" for each in further)
        parts += _folded("Other runs, each from its padded baseline to its last rung", table, origins)
    for sweep in sweeps:
        parts += _folded(f"All tasks of the sweep {sweep.name}, beside the paper's tables", *_tables(sweep))
    return "\n\n".join(parts)


def _folded(title: str, *parts: str) -> list[str]:
    """Put parts behind a title that opens them; GitHub and Markdown readers take HTML for that."""
    return [f"<details>\n<summary>{title}</summary>", *parts, "</details>"]


def _tables(sweep: ReferenceSweep) -> list[str]:
    minutes = sum(sweep.about["seconds"].values()) / 60
    note = f" {sweep.about['note'].rstrip('.')}." if sweep.about["note"] else ""
    multiplied = " Its factors are products of steps." * ("factors" not in sweep.rows)  # of code that measured none
    origin = f"All runs of `make sweep SWEEP={sweep.name}` ({sweep.about['size']} size, {minutes:.0f} minutes)."
    figure = f"{shown(REFERENCES)}/{sweep.name}/figures/{reference_sweep.FIGURE}.png"
    image = f"![By task: times as fast, and the accuracy kept]({figure})"
    return [origin + note + multiplied, image, sweep.text.strip()]


def write(readme: Path = README, folder: Path = REFERENCES) -> None:
    """Put the references' results between README's markers. InputError: no reference, or not one pair of each."""
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
    reference, others = read(main, folder), [read(name, folder) for name in there if name != main]
    text = readme.read_text(encoding="utf-8")
    text = _replaced(readme.name, text, (HEADLINE_BEGIN, HEADLINE_END), headline(reference))
    return _replaced(readme.name, text, (BEGIN, END), section(reference, others, sweeps))


def _replaced(name: str, text: str, markers: tuple[str, str], between: str) -> str:
    first, last = markers
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if text.count(first) != 1 or text.count(last) != 1 or not (begin and end):
        raise InputError(f"{name} needs one line {first} and below it one line {last}; mend it")
    return f"{before}{first}\n{between}\n{last}{after}"


def _measured(reference: Reference) -> str:
    """Say in a sentence where the numbers come from."""
    about, machine = reference.about, reference.about["machine"]
    versions = f"PyTorch {machine['versions']['torch']}, ONNX Runtime {machine['versions']['onnxruntime']}"
    run = f"run {about['run']}, task {about['task']}, size {about['size']}"
    note = f" {about['note'].rstrip('.')}." if about["note"] else ""
    cores = f"{machine['cores_available']} cores"
    if "device" in machine:
        cores += f" and {machine['device']['identity']['name']}"
    return f"Measured on {machine['cpu']}, {cores}: {run}, {about['written'][:10]}, {versions}.{note}"


def _kept(fact: retention.Fact | None) -> str:
    if not fact or fact["value"] is None:
        return ""
    return f"{fact['value']:.1%} ({fact['low']:.1%} to {fact['high']:.1%}, {retention.verdict_of(fact)})"


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
