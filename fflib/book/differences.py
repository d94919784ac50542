"""What two runs do not share, and what that forbids to compare.

Machine, software, data, parameters and code of the chapters that both have, and what their rungs are made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from fflib.runs.ladder import COLUMNS
from fflib.runs.run_folder import Side

SIDES = ("here", "there")
MADE_OF = (*COLUMNS[1:9], "status")  # of the ladder: what a rung is, not how it did
MACHINE = ("cpu", "cores", "cores_available", "hyper_threads", "instruction_sets")  # RAM varies from boot to boot
UNJUDGED = ("run", "data_source")  # parameters that change no number: the data's fingerprint speaks for its source
SAME = "Same machine, data and code: differences are noise or chance."
ANOTHER_DAY = (
    "Same machine, data and code, and yet the intervals of requests/s do not meet for: {}. That is no noise of the "
    "rounds: the machine was faster or slower in these minutes."
)
JUDGEMENT = {  # kind of difference -> what it means
    "machine": "Other machine ({}): compare factors, not seconds.",
    "software": "Other software ({}): what it changes cannot be told from what the rungs change.",
    "data": "Other data ({}): accuracies cannot be compared.",
    "training data": "Other data ({}) but the same test split: the models come from other data.",
    "parameters": "Other parameters: a rung of one name may be made in two ways.",
    "code": "Other code: a rung of one name may be made in two ways.",
    "code, perhaps": "The code may be another: a key holds the parameters and the machine, too, so see the commits.",
    "rungs": "Rungs of one name have another {}.",
}


def _fingerprint(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return kind -> field -> value: what a chapter's numbers come from."""
    machine = record["machine"]
    system = {name: machine.get(name) for name in ("system", "python")}
    return {
        "machine": {name: machine.get(name) for name in MACHINE},
        "software": system | machine.get("versions", {}),
        "data": record["facts"].get("data_fingerprint", {}),
        "parameters": {name: value for name, value in record["parameters"].items() if name != "run_dir"},
        "code": {"commit": machine.get("commit"), "chapter key": record["key"]},
    }


def between(here: Side, there: Side, both: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the differences of the chapters and rungs that both sides have, and what they mean."""
    ours, theirs = ({record["chapter"]: _fingerprint(record) for record in side.records} for side in (here, there))
    shared = [chapter for chapter in ours if chapter in theirs]
    rows = [("chapters", "of one side", "", text(missing(ours, theirs)), text(missing(theirs, ours)))]
    rows = rows if ours.keys() != theirs.keys() else []
    for kind in ("machine", "software", "data", "parameters", "code"):
        rows += grouped(kind, *({chapter: side[chapter][kind] for chapter in shared} for side in (ours, theirs)))
    found = table([*rows, *grouped("rungs", *by_rung(both, MADE_OF))])
    if not any(ours[chapter]["data"] and theirs[chapter]["data"] for chapter in shared):
        return found, ["No chapter that tells its data is in both: nothing says what may be compared."]
    return found, _judged(found)


def _judged(differences: pd.DataFrame) -> list[str]:
    """Say what the differences mean for a comparison; nothing else decides it."""
    fields = {kind: list(dict.fromkeys(rows["field"])) for kind, rows in differences.groupby("kind", sort=False)}
    if "data" in fields and "test" not in fields["data"]:
        fields["training data"] = fields.pop("data")
    unlike = any(kind in fields for kind in ("machine", "software", "parameters"))  # then all keys differ, too
    if "chapter key" not in fields.get("code", []):
        fields.pop("code", None)  # another commit, but nothing that these chapters use changed
    elif unlike:
        fields["code, perhaps"] = fields.pop("code")
    if not missing(fields.get("parameters", []), UNJUDGED):
        fields.pop("parameters", None)
    said = [sentence.format(", ".join(fields[kind])) for kind, sentence in JUDGEMENT.items() if kind in fields]
    return said or [SAME]


def by_rung(both: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, dict[str, Any]]]:
    """Return for each side rung -> column -> value."""
    rows = both.set_index("rung").to_dict("index")
    return [{rung: {name: row[f"{name}_{side}"] for name in columns} for rung, row in rows.items()} for side in SIDES]


def grouped(kind: str, here: Mapping[str, Mapping], there: Mapping[str, Mapping]) -> list[tuple[str, ...]]:
    """Compare owner -> field -> value; the owners that differ in the same way share a row."""
    pairs: dict[str, dict[str, tuple[str, str]]] = {}  # field -> owner -> texts
    for owner in here:
        for field in here[owner] | there[owner]:
            pairs.setdefault(field, {})[owner] = text(here[owner].get(field)), text(there[owner].get(field))
    rows = []
    for field, by_owner in pairs.items():
        for pair in dict.fromkeys(pair for pair in by_owner.values() if pair[0] != pair[1]):
            owners = [owner for owner, its in by_owner.items() if its == pair]
            rows.append((kind, field, "" if len(owners) == len(by_owner) else ", ".join(owners), *pair))
    return rows


def table(rows: Sequence[tuple[str, ...]]) -> pd.DataFrame:
    """Return the rows of `grouped` with their columns."""
    return pd.DataFrame(rows, columns=["kind", "field", "where", *SIDES])


def text(value: Any) -> str:
    """Write a value for people; '' is an empty list or no value. References keep 6 digits, so more do not count."""
    if isinstance(value, str) or value is None:
        return value or ""
    if isinstance(value, Iterable):
        return ", ".join(map(text, value))
    return "" if pd.isna(value) else f"{value:.6g}" if isinstance(value, float) else str(value)


def missing(names: Iterable[str], others: Iterable[str]) -> list[str]:
    """Return the ``names`` that are not among the ``others``, in their order."""
    known = set(others)
    return [name for name in names if name not in known]
