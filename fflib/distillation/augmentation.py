"""More text to distil on, from the text there is: TinyBERT's augmentation (1909.10351, section 3 and algorithm 1).

It works on token ids, since teacher and student share them. The new examples have no label (it is -1); the teacher's
outputs stand for it. TinyBERT asks a masked-language model for substitutes, and GloVe's neighbours for those of a word
of several pieces; here the neighbours in an encoder's own word embeddings do the first, and a word of several pieces
stays as it is. English only, as the stop words are.
(Longer than 200 lines: both ways to more text read the same tokens.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fflib.data.metrics import Gold
from fflib.data.splits import TokenizedSplit, tokenized
from fflib.data.task import SEGMENTS
from fflib.files import InputError

if TYPE_CHECKING:  # transformers loads its parts when they are used; these take seconds
    from transformers import PreTrainedTokenizerBase

K = 15  # substitutes a word, as in TinyBERT
UNKNOWN = -1  # the label of an example that nobody has labelled
ROWS = 512  # of similarities at a time: 45 MB with BERT's vocabulary
MORE_STOP_WORDS = {  # TinyBERT's that scikit-learn lacks, as the pieces of "don't"
    "ain", "aren", "couldn", "d", "did", "didn", "does", "doesn", "doing", "don", "hadn", "hasn", "haven", "having",
    "isn", "just", "ll", "m", "ma", "mightn", "mustn", "needn", "o", "s", "shan", "shouldn", "t", "theirs", "ve",
    "wasn", "weren", "won", "wouldn", "y",
}  # fmt: skip

Substitutes = list[np.ndarray]  # one array [m, k] an example: k token ids for each of its m `replaceable` tokens


def whole_words(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Return the ids of the words that may be replaced and may replace, [n], ascending.

    They begin a word, have letters a to z only, and are neither special nor stop words. Of a byte-level BPE (RoBERTa)
    only tokens with the space in front count, so the first word of a text, or one behind a bracket, is none.

    Raises:
        InputError: the tokenizer is neither a WordPiece nor a byte-level BPE.
    """
    return np.flatnonzero(_pieces(tokenizer)[0])


def replaceable(split: TokenizedSplit, tokenizer: PreTrainedTokenizerBase) -> list[np.ndarray]:
    """Return, one array [m] an example, the positions of :func:`whole_words` that no further piece continues."""
    is_word, continues = _pieces(tokenizer)
    return [np.flatnonzero(is_word[ids] & ~np.append(continues[ids[1:]], False)) for ids in split.input_ids]


def nearest_neighbours(
    embeddings: Tensor, candidates: np.ndarray, k: int = K, of: np.ndarray | None = None
) -> np.ndarray:
    """Return, for each token id in ``of`` [m], the ``k`` others of ``candidates`` [n] nearest to it by cosine, [m, k].

    ``embeddings`` is [vocab, d]; ``of`` is a part of ``candidates``, which ascend; by default it is all of them. The
    nearest comes first. All of BERT's 21,000 words take some seconds.
    """
    _check_enough(candidates, k)
    unit = F.normalize(embeddings.detach().cpu()[torch.from_numpy(candidates)].float(), dim=1)
    rows = torch.arange(len(unit)) if of is None else torch.from_numpy(np.searchsorted(candidates, of))
    nearest = [rows.new_empty(0, k)]
    for some in rows.split(ROWS):
        similarity = unit[some] @ unit.T
        similarity[torch.arange(len(some)), some] = -torch.inf  # a word is no substitute for itself
        nearest.append(similarity.topk(k).indices.cpu())
    return candidates[torch.cat(nearest).numpy()]


def neighbour_candidates(
    split: TokenizedSplit, tokenizer: PreTrainedTokenizerBase, embeddings: Tensor, k: int = K
) -> Substitutes:
    """Return the :func:`nearest_neighbours` of each replaceable word in an encoder's word ``embeddings`` [vocab, d]."""
    found = [ids[at] for ids, at in zip(split.input_ids, replaceable(split, tokenizer), strict=True)]
    used = np.unique(np.concatenate(found))
    nearest = nearest_neighbours(embeddings, whole_words(tokenizer), k, used)
    return [nearest[np.searchsorted(used, ids)] for ids in found]


def augment(
    split: TokenizedSplit,
    tokenizer: PreTrainedTokenizerBase,
    substitutes: Substitutes,
    copies: int,
    probability: float = 0.4,
    seed: int = 0,
) -> TokenizedSplit:
    """Return up to ``copies`` new examples for each example, without the examples themselves (algorithm 1).

    In a copy every replaceable word gives way, with ``probability``, to one of its ``substitutes``, in both texts of a
    pair; TinyBERT's code changes one text at a time, and its second texts stand beside a changed first one. All else
    stays: length, special tokens, token types. A copy that equals an example or another copy is dropped. The labels
    are -1, for nobody knows them any more.
    """
    if copies < 1 or not 0 < probability <= 1:
        raise InputError(f"copies={copies}, probability={probability}: give 1 copy or more, a probability up to 1")
    rng, new_ids, new_types = np.random.default_rng(seed), [], []
    positions = replaceable(split, tokenizer)
    for ids, types, at, choices in zip(split.input_ids, split.token_type_ids, positions, substitutes, strict=True):
        shape = (copies, len(at))
        replaced, drawn = rng.random(shape) < probability, rng.integers(choices.shape[1], size=shape)
        rows = np.tile(ids, (copies, 1))
        rows[:, at] = np.where(replaced, choices[np.arange(len(at)), drawn], ids[at])
        new_ids += list(rows)
        new_types += [types] * copies
    return _unlabelled(new_ids, new_types, split)


def are_pairs(split: TokenizedSplit, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether every example has two texts."""
    return all(_starts(split, tokenizer))


def _starts(split: TokenizedSplit, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Find where the second text of each example begins; 0: it has none."""
    rows = zip(split.input_ids, split.token_type_ids, strict=True)
    return [_second_start(ids, types, tokenizer) for ids, types in rows]


def recombined(
    split: TokenizedSplit, tokenizer: PreTrainedTokenizerBase, copies: int, max_length: int, seed: int = 0
) -> TokenizedSplit:
    """Return up to ``copies`` new pairs for each pair: its first text with the second texts of others, labels -1.

    The second text is cut, before its last [SEP], where a pair has more than ``max_length`` tokens. Every second text
    is used equally often. A pair that equals one of ``split`` or another new one is dropped.

    Raises:
        InputError: single texts, more copies than other pairs, or a first text that leaves no room for a second.
    """
    starts = _starts(split, tokenizer)
    if not all(starts):
        raise InputError(f"recombining takes pairs, but example {starts.index(0)} is a single text; use augment for it")
    if not 1 <= copies < len(split):
        raise InputError(f"copies={copies} is not possible with {len(split)} pairs; give 1 or more, but fewer")
    if max_length < (least := max(starts) + 2):
        raise InputError(f"max_length={max_length} leaves no room for a second text; it takes at least {least}")
    order, new = np.random.default_rng(seed).permutation(len(split)), ([], [])
    for shift in range(1, copies + 1):  # each pair takes its second text from another one, and never the same twice
        for i, j in zip(order, np.roll(order, shift), strict=True):
            for rows, paired in zip((split.input_ids, split.token_type_ids), new, strict=True):
                first, second = rows[i][: starts[i]], rows[j][starts[j] :]
                kept = min(len(second), max_length - len(first)) - 1
                paired.append(np.concatenate([first, second[:kept], second[-1:]]))
    return _unlabelled(*new, split)


def joined(first: TokenizedSplit, second: TokenizedSplit) -> TokenizedSplit:
    """Return the examples of ``first``, then those of ``second``."""
    ids, types = first.input_ids + second.input_ids, first.token_type_ids + second.token_type_ids
    return tokenized(ids, types, Gold(np.concatenate([first.labels, second.labels])))


def _unlabelled(ids: list[np.ndarray], types: list[np.ndarray], known: TokenizedSplit) -> TokenizedSplit:
    """Make a split of the examples that are not in ``known``, each once."""
    seen, new = {row.tobytes() for row in known.input_ids}, []
    for i, row in enumerate(ids):
        if (key := row.tobytes()) not in seen:
            seen.add(key)
            new.append(i)
    return tokenized([ids[i] for i in new], [types[i] for i in new], Gold(np.full(len(new), UNKNOWN, np.int64)))


def _check_enough(words: np.ndarray, k: int) -> None:
    """Raise InputError where ``words`` [n] cannot give each of them ``k`` others."""
    if not 1 <= k < len(words):
        raise InputError(f"k={k} substitutes cannot be had of {len(words)} words; give 1 or more, but fewer")


def _pieces(tokenizer: PreTrainedTokenizerBase) -> tuple[np.ndarray, np.ndarray]:
    """Tell of each token whether it can be a whole word, and whether it continues the one before it: [vocab], bool."""
    ids = tokenizer.get_vocab()
    tokens = [""] * (max(ids.values()) + 1)
    for token, i in ids.items():
        tokens[i] = token
    if type(tokenizer.backend_tokenizer.model).__name__ == "WordPiece":
        words, continues = tokens, [token.startswith("##") for token in tokens]
    elif any(token.startswith("Ġ") for token in tokens):  # Ġ is the space, Ċ the line break, of a byte-level BPE
        words = [token[1:] if token.startswith("Ġ") else "" for token in tokens]
        continues = [token[:1].isalnum() and token[0] not in "ĠĊ" for token in tokens]
    else:
        raise InputError(f"{type(tokenizer).__name__} marks words neither like BERT nor like RoBERTa; use such a one")
    stop_words = _stop_words()
    is_word = np.array([word.isascii() and word.isalpha() and word.lower() not in stop_words for word in words])
    is_word[tokenizer.all_special_ids] = False
    return is_word, np.array(continues)


def _stop_words() -> set[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # only now: scikit-learn takes two seconds to load

    return {*ENGLISH_STOP_WORDS, *MORE_STOP_WORDS}


def _separators(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many separators stand between two texts: 1 with BERT, 2 with RoBERTa."""
    return tokenizer.num_special_tokens_to_add(pair=True) - 2  # one token starts a pair, one ends it


def _second_start(ids: np.ndarray, types: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> int:
    """Find where the second text begins; 0: there is none. Token types are surer, for a text may hold a "[SEP]"."""
    segments = types % SEGMENTS  # without the marks of words
    if segments.any():
        return int(segments.argmax())
    is_separator = ids == tokenizer.sep_token_id
    doubled = np.flatnonzero(is_separator[:-1] & is_separator[1:])
    return int(doubled[0]) + 2 if len(doubled) and _separators(tokenizer) == 2 else 0
