"""Where examples come from: `load_split` reads or builds them, `tokenize` turns them into token ids, cached on disk.

SuperGLUE publishes labels for train and val only, so the split that the book reports, "test", is the official val, and
"dev", for every choice made on the way, is a tenth of the official train.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from fflib import docs_task
from fflib.files import InputError, atomic_path, cache_dir, content_hash, resolve
from fflib.tasks import Task, get_task

SPLITS = ("train", "dev", "test")
HUB_NAME = "aps/super_glue"
HUB_REVISION = "refs/convert/parquet"  # the hub's own conversion: data files only, so no code of others is run
CACHE_FORMAT = 1  # raise it when what `tokenize` stores changes

Placed = tuple[str, dict[str, Any]]  # where a record was found (for messages), and the record


@dataclass(frozen=True, eq=False)
class Split:
    """Examples as text. ``fingerprint`` is 16 digits that depend on every text and label and on their order."""

    task: str
    name: str
    texts: list[tuple[str, ...]]  # one string a text field
    labels: np.ndarray  # class indices, [n], int64
    fingerprint: str

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int]) -> Split:
        """Return the examples at ``indices``, in that order."""
        return _split(self.task, self.name, [self.texts[i] for i in indices], self.labels[np.asarray(indices, int)])

    def head(self, n: int) -> Split:
        """Return the first ``n`` examples, or all when there are fewer."""
        return self.take(range(min(n, len(self))))


@dataclass(frozen=True, eq=False)
class TokenizedSplit:
    """Examples as token ids, with special tokens, unpadded. ``fingerprint`` depends on every token and label."""

    input_ids: list[np.ndarray]  # one array [length] an example, int32
    token_type_ids: list[np.ndarray]  # 0 in the first text, 1 in the second; shaped like input_ids
    labels: np.ndarray  # class indices, [n], int64
    fingerprint: str

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each example, [n]."""
        return np.array([len(ids) for ids in self.input_ids], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int]) -> TokenizedSplit:
        """Return the examples at ``indices``, in that order."""
        ids, types = ([arrays[i] for i in indices] for arrays in (self.input_ids, self.token_type_ids))
        return tokenized(ids, types, self.labels[np.asarray(indices, int)])


def load_split(task: str, split: str, source: str = "auto", limit: int | None = None, seed: int = 0) -> Split:
    """Return the split "train", "dev" or "test" of ``task``.

    ``source`` is "auto", "hub", or a folder in SuperGLUE's layout (the one that holds ``BoolQ/``, or ``BoolQ`` itself).
    "auto" means the folder in ``$FFLIB_SUPERGLUE`` if that is set, else the hub; `docs` is always built from the
    installed packages. ``limit`` takes a random subset that depends on ``seed``; a smaller one is a larger one's start.
    InputError: no such task, split, folder or file; no network; a bad line, with its file and number.
    """
    known = get_task(task)
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}; the splits are {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit} leaves no examples; give at least 1, or None for all")
    examples = _to_split(known, split, _records(known, split, source))
    if limit is None:
        return examples
    return examples.take(np.random.default_rng(seed).permutation(len(examples))[:limit])


def tokenize(split: Split, tokenizer: PreTrainedTokenizerBase, max_length: int) -> TokenizedSplit:
    """Return ``split`` as token ids, special tokens included; beyond ``max_length`` the longer text is cut first.

    The result is cached on disk under everything it depends on; a damaged cache file is made anew.
    """
    key = content_hash(CACHE_FORMAT, split.fingerprint, _settings(tokenizer), max_length)
    path = cache_dir("tokenized") / f"{key}.npz"
    cached = _read_tokenized(path)
    if cached is not None:
        return cached
    columns = [list(column) for column in zip(*split.texts, strict=True)]
    least = tokenizer.num_special_tokens_to_add(pair=len(columns) == 2) + len(columns)
    if max_length < least:
        raise InputError(f"max_length={max_length} leaves no room for text; it takes at least {least}")
    encoded = tokenizer(*columns, truncation="longest_first", max_length=max_length, return_token_type_ids=True)
    ids, types = ([np.array(row, np.int32) for row in encoded[name]] for name in ("input_ids", "token_type_ids"))
    result = tokenized(ids, types, split.labels)
    _write_tokenized(path, result)
    return result


def _to_split(task: Task, name: str, records: Iterable[Placed]) -> Split:
    texts, labels = [], []
    for place, record in records:
        try:
            texts.append(task.texts(record))
            labels.append(task.label(record))
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
    if not texts:
        raise InputError(f"{task.name}: the {name} split is empty")
    return _split(task.name, name, texts, np.array(labels, dtype=np.int64))


def _split(task: str, name: str, texts: list[tuple[str, ...]], labels: np.ndarray) -> Split:
    return Split(task, name, texts, labels, content_hash(texts, labels.tolist()))


def tokenized(ids: list[np.ndarray], types: list[np.ndarray], labels: np.ndarray) -> TokenizedSplit:
    """Make a split of examples [n] with its fingerprint, which depends on all that a model sees, and the labels."""
    content = [[row.tolist() for row in rows] for rows in (ids, types)]
    return TokenizedSplit(ids, types, labels, content_hash(content, labels.tolist()))


def _records(task: Task, split: str, source: str) -> Iterator[Placed]:
    if task.name == "docs":
        if source != "auto":
            raise InputError(f"docs is built from the installed packages; its source must be 'auto', not {source!r}")
        return ((f"docs {split}", record) for record in docs_task.load()[split])
    if source == "auto":
        source = os.environ.get("FFLIB_SUPERGLUE") or "hub"
    official = _from_hub if source == "hub" else _from_folder
    if split == "test":
        return official(task, "val", source)
    rows = official(task, "train", source)
    return (row for row in rows if _held_out(task, row[1]) == (split == "dev"))


def _held_out(task: Task, record: dict[str, Any]) -> bool:
    """Whether a training record belongs to dev: a tenth, chosen by the last text, so no passage is on both sides."""
    passage = record.get(task.text_fields[-1])
    return int(content_hash("dev", passage), 16) % 10 == 0


def _from_folder(task: Task, official_split: str, source: str) -> Iterator[Placed]:
    folder = resolve(source)
    if not folder.is_dir():
        raise InputError(f"{task.name}: there is no folder {folder}; give SuperGLUE's folder, or 'hub' to download it")
    tried = [folder / task.name / f"{official_split}.jsonl", folder / f"{official_split}.jsonl"]
    path = next((path for path in tried if path.is_file()), None)
    if path is None:
        raise InputError(f"{task.name}: neither {tried[0]} nor {tried[1]} exists; check the folder")
    return _read_json_lines(path)


def _read_json_lines(path: Path) -> Iterator[Placed]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not UTF-8 text that can be read ({error}); fetch the file again") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"{place}: not JSON ({error}); mend the file or fetch it again") from error
        if not isinstance(record, dict):
            raise InputError(f"{place}: {type(record).__name__} instead of an object; fetch the file again")
        yield place, record


def _from_hub(task: Task, official_split: str, source: str) -> Iterator[Placed]:
    import datasets  # takes a second to import, and most runs never need it

    name = {"val": "validation"}.get(official_split, official_split)
    try:
        rows = datasets.load_dataset(HUB_NAME, task.name.lower(), split=name, revision=HUB_REVISION)
    except Exception as error:  # the hub fails in a dozen ways, which all mean the same to the reader
        message = f"{task.name}: could not load {HUB_NAME!r} from the hub ({type(error).__name__}); check the network, "
        raise InputError(message + "or set FFLIB_SUPERGLUE to a folder with SuperGLUE's JSON lines") from error
    for number, row in enumerate(rows):
        label = row[task.label_field]  # the hub stores class indices, in the order of `task.labels`
        yield f"{HUB_NAME} {task.name} {name}, row {number}", {**row, task.label_field: task.labels[label]}


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


def _write_tokenized(path: Path, split: TokenizedSplit) -> None:
    arrays = {name: np.concatenate(getattr(split, name)) for name in ("input_ids", "token_type_ids")}
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays, lengths=split.lengths, labels=split.labels)


def _read_tokenized(path: Path) -> TokenizedSplit | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            ends = np.cumsum(file["lengths"])[:-1]
            ids, types = (np.split(file[name], ends) for name in ("input_ids", "token_type_ids"))
            return tokenized(ids, types, file["labels"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None  # not there, or damaged: the caller makes it
