"""A finished run as its chapters leave it, made up, with texts that must not show in what is kept."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import asdict
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from fflib.book import reference
from fflib.data import splits as data
from fflib.data.metrics import Gold
from fflib.files import write_json
from fflib.runs import ladder as rungs
from fflib.runs import params, provenance
from fflib.runs.ladder import Rung

MACHINE = {
    "cpu": "A processor (family 1)", "cores": 4, "cores_available": 3, "hyper_threads": False,
    "instruction_sets": ["avx2"], "ram_gb": 8.0, "system": "Linux x86_64", "python": "3.11.7",
    "versions": {"torch": "2.1", "transformers": "5.2", "onnxruntime": "1.3", "numpy": "2.4", "datasets": "5.2"},
    "commit": "abc1234",
}  # fmt: skip


SECRET = "the grey heron waits among tall reeds until the pike swims by"


TEXTS = {
    "train": [("a first question about the river", SECRET), ("what is it", "1 2 3 4 5 6 7 8 9")],
    "dev": [("short text", "the mill by the brook doesn't grind when summer has dried the brook")],
    "test": [("numbers", "in winter the ferry leaves at seven and at nine but never on a sunday")],
}


CHAPTERS = ["00_introduction", "01_baseline", "03_distillation", "04_pruning", "07_serving", "09_story"]


LOOK_ALIKES = "see outputs/tmp/x, https://example.org/tmp/y and /tmpfiles/z"


def be_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(params, "chapters", lambda: CHAPTERS)
    monkeypatch.setattr(provenance, "chapter_key", lambda *_: "now")


def splits(task="docs") -> list[data.Split]:
    return [data.text_split(task, name, texts, Gold(np.zeros(len(texts), int))) for name, texts in TEXTS.items()]


def picture(mode="RGB", seed=0) -> Image.Image:
    """A figure of more colours than a palette holds."""
    shape = (64, 48, len(mode))
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), mode)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def made(name: str, stacks_on: str, throughput_per_s: float, **fields) -> Rung:
    times = {"latency_p50_ms": 1e3 / throughput_per_s, "latency_p95_ms": 2e3 / throughput_per_s, "n_requests": 9}
    values = {"model": f"model of {name}", "engine": "e, with a comma", "throughput_per_s": throughput_per_s}
    return Rung(name, stacks_on, precision="fp32", batching="none", batch_size=None, threads=3, **times, **values)


def rungs_of() -> dict[str, list[Rung]]:
    """Speeds 1, 2, 8 and 64/3; the rung "aside" is another way, and the last choice is not the last rung."""
    small = made("small", "reference padded", 8.0).scored(0.75, (0.7, 0.8), 0.8)
    small.evidence = {"batch_seconds": [0.1234567891, 1e-7 / 3, 2.0]}
    chosen = made("chosen", "small", 64 / 3).scored(0.7, (0.65, 0.75), 0.8)
    return {
        "01_baseline": [made("reference padded", "", 1.0), made("reference unpadded", "reference padded", 2.0)],
        "03_distillation": [small],
        "07_serving": [chosen, made("aside", "small", 9.0)],
    }


def make_run(folder: Path, task="docs", name="docs-cpu") -> Path:
    """What a run leaves, with every chapter of the book and what is not to be kept."""
    (folder / "figures").mkdir(parents=True)
    for suffix in ("png", "svg"):
        for figure in reference.FIGURES:
            (folder / "figures" / f"{figure}.{suffix}").write_bytes(png(picture()))
        (folder / "figures" / f"of_a_chapter.{suffix}").write_bytes(png(picture()))
    parameters = {"run": name, "run_dir": str(folder), "size": "smoke", "task": task, "data_source": "auto"}
    counts = {"n_train": 1, "n_dev": 0, "n_test": 5, "seeds": [3]}
    facts = {"data_fingerprint": {"train": "7ra1"}}
    for number, chapter in enumerate(CHAPTERS):
        more = {
            "01_baseline": {"teacher": {"accuracy": 0.8, "folder": str(folder / "models")}, "flag": True, "n": 10**7},
            "04_pruning": {"goes_on_from": "small"},
            "07_serving": {"goes_on_from": "chosen"},
            "09_story": {"goes_on_from": "aside"},  # the story shows rungs, it chooses none
        }.get(chapter, {})
        record = {
            "schema_version": 1, "chapter": chapter, "key": "now", "written": f"2026-01-0{number + 1}T03:04:05+00:00",
            "seconds": 1.5, "parameters": parameters | counts, "machine": MACHINE, "facts": facts | more,
            "rungs": [asdict(rung) for rung in rungs_of().get(chapter, [])],
        }  # fmt: skip
        write_json(folder / "results" / f"{chapter}.json", record)
        nbformat.write(notebook(folder, figures=chapter == "04_pruning"), folder / f"{chapter}.ipynb")
    (folder / "results" / "01_baseline.json.old").write_text("of other code")
    (folder / "models").mkdir()
    rungs.write_ladder(folder, ladder())
    return folder


def ladder() -> pd.DataFrame:
    return rungs.ladder([asdict(rung) for chapter in rungs_of().values() for rung in chapter])


def notebook(folder: Path, figures: bool) -> nbformat.NotebookNode:
    """An executed chapter, as papermill leaves it."""
    figure = base64.b64encode(png(picture())).decode()
    outputs = [
        new_output("stream", name="stderr", text="epoch: 100%|####|"),
        new_output("stream", name="stdout", text=f"wrote {folder / 'x'}\n{LOOK_ALIKES}\n"),
        new_output("display_data", {"text/markdown": "*so*", "text/html": "<i>so</i>", "text/plain": "<Markdown>"}),
        new_output("display_data", {"text/html": "<b>alone</b>", "text/plain": "alone"}),
        new_output(
            "execute_result",
            {"image/png": figure, "image/svg+xml": "<svg/>", "text/plain": "<Figure>"},
            metadata={"image/png": {"alt": "a staircase"}},
            execution_count=1,
        ),
    ]
    times = {"papermill": {"duration": 1.0}, "execution": {"iopub.status.idle": "2026"}, "tags": ["hide-input"]}
    outputs = outputs if figures else outputs[:-1]
    cells = [new_markdown_cell("# A chapter"), new_code_cell("draw()", outputs=outputs, metadata=times)]
    paths = {"papermill": {"input_path": "/tmp/abc/x.ipynb"}, "widgets": {"state": {}}}
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "P"}, **paths})


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def cells(line: str) -> list[str]:
    return re.split(r" *\| *", line)[1:-1]
