"""A run whose teacher, student and data come from the hub, as `make book RUN=rte-bert` runs it: a hub on this machine.

Models and data are tiny and invented, but in the files of the real ones, under their names and pinned revisions.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import little_superglue
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
import transformers
from local_hub import LocalHub

from fflib.data import sources
from fflib.data.registry import get_task
from fflib.files import ROOT
from fflib.runs import param_files

BERT = param_files.read("model", "bert")
SIZES = {BERT["teacher"]: (4, 64), BERT["student_from"]: (2, 32)}  # layers, width


def checkpoint(folder: Path, layers: int, width: int) -> dict[str, bytes]:
    """The files of a pretrained BERT as transformers writes them."""
    reader = little_superglue.tokenizer()
    config = transformers.BertConfig(
        vocab_size=len(reader.get_vocab()), hidden_size=width, num_hidden_layers=layers, num_attention_heads=4,
        intermediate_size=2 * width,
    )  # fmt: skip
    transformers.BertForPreTraining(config).save_pretrained(folder)
    reader.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def parquet(split: int, rows: int) -> bytes:
    rng, labels = np.random.default_rng(split), get_task("RTE").labels
    made = [little_superglue.rte(rng, i) for i in range(rows)]
    table = pyarrow.Table.from_pylist([row | {"label": labels.index(row["label"])} for row in made])
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    torch.manual_seed(0)
    with LocalHub() as local:
        for name, size in SIZES.items():
            model, _, revision = name.partition("@")
            files = checkpoint(tmp_path_factory.mktemp("checkpoint") / "model", *size)
            local.add(model, files, commit=revision)
        data = {f"rte/{name}-00000-of-00001.parquet": parquet(i, 90) for i, name in enumerate(("train", "validation"))}
        local.add(sources.SUPERGLUE, data, "datasets", commit=sources.REVISION)
        yield local


@pytest.fixture(scope="module")
def home(tmp_path_factory, hub):
    folder = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "FFLIB_"))}
    return kept | {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "FFLIB_CACHE": str(folder / "cache")}


def book(environment, outputs: Path, until: str) -> subprocess.CompletedProcess:
    """What `make book` calls, up to a chapter."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "all", "--nolock"]
    command += [
        "--directory",
        str(outputs),
        "--quiet",
        "all",
        "--config",
        "run=rte-bert",
        "size=smoke",
        "set= threads=1 ",
    ]
    wanted = outputs / "rte-bert-smoke" / "results" / f"{until}.json"
    outputs.mkdir(exist_ok=True)
    environment = environment | {"FFLIB_OUTPUTS": str(outputs)}
    return subprocess.run([*command, "--", str(wanted)], env=environment, capture_output=True, text=True, cwd=ROOT)


def test_a_run_from_the_hub_goes_through_a_bad_network_and_then_without_one(hub, home, tmp_path):
    hub.fault("break", "/cdn/", times=1)
    hub.fault("429", "/api/models/", times=1, Retry_After=0)
    done = book(home, tmp_path / "first", "01_baseline")
    assert done.returncode == 0, done.stderr[-3000:]
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "first").glob("*/results/*.json"))]
    first = {rung["rung"]: rung for rung in records[0]["rungs"]}
    # The teacher is the reference here, so this one has an accuracy.
    assert first["reference padded"]["accuracy"] == first["teacher padded"]["accuracy"] is not None
    assert records[0]["facts"]["n_examples"]["test"] == 90
    hub.heal()
    offline = book(home | {"HF_HUB_OFFLINE": "1"}, tmp_path / "second", "01_baseline")
    assert offline.returncode == 0, offline.stderr[-3000:]
    assert not hub.requests


def test_without_hub_and_cache_the_run_ends_with_one_sentence(home, tmp_path):
    elsewhere = home | {"HF_HOME": str(tmp_path / "empty"), "HF_HUB_OFFLINE": "1", "FFLIB_CACHE": str(tmp_path / "c")}
    done = book(elsewhere, tmp_path / "outputs", "01_baseline")
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "HF_HUB_OFFLINE" in told[0] and "01_baseline failed" in told[0]
