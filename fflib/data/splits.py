"""Examples as text and as tokens: `load_split` reads or builds a split, `tokenize` makes token ids, cached on disk.

(Longer than 200 lines: texts, tokens and marked words have to agree, character by character.)
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding
from transformers import PreTrainedTokenizerBase

from fflib import spent
from fflib.data import custom, sources
from fflib.data.metrics import Gold
from fflib.data.readers import Placed
from fflib.data.registry import get_task
from fflib.data.task import SEGMENTS, Example, Span, Task
from fflib.files import InputError, atomic_path, cache_dir, content_hash

SPLITS = ("train", "dev", "test")
CACHE_FORMAT = 2  # raise it when what `tokenize` stores changes


@dataclass(frozen=True, eq=False)
class Split:
    """Examples as text. ``fingerprint`` is 16 digits that depend on every text and label and on their order."""

    task: str
    name: str
    texts: list[tuple[str, ...]]  # one string a text field
    gold: Gold
    fingerprint: str
    spans: list[tuple[Span, ...]] | None = None  # the words that the head reads, where it reads words

    @property
    def labels(self) -> np.ndarray:
        """Class indices, [n], int64."""
        return self.gold.labels

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int]) -> Split:
        """Return the examples at ``indices``, in that order."""
        spans = None if self.spans is None else [self.spans[i] for i in indices]
        return text_split(self.task, self.name, [self.texts[i] for i in indices], self.gold.take(indices), spans)

    def head(self, n: int) -> Split:
        """Return the first ``n`` examples, or all when there are fewer."""
        return self.take(range(min(n, len(self))))


@dataclass(frozen=True, eq=False)
class TokenizedSplit:
    """Examples as token ids, with special tokens, unpadded. ``fingerprint`` depends on every token and label."""

    input_ids: list[np.ndarray]  # one array [length] an example, int32
    token_type_ids: list[np.ndarray]  # 0 in the first text, 1 in the second, and marks, see `tokenize`; shaped alike
    gold: Gold
    fingerprint: str

    @property
    def labels(self) -> np.ndarray:
        """Class indices, [n], int64."""
        return self.gold.labels

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each example, [n]."""
        return np.array([len(ids) for ids in self.input_ids], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.input_ids)

    def take(self, indices: Sequence[int]) -> TokenizedSplit:
        """Return the examples at ``indices``, in that order."""
        ids, types = ([arrays[i] for i in indices] for arrays in (self.input_ids, self.token_type_ids))
        return tokenized(ids, types, self.gold.take(indices))


@spent.on("data")
def load_split(task: str, split: str, source: str = "auto", limit: int | None = None, seed: int = 0) -> Split:
    """Return the split "train", "dev" or "test" of ``task``.

    ``task`` is a name or the file that describes the reader's own data (``custom``). ``source`` is "auto", "hub", or
    a folder in SuperGLUE's layout (the one that holds ``BoolQ/``, or ``BoolQ`` itself). "auto" means the folder in
    ``$FFLIB_SUPERGLUE`` if that is set, else the hub; `docs` is always built from the installed packages. ``limit``
    takes a random subset of whole questions, which depends on ``seed``; a smaller one is a larger one's start.
    InputError: no such task, split, folder or file; no network; a bad line, with its file and number.
    """
    known = get_task(task)
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}; the splits are {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit} leaves no examples; give at least 1, or None for all")
    own = custom.describe(task) if custom.is_description(task) else None
    whole = _to_split(known, split, sources.records(known, split, source, own))
    if own and split == "train":
        _check_every_class(known, whole)
    return whole if limit is None else whole.take(_some_questions(whole.gold, limit, seed))


def _check_every_class(task: Task, train: Split) -> None:
    """Refuse a class that is listed and has no example: a data set on the hub is not read before it is asked for."""
    counts = np.bincount(train.labels, minlength=task.num_labels)
    if not counts.all():
        label = task.labels[int(counts.argmin())]
        raise InputError(f"{task.name}: no training example has the {task.label_field} {label!r}; correct 'labels'")


@spent.on("data")
def tokenize(split: Split, tokenizer: PreTrainedTokenizerBase, max_length: int) -> TokenizedSplit:
    """Return ``split`` as token ids, special tokens included; beyond ``max_length`` the longer text is cut first.

    The tokens of an example's first marked word have a token type that is larger by 2, those of its second by 4, and so
    on: a mark goes wherever tokens go, and the encoder takes it off. An example that would lose a marked word by the
    cut is left longer. The result is cached on disk under everything it depends on; a damaged file is made anew.
    """
    key = content_hash(CACHE_FORMAT, split.fingerprint, _settings(tokenizer), max_length)
    path = cache_dir("tokenized") / f"{key}.npz"
    cached = _read_tokens(path)
    if cached is not None:
        return tokenized(*cached, split.gold)
    least = tokenizer.num_special_tokens_to_add(pair=len(split.texts[0]) == 2) + len(split.texts[0])
    if max_length < least:
        raise InputError(f"max_length={max_length} leaves no room for text; it takes at least {least}")
    ids, types = encode(split.texts, tokenizer, max_length, split.spans)
    result = tokenized(ids, types, split.gold)
    _write_tokens(path, result)
    return result


def encode(
    texts: list[tuple[str, ...]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    spans: list[tuple[Span, ...]] | None = None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the token ids and types of ``texts`` as `tokenize` makes them, here and now, without a cache."""
    options = {"truncation": "longest_first", "max_length": max_length, "return_token_type_ids": True}
    columns = [list(column) for column in zip(*texts, strict=True)]
    encoded = tokenizer(*columns, **options)
    ids, types = ([np.array(row, np.int32) for row in encoded[name]] for name in ("input_ids", "token_type_ids"))
    for i, marked in enumerate(spans or ()):
        marks = _marks(encoded.encodings[i], marked)
        if marks is None:
            longest = min(tokenizer.model_max_length, 512)
            if max_length >= longest:
                raise InputError(f"example {i} has a marked word behind its {max_length} tokens; leave it out")
            (ids[i],), (types[i],) = encode([texts[i]], tokenizer, longest, [marked])
        else:
            types[i] = types[i] + marks
    return ids, types


def _marks(encoding: Encoding, spans: tuple[Span, ...]) -> np.ndarray | None:
    """What to add to the token types of an example so that its words are marked; None: one of them was cut off."""
    marks = np.zeros(len(encoding.ids), np.int32)
    for number, span in enumerate(spans, start=1):
        places = zip(encoding.sequence_ids, encoding.offsets, strict=True)
        inside = [text == span.text and start < span.end and span.start < end for text, (start, end) in places]
        if not any(inside):
            return None
        marks[inside] = SEGMENTS * number
    return marks


def _to_split(task: Task, name: str, records: Iterable[Placed]) -> Split:
    examples: list[Example] = []
    for place, record in records:
        try:
            examples += task.examples(record)
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
    if not examples:
        raise InputError(f"{task.name}: the {name} split is empty")
    spans = [example.spans for example in examples] if task.spans else None
    return text_split(task.name, name, [example.texts for example in examples], _gold(task, examples), spans)


def _gold(task: Task, examples: list[Example]) -> Gold:
    labels = np.array([example.label for example in examples], np.int64)
    if not examples[0].question:
        return Gold(labels)
    numbers = {question: i for i, question in enumerate(dict.fromkeys(example.question for example in examples))}
    questions = np.array([numbers[example.question] for example in examples], np.int64)
    return Gold(labels, questions, np.array([example.overlap for example in examples]), task.one_right)


def _some_questions(gold: Gold, limit: int, seed: int) -> np.ndarray:
    """Draw examples at random, at most ``limit``, but whole questions, and at least one of these."""
    numbers = gold.numbered()
    order = np.random.default_rng(seed).permutation(numbers.max() + 1)
    counts = np.cumsum(np.bincount(numbers)[order])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    kept = max(1, int(np.searchsorted(counts, limit, "right")))
    by_rank = np.argsort(rank[numbers], kind="stable")
    return by_rank[: counts[kept - 1]]


def text_split(
    task: str, name: str, texts: list[tuple[str, ...]], gold: Gold, spans: list[tuple[Span, ...]] | None = None
) -> Split:
    """Make a split of examples [n] with its fingerprint."""
    marked = [] if spans is None else [[list(span) for span in row] for row in spans]
    return Split(task, name, texts, gold, content_hash(texts, *_facts(gold), *([marked] if marked else [])), spans)


def tokenized(ids: list[np.ndarray], types: list[np.ndarray], gold: Gold) -> TokenizedSplit:
    """Make a split of examples [n] with its fingerprint, dependent on all that a model sees and on what is right."""
    content = [[row.tolist() for row in rows] for rows in (ids, types)]
    return TokenizedSplit(ids, types, gold, content_hash(content, *_facts(gold)))


def _facts(gold: Gold) -> list[Any]:
    """What is right, as JSON; a plain task has its labels alone."""
    if gold.questions is None:
        return [gold.labels.tolist()]
    overlap = None if gold.overlap is None else gold.overlap.tolist()
    return [gold.labels.tolist(), gold.numbered().tolist(), overlap, gold.one_right]


def _settings(tokenizer: PreTrainedTokenizerBase) -> list[Any]:
    """Everything about a tokenizer that decides its output, as JSON."""
    if tokenizer.is_fast:
        content = json.loads(tokenizer.backend_tokenizer.to_str())
        # Leftovers of the last call, not settings: the same tokenizer must give the same key before and after use.
        content.update(truncation=None, padding=None)
    else:
        content = tokenizer.get_vocab()
    sides = [tokenizer.padding_side, tokenizer.truncation_side]
    return [type(tokenizer).__name__, content, tokenizer.special_tokens_map, sides]


def _write_tokens(path: Path, split: TokenizedSplit) -> None:
    arrays = {name: np.concatenate(getattr(split, name)) for name in ("input_ids", "token_type_ids")}
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays, lengths=split.lengths)


def _read_tokens(path: Path) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            ends = np.cumsum(file["lengths"])[:-1]
            return np.split(file["input_ids"], ends), np.split(file["token_type_ids"], ends)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None  # not there, or damaged: the caller makes it
