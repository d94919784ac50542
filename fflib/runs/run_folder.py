"""One side of a comparison: what a run left in its folder, on this machine or on another one, by any code."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from fflib.files import InputError, shown
from fflib.runs.ladder import COLUMNS, Rung
from fflib.runs.records import damaged, is_copy, read_file

OLDER = (COLUMNS[: COLUMNS.index("keeps_rule")],)  # a ladder from before these columns can still be read
TEXT = {field.name for field in fields(Rung) if field.type == "str"}


@dataclass(frozen=True)
class Side:
    """What a run left: its ladder (columns of `ladder.COLUMNS`) and its chapters' records, of any code and machine."""

    name: str
    ladder: pd.DataFrame
    records: list[dict[str, Any]]


def load(folder: Path) -> Side:
    """Read a run's folder, from here or from another machine; which code it came from does not matter.

    Raises:
        InputError: it holds no ladder or no results, or one of these files is damaged or of another form.
    """
    path, every = folder / "ladder.csv", sorted((folder / "results").glob("[0-9][0-9]_*.json"))
    records = [record for record in every if not is_copy(record)]
    if not path.exists() or not records:
        missing = "results/NN_name.json" if path.exists() else "ladder.csv"
        raise InputError(f"{shown(folder)} holds no {missing}; run the whole book first (make book), or copy it whole")
    return Side(shown(folder), _read_ladder(path), [read_file(record) for record in records])


def _read_ladder(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False).fillna("")
        if tuple(table.columns) in OLDER:  # new columns only come at the end
            table = table.reindex(columns=list(COLUMNS), fill_value="")
        if tuple(table.columns) != COLUMNS:
            odd = sorted(set(table.columns) ^ set(COLUMNS)) or ["another order"]
            raise InputError(f"{shown(path)} has other columns than this code's ({', '.join(odd)}); run the book again")
        if table["rung"].duplicated().any() or table[["rung", "status"]].eq("").any(axis=None):
            raise ValueError("a row is cut short, or two have one name")
        return table.assign(**{name: pd.to_numeric(table[name]) for name in COLUMNS if name not in TEXT})
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
