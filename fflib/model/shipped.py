"""Models that come with the book, as small differences to public weights: made once, for longer than a reader waits.

    python -m fflib.model.shipped      makes the teacher of the docs task anew, with its record (48 minutes, two cores)

A file lies in ``kept/`` beside the record of how it was made: command, commit, machine, recipe, data, every dev
score on the way, and what it scores on dev and test before and after it was made small.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from fflib.data import docs_task, metrics, registry, splits
from fflib.data.splits import TokenizedSplit
from fflib.data.task import Task
from fflib.files import cache_dir, write_json
from fflib.measure import device, hardware
from fflib.model import checkpoints, low_rank, training
from fflib.model.encoder import Classifier

FOLDER = Path(__file__).parent / "kept"
TASK, BASE, RANK, LENGTH = "docs", "sentence-transformers/all-MiniLM-L6-v2", 20, 96
_RECIPE = training.Recipe(
    epochs=1, batch_size=32, learning_rate=1e-4, warmup=0.06, dropout=0.0, freeze_words=True, evaluations_per_epoch=3
)
# First all of train, where counting words helps: that is how it begins to learn. Then the part where it does not, as in
# dev and test. What is lost when the matrices' changes are cut to thin pairs, the rest makes up for: biases, norms and
# the head alone, which are kept whole (as BitFit trains, 2106.10199).
STAGES = {
    "all": _RECIPE,
    "balanced": replace(_RECIPE, epochs=3, evaluations_per_epoch=2),
    "after the cut": replace(_RECIPE, learning_rate=1e-3, evaluations_per_epoch=4),
}


def file_for(task: Task, base: str) -> Path | None:
    """Return the file of the teacher that is made of the public model ``base`` for ``task``, or None: none is kept."""
    file = FOLDER / f"{task.name}-{base.rpartition('/')[2]}.safetensors"
    return file if file.exists() and base.partition("@")[0] == BASE else None


def record_of(file: Path) -> dict[str, Any]:
    """Return the record of how a file was made."""
    return json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))


def take(
    file: Path, base: str, task: Task, folder: Path, tokenizer: PreTrainedTokenizerBase
) -> tuple[Classifier, training.History]:
    """Return ``base`` with the differences of ``file`` added, kept in ``folder`` as training would, and its history.

    InputError: the file is damaged, or of another model.
    """
    model = checkpoints.load_classifier(base, task.num_labels, spans=task.spans)
    low_rank.apply(model, file)
    checkpoints.save(model, folder, tokenizer)
    return device.placed(model), training.History(**record_of(file)["history"])


def make() -> Path:
    """Fine-tune `BASE` through `STAGES` and keep what changed as pairs of rank `RANK`; write the file and its record.

    Dev chooses the weights; test is scored for the record alone.
    """
    machine = hardware.card()  # now: the commit that the code is of, before a file changes
    task, tokenizer = registry.get_task(TASK), checkpoints.load_tokenizer(BASE)
    texts = tokenized(task, tokenizer)
    balanced = texts["train"].take(docs_task.balanced_places("train"))
    score = partial(metrics.score, task)

    def train(model: Classifier, stage: str) -> training.History:
        examples = texts["train"] if stage == "all" else balanced
        loss = training.label_loss(examples)
        state_file = cache_dir("shipped") / f"teacher-{stage}.state"
        return training.fit(model, examples, texts["dev"], loss, score, STAGES[stage], state_file)

    base, model, cut = (checkpoints.load_classifier(BASE, task.num_labels) for _ in range(3))
    histories = {}
    for stage in ("all", "balanced"):
        model.encoder.embeddings.position.requires_grad_(False)  # as the words: the difference would not be small
        histories[stage] = train(model, stage)
    measured = {"as trained": scores(model, texts, score)}

    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{TASK}-{BASE.rpartition('/')[2]}.safetensors"
    histories["after the cut"], small = keep(
        model, base, cut, file, RANK, lambda each: train(each, "after the cut"), lambda each: scores(each, texts, score)
    )
    facts = {
        "command": "python -m fflib.model.shipped",
        "base": BASE,
        "rank": RANK,
        "stages": {stage: asdict(recipe) for stage, recipe in STAGES.items()},
        "history": asdict(joined(histories.values())),
    }
    write_record(file, facts, texts, measured | small, machine)
    return file


def tokenized(task: Task, tokenizer: PreTrainedTokenizerBase) -> dict[str, TokenizedSplit]:
    """Return all of the task: train in `LENGTH` tokens, dev and test as they are served."""
    lengths = {"train": LENGTH, "dev": task.max_length, "test": task.max_length}
    return {name: splits.tokenize(splits.load_split(task.name, name), tokenizer, n) for name, n in lengths.items()}


def keep(
    model: Classifier,
    start: Classifier,
    cut: Classifier,
    file: Path,
    rank: int,
    tune: Callable[[Classifier], training.History],
    scored: Callable[[Classifier], dict[str, float]],
) -> tuple[training.History, dict[str, dict[str, float]]]:
    """Write to ``file`` how ``model`` differs from ``start``, as pairs of ``rank``, tuned where that helps on dev.

    Args:
        start: becomes what the file makes of it.
        cut: another copy of it, on which ``tune`` trains what is kept whole.

    Returns:
        How that training went, and what the model scores "as cut", "as tuned" and "as kept", which is the better one.
    """
    low_rank.save(model, start, file, rank)
    low_rank.apply(cut, file)
    measured = {"as cut": scored(cut)}
    low_rank.freeze_matrices(cut)
    history = tune(cut)
    tuned, made = file.with_suffix(".tuned"), copy.deepcopy(start)
    low_rank.save(cut, start, tuned, rank)
    low_rank.apply(made, tuned)
    measured["as tuned"] = scored(made)
    if measured["as tuned"]["dev"] >= measured["as cut"]["dev"]:
        tuned.replace(file)
    tuned.unlink(missing_ok=True)
    low_rank.apply(start, file)
    return history, measured | {"as kept": scored(start)}


def joined(histories: Iterable[training.History]) -> training.History:
    """Return trainings that followed each other as one: steps and seconds go on, the best is the last one's."""
    whole = training.History()
    for history in histories:
        before = whole.loss[-1][0] if whole.loss else 0
        whole.loss += [(before + step, value) for step, value in history.loss]
        whole.dev_score += [(before + step, value) for step, value in history.dev_score]
        whole.best_score, whole.seconds = history.best_score, whole.seconds + history.seconds
        whole.resumed += history.resumed
    return whole


def scores(model: Classifier, texts: Mapping[str, TokenizedSplit], score: training.Score) -> dict[str, float]:
    """Return what ``model`` scores on dev and test of ``texts``."""
    return {name: score(training.predict(model, texts[name]), texts[name].gold) for name in ("dev", "test")}


def write_record(
    file: Path,
    facts: Mapping[str, Any],
    texts: Mapping[str, TokenizedSplit],
    measured: Mapping[str, Mapping[str, float]],
    machine: Mapping[str, object],
) -> None:
    """Write the record of ``file`` beside it: the ``facts`` of how it was made, and what is told of every file."""
    common = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "task": TASK,
        "train_length": LENGTH,
        "examples": {name: len(split) for name, split in texts.items()},
        "fingerprints": {name: split.fingerprint for name, split in texts.items()},
        "scores": measured,
        "kilobytes": round(file.stat().st_size / 1000),
    }
    write_json(file.with_suffix(".json"), {**facts, **common})


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    start = time.perf_counter()
    print(f"{make().name}: {(time.perf_counter() - start) / 60:.0f} minutes")
