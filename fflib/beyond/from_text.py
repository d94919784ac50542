"""From text: what a request costs when it arrives as text, so that it has to be cut into tokens first."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
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


def cost(tokenizing_core_ms: float, model_core_ms: float, speed_left: float) -> dict[str, float]:
    """Return what text adds to a request, as it was measured on the whole and not put together from its parts.

    Args:
        tokenizing_core_ms: of a text by itself, see `core_ms`.
        model_core_ms: of a request that arrives as token ids.
        speed_left: requests per second from text over those from token ids, timed side by side.

    Returns:
        Both, the ``added_core_ms`` of a request from text, and the ``added_share`` of such a request; 0 or less where
        the rounds were too noisy to see it.
    """
    return {
        "tokenizing_core_ms": tokenizing_core_ms,
        "model_core_ms": model_core_ms,
        "added_core_ms": model_core_ms / speed_left - model_core_ms,
        "added_share": 1 - speed_left,
    }


def told(found: Mapping[str, float]) -> str:
    """Say what a `cost` means."""
    alone, model, added = (found[f"{what}_core_ms"] for what in ("tokenizing", "model", "added"))
    words = f"From token ids a request takes {model:.2f} core-ms. "
    if added <= 0:
        return (
            words
            + f"To cut a text into tokens takes {alone:.2f} by itself; beside the model these rounds cannot see it."
        )
    words += f"From text it takes **{added:.2f} more**: {found['added_share']:.0%} of such a request is not the model. "
    if alone >= added:
        return words + f"Cutting into tokens by itself takes {alone:.2f}, so no other cost can be seen."
    return words + (
        f"Cutting into tokens, timed by itself, is {alone:.2f} of that; the rest is what the two cost each other when "
        "they run side by side."
    )


def bound(found: Mapping[str, float], from_text_per_s: float) -> str:
    """Say how fast requests from text could be at most with a model that takes no time; ``from_text_per_s``: now."""
    share, alone = found["added_share"], found["tokenizing_core_ms"]
    if share <= 0:
        return "In these rounds text costs nothing that can be seen, so they set no bound. More `rounds` may."
    parts = 1 + found["model_core_ms"] / alone
    return (
        f"What text adds, as it was measured, allows {from_text_per_s / share:,.0f} requests a second on these cores; "
        f"from text the served model answers {from_text_per_s:,.0f}. Even an infinitely fast model would gain no more "
        f"than **{1 / share:.1f} times**. (The parts timed one by one, {alone:.2f} core-ms beside "
        f"{found['model_core_ms']:.2f}, would promise {parts:.1f} times.)"
    )
