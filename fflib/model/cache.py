"""Train once, predict once: models and logits kept on disk, under keys that cover all they depend on."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from fflib import spent
from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.files import InputError, atomic_path, cache_dir, content_hash, write_json
from fflib.measure import device, hardware
from fflib.model import checkpoints, encoder, training
from fflib.model.encoder import Classifier

LOGITS, ARRAY = "logits.npz", "logits"  # an .npz, unlike a plain array, has a checksum


@spent.on("prediction")
def predict_cached(model: Classifier, examples: TokenizedSplit) -> np.ndarray:
    """Return the logits of `training.predict`, computed once per weights, examples and version of PyTorch.

    A teacher's outputs are asked for again and again, by later chapters and by every student.
    """
    path = outputs_folder(model, examples) / LOGITS
    return array_of(path, lambda: training.predict(model, examples))


def array_of(path: Path, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array that is kept in ``path``, an .npz; where it is not there yet, or damaged, it is computed."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            return kept[ARRAY]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        array = compute()
        _keep(path, array)
        return array


def keep_predictions(model: Classifier, examples: TokenizedSplit, logits: np.ndarray) -> None:
    """Put logits where `predict_cached` looks for them."""
    _keep(outputs_folder(model, examples) / LOGITS, logits)


def _keep(path: Path, array: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        np.savez(temporary, **{ARRAY: array})


def outputs_folder(model: Classifier, examples: TokenizedSplit) -> Path:
    """Return the cache folder for what ``model`` computes on ``examples``; its name depends on all that decides it.

    What a graphics card computes differs in its last digits, so it never stands for what a processor does.
    """
    where = device.key_part(device.of(model))
    code = [Path(module.__file__) for module in (encoder, training)]
    key = content_hash(weights_hash(model), examples.fingerprint, torch.__version__, *where, *code)
    return cache_dir("predictions") / key


def weights_hash(model: Classifier) -> str:
    """Return hexadecimal digits that depend on the shape of a model and on every weight."""
    digest = hashlib.sha256(content_hash(model.encoder.config.to_dict()).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def train_or_load(
    make_model: Callable[[], Classifier],
    folder: Path,
    train: TokenizedSplit,
    dev: TokenizedSplit,
    make_loss: Callable[[Classifier], training.Loss],
    score: training.Score,
    recipe: training.Recipe,
    origin: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> tuple[Classifier, training.History]:
    """Return what `training.fit` gives, from ``folder`` if it lies there and nothing that decides its weights changed.

    ``make_loss`` is given the untrained model, whose weights count as well: they may come from another run, which can
    have been trained anew. ``origin`` names everything about ``make_loss`` that the other arguments do not tell.
    """
    torch.manual_seed(recipe.seed)
    model = device.placed(make_model())
    key = _weights_key(weights_hash(model) + origin, recipe, train, dev)
    known = _saved_note(folder)
    if known.get("key") == key:
        try:
            return device.placed(checkpoints.load(folder)), training.History(**known["history"])
        except InputError as error:
            print(f"{error}: trained again", file=sys.stderr)
            torch.manual_seed(recipe.seed)
    state_file = folder.with_name(folder.name + ".state")
    history = training.fit(model, train, dev, make_loss(model), score, recipe, state_file, key)
    checkpoints.save(model, folder, tokenizer)
    write_json(folder / "training.json", {"key": key, "recipe": asdict(recipe), "history": asdict(history)})
    return model, history


def _saved_note(folder: Path) -> dict:
    """What `train_or_load` left beside the weights; it is written after them, so it vouches for them."""
    try:
        note = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        training.History(**note["history"])
        return note
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _weights_key(origin: str, recipe: training.Recipe, *splits: TokenizedSplit) -> str:
    """Hash everything that decides the weights: a checkpoint is reused only when all of it is the same."""
    code = [Path(module.__file__) for module in (training, batching, encoder)]
    machine = [torch.__version__, hardware.has_fast_bf16(), *device.key_part(device.in_use())]
    return content_hash(origin, asdict(recipe), [split.fingerprint for split in splits], machine, *code)
