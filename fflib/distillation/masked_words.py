"""Substitutes for words from a masked-language model, TinyBERT's first source (1909.10351, algorithm 1).

Only where such a model is at hand: the hub's BERT has the head for it, a sentence encoder has not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor

from fflib import progress
from fflib.data.splits import TokenizedSplit
from fflib.distillation.augmentation import (
    K,
    Substitutes,
    check_enough,
    replaceable,
    second_start,
    separators,
    whole_words,
)
from fflib.files import InputError
from fflib.hub import resolve
from fflib.model import checkpoints, hf_names

if TYPE_CHECKING:  # transformers loads its parts when they are used; these take seconds
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def mlm_candidates(
    split: TokenizedSplit,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    k: int = K,
    max_words: int = 20,
    seed: int = 0,
) -> Substitutes:
    """Return the ``k`` likeliest words in the place of each replaceable word, by the masked-language model ``name``.

    As in TinyBERT's code, the model reads the text with that word masked, [SEP], and the text as it was; of a pair,
    each text is read alone. Only other :func:`whole_words` are taken, the likeliest first. Each word costs a pass over
    twice its text, so ``max_words`` of an example, drawn from ``seed``, are asked about. The others, and those too far
    back for the model, get themselves, and so stay.

    Raises:
        InputError: no such model, not a masked-language model, or one with another vocabulary.
    """
    words, found, rng = whole_words(tokenizer), [], np.random.default_rng(seed)
    check_enough(words, k)
    model, room = _load_mlm(name, tokenizer)
    examples = zip(split.input_ids, split.token_type_ids, replaceable(split, tokenizer), strict=True)
    with progress.bar(len(split), "masked words", "example") as bar:
        for ids, types, positions in examples:
            rows = np.repeat(ids[positions, None], k, axis=1)
            asked = rng.permutation(len(positions))[:max_words]
            for start, end in _texts(ids, types, tokenizer):
                end = min(end, start + room - separators(tokenizer) - 2)
                here = asked[(start <= positions[asked]) & (positions[asked] < end)]
                if len(here):
                    inputs, masked = _masked_copies(ids[start:end], positions[here] - start, room, tokenizer)
                    rows[here] = _likeliest(model, inputs, masked, ids[positions[here]], words, k)
            found.append(rows)
            bar.update()
    return found


def _texts(ids: np.ndarray, types: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, int]]:
    """Find where each text begins and ends, without the special tokens around it."""
    second = second_start(ids, types, tokenizer)
    return [(1, second - separators(tokenizer)), (second, len(ids) - 1)] if second else [(1, len(ids) - 1)]


def _load_mlm(name: str, tokenizer: PreTrainedTokenizerBase) -> tuple[PreTrainedModel, int]:
    """Return the model, in evaluation mode, and how many tokens it takes."""
    folder = resolve(name)
    config = hf_names.our_config(checkpoints.read_config(folder))
    if checkpoints.load_tokenizer(folder).get_vocab() != tokenizer.get_vocab():
        raise InputError(f"{name} has another vocabulary than the examples; choose a model with the same tokenizer")
    offline = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
    try:
        model, report = transformers.AutoModelForMaskedLM.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, **offline
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder} holds no whole model ({type(error).__name__}); download it again") from error
    if report["missing_keys"]:  # transformers would draw these weights at random
        raise InputError(f"{name} has no head for masked words; choose a masked-language model")
    return model.eval(), config.max_position_embeddings - config.position_offset


def _masked_copies(
    text: np.ndarray, offsets: np.ndarray, room: int, tokenizer: PreTrainedTokenizerBase
) -> tuple[dict[str, Tensor], np.ndarray]:
    """Return what the model reads, one row for each of ``offsets`` [m] into ``text``, and where the masks are, [m].

    The text as it was is cut where a row has more than ``room`` tokens.
    """
    start, separator, masked = [tokenizer.cls_token_id], [tokenizer.sep_token_id], offsets + 1
    first = np.concatenate([start, text, separator * separators(tokenizer)])
    ids = np.concatenate([first, text[: room - len(first) - 1], separator])
    types = (np.arange(len(ids)) >= len(first)) & (separators(tokenizer) == 1)  # RoBERTa has but one type
    rows = np.tile(ids, (len(offsets), 1))
    rows[np.arange(len(offsets)), masked] = tokenizer.mask_token_id
    arrays = {"input_ids": rows, "token_type_ids": np.tile(types.astype(np.int64), (len(offsets), 1))}
    return {key: torch.from_numpy(array) for key, array in arrays.items()}, masked


def _likeliest(
    model: PreTrainedModel, inputs: dict[str, Tensor], masked: np.ndarray, old: np.ndarray, words: np.ndarray, k: int
) -> np.ndarray:
    """Return the ids of the ``k`` likeliest ``words`` [n] but ``old`` [m] at the positions ``masked`` [m], [m, k]."""
    head = model.cls if model.config.model_type == "bert" else model.lm_head
    with torch.inference_mode():
        hidden = model.base_model(**inputs).last_hidden_state[np.arange(len(masked)), masked]
        scores = head(hidden)[:, torch.from_numpy(words)]  # at the masks only: a whole text's would fill the memory
        scores[torch.from_numpy(words == old[:, None])] = -torch.inf
        return words[scores.topk(k).indices.numpy()]
