"""A reader's own data through the whole book: single texts and pairs, few classes and many, skewed, short, long."""

from __future__ import annotations

import csv
import json
import re

import little_superglue
import numpy as np
import pytest
import small_book

from fflib.runs import param_files

THINGS, NAMES = little_superglue.THINGS, little_superglue.NAMES


def single(n, classes=2, words=9, rare=0.0, seed=0, numbered=True):
    """Rows of one text; the class is the thing it begins with. ``rare``: the share of class 1, where not equal."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(n):
        label = int(i < round(rare * n)) if rare else i % classes
        count = words if isinstance(words, int) else int(rng.integers(*words))
        text = [*(THINGS[int(digit)] for digit in f"{label:02o}"), *rng.choice(NAMES, count)]
        rows.append({"body": " ".join([*text, str(i)] if numbered else text), "mood": f"class {label}"})
    return rows


def pairs(n, classes=2, **options):
    return [row | {"title": f"{NAMES[i % 8]} {i}"} for i, row in enumerate(single(n, classes, **options))]


@pytest.fixture
def own_run(tmp_path, monkeypatch):
    """Write rows as a file with its description, and return the run on a small teacher."""

    def make(rows, text="body", lines=(), **values):
        for folder in ("size", "hardware"):
            (tmp_path / folder).symlink_to(param_files.PARAMS / folder)
        monkeypatch.setattr(param_files, "PARAMS", tmp_path)
        small_book.here(tmp_path, monkeypatch)
        with (tmp_path / "mine.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0]])
            writer.writeheader()
            writer.writerows(rows)
        teacher = little_superglue.save_teacher(tmp_path / "tiny")
        said = {"file": str(tmp_path / "mine.csv"), "text": text, "label": "mood", "teacher": str(teacher)} | dict(
            lines
        )
        (tmp_path / "mine.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in said.items()))
        return small_book.load("mine", **values)

    return make


SETS = {
    "40 single texts": {"rows": single(40)},
    "pairs, 50 classes": {"rows": pairs(800, 50), "text": ["title", "body"]},
    "skewed, by Matthews": {"rows": single(120, rare=0.04), "lines": {"metric": "matthews"}},
    "texts of one length": {"rows": single(150, 3, numbered=False)},
    "long": {"rows": single(60, words=(100, 400))},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_the_whole_book(name, own_run, monkeypatch):
    everything = {"routes_tried": ["labels", "augmented", "recombined"], "n_importance": 256, "n_retrain": 64}
    said = small_book.run_book(own_run(**SETS[name], **everything), monkeypatch)
    assert not [line for page in said.values() for line in re.findall(r".*\bnan\b.*", page)]
