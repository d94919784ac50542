"""Fine-tuning a pretrained encoder on the labels of a task: where the book's teacher comes from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from fflib.data.splits import TokenizedSplit
from fflib.data.task import Task
from fflib.model import cache, checkpoints, pretuned, training
from fflib.model.encoder import Classifier
from fflib.model.training import History, Recipe, Score


def fine_tune(
    name: str,
    task: Task,
    train: TokenizedSplit,
    dev: TokenizedSplit,
    recipe: Recipe,
    score: Score,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    seed: int = 0,
) -> tuple[Classifier, History]:
    """Train the model ``name`` on ``train`` and return it with its best weights on ``dev``, and how that went.

    What was trained by the same recipe before is read from ``folder``. With no epochs in ``recipe`` the model is taken
    as one that is fine-tuned already; InputError: it is not, see `pretuned.take`.
    """
    if not recipe.epochs:
        return pretuned.take(name, task, folder, tokenizer, dev, score)
    return cache.train_or_load(
        lambda: checkpoints.load_classifier(name, task.num_labels, seed, task.spans),
        folder,
        train,
        dev,
        lambda model: training.label_loss(train),
        score,
        replace(recipe, seed=seed),
        origin="fine-tuned",
        tokenizer=tokenizer,
    )
