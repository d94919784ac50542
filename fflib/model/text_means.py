"""One vector a text without any training: the mean of an encoder's last states, or of its word embeddings alone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from scipy.sparse import csr_matrix
from transformers import PreTrainedTokenizerBase

from fflib.data import batching, splits
from fflib.data.metrics import Gold
from fflib.data.splits import Split, TokenizedSplit
from fflib.data.task import SEGMENTS, Span
from fflib.measure import hardware
from fflib.model import cache
from fflib.model.encoder import Classifier

ENCODED_TOKENS = 64  # of each text are encoded: the mean of a text's beginning, in seconds for thousands of texts
WORD_TOKENS = 256  # of each text whose word embeddings are averaged, which costs next to nothing
LONG_WORD = 8  # characters of a token are rarely more

Text = tuple[str, tuple[Span, ...]]  # with the words of it that are marked


class TextMeans:
    """Vectors [n, hidden] of texts by a model that nobody trained for it.

    Where words of a text are marked (as in WiC), the encoder's mean is over their tokens alone.
    """

    def __init__(self, model: Classifier, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self._table = model.encoder.embeddings.word.weight.detach().numpy()

    def encoded(self, texts: Split, keep: bool = True) -> list[np.ndarray]:
        """Return the mean of the last states over each text's first `ENCODED_TOKENS`: [n, hidden] for each text field.

        With ``keep`` they are read from disk where they were made before, and made in bfloat16 where the processor is
        fast in it; without, they are made now and in fp32, as an answer to a request is.
        """
        return [self._kept(field) if keep else self._now(field) for field in _fields(texts)]

    def words(self, texts: Split) -> list[np.ndarray]:
        """Return the mean of the word embeddings over each text's first `WORD_TOKENS`: [n, hidden] for each field."""
        return [self._words([text for text, _ in field]) for field in _fields(texts)]

    def _kept(self, field: list[Text]) -> np.ndarray:
        different = list(dict.fromkeys(field))  # a passage has many questions, a function many parameters
        tokens = splits.tokenize(_split_of(different), self.tokenizer, ENCODED_TOKENS)
        fast = hardware.has_fast_bf16()
        path = cache.outputs_folder(self.model, tokens) / f"means-{'bf16' if fast else 'fp32'}.npz"
        precision = torch.autocast("cpu", torch.bfloat16) if fast else nullcontext()
        means = cache.array_of(path, lambda: mean_states(self.model, tokens, precision))
        return means[_places(field, different)]

    def _now(self, field: list[Text]) -> np.ndarray:
        texts, spans = [(text,) for text, _ in field], [words for _, words in field]
        ids, types = splits.encode(texts, self.tokenizer, ENCODED_TOKENS, spans if any(spans) else None)
        return mean_states(self.model, TokenizedSplit(ids, types, Gold(np.zeros(len(ids), int)), ""))

    def _words(self, field: list[str]) -> np.ndarray:
        different = list(dict.fromkeys(field))
        options = {"truncation": True, "max_length": WORD_TOKENS, "add_special_tokens": False}
        begun = [text[: WORD_TOKENS * LONG_WORD] for text in different]
        ids = self.tokenizer(begun, **options)["input_ids"]
        lengths = np.array([len(row) for row in ids])
        weights = np.repeat(1 / lengths.clip(min=1), lengths)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        shape = len(ids), len(self._table)
        mean = csr_matrix((weights.astype(np.float32), np.concatenate(ids).astype(int), ends), shape) @ self._table
        return mean[_places(field, different)]


def mean_states(
    model: Classifier, tokens: TokenizedSplit, precision: AbstractContextManager | None = None
) -> np.ndarray:
    """Return the mean of the last states over each text's tokens, or over its marked ones where it has some.

    ``precision`` is a context such as that of `torch.autocast`. [n, hidden], float32.
    """
    plan = batching.token_budget(tokens.lengths, 4096)
    parts = []
    with torch.inference_mode(), precision or nullcontext():
        for batch in batching.batches(tokens, plan):
            ids, mask, types = (torch.from_numpy(array) for array in vars(batch).values())
            states = model.encoder(ids, mask, types % SEGMENTS).last_hidden_state.float()
            marked = (types >= SEGMENTS) & (mask > 0)
            counted = torch.where(marked.any(1, keepdim=True), marked, mask > 0)[..., None].float()
            parts.append(((states * counted).sum(1) / counted.sum(1)).numpy())
    return np.concatenate(parts)[np.argsort(np.concatenate(plan))]


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair of rows of two matrices [n, k]: [n]."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(1) / lengths.clip(min=1e-9)


def _fields(texts: Split) -> list[list[Text]]:
    """Return the texts of each field with the words that are marked in it, as of a text that stands alone."""
    marked = texts.spans or [()] * len(texts)
    return [
        [
            (row[field], tuple(Span(0, span.start, span.end) for span in spans if span.text == field))
            for row, spans in zip(texts.texts, marked, strict=True)
        ]
        for field in range(len(texts.texts[0]))
    ]


def _split_of(field: list[Text]) -> Split:
    spans = [words for _, words in field]
    gold = Gold(np.zeros(len(field), int))
    return splits.text_split("one text", "alone", [(text,) for text, _ in field], gold, spans if any(spans) else None)


def _places(field: list, different: list) -> np.ndarray:
    place = {text: i for i, text in enumerate(different)}
    return np.array([place[text] for text in field])
