"""From text: what a request costs when it arrives as text, so that it has to be cut into tokens first."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from fflib.data import batching, splits
from fflib.data.metrics import Gold
from fflib.data.splits import Split, TokenizedSplit
from fflib.engine import predictors
from fflib.measure.timing import Predictor, Together

VARIABLE = "TOKENIZERS_PARALLELISM"  # "false": a batch is cut by the thread that asks, as an instance has no other


class Encoder:
    """Texts to token ids by the library's compiled tokenizer, as `splits.tokenize` makes them, with nothing kept.

    Where words are marked, or the tokenizer has no compiled form, or without ``fast``, it is `splits.encode` itself.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, fast: bool = True) -> None:
        self._tokenizer, self._max_length, self._fast = tokenizer, max_length, None
        if fast and tokenizer.is_fast:  # a copy: limits that are set on one would stay
            self._fast = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
            self._fast.no_padding()
            self._fast.enable_truncation(max_length, strategy="longest_first")

    def __call__(self, texts: Split) -> TokenizedSplit:
        """Return the tokens of some texts; their fingerprint is empty."""
        if self._fast is None or texts.spans is not None:
            ids, types = splits.encode(texts.texts, self._tokenizer, self._max_length, texts.spans)
        else:
            rows = [row[0] if len(row) == 1 else row for row in texts.texts]
            encoded = self._fast.encode_batch(rows)
            ids = [np.array(each.ids, np.int32) for each in encoded]
            types = [np.array(each.type_ids, np.int32) for each in encoded]
        return TokenizedSplit(ids, types, Gold(np.zeros(len(ids), int)), "")


def exact(tokenizer: PreTrainedTokenizerBase, max_length: int, texts: Split, tokens: TokenizedSplit) -> Encoder:
    """Return the fast encoder if it makes the very ``tokens`` of ``texts``, else the one that made them."""
    encode = Encoder(tokenizer, max_length)
    return encode if same_tokens(encode, texts, tokens) else Encoder(tokenizer, max_length, fast=False)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let every thread cut its own texts, and give the variable back its value afterwards."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def together(served: Sequence[Predictor], encode: Encoder, texts: Split) -> Together:
    """Return a way to answer the batches of a plan of ``texts`` from their text: cut, padded and predicted, all timed.

    Each predictor cuts the texts of its own batches in its own thread.
    """

    def run(_: TokenizedSplit, plan: batching.Plan) -> tuple[list[np.ndarray], float, list[float]]:
        asked = [texts.take(group) for group in plan]

        def from_text(predict: Predictor) -> Predictor:
            return lambda batch: predict(batching.collate(encode(batch), range(len(batch))).inputs)

        with one_thread_each():
            return predictors.in_parallel([from_text(predict) for predict in served], asked)

    return run


def core_ms(encode: Encoder, texts: Split, plan: batching.Plan, rounds: int) -> float:
    """Return the ms of one core that a text takes to be cut into tokens, in batches of ``plan``: the median round."""
    asked = [texts.take(group) for group in plan]
    taken = []
    with one_thread_each():
        for _ in range(rounds + 1):  # the first warms up
            start = time.perf_counter()
            for batch in asked:
                encode(batch)
            taken.append(time.perf_counter() - start)
    return 1e3 * float(np.median(taken[1:])) / len(texts)


def same_tokens(encode: Encoder, texts: Split, tokens: TokenizedSplit) -> bool:
    """Say whether an encoder makes the very ids and types of ``tokens`` of all ``texts``."""
    made = encode(texts)
    pairs = [*zip(made.input_ids, tokens.input_ids, strict=True)]
    pairs += zip(made.token_type_ids, tokens.token_type_ids, strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)
