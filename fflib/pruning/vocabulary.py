"""Vocabulary pruning: embeddings for the tokens a task uses, and the whole model for requests with any other token.

In a small model most weights are word embeddings, and the texts of one task look up only a part of them. A token whose
row is taken away is never guessed at: its request goes to the model that has them all, so no answer changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch

from fflib.data.splits import TokenizedSplit
from fflib.files import InputError, write_json
from fflib.measure.timing import Predictor
from fflib.model import checkpoints
from fflib.model.encoder import Classifier

FILE = "vocabulary.json"
WORD = "encoder.embeddings.word.weight"
DROPPED = -1


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens to keep, ``kept`` [k] (int64, ascending), out of ``size``; the i-th of them has the new id i."""

    kept: np.ndarray
    size: int

    def __post_init__(self) -> None:
        kept, size = self.kept, self.size
        shaped = isinstance(size, int) and kept.dtype == np.int64 and kept.ndim == 1 and len(kept) > 0
        if not shaped or kept[0] < 0 or kept[-1] >= size or (np.diff(kept) <= 0).any():
            raise InputError("the ids to keep must be whole numbers that ascend below size; make them by Vocabulary.of")

    @classmethod
    def of(
        cls, examples: TokenizedSplit | Sequence[TokenizedSplit], size: int, always: Sequence[int], min_count: int = 1
    ) -> Vocabulary:
        """Choose the tokens that occur ``min_count`` times or more in all ``examples`` together.

        Args:
            examples: of *train*. Those that are reported would hide what the fallback costs: none would ever need it.
            size: rows of the model's embeddings, ``config.vocab_size``; an id beyond them is an InputError.
            always: ids to keep in any case: the padding, which examples do not hold, and the other special tokens.
            min_count: more than 1 leaves out rare tokens: the model is smaller, and more requests fall back.
        """
        splits = [examples] if isinstance(examples, TokenizedSplit) else examples
        rows = [row for split in splits for row in split.input_ids]
        if not rows or min_count < 1:
            raise InputError("tokens are counted in examples; give at least one of train, and a min_count of 1 or more")
        tokens, always = np.concatenate(rows), np.array([*always], dtype=np.int64)
        _check_ids(np.append(tokens, always), size)
        frequent = np.bincount(tokens, minlength=size) >= min_count
        return cls(np.union1d(np.flatnonzero(frequent), always), size)

    @cached_property
    def _new_ids(self) -> np.ndarray:
        table = np.full(self.size, DROPPED, dtype=np.int64)
        table[self.kept] = np.arange(len(self.kept))
        return table

    def renumber(self, ids: np.ndarray) -> np.ndarray:
        """Return the new ids, int64, of old ``ids`` of any shape; -1 where the token was dropped."""
        _check_ids(ids, self.size)  # NumPy would count a negative id from the end
        return np.take(self._new_ids, ids)

    def covers(self, ids: np.ndarray) -> np.ndarray:
        """Tell of each row of old ``ids`` [batch, length] whether all its tokens are kept: [batch], bool."""
        return (self.renumber(ids) != DROPPED).all(axis=1)

    def coverage(self, examples: TokenizedSplit) -> tuple[float, float]:
        """Return which share of the tokens is kept (special ones count too), and of the requests that hold no other."""
        kept = [self.renumber(ids) != DROPPED for ids in examples.input_ids]
        return float(np.concatenate(kept).mean()), float(np.mean([row.all() for row in kept]))

    def save(self, folder: str | Path) -> None:
        """Write ``vocabulary.json`` into ``folder``: after ``checkpoints.save``, which replaces the whole folder."""
        write_json(Path(folder) / FILE, {"size": self.size, "kept": self.kept.tolist()})

    @classmethod
    def load(cls, folder: str | Path) -> Vocabulary:
        """Return what :meth:`save` wrote. InputError: it is missing or damaged; the message names the file."""
        path = Path(folder) / FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(np.array(values["kept"]), values["size"])
        except (OSError, ValueError, KeyError, TypeError, InputError) as error:
            raise InputError(f"{path} is missing or damaged ({error}); prune the vocabulary again") from error


def prune(model: Classifier, vocabulary: Vocabulary) -> Classifier:
    """Return a copy of ``model`` for renumbered ids, in evaluation mode; it shares no memory with ``model``.

    Positions stay what they were: RoBERTa's begin at ``position_offset``, whatever number the padding has now.
    InputError: the vocabulary is of another size than the model's, or lacks the padding token.
    """
    config = model.encoder.config
    if vocabulary.size != config.vocab_size:
        raise InputError(f"the vocabulary has {vocabulary.size} tokens, the model {config.vocab_size}; count for it")
    padding = int(vocabulary.renumber(np.array(config.pad_token_id)))
    if padding == DROPPED:
        raise InputError(f"the padding token {config.pad_token_id} would be dropped; name it in `always`")
    kept = torch.from_numpy(vocabulary.kept).to(model.classifier.weight.device)
    state = {name: tensor[kept] if name == WORD else tensor.clone() for name, tensor in model.state_dict().items()}
    config = replace(config, vocab_size=len(kept), pad_token_id=padding)
    small = checkpoints.blank(config, model.classifier.out_features)
    small.load_state_dict(state, assign=True)
    return small.eval()


class WithFallback:
    """A predictor for old ids: ``small`` answers what ``vocabulary`` covers, the whole model all other requests.

    ``whole`` makes the predictor of the whole model: when a request first needs it, and never again.
    ``requests`` and ``fell_back`` count the rows of all calls.
    """

    def __init__(self, small: Predictor, whole: Callable[[], Predictor], vocabulary: Vocabulary) -> None:
        self.small, self.whole, self.vocabulary = small, cache(whole), vocabulary
        self.requests = self.fell_back = 0

    def __call__(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return the logits [batch, classes] of a batch in old ids, in the order of its rows."""
        renumbered = inputs | {"input_ids": self.vocabulary.renumber(inputs["input_ids"])}
        covered = (renumbered["input_ids"] != DROPPED).all(axis=1)
        self.requests += len(covered)
        self.fell_back += int((~covered).sum())
        if covered.all():
            return self.small(renumbered)
        if not covered.any():
            return self.whole()(inputs)
        first = self.small({name: array[covered] for name, array in renumbered.items()})
        second = self.whole()({name: array[~covered] for name, array in inputs.items()})
        answers = np.empty((len(covered), *first.shape[1:]), first.dtype)
        answers[covered], answers[~covered] = first, second
        return answers


def _check_ids(ids: np.ndarray, size: int) -> None:
    inside = (ids >= 0) & (ids < size)
    if not inside.all():
        raise InputError(f"token {ids[~inside][0]} is not one of the {size}; tokenize with the model's own tokenizer")
