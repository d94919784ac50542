"""How our encoder's config fields and parameters are called in the checkpoints of BERT and RoBERTa, both ways.

Only names differ, never values: these tables are the whole difference between our classes and the stock ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import transformers
from torch import Tensor

from fflib.files import InputError
from fflib.model.encoder import EncoderConfig

if TYPE_CHECKING:  # transformers loads its parts when they are used; this one takes seconds
    from transformers import PreTrainedConfig

MODEL_TYPES = ("bert", "roberta")
FIELDS = {  # ours -> stock; the sizes of the layers are translated apart
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "max_position_embeddings": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "activation": "hidden_act",
    "layer_norm_eps": "layer_norm_eps",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "pad_token_id": "pad_token_id",
}
MODULES = {
    "embeddings.word": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.token_type": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "pooler": "pooler.dense",
}
LAYER_MODULES = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.intermediate": "intermediate.dense",
    "feed_forward.output": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
HEADS = {  # RoBERTa keeps its pooler in the head
    "bert": {"classifier": "classifier"},
    "roberta": {"encoder.pooler": "classifier.dense", "classifier": "classifier.out_proj"},
}
LEGACY = {"gamma": "weight", "beta": "bias"}  # LayerNorm in checkpoints that came from TensorFlow
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")  # constants that older versions saved
_ROBERTA = {"model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
_ROBERTA |= {"layer_norm_eps": 1e-5}
_MINILM = {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536}
KNOWN_CONFIGS: dict[str, dict[str, Any]] = {  # what differs from the stock defaults, which are BERT-base's
    "google-bert/bert-base-uncased": {},
    "huawei-noah/TinyBERT_General_4L_312D": {"num_hidden_layers": 4, "hidden_size": 312, "intermediate_size": 1200},
    "huawei-noah/TinyBERT_General_6L_768D": {"num_hidden_layers": 6},
    "nreimers/MiniLM-L6-H384-uncased": _MINILM,
    "sentence-transformers/all-MiniLM-L6-v2": _MINILM,
    "distilbert/distilroberta-base": _ROBERTA | {"num_hidden_layers": 6},
    "FacebookAI/roberta-base": _ROBERTA,
}


def our_config(stock: dict[str, Any]) -> EncoderConfig:
    """Translate the values of a stock ``config.json``. Anything but an absolute-position BERT or RoBERTa encoder raises
    ``InputError``."""
    model_type = stock.get("model_type")
    if model_type not in MODEL_TYPES:
        raise InputError(f"model type {model_type!r} is not supported; choose one of type {' or '.join(MODEL_TYPES)}")
    if stock.get("position_embedding_type", "absolute") != "absolute" or stock.get("is_decoder"):
        raise InputError("relative positions and decoders are not supported; choose an encoder with absolute positions")
    config = transformers.CONFIG_MAPPING[model_type].from_dict(stock)  # fills in what the file leaves to the defaults
    return EncoderConfig.uniform(
        config.num_hidden_layers,
        config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        position_offset=config.pad_token_id + 1 if model_type == "roberta" else 0,
        **{ours: getattr(config, theirs) for ours, theirs in FIELDS.items()},
    )


def stock_config(config: EncoderConfig, num_labels: int) -> PreTrainedConfig:
    """Undo :func:`our_config`.

    Raises:
        InputError: the layers differ, heads * head_size is not hidden_size, or the padding token was renumbered but
            positions still count from its old number: the stock classes cannot express that.
    """
    shape = config.layers[0] if len(set(config.layers)) == 1 else None
    positions_fit = config.position_offset in (0, config.pad_token_id + 1)
    if shape is None or shape.num_heads * shape.head_size != config.hidden_size or not positions_fit:
        raise InputError("transformers cannot hold a pruned model; convert the unpruned one, or run ours as it is")
    return transformers.CONFIG_MAPPING[_model_type(config)](
        num_hidden_layers=len(config.layers),
        num_attention_heads=shape.num_heads,
        intermediate_size=shape.intermediate_size,
        num_labels=num_labels,
        **{theirs: getattr(config, ours) for ours, theirs in FIELDS.items()},
    )


def stock_name(name: str) -> str:
    """Return BERT's name of our encoder's parameter ``name``.

    >>> stock_name("layers.3.attention.query.weight")
    'encoder.layer.3.attention.self.query.weight'
    """
    module, _, parameter = name.rpartition(".")
    if module.startswith("layers."):
        _, index, part = module.split(".", 2)
        return f"encoder.layer.{index}.{LAYER_MODULES[part]}.{parameter}"
    return f"{MODULES[module]}.{parameter}"


def encoder_state(stock: dict[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Pick our encoder's parameters ``names`` from a stock checkpoint, whether or not its names start with ``bert.``.

    The pooler may be missing (RoBERTa is published without one) and is then left out. Any other missing weight, and any
    encoder weight that is left over, raises ``InputError``; heads (``cls.``, ``lm_head.``, ...) are not looked at.
    """
    found = {_modern(name): tensor for name, tensor in _without_prefix(stock).items() if name not in BUFFERS}
    wanted = {stock_name(name): name for name in names}
    missing = [name for name in wanted if name not in found and not name.startswith("pooler.")]
    left_over = [name for name in found if name not in wanted]
    for problem, which in (("lacks", missing), ("has unexpected", left_over)):
        if which:
            examples = ", ".join(which[:3]) + (f" and {len(which) - 3} more" if len(which) > 3 else "")
            raise InputError(
                f"the checkpoint {problem} encoder weights ({examples}); use one that fits its config.json"
            )
    return {ours: found[name] for name, ours in wanted.items() if name in found}


def head_state(stock: dict[str, Tensor], model_type: str) -> dict[str, Tensor]:
    """Pick the head of a stock sequence classifier, under the names of our ``Classifier``."""
    names = {f"{ours}.{p}": f"{theirs}.{p}" for ours, theirs in HEADS[model_type].items() for p in ("weight", "bias")}
    if missing := [theirs for theirs in names.values() if theirs not in stock]:
        raise InputError(f"the checkpoint lacks its head ({', '.join(missing)}); use one that fits its config.json")
    return {ours: stock[theirs] for ours, theirs in names.items()}


def stock_state(ours: dict[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Rename the state of our ``Classifier`` for the stock sequence classifier."""
    model_type, state = _model_type(config), {}
    for name, tensor in ours.items():
        module, _, parameter = name.rpartition(".")
        if module in HEADS[model_type]:
            state[f"{HEADS[model_type][module]}.{parameter}"] = tensor
        else:
            state[f"{model_type}.{stock_name(name.removeprefix('encoder.'))}"] = tensor
    return state


def _model_type(config: EncoderConfig) -> str:
    return "roberta" if config.position_offset else "bert"


def _without_prefix(stock: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in (f"{model_type}." for model_type in MODEL_TYPES):
        if any(name.startswith(prefix) for name in stock):
            return {name.removeprefix(prefix): tensor for name, tensor in stock.items() if name.startswith(prefix)}
    return {name: tensor for name, tensor in stock.items() if name.startswith(("embeddings.", "encoder.", "pooler."))}


def _modern(name: str) -> str:
    module, _, parameter = name.rpartition(".")
    return f"{module}.{LEGACY.get(parameter, parameter)}"
