"""CTranslate2, a C++ engine for transformers with int8 of its own; an optional extra, and a peer.

It keeps a stock BERT alone: as many heads in each layer as share the hidden width evenly, and one inner width. A pruned
model has neither, so it cannot be held.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import transformers

from fflib.files import InputError
from fflib.measure import cores
from fflib.measure.timing import Predictor
from fflib.model import checkpoints
from fflib.model.encoder import Classifier

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def missing() -> str:
    """Return '' where CTranslate2 can be used, else a sentence that says what to do."""
    if importlib.util.find_spec("ctranslate2") is None:
        return 'not installed: ctranslate2; run .venv/bin/python -m pip install -e ".[peers]"'
    return ""


def cannot_hold(model: Classifier) -> str:
    """Return '' where CTranslate2 can serve ``model``, else why not, in a sentence."""
    config = model.encoder.config
    if config.spans:
        return "CTranslate2 has no head that reads marked words"
    if config.position_offset:
        return "this module writes BERT for CTranslate2, not RoBERTa"
    if len(set(config.layers)) > 1 or config.layers[0].num_heads * config.layers[0].head_size != config.hidden_size:
        return "CTranslate2 cannot hold a pruned model: its heads always share the whole hidden width"
    return ""


def convert(model: Classifier, folder: Path) -> Path:
    """Write ``model`` as CTranslate2 keeps it, in fp32, into the new folder ``folder``, and return that.

    The encoder and its pooler are in it; the linear layer on top is not, see `predictor`. InputError: it cannot hold
    it, or is not installed.
    """
    if why := missing() or cannot_hold(model):
        raise InputError(why)
    from ctranslate2.converters import TransformersConverter

    with tempfile.TemporaryDirectory() as stock, _quiet():
        checkpoints.to_transformers(model).save_pretrained(stock)
        _write_words(Path(stock), model.encoder.config.vocab_size)
        _name_positions(Path(stock) / "config.json")
        TransformersConverter(stock).convert(str(folder))
    return folder


def predictor(folder: Path, model: Classifier, precision: str, threads: int, instances: int = 1) -> Predictor:
    """Serve what `convert` wrote: arrays [batch, length] to logits, float32 [batch, labels].

    Args:
        model: the one that was converted, for its last linear layer, which is computed here.
        precision: a "compute type" of CTranslate2, such as float32 or int8.
        threads: of each instance; 0 takes all cores.
        instances: how many batches it answers at the same time, where as many threads of Python ask.
    """
    import ctranslate2

    options = {"inter_threads": instances, "intra_threads": cores.resolve_threads(threads)}
    encoder = ctranslate2.Encoder(str(folder), device="cpu", compute_type=precision, **options)
    weight, bias = (each.detach().numpy() for each in (model.classifier.weight, model.classifier.bias))

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        lengths = inputs["attention_mask"].sum(axis=1)
        ids, types = (_lists(inputs[name], lengths) for name in ("input_ids", "token_type_ids"))
        pooled = np.array(encoder.forward_batch(ids, token_type_ids=types).pooler_output)
        return pooled.astype(np.float32, copy=False) @ weight.T + bias

    return predict


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep bars and what transformers reports of the linear layer on top, which the converter has no use for."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _lists(rows: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
    """Return rows without their padding, as CTranslate2 takes them; it pads them again by itself."""
    return [row[:length].tolist() for row, length in zip(rows, lengths, strict=True)]


def _write_words(folder: Path, count: int) -> None:
    """Write a tokenizer of ``count`` words, which the converter asks for; it is given ids, so any words will do."""
    words = [*SPECIAL, *(f"word{i}" for i in range(len(SPECIAL), count))]
    (folder / "vocab.txt").write_text("\n".join(words[:count]) + "\n", encoding="utf-8")
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)


def _name_positions(path: Path) -> None:
    """Say in a stock config that positions are absolute: transformers 5 leaves that out, the converter reads it."""
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values | {"position_embedding_type": "absolute"}), encoding="utf-8")
