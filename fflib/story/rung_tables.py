"""What each rung consists of, in two tables that fit a page: what it is, and how it is served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from fflib.runs.ladder import kept_words

WHAT = {"rung": "rung", "model": "model", "engine": "engine", "precision": "precision"}  # column: head
HOW = {
    "rung": "rung", "batching": "batches", "batch_size": "mean batch", "instances": "instances",
    "threads": "threads of each", "n_requests": "requests timed", "retention": "retention",
    "keeps_rule": "keeps the rule",
}  # fmt: skip


def what_it_is(ladder: pd.DataFrame, rungs_taken: Sequence[str]) -> pd.DataFrame:
    """Return model, engine and precision of each rung of ``rungs_taken``; each of them stands on the one above it.

    Words that every row would repeat are left out, such as the organisation that published a model.
    """
    taken = _under(WHAT, ladder[ladder["rung"].isin(rungs_taken)])
    published_by = r"[\w.-]+/(?=[A-Za-z])"  # "google-bert/", but not the numbers of a shape such as 33/50
    taken["precision"] = taken["precision"].str.replace("weights of ", "")
    return taken.assign(model=taken["model"].str.replace(published_by, "", regex=True))


def how_it_serves(ladder: pd.DataFrame) -> pd.DataFrame:
    """Return batches, threads and instances of every rung, how many requests timed it, and what it keeps."""
    served = ladder.assign(retention=ladder["retention"].map(kept_words))
    served["batching"] = served["batching"].str.removesuffix(" tokens")
    for count in ("batch_size", "n_requests"):
        served[count] = ["" if pd.isna(value) else f"{value:,.0f}" for value in served[count]]
    return _under(HOW, served)


def _under(heads: Mapping[str, str], ladder: pd.DataFrame) -> pd.DataFrame:
    return ladder[[*heads]].rename(columns=dict(heads)).reset_index(drop=True)
