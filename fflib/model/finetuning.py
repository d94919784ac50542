"""Fine-tuning a pretrained encoder on the labels of a task: where the book's teacher comes from."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.data.task import Task
from fflib.files import InputError, content_hash, write_json
from fflib.measure import device
from fflib.model import cache, checkpoints, pretuned, training
from fflib.model.encoder import Classifier
from fflib.model.training import History, Recipe, Score

TRIAL_STEPS = 6  # that are timed before a training, to tell how many fit into its minutes
LEAST_STEPS = 20  # however few minutes there are


@dataclass(frozen=True)
class Plan:
    """What fits into the minutes of a training: how many rows, how often, and how long that should take."""

    rows: int
    epochs: int
    minutes: float

    def __str__(self) -> str:
        passes = "once" if self.epochs == 1 else f"{self.epochs} times"
        return f"{self.rows} rows, {passes}: about {max(self.minutes, 0.1):.1f} minutes"


def fit_into(
    minutes: float, train: TokenizedSplit, dev: TokenizedSplit, recipe: Recipe, name: str, task: Task, folder: Path
) -> Plan:
    """Plan a training of the model ``name``: all of ``train`` as often as ``recipe`` says, or what ``minutes`` allow.

    A few steps and a part of dev are timed for it, once: the plan is kept beside ``folder``, so that the same training
    is not made twice because a machine was slower today. InputError: ``minutes`` is not above 0.
    """
    if not minutes > 0:
        raise InputError(f"minutes={minutes} leaves no time to train in; give more than 0")
    where = device.key_part(device.in_use())  # a card has other minutes
    key = content_hash(minutes, train.fingerprint, dev.fingerprint, asdict(recipe), name, *where)
    file = folder.with_name(f"{folder.name}.plan.json")
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept.pop("key") == key:
            return Plan(**kept)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there yet, damaged, or of another form
        pass
    model = device.placed(checkpoints.load_classifier(name, task.num_labels, recipe.seed, task.spans))
    plan = _plan(minutes, train, recipe, *_timed(model, train, dev, recipe))
    write_json(file, {"key": key, **asdict(plan)})
    return plan


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


def _plan(minutes: float, train: TokenizedSplit, recipe: Recipe, step_s: float, evaluation_s: float) -> Plan:
    """Fit whole passes into the minutes; where not even one fits, one pass over as many rows as do."""
    steps = -(-len(train) // recipe.batch_size)
    epoch_s = steps * step_s + recipe.evaluations_per_epoch * evaluation_s
    epochs = min(recipe.epochs, int(60 * minutes / epoch_s))
    if epochs:
        return Plan(len(train), epochs, epochs * epoch_s / 60)
    left_s = 60 * minutes - recipe.evaluations_per_epoch * evaluation_s
    affordable = min(steps, max(LEAST_STEPS, int(left_s / step_s)))
    rows = min(len(train), affordable * recipe.batch_size)
    return Plan(rows, 1, (affordable * step_s + recipe.evaluations_per_epoch * evaluation_s) / 60)


def _timed(model: Classifier, train: TokenizedSplit, dev: TokenizedSplit, recipe: Recipe) -> tuple[float, float]:
    """Return the seconds of a mean training step and of scoring all of ``dev``; ``model`` itself stays as it is."""
    rows = batching.evenly_by_length(train.lengths, TRIAL_STEPS * recipe.batch_size)
    if train.gold.one_right:  # questions have to stay whole: time the first ones
        rows = np.arange(len(rows))
    trial, part = train.take(rows), dev.take(batching.evenly_by_length(dev.lengths, 2 * recipe.batch_size))
    once = replace(recipe, epochs=1, evaluations_per_epoch=0, seed=0)
    learner, loss = copy.deepcopy(model), training.label_loss(trial)
    few = trial.take(range(min(len(trial), 2 * recipe.batch_size)))
    training.fit(learner, few, part, loss, _no_score, once)  # not timed: the first steps are slow
    start = time.perf_counter()
    training.fit(learner, trial, part, loss, _no_score, once)
    step_s = (time.perf_counter() - start) / max(1, -(-len(trial) // recipe.batch_size))
    start = time.perf_counter()
    training.predict(model, part)
    return step_s, (time.perf_counter() - start) * len(dev) / len(part)


def _no_score(logits: np.ndarray, gold: object) -> float:
    return 0.0
