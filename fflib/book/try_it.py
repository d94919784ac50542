"""The book's page "try it": the model that a run chose, in the reader's own browser, also from a folder of files.

The model is small enough for a page: the served graph, with its embeddings in eight bits as well and, where that is not
enough, without the words that train never used.
(Longer than 200 lines: the made-up examples of all tasks stand here.)
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from fflib import display
from fflib.book import take_home, vendor
from fflib.book import try_it_files as files
from fflib.data import batching, metrics, registry, splits
from fflib.data.splits import TokenizedSplit
from fflib.data.task import Task
from fflib.engine import export, sessions
from fflib.files import InputError, resolve
from fflib.measure.timing import Variant
from fflib.model import checkpoints
from fflib.pruning.vocabulary import Vocabulary
from fflib.runs import records

CHAPTER = "07_serving"
FOLDER = "_static/try_it/"
N_TEXTS, LARGEST_MB = 200, 40.0
EMBEDDINGS_RUNG = "int8 embeddings too"  # chapter 5's, of the same embeddings
ALL_WORDS = """All words are kept: a small vocabulary ([chapter 4](04_pruning.ipynb)) leaves requests with an unseen
word to the whole model, which is not on this page."""
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
    chosen, parameters = record["facts"].get("served"), record["parameters"]
    if not chosen:
        raise InputError("the run's chapter 7 names no model, so it is of older code: run the book again")
    task = registry.get_task(parameters["task"])
    if task.spans:
        raise InputError(f"the model of {task.name} reads marked words, and this tokenizer does not say where they are")
    tokenizer = checkpoints.load_tokenizer(resolve(chosen["tokenizer"]))
    if tokenizer.truncation_side != "right":
        raise InputError("this tokenizer cuts texts at their start, and the page at their end")
    texts = splits.load_split(parameters["task"], "dev", parameters["data_source"], limit=N_TEXTS)
    examples = splits.tokenize(texts, tokenizer, task.max_length)
    graph = files.with_small_rows(export.load(resolve(chosen["onnx"])))
    agreement = _agreement(folder, resolve(chosen["onnx"]), graph.SerializeToString(), examples)
    scripts, words = files.scripts_of(tokenizer, graph), None
    if files.megabytes(scripts) > LARGEST_MB:
        train = splits.load_split(parameters["task"], "train", parameters["data_source"])
        words = files.words_of(splits.tokenize(train, tokenizer, task.max_length), tokenizer, graph)
        scripts = files.scripts_of(tokenizer, files.with_words(graph, words))
    if (size := files.megabytes(scripts)) > LARGEST_MB:
        raise InputError(f"it would be {size:.0f} MB to read, more than {LARGEST_MB:.0f}: take a smaller student")
    text = _text(task, tokenizer, examples, scripts, record, agreement, words)
    own = {"page.js": (files.TEMPLATES / "page.js").read_bytes(), "LICENSES.txt": files.licences()}
    return Page(text, scripts | own)


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
    words: Vocabulary | None,
) -> str:
    median = int(np.median(examples.lengths))
    megabytes = f"{files.megabytes(scripts):.0f}"
    settings = {
        "folder": FOLDER,
        "scripts": sorted(scripts, key=lambda name: (name != "model.js", name != files.ENGINE, len(scripts[name]))),
        "megabytes": megabytes,
        "fields": task.text_fields,
        "labels": [str(label) for label in task.labels],
        "maxLength": task.max_length,
        "medianTokens": median,
        "frame": files.frame(tokenizer, len(task.text_fields)),
        "kept": words and words.kept.tolist(),
    }
    return (files.TEMPLATES / "page.md").read_text(encoding="utf-8").format(
        megabytes=megabytes,
        description=task.description,
        asking=task.by_hand and f" {task.by_hand}",
        form=_form(task),
        median_tokens=median,
        cpu=record["machine"]["cpu"],
        native=_native(record),
        accuracy=_accuracy(record),
        sizes=_sizes(scripts),
        agreement=f"{agreement:.1%}",
        n_texts=len(examples),
        words=_of_words(words, examples) if words else ALL_WORDS,
        licences=f'<a href="{FOLDER}LICENSES.txt">their licences</a>',
        settings=json.dumps(settings).replace("</", "<\\/"),
        page_script=f"{FOLDER}page.js",
    )  # fmt: skip


def _of_words(words: Vocabulary, examples: TokenizedSplit) -> str:
    return (
        f"Of {words.size:,} words {len(words.kept):,} are kept, those of the training texts "
        f"([chapter 4](04_pruning.ipynb)); {words.coverage(examples)[1]:.1%} of the dev texts hold no other. A text "
        "that does gets no answer here, for the whole model that would give it is not on this page."
    )


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
    alone = [rung for rung in record["rungs"] if rung["rung"] == "one thread" and rung.get("batch_size") == 1]
    return f"{alone[0]['latency_p50_ms']:.1f} ms" if alone else "not measured in this run"


def _accuracy(record: Mapping[str, Any]) -> str:
    """Tell how often the served model is right, and what that is worth."""
    scores = [rung["accuracy"] for rung in record["rungs"] if rung["rung"] == record["facts"]["served"].get("rung")]
    told = f"On this run's test set the served model scores **{scores[0]:.1%}**. " if scores and scores[0] else ""
    smoke = f" {take_home.SMOKE}" if record["parameters"].get("size") == "smoke" else ""
    return f"{told}A probability is the softmax of its scores and was not calibrated.{smoke}"


def _sizes(scripts: Mapping[str, bytes]) -> str:
    own = {"the model": "model.onnx.js", "its tokenizer's words": "tokenizer.json.js"}
    sizes = {what: files.megabytes({name: scripts[name]}) for what, name in own.items()}
    version = vendor.PINS[vendor.ONNXRUNTIME].version
    sizes[f"ONNX Runtime {version} for the web, and the code"] = files.megabytes(scripts) - sum(sizes.values())
    rows = [{"what": what, "MB": f"{size:.1f}"} for what, size in sizes.items()]
    rows.append({"what": "in all, to read once", "MB": f"{files.megabytes(scripts):.1f}"})
    return display.table(pd.DataFrame(rows)).data
