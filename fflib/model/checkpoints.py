"""Models from names and folders, and back: pretrained weights into our encoder, ours into stock classes, save and load.

Where a name's files lie is ``hub``'s business, what the weights are called is ``hf_names``'.
(Longer than 200 lines: every way in has its way back.)
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fflib.files import InputError, swapped_in, write_json
from fflib.hub import CONFIG, WEIGHTS, NotFound, resolve
from fflib.model import digests, hf_names
from fflib.model.encoder import Classifier, Encoder, EncoderConfig
from fflib.model.hf_names import KNOWN_CONFIGS
from fflib.model.stock_wic import StockWordReader

if TYPE_CHECKING:  # transformers loads its parts when they are used; these take seconds
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    StockModel = PreTrainedModel | StockWordReader

FORMAT = "fflib-1"
Model = TypeVar("Model", bound=nn.Module)


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """Return the fast tokenizer of ``name``: a hub name or a folder, see :func:`resolve`."""
    folder = resolve(name)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no readable tokenizer; it needs tokenizer.json or a vocabulary") from error
    if not tokenizer.is_fast:
        raise InputError(f"{name} has no fast tokenizer; choose a model with a tokenizer.json")
    return tokenizer


def load_encoder(name: str | Path) -> Encoder:
    """Return the pretrained encoder of ``name``, in evaluation mode; a missing pooler is drawn afresh."""
    return load_classifier(name, num_labels=2).encoder


def load_classifier(name: str | Path, num_labels: int, seed: int = 0, spans: int = 0) -> Classifier:
    """Return ``name``'s pretrained encoder with a head for ``num_labels`` classes, in evaluation mode.

    The head reads the first token, or so many marked words as ``spans`` says. It is the checkpoint's own if that is a
    classifier of the same shape; otherwise it is drawn from ``seed``, as is a missing pooler (RoBERTa). ``name`` may
    also be a folder that :func:`save` wrote.

    Raises:
        InputError: not found, neither BERT nor RoBERTa, or weights that do not fit the config.
    """
    folder = resolve(name)
    config, state = _pretrained(folder)
    same_head = config.spans == spans and len(state.get("classifier.bias", ())) == num_labels
    if not same_head:
        state = {key: tensor for key, tensor in state.items() if not key.startswith("classifier.")}
    model = _seeded(seed, lambda: Classifier(replace(config, spans=spans), num_labels))
    return _fill(model, model.state_dict() | state, folder / WEIGHTS)


def untrained_classifier(name: str, num_labels: int, seed: int = 0, spans: int = 0) -> StockModel:
    """Return a stock transformers classifier of a known architecture with random weights drawn from ``seed``.

    It takes the same time as the trained one, so it can stand for it in timings, never in accuracies. Nothing is
    downloaded. It is in evaluation mode and has an attribute ``untrained`` that is True.
    """
    name = name.partition("@")[0]  # a revision has other weights, never another architecture
    if name not in KNOWN_CONFIGS:
        raise InputError(f"the architecture of {name} is not known here; use one of {', '.join(KNOWN_CONFIGS)}")
    config = replace(hf_names.our_config({"model_type": "bert"} | KNOWN_CONFIGS[name]), spans=spans)
    model = _stock_model(config, num_labels, seed)
    model.untrained = True
    return model


def stock_classifier(name: str, num_labels: int, seed: int = 0, spans: int = 0) -> StockModel:
    """Return :func:`load_classifier`'s model in the stock transformers class: the baseline, as a user would run it.

    Where the weights cannot be had it is :func:`untrained_classifier`'s model; its attribute ``untrained`` says which.
    """
    try:
        model = to_transformers(load_classifier(name, num_labels, seed, spans))
    except NotFound:
        if name.partition("@")[0] not in KNOWN_CONFIGS:
            raise
        return untrained_classifier(name, num_labels, seed, spans)
    model.untrained = False
    return model


def to_transformers(model: Classifier) -> StockModel:
    """Return the same weights as ``BertForSequenceClassification`` (RoBERTa: its own class), in evaluation mode.

    They stay on the device that they are on.

    For a head that reads words there is no stock class: it is this book's, on the stock encoder (``StockWordReader``).

    Raises:
        InputError: a pruned model; the stock classes need equal layers with heads * head_size = hidden_size.
    """
    config = model.encoder.config
    stock = _stock_model(config, model.classifier.out_features, seed=0)
    if config.spans:
        stock.fill(model)
    else:
        stock.load_state_dict(hf_names.stock_state(model.state_dict(), config))
    return stock.to(model.classifier.weight.device)


def from_transformers(stock: StockModel) -> Classifier:
    """Undo :func:`to_transformers`: the weights of a stock classifier as one of ours, on its device, to be evaluated.

    A pooler that nothing reads, where the head reads words, is all zero. InputError: neither BERT nor RoBERTa.
    """
    reads_words = isinstance(stock, StockWordReader)
    values, state = stock.config.to_dict(), stock.state_dict()
    config = replace(hf_names.our_config(values), spans=stock.spans if reads_words else 0)
    ours = blank(config, stock.config.num_labels).to_empty(device=next(stock.parameters()).device)
    found = hf_names.encoder_state(stock.base.state_dict() if reads_words else state, ours.encoder.state_dict())
    head = {f"classifier.{part}": state[f"classifier.{part}"] for part in ("weight", "bias")} if reads_words else {}
    found = {f"encoder.{name}": tensor for name, tensor in found.items()}
    pooler = {f"encoder.pooler.{name}": torch.zeros_like(each) for name, each in ours.encoder.pooler.named_parameters()}
    ours.load_state_dict(pooler | found | (head or hf_names.head_state(state, values["model_type"])))
    return ours.eval()


def save(
    model: Classifier,
    folder: str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write ``model`` (and its tokenizer, and ``extra`` facts that JSON can hold) as ``folder``, whole or not at all.

    The folder holds config.json, model.safetensors and the tokenizer's files, and takes the place of an earlier one.
    """
    folder = Path(folder)
    is_model = any((folder / name).is_file() for name in (WEIGHTS, CONFIG))  # one may be lost
    if folder.is_dir() and any(folder.iterdir()) and not is_model:
        raise InputError(f"{folder} holds something else than a model; give the model a folder of its own")
    values = {"format": FORMAT, "num_labels": model.classifier.out_features, "encoder": model.encoder.config.to_dict()}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        with swapped_in(folder) as new:
            save_file(state, new / WEIGHTS, metadata={"format": "pt"})
            if tokenizer is not None:
                tokenizer.save_pretrained(new)
            write_json(new / CONFIG, values | {digests.KEY: digests.of(new / WEIGHTS), "extra": extra or {}})
    except SafetensorError as error:
        raise InputError(f"could not write {folder}: {error}; check space and permissions") from error


def load(folder: str | Path) -> Classifier:
    """Return the model that :func:`save` wrote, in evaluation mode, bit for bit.

    Raises:
        InputError: a file is missing, cut short or does not fit the other; the message names it.
    """
    folder = Path(folder)
    config, num_labels = _our_config(folder)
    if (folder / WEIGHTS).is_file() and (wrong := digests.damage(folder)):
        raise InputError(f"{wrong}: cut short or changed; run the book again, which makes the model again")
    return _fill(blank(config, num_labels).to_empty(device="cpu"), _read_weights(folder), folder / WEIGHTS)


def blank(config: EncoderConfig, num_labels: int) -> Classifier:
    """Return a model on the meta device: shapes without numbers, so none are drawn."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")  # of a layer without heads or neurons
        return Classifier(config, num_labels)


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return the ``config.json`` of a model folder; :func:`save` puts ``encoder``, ``num_labels``, ``extra`` there."""
    path = Path(folder) / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is missing or is not JSON ({error}); make or download the model again") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a config; make or download the model again")
    return values


def size_mb(model: nn.Module) -> float:
    """Return the size of the parameters in MB of 10^6 bytes."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()) / 1e6


def _pretrained(folder: Path) -> tuple[EncoderConfig, dict[str, Tensor]]:
    """Return config and weights of a stock checkpoint or one of ours, under the names of :class:`Classifier`."""
    values = read_config(folder)
    if "format" in values:
        ours = load(folder)
        return ours.encoder.config, ours.state_dict()
    stock = _read_weights(folder)
    try:
        config = hf_names.our_config(values)
        with torch.device("meta"):
            names = Encoder(config).state_dict()
        state = {f"encoder.{name}": tensor for name, tensor in hf_names.encoder_state(stock, names).items()}
        if "ForSequenceClassification" in str(values.get("architectures")):
            state |= hf_names.head_state(stock, values["model_type"])
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    return config, state


def _our_config(folder: Path) -> tuple[EncoderConfig, int]:
    values = read_config(folder)
    if values.get("format") != FORMAT:
        raise InputError(f"{folder / CONFIG} is not of the format {FORMAT}; load a stock model with load_classifier")
    try:
        return EncoderConfig.from_dict(values["encoder"]), int(values["num_labels"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / CONFIG} lacks or has a wrong entry ({error}); make the model again") from error


def _read_weights(folder: Path) -> dict[str, Tensor]:
    try:
        return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder / WEIGHTS} is missing or cut short ({error}); make or download it again") from error


def _fill(model: Model, state: dict[str, Tensor], path: Path) -> Model:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()[:200]
        raise InputError(f"{path} does not fit its {CONFIG} ({reason}); make or download the model again") from error
    return model.eval()


def _stock_model(config: EncoderConfig, num_labels: int, seed: int) -> StockModel:
    stock_config = hf_names.stock_config(config, num_labels)
    if config.spans:
        return _seeded(seed, lambda: StockWordReader(stock_config, config.spans)).eval()
    return _seeded(seed, lambda: transformers.AutoModelForSequenceClassification.from_config(stock_config)).eval()


def _seeded(seed: int, build: Callable[[], Model]) -> Model:
    """Call ``build`` with random numbers of its own; those of the caller go on as if nothing had happened."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()
