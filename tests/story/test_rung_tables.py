from __future__ import annotations

from fflib.runs import ladder as ladders
from fflib.runs.ladder import Rung
from fflib.story import rung_tables


def rung(name, model, **fields):
    return vars(Rung(name, "", model, "PyTorch eager", "fp32", "none", 1, 2, throughput_per_s=2.0, **fields))


LADDER = ladders.ladder(
    [
        rung("reference padded", "google-bert/bert-base-uncased"),
        rung("student", "3x384@kept of sentence-transformers/all-MiniLM-L6-v2", n_requests=1234, keeps_rule="yes"),
        rung("pruned", "3x384@kept, uniform 33/50"),
    ]
)


def test_the_rungs_taken_are_told_with_the_plain_names_of_their_models():
    shown = rung_tables.what_it_is(LADDER, ["reference padded", "student"])
    assert list(shown.columns) == ["rung", "model", "engine", "precision"]
    assert list(shown["model"]) == ["bert-base-uncased", "3x384@kept of all-MiniLM-L6-v2"]
    assert list(rung_tables.what_it_is(LADDER, ["pruned"])["model"]) == ["3x384@kept, uniform 33/50"]


def test_how_every_rung_is_served_has_plain_numbers_and_empty_cells():
    shown = rung_tables.how_it_serves(LADDER)
    assert list(shown["rung"]) == ["reference padded", "student", "pruned"]
    assert list(shown["requests timed"]) == ["", "1,234", ""] and list(shown["mean batch"]) == ["1"] * 3
    assert list(shown["keeps the rule"])[1] == "yes" and list(shown["retention"]) == [""] * 3
