"""The book's page "try it": the model that a run chose, in the reader's own browser, also from a folder of files.

From a file system a browser reads no file but scripts: so everything that the page needs is in scripts, gzipped and in
base64, and these serve as well where the book is on a server. What is here stays small enough for that: the served
graph, with its embeddings in eight bits as well.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from fflib import display, vendor
from fflib.data import batching, metrics, registry, splits
from fflib.data.splits import TokenizedSplit
from fflib.data.task import Task
from fflib.engine import export, int8_graph, sessions
from fflib.files import InputError, resolve
from fflib.measure.timing import Variant
from fflib.model import checkpoints
from fflib.runs import records

CHAPTER = "07_serving"
FOLDER = "_static/try_it/"
TEMPLATES = Path(__file__).with_name("template") / "try_it"
N_TEXTS, LARGEST_MB = 200, 40.0
EMBEDDINGS_RUNG = "int8 embeddings too"  # chapter 5's, of the same embeddings
PACKED = {  # name on the page -> package and path of what is imported by its text
    "ort-wasm-simd-threaded.mjs": (vendor.ONNXRUNTIME, "dist/ort-wasm-simd-threaded.mjs"),
    "ort-wasm-simd-threaded.wasm": (vendor.ONNXRUNTIME, "dist/ort-wasm-simd-threaded.wasm"),
    "tokenizers.mjs": (vendor.TOKENIZERS, "dist/tokenizers.min.mjs"),
}
ENGINE = "ort.wasm.min.js"  # a script as it comes
EXAMPLES = {  # made up, for none of the data sets' texts may stand here
    "docs": (
        "timeout: How many seconds to wait for the kettle before giving up.",
        "kitchen.boil(water, timeout=120, stop_at=100) Heat water until it boils. Raises an error where the kettle is "
        "empty. Returns the seconds that it took.",
    ),
    "BoolQ": (
        "can a kettle boil water on a mountain",
        "On a mountain the air is thinner than by the sea, so water boils before it is as hot as there. "
        "A kettle boils it all the same, but tea takes longer to draw.",
    ),
    "CB": ("Anna looked at the kettle. She doubted that it was hers.", "the kettle was Anna's"),
    "COPA": ("The kettle whistled. What was the cause of this?", "The water boiled."),
    "MultiRC": ("Anna filled the kettle and went out. Ben found it boiling.", "Who filled the kettle? Anna"),
    "ReCoRD": (
        "Anna filled the kettle and went out. Ben found it boiling.",
        "It was Anna who had put water into it.",
    ),
    "RTE": ("Anna filled the kettle before she went out to see Ben.", "Anna went out."),
}


@dataclass(frozen=True)
class Page:
    """The page as Markdown, and the ``files`` that it needs, by their names in the book's ``folder``."""

    text: str
    files: Mapping[str, bytes]
    folder: str = FOLDER


def page_of(folder: Path) -> Page:
    """Make the page of a run's folder, whose chapters have run.

    Raises:
        InputError: why there is none: the front-end files or the run's files are missing, its task reads marked words,
            or its model loses too many answers by eight-bit embeddings or is too large.
    """
    record = records.read_file(records.path_of(folder, CHAPTER))
    chosen, parameters = record["facts"]["served"], record["parameters"]
    task = registry.get_task(parameters["task"])
    if task.spans:
        raise InputError(f"the model of {task.name} reads marked words, and this tokenizer does not say where they are")
    tokenizer = checkpoints.load_tokenizer(resolve(chosen["tokenizer"]))
    if tokenizer.truncation_side != "right":
        raise InputError("this tokenizer cuts texts at their start, and the page at their end")
    texts = splits.load_split(parameters["task"], "dev", parameters["data_source"], limit=N_TEXTS)
    examples = splits.tokenize(texts, tokenizer, task.max_length)
    graph = int8_graph.with_int8_embeddings(export.load(resolve(chosen["onnx"]))).SerializeToString()
    agreement = _agreement(folder, resolve(chosen["onnx"]), graph, examples)
    scripts = {f"{name}.js": packed(name, vendor.file(*where).read_bytes()) for name, where in PACKED.items()}
    scripts["tokenizer.json.js"] = packed("tokenizer.json", tokenizer.backend_tokenizer.to_str().encode())
    scripts["model.onnx.js"] = packed("model.onnx", graph)
    scripts |= {
        ENGINE: vendor.file(vendor.ONNXRUNTIME, f"dist/{ENGINE}").read_bytes(),
        "model.js": (TEMPLATES / "model.js").read_bytes(),
    }
    if (size := _mb(scripts)) > LARGEST_MB:
        raise InputError(f"it would be {size:.0f} MB to read, more than {LARGEST_MB:.0f}: take a smaller student")
    text = _text(task, tokenizer, examples, scripts, record, agreement)
    own = {"page.js": (TEMPLATES / "page.js").read_bytes(), "LICENSES.txt": _licences()}
    return Page(text, scripts | own)


def packed(name: str, content: bytes) -> bytes:
    """Return a script that brings ``content`` into a page under ``name``; the same content gives the same bytes."""
    text = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    return f'TryIt.take("{name}", "{text}");\n'.encode()


def frame(tokenizer: PreTrainedTokenizerBase, n_texts: int) -> list[Any]:
    """Return what stands where in a request: [id, type] of a special token, or the number of a text and its type."""
    encoded = tokenizer(*["a"] * n_texts, return_token_type_ids=True)
    rows = encoded.sequence_ids(), encoded["input_ids"], encoded["token_type_ids"]
    parts: list[Any] = []
    for text, token, kind in zip(*rows, strict=True):
        part = [token, kind] if text is None else {"text": text, "type": kind}
        if text is None or part not in parts:  # a text may be several tokens
            parts.append(part)
    return parts


def _agreement(folder: Path, served: Path, graph: bytes, examples: TokenizedSplit) -> float:
    """Return the share of the served file's labels that ``graph`` gives, in requests one by one.

    InputError: it is less than the run asks of a file in eight bits, or the run's own rung with such embeddings is
    below its rule of accuracy.
    """
    chapters = {record["chapter"]: record for record in records.readable(folder).values()}
    rows = [rung for rung in chapters.get("05_quantization", {}).get("rungs", []) if rung["rung"] == EMBEDDINGS_RUNG]
    if any(rung.get("keeps_rule") == "no" for rung in rows):
        raise InputError("with embeddings in eight bits this run's model is below the rule of accuracy, see chapter 5")
    plan = batching.in_order(examples.lengths, 1)
    logits = [
        Variant("", sessions.onnx_predictor(sessions.onnx_session(model, 1)), plan).logits(examples)
        for model in (graph, served)
    ]
    agreement = metrics.kept(*logits, examples.gold)
    least = chapters.get("06_runtime", {}).get("parameters", {}).get("min_agreement", 0.9)
    if agreement < least:
        raise InputError(f"embeddings in eight bits keep {agreement:.1%} of its labels, and {least:.0%} are asked for")
    return agreement


def _text(
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    examples: TokenizedSplit,
    scripts: Mapping[str, bytes],
    record: Mapping[str, Any],
    agreement: float,
) -> str:
    median = int(np.median(examples.lengths))
    megabytes = f"{_mb(scripts):.0f}"
    settings = {
        "folder": FOLDER,
        "scripts": sorted(scripts, key=lambda name: (name != "model.js", name != ENGINE, len(scripts[name]))),
        "megabytes": megabytes,
        "fields": task.text_fields,
        "labels": [str(label) for label in task.labels],
        "maxLength": task.max_length,
        "medianTokens": median,
        "frame": frame(tokenizer, len(task.text_fields)),
    }
    return (TEMPLATES / "page.md").read_text(encoding="utf-8").format(
        megabytes=megabytes,
        description=task.description,
        asking=task.by_hand and f" {task.by_hand}",
        form=_form(task),
        median_tokens=median,
        cpu=record["machine"]["cpu"],
        native=_native(record),
        sizes=_sizes(scripts),
        agreement=f"{agreement:.1%}",
        n_texts=len(examples),
        licences=f'<a href="{FOLDER}LICENSES.txt">their licences</a>',
        settings=json.dumps(settings).replace("</", "<\\/"),
        page_script=f"{FOLDER}page.js",
    )  # fmt: skip


def _form(task: Task) -> str:
    """Return a box for each text of the task, with the example in it, and the places where answers go."""
    texts = EXAMPLES.get(task.name, [""] * len(task.text_fields))
    boxes = [
        f'<label for="try-it-{i}">{html.escape(name)}</label>\n'
        f'<textarea id="try-it-{i}" rows="{2 if len(text) < 120 else 4}">{html.escape(text)}</textarea>'
        for i, (name, text) in enumerate(zip(task.text_fields, texts, strict=True))
    ]
    return "\n".join(
        [
            '<form id="try-it">',
            *boxes,
            '<p><button type="submit" disabled>Answer</button> <span id="try-it-status" role="status"></span></p>',
            "<noscript><p>This page needs JavaScript: the model runs in it.</p></noscript>",
            "</form>",
            '<div id="try-it-answer" aria-live="polite" hidden><p>The answer: <strong></strong></p>',
            "<table><tbody></tbody></table><p></p></div>",
        ]
    )


def _native(record: Mapping[str, Any]) -> str:
    """Tell what one request takes on one thread by the run's records; a run may not have measured that."""
    alone = [rung for rung in record["rungs"] if rung["rung"] == "one thread" and rung["batch_size"] == 1]
    return f"{alone[0]['latency_p50_ms']:.1f} ms" if alone else "not measured in this run"


def _sizes(scripts: Mapping[str, bytes]) -> str:
    parts: dict[str, Sequence[str]] = {
        "the model": ["model.onnx.js"],
        "its tokenizer's words": ["tokenizer.json.js"],
        f"ONNX Runtime {vendor.PINS[vendor.ONNXRUNTIME].version} for the web": [ENGINE, *(f"{n}.js" for n in PACKED)],
    }
    rows = [{"what": what, "MB": f"{_mb({n: scripts[n] for n in names}):.1f}"} for what, names in parts.items()]
    rows.append({"what": "in all, to read once", "MB": f"{_mb(scripts):.1f}"})
    return display.table(pd.DataFrame(rows)).data


def _licences() -> bytes:
    """Name whose work is on the page, in which version, under which licence, with its text where it came with one."""
    parts = []
    for package in (vendor.ONNXRUNTIME, vendor.TOKENIZERS):
        pin = vendor.PINS[package]
        own = vendor.file(package, "LICENSE").read_text(encoding="utf-8") if "LICENSE" in pin.sha256 else ""
        parts.append(f"{package} {pin.version}, licence {pin.licence}\n\n{own}")
    return "\n\n".join(parts).encode()


def _mb(files: Mapping[str, bytes]) -> float:
    return sum(map(len, files.values())) / 1e6
