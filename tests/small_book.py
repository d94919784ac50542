"""A run's chapters in this process, on little data and a little model; what they show is kept as text.

That papermill runs chapters is what ``test_smoke_book`` shows; here it would cost more than the chapters themselves.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from fflib.files import ROOT
from fflib.runs import params
from fflib.runs.params import Run

CHAPTERS = [chapter for chapter in params.chapters() if "01" < chapter < "10"]
SMALL = {
    "reference": "nreimers/MiniLM-L6-H384-uncased",
    "students_tried": ["2x32"],
    "routes_tried": ["labels"],
    "variants_tried": [],
    "data_sizes": [],
    "depths_tried": [],
    "tokens_tried": [],
    "uniform_tried": ["25/50"],
    "shares_tried": [0.5],
    "speedups_wanted": [],  # so small a model is mostly what no shape can save
    "recipes_tried": ["dynamic"],
    "recipes_served": ["dynamic"],
    "graphs_tried": [],
    "engines_tried": ["pytorch", "onnxruntime"],
    "instance_kinds": ["thread"],
    "elastic_widths": [],
    "elastic_depths": [],
    "n_simulated": 1000,
    "threads": 1,
    "min_agreement": 0.8,
}


def load(name: str, **values: Any) -> Run:
    """Return the run in its size smoke, with `SMALL` and then ``values`` over its parameters."""
    return params.load_run(name, "smoke", overrides=[f"{k}={json.dumps(v)}" for k, v in (SMALL | values).items()])


def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let outputs and caches lie in ``folder``, and lay out every figure without writing it."""
    for variable, name in (("FFLIB_CACHE", "cache"), ("FFLIB_OUTPUTS", "outputs")):
        monkeypatch.setenv(variable, str(folder / name))
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, path, **__: Path(path).touch())


def cells_of(chapter: str) -> list[str]:
    """The code cells of a chapter but that of its parameters."""
    found = params.cells(chapter)
    return [source for marker, source in found if not marker.startswith("[markdown]") and '"parameters"' not in marker]


def run_chapter(run: Run, chapter: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a chapter and return what its page would say: every Markdown that it shows."""
    said: list[str] = []

    def keep(*values: Any, **_: Any) -> None:
        said.extend(value.data for value in values if isinstance(getattr(value, "data", None), str))

    monkeypatch.setattr("IPython.display.display", keep)
    namespace = {"__name__": "__main__"} | run.chapter_values(chapter)
    for i, source in enumerate(cells_of(chapter)):
        tree, place = ast.parse(source), f"{chapter}, code cell {i}"
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, place, "exec"), namespace)
        if last is not None:
            keep(eval(compile(ast.Expression(last.value), place, "eval"), namespace))
    return "\n".join(said)


def run_book(run: Run, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Run all chapters and return what each says."""
    return {chapter: run_chapter(run, chapter, monkeypatch) for chapter in CHAPTERS}
