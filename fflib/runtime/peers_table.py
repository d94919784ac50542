"""The record of a race of engines as tables: who was how fast, who could not take part, and who was left out and why.

`fflib.runtime.peers` writes such a record into a run's folder; with a kept run it is in `outputs/reference`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fflib import display
from fflib.files import InputError, shown
from fflib.runs import times

FILE, SCHEMA_VERSION = "peers.json", 1
CHAPTER = "07_serving"  # says what is served; ``run_written`` is when it ran
COMMAND = "python -m fflib.runtime.peers --run {run}"
Record = Mapping[str, Any]
Row = dict[str, Any]
# Engines that nobody who asks "why not ..." finds above, in a sentence each.
LEFT_OUT = {
    "sentence-transformers, backend onnx": "needs optimum-onnx, whose newest version wants transformers below 4.58, "
    "while sentence-transformers 6 wants at least 5; the row *all by default* does nearly the same by hand",
    "sentence-transformers, backend openvino": "needs optimum-intel, which wants transformers below 5.6; "
    "the rows of OpenVINO run that engine on this book's graph",
    "model2vec": "averages static vectors of words, as the last of the floors does: no engine for a transformer",
    "PyTorch int8 (torchao)": "needs PyTorch's compiler and is made for processors with AMX or VNNI; not tried",
    "Intel Extension for PyTorch": "is no longer maintained",
    "Intel Neural Compressor": "makes int8 files for other engines; recipes of this kind are in chapter 5",
    "DeepSparse": "is no longer maintained, and wants sparse weights",
    "Neural Speed, LightSeq": "are no longer maintained; the second is for graphics cards",
    "zentorch": "is made for AMD's processors and tied to one version of PyTorch, another than this book's",
    "Text Embeddings Inference": "is a server, not on PyPI, and computes in fp32 on a processor",
    "llama.cpp": "is made for models that write, and its package has to be compiled",
    "tract": "is made for small devices",
    "TensorRT": "is for graphics cards",
}


def read(path: Path) -> Record | None:
    """Return the record in ``path``; None: there is none. InputError: it is damaged, or of another schema."""
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"its schema is not {SCHEMA_VERSION}")
        _ = markdown(record, "any")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        command = COMMAND.format(run="NAME")
        raise InputError(f"{shown(path)} is damaged ({error}); remove it, or make it again: {command}") from error
    return record


def kept(run: str = "docs-cpu", folder: Path = times.KEPT) -> Record | None:
    """Return the record that stands beside the kept run ``run``; None: there is none. InputError as `read`."""
    return read(folder / run / FILE)


def rows(record: Record) -> list[Row]:
    """Return a row a way, the fastest first: what is best of its throughputs, its latency, and the labels it keeps."""
    ways = sorted(record["ways"], key=lambda way: -way["requests/s"])
    return [
        {
            "engine": way["engine"],
            "model": way["model"],
            "requests/s": way["requests/s"],
            "range of rounds": "{:,.0f} to {:,.0f}".format(*way["interval"]),
            "times this book's": way["times this book's"],
            "batches": way["batches"],
            "p50 ms alone": way["p50 ms"],
            "labels kept %": way["labels kept %"],
            "answers": way["answers"],
        }
        for way in ways
    ]


def absent(record: Record) -> list[Row]:
    """Return a row for each engine that did not take part, with the reason; those that nobody tried come last."""
    why = record["missing"] | LEFT_OUT
    return [{"engine": engine, "why it is not there": reason} for engine, reason in why.items()]


def label(record: Record) -> str:
    """Say whose numbers these are: the run, the machine, the day, the commit, and how they were measured."""
    machine, threads = record["machine"], record["threads"]
    parts = [
        f"run {record['run']} of {record['run_written'][:10]}, {record['task']}",
        f"{machine['cpu']}, {threads} {'thread' if threads == 1 else 'threads'}",
        f"{record['written'][:10]}, commit {machine['commit'] or 'unknown'}",
        f"{record['n_requests']} requests in {record['rounds']} interleaved rounds; labels counted on "
        f"{record['n_checked']} texts",
        ", ".join(record["versions"]),
    ]
    return "; ".join(parts)


def markdown(record: Record | None, run: str) -> str:
    """Return the record as Markdown: tables, settings, and whose numbers these are; None: only how to get one."""
    command = f'`.venv/bin/python -m pip install -e ".[peers]"`, then `.venv/bin/{COMMAND.format(run=run)}`'
    if record is None:
        return f"*No race of all engines is kept. To run one on this run's models, some minutes: {command}.*"
    notes = [f"- **{way['engine']}, {way['model']}**: {_told(way)}." for way in record["ways"]]
    floors = [f"{floor['floor']} {floor['requests/s']:,.0f} requests/s" for floor in record["floors"]]
    beside = f"Beside them, from text and from chapter 1, the floors: {'; '.join(floors)}." if floors else ""
    return "\n\n".join(
        [
            display.table(rows(record)).data,
            f"*{label(record)}.* {beside}",
            "\n".join(notes),
            display.table(absent(record)).data,
            f"*To race them on this machine: {command}.*",
        ]
    )


def _told(way: Mapping[str, Any]) -> str:
    return "; ".join(filter(None, [way["settings"], way["note"]]))


def floors_of(rungs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the floors among the rungs of chapter 1 that were timed, with the score each has on test."""
    named = [rung for rung in rungs if rung["rung"].startswith("floor: ") and rung["throughput_per_s"]]
    return [
        {
            "floor": rung["rung"].removeprefix("floor: "),
            "requests/s": rung["throughput_per_s"],
            "test %": 100 * rung["accuracy"],
        }
        for rung in named
    ]
