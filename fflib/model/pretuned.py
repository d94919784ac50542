"""A checkpoint that is fine-tuned already: taken as it is, once it is sure that it answers this task."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from fflib import hub
from fflib.data.splits import TokenizedSplit
from fflib.data.task import Task
from fflib.files import InputError
from fflib.measure import device
from fflib.model import checkpoints, training
from fflib.model.encoder import Classifier


def take(
    name: str,
    task: Task,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    dev: TokenizedSplit,
    score: training.Score,
) -> tuple[Classifier, training.History]:
    """Return ``name``'s model with its own head and its score on dev, and keep a copy in ``folder``, as training does.

    Where its config names the classes as the task does, in whatever order, its outputs are put in the task's order.
    InputError: it has no head of this task's shape, or its classes have other names.
    """
    model = device.placed(load(name, task))
    checkpoints.save(model, folder, tokenizer)
    history = training.History(best_score=score(training.predict(model, dev), dev.gold))
    history.dev_score.append((0, history.best_score))
    return model, history


def load(name: str, task: Task) -> Classifier:
    """Return the model alone, see `take`."""
    config = checkpoints.read_config(hub.resolve(name))
    names = config.get("id2label") or {}
    kept = "num_labels" in config or "ForSequenceClassification" in str(config.get("architectures"))
    known = len(names) or config.get("num_labels", 2)  # stock configs leave two classes out
    if not kept or known != task.num_labels:
        raise InputError(
            f"{name} is no classifier of {task.num_labels} classes, so it cannot be taken as it is; "
            "set epochs to train it on the task first"
        )
    model = checkpoints.load_classifier(name, task.num_labels, spans=task.spans)
    order = _order([str(names[key]) for key in sorted(names, key=int)], [str(label) for label in task.labels], name)
    with torch.no_grad():
        for tensor in (model.classifier.weight, model.classifier.bias):
            tensor.copy_(tensor[order].clone())
    return model


def _order(theirs: list[str], ours: list[str], name: str) -> list[int]:
    """Return the place of each of our classes among theirs; the order as it is where theirs have no names."""
    if not theirs or all(label == f"LABEL_{i}" for i, label in enumerate(theirs)):
        return list(range(len(ours)))
    plain = [label.lower().replace(" ", "_") for label in theirs]
    wanted = [label.lower().replace(" ", "_") for label in ours]
    if sorted(plain) != sorted(wanted):
        raise InputError(
            f"{name} names its classes {', '.join(theirs)}, the task {', '.join(ours)}: it has learnt something else; "
            "correct id2label in its config.json, or set epochs to train it"
        )
    return [plain.index(label) for label in wanted]
