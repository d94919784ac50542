"""A run beside a reference run, the paper, or another machine's run, and what the two do not share.

python -m fflib.book.compare --run docs-cpu --with NAME    NAME: paper, a reference, another run, or a run's folder

(Longer than 200 lines: the command, both comparisons and their page.)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fflib.book import differences
from fflib.book.differences import SIDES
from fflib.book.reference import REFERENCES
from fflib.files import InputError, outputs_dir, resolve
from fflib.runs import cli, params
from fflib.runs.run_folder import Side, load
from fflib.story import fastformers, headline_told

SPEED = (("requests/s", "throughput_per_s", "{:.1f}"), ("p50 ms", "latency_p50_ms", "{:.1f}"))
FACTORS = (
    ("step", "speedup_step", "{:.2f}x"),
    ("vs padded", "speedup_vs_padded", "{:.1f}x"),
    ("vs unpadded", "speedup_vs_unpadded", "{:.1f}x"),
)
ACCURACY = (("accuracy", "accuracy", "{:.1%}"), ("USD/100M", "usd_per_100m", "{:.0f}"))
PAPER = "the paper: FastFormers (Kim and Hassan, 2020)"
PAPERS_HEADLINE = "The paper's factors are ratios of one table's seconds: the last row's, see below."
NO_SECONDS = (
    "The paper's seconds come from another machine, model and task, so requests/s and their ratio are left out: "
    "compare the factors, and steps only where both stack on the same rung."
)


@dataclass(frozen=True)
class Comparison:
    """What `compare` and `against_paper` found.

    Attributes:
        sides: one line that describes each side.
        rungs: one row for each rung in both: the ladder's columns with ``_here`` and ``_there``; for two runs also
            ``ratio`` (requests/s here over there), ``ratio_low``, ``ratio_high`` (of the ends of both 95 % intervals),
            ``points`` (accuracy here less there) and ``apart``, whether the intervals of accuracy do not overlap.
        only_here, only_there: rungs of one side.
        differences: kind, field, where (chapters or rungs; "": all that have the field), here, there.
        judgement: sentences on what may be compared.
        headlines: how many times as fast each side's last rung is, measured or multiplied.
    """

    sides: list[str]
    rungs: pd.DataFrame
    only_here: list[str]
    only_there: list[str]
    differences: pd.DataFrame
    judgement: list[str]
    headlines: list[str]


def compare(here: Side, there: Side) -> Comparison:
    """Set one run beside another; rungs are matched by name."""
    both = _with_intervals(here).merge(_with_intervals(there), on="rung", suffixes=("_here", "_there"))
    both["ratio"] = both["throughput_per_s_here"] / both["throughput_per_s_there"]
    both["ratio_low"] = both["low_per_s_here"] / both["high_per_s_there"]
    both["ratio_high"] = both["high_per_s_here"] / both["low_per_s_there"]
    both["points"] = 100 * (both["accuracy_here"] - both["accuracy_there"])
    worse, better = (both[f"accuracy_high_{a}"] < both[f"accuracy_low_{b}"] for a, b in (SIDES, SIDES[::-1]))
    both["apart"] = worse | better
    return Comparison(
        [_described(here), _described(there)],
        both,
        differences.missing(here.ladder["rung"], both["rung"]),
        differences.missing(there.ladder["rung"], both["rung"]),
        *_judged(here, there, both),
        [_headline(here), _headline(there)],
    )


def against_paper(here: Side) -> Comparison:
    """Set a run beside the paper's table: factors, and accuracy as a share of the first row's, its teacher's."""
    table = fastformers.table()
    names = {row.rung: row.rung_here or row.rung for row in table.itertuples()}
    there = table.assign(
        rung_there=table["rung"],
        rung=table["rung_here"],  # '' where there is none, which no rung of a ladder is named
        stacks_on=table["stacks_on"].replace(names),
        retention=table["accuracy"] / table["accuracy"].iloc[0],
    )
    both = here.ladder.merge(there, on="rung", suffixes=("_here", "_there"))
    only = [
        differences.missing(here.ladder["rung"], both["rung"]),
        differences.missing(table["rung"], both["rung_there"]),
    ]
    ground = differences.grouped("rungs", *differences.by_rung(both, ("stacks_on",)))
    headlines = [_headline(here), PAPERS_HEADLINE]
    return Comparison([_described(here), PAPER], both, *only, differences.table(ground), [NO_SECONDS], headlines)


def markdown(comparison: Comparison) -> str:
    """Render a comparison for a terminal or a page."""
    both = comparison.rungs
    parts = [_by_side(comparison.sides), "**Headline**", _by_side(comparison.headlines)]
    if both.empty:
        parts.append("No rung is in both.")
    elif "ratio" in both:
        ratio = _ranged(both, "{:.2f}", "ratio", "ratio_low", "ratio_high")
        accuracy = _pairs(both, ACCURACY)
        for side in SIDES:
            columns = [f"accuracy{end}_{side}" for end in ("", "_low", "_high")]
            accuracy[f"accuracy {side}"] = _ranged(both, "{:.1%}", *columns)
        accuracy["points"] = _cells(both["points"], "{:+.1f}")
        accuracy["intervals"] = ["apart" if row else "" for row in both["apart"]]
        parts += ["**Speed**", _rendered(both, _pairs(both, SPEED) | {"ratio of requests/s": ratio})]
        parts += ["**Factors**", _rendered(both, _pairs(both, FACTORS))]
        parts += ["**Accuracy (95 %) and cost**", _rendered(both, accuracy)]
    else:
        paired = _pairs(both, [*FACTORS, ("accuracy kept", "retention", "{:.1%}")])
        parts += ["**Factors**", _rendered(both, {"the paper's rung": both["rung_there"]} | paired)]
    for side, names in zip(SIDES, (comparison.only_here, comparison.only_there), strict=True):
        parts += [f"Only {side}: {'; '.join(names)}."] if names else []
    rows = [_line(*row) for row in comparison.differences.itertuples(index=False)]
    parts += [*comparison.judgement, "**What differs (here | there)**", "\n".join(rows or ["Nothing."])]
    return "\n\n".join(parts)


def _by_side(lines: Sequence[str]) -> str:
    return "\n".join(f"- {side}: {line}" for side, line in zip(SIDES, lines, strict=True))


def _headline(side: Side) -> str:
    return headline_told.plain(headline_told.of_records(side.records))


def _judged(here: Side, there: Side, both: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Say what differs and what that means; of speeds of the same code and machine, which are no chance."""
    found, judgement = differences.between(here, there, both)
    beyond = both.loc[(both["ratio_low"] > 1) | (both["ratio_high"] < 1), "rung"].tolist()
    if judgement == [differences.SAME] and beyond:
        return found, [differences.ANOTHER_DAY.format("; ".join(beyond))]
    return found, judgement


def _line(kind: str, field: str, where: str, here: str, there: str) -> str:
    return f"- {kind}, {field}{f' ({where})' if where else ''}: {here or 'none'} | {there or 'none'}"


def _with_intervals(side: Side) -> pd.DataFrame:
    """Add the 95 % interval of each rung's requests/s, which only the records hold."""
    found = {rung["rung"]: rung.get("evidence", {}) for record in side.records for rung in record["rungs"]}
    ends = [found.get(name, {}).get("throughput_interval_per_s") or (None, None) for name in side.ladder["rung"]]
    return side.ladder.join(pd.DataFrame(ends, side.ladder.index, ["low_per_s", "high_per_s"], dtype=float))


def _described(side: Side) -> str:
    def all_of(name: str, part: str) -> str:
        return differences.text(
            dict.fromkeys(differences.text(record[part][name]) for record in side.records if record[part].get(name))
        )

    return (
        f"{side.name}, task {all_of('task', 'parameters')}, size {all_of('size', 'parameters')}, "
        f"{all_of('cpu', 'machine')}, {all_of('cores_available', 'machine')} cores, "
        f"threads {differences.text(side.ladder['threads'].unique())}, {all_of('instruction_sets', 'machine')}, "
        f"{max(record['written'] for record in side.records)[:10]}, commit {all_of('commit', 'machine') or 'unknown'}"
    )


def _cells(column: pd.Series, pattern: str) -> list[str]:
    return ["" if pd.isna(value) else pattern.format(value) for value in column]


def _pairs(both: pd.DataFrame, columns: Sequence[tuple[str, str, str]]) -> dict[str, list[str]]:
    return {f"{title} {side}": _cells(both[f"{name}_{side}"], form) for title, name, form in columns for side in SIDES}


def _ranged(both: pd.DataFrame, pattern: str, *columns: str) -> list[str]:
    """Write a column of values with the columns of their lower and upper bounds, where these are known."""
    value, low, high = (_cells(both[name], pattern) for name in columns)
    return [f"{v} ({a} to {b})" if a and b else v for v, a, b in zip(value, low, high, strict=True)]


def _rendered(both: pd.DataFrame, columns: Mapping[str, list[str]]) -> str:
    table = pd.DataFrame({"rung": both["rung"], **columns})
    return table.to_markdown(index=False, disable_numparse=True, colalign=("left", *("right",) * len(columns)))


def _found(name: str, run: params.Run) -> Path | None:
    """Return the folder that ``name`` names, None for the paper; without a name the run's reference, else the paper."""
    if not name:
        usual = REFERENCES / run.folder.name
        return usual if usual.is_dir() else None
    if name == "paper":
        return None
    for folder in (REFERENCES / name, outputs_dir() / name, resolve(name)):
        if folder.is_dir():
            return folder
    there = sorted({path.parent.name for root in (REFERENCES, outputs_dir()) for path in root.glob("*/ladder.csv")})
    raise InputError(f"there is nothing named '{name}' to compare with; there are {', '.join(['paper', *there])}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; what the user can mend is one sentence on stderr and status 2."""
    parser = argparse.ArgumentParser(prog="python -m fflib.book.compare", description=(__doc__ or "").splitlines()[0])
    params.add_run_options(parser)
    parser.add_argument("--with", dest="other", default="", metavar="NAME", help="empty: the run's reference, or paper")
    chosen = parser.parse_args(arguments)

    def show() -> None:
        run = params.run_of(chosen)
        other, here = _found(chosen.other, run), load(run.folder)
        print(markdown(compare(here, load(other)) if other else against_paper(here)))

    return cli.ended(show)


if __name__ == "__main__":
    sys.exit(main())
