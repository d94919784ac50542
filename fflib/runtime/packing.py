"""Several short requests in one row, without seeing each other: no token of padding, or hardly any.

As in Krell et al. (2107.02027): a row has a fixed room, requests are put into rows as boxes into bins, positions
restart with each, and a mask keeps attention inside a request. The answers are those of each request alone. What it
costs is attention between requests that is computed and masked, see `attended_share`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fflib.data.metrics import Gold
from fflib.data.splits import TokenizedSplit
from fflib.engine import graph
from fflib.files import InputError
from fflib.measure.timing import Predictor, Together
from fflib.model.encoder import MASKED, Classifier, ClassifierOutput, read_words

Rows = Sequence[Sequence[int]]  # the requests of each row, by index


@dataclass(frozen=True)
class PackedBatch:
    """Rows of requests; all arrays are int64.

    Attributes:
        input_ids, token_type_ids: the tokens of the requests of a row, one request after the other, [rows, length].
        segments: which request of its row a token belongs to, from 1; 0 is padding, [rows, length].
        positions: the place of a token in its request, from 0, [rows, length].
        firsts: row and column of the first token of each request, [requests, 2].
        order: the index of each request among the examples, [requests]. Where all are packed,
            ``logits[np.argsort(order)]`` are in the examples' order.
    """

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    segments: np.ndarray
    positions: np.ndarray
    firsts: np.ndarray
    order: np.ndarray

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """The arrays that `PackedClassifier` and its ONNX file take, by name."""
        return {name: array for name, array in vars(self).items() if name != "order"}


def first_fit(lengths: Sequence[int] | np.ndarray, row_tokens: int) -> list[list[int]]:
    """Put requests into rows of ``row_tokens`` tokens: the longest first, each into the first row with room for it.

    This is first-fit decreasing, which needs at most 11/9 of the fewest possible rows, and one more. A request longer
    than ``row_tokens`` gets a row of its own. Returns the indices of the requests in each row.
    """
    if row_tokens < 1:
        raise InputError(f"rows of {row_tokens} tokens hold nothing; give at least 1")
    rows: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        row = next((row for row, left in enumerate(room) if left >= lengths[i]), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(row_tokens)
        rows[row].append(i)
        room[row] -= int(lengths[i])
    return rows


def pack(examples: TokenizedSplit, rows: Rows, pad_token_id: int = 0) -> PackedBatch:
    """Lay the requests of each row side by side, padded to the longest row. InputError as in `attended_share`."""
    lengths = examples.lengths
    totals = _row_lengths(lengths, rows)
    shape = len(rows), max(totals)
    ids = np.full(shape, pad_token_id, np.int64)
    types, segments, positions = (np.zeros(shape, np.int64) for _ in range(3))
    firsts = []
    for row, requests in enumerate(rows):
        start = 0
        for segment, i in enumerate(requests, start=1):
            here = row, slice(start, start + lengths[i])
            ids[here], types[here] = examples.input_ids[i], examples.token_type_ids[i]
            segments[here], positions[here] = segment, np.arange(lengths[i])
            firsts.append((row, start))
            start += lengths[i]
    order = np.concatenate([np.asarray(requests, np.int64) for requests in rows])
    return PackedBatch(ids, types, segments, positions, np.array(firsts, np.int64), order)


def attended_share(lengths: Sequence[int] | np.ndarray, rows: Rows) -> float:
    """Return the share of the computed attention scores that are of use, from 0 to 1: token and key share a request.

    ``[[0], [1], ...]`` gives the share in a padded batch without packing. InputError: a row or a request is empty, or
    there is no such request.
    """
    totals = _row_lengths(lengths, rows)
    used = sum(int(lengths[i]) ** 2 for requests in rows for i in requests)
    return used / (len(rows) * max(totals) ** 2)


def _row_lengths(lengths: Sequence[int] | np.ndarray, rows: Rows) -> list[int]:
    """The tokens in each row; InputError: a row or a request is empty, or there is no such request."""
    requests = [i for row in rows for i in row]
    if not rows or not all(len(row) for row in rows) or any(not 0 <= i < len(lengths) for i in requests):
        raise InputError(f"each row must hold some of the {len(lengths)} requests, by index; make rows by first_fit")
    if any(lengths[i] < 1 for i in requests):
        raise InputError("a request without tokens has no first one to be classified by; leave it out")
    return [sum(int(lengths[i]) for i in row) for row in rows]


def row_by_row(predict: Predictor) -> Together:
    """Return a way to answer packed rows, each a list of requests, one after the other; packing is timed too."""

    def answer(examples: TokenizedSplit, rows: Rows) -> tuple[list[np.ndarray], float, list[float]]:
        answers, seconds = [], []
        for row in rows:
            start = time.perf_counter()
            answers.append(predict(pack(examples, [row]).inputs))
            seconds.append(time.perf_counter() - start)
        return answers, sum(seconds), seconds

    return answer


class PackedClassifier(nn.Module):
    """The same classifier for packed rows; it shares its modules with ``model``, and so its weights and their names.

    A row may be longer than the model has positions for, as long as no request is. InputError: tokens of the model end
    early, and which do would be a matter of the whole row; `pruning.fewer_tokens` makes a copy in which all go on.
    """

    dimensions: Mapping[str, tuple[str, ...]] = {"firsts": ("requests",)}  # for `export`

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        if model.encoder.config.drops_tokens:
            raise InputError("a model whose tokens end early cannot be packed; pack a copy in which all go on")
        self.encoder, self.dropout, self.classifier = model.encoder, model.dropout, model.classifier

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor, segments: Tensor, positions: Tensor, firsts: Tensor
    ) -> ClassifierOutput:
        """Classify the requests of a `PackedBatch`: its ``inputs`` -> logits [requests, num_labels]."""
        hidden = self._embed(input_ids, token_type_ids, positions)
        unseen = segments[:, None, :, None] != segments[:, None, None, :]  # padding is seen by padding alone
        mask = unseen.to(hidden.dtype) * MASKED  # [rows, 1, length, length], for all heads
        for layer in self.encoder.layers:
            hidden, *_ = layer(hidden, mask, (None, None), False)
        pooled = torch.tanh(self.encoder.pooler(hidden[firsts[:, 0], firsts[:, 1]]))
        read = pooled
        if spans := self.encoder.config.spans:
            rows, mine = firsts[:, 0], segments[firsts[:, 0], firsts[:, 1]]
            own_types = token_type_ids[rows] * (segments[rows] == mine[:, None])  # no marks of others in its row
            read = read_words(hidden[rows], own_types, spans)
        return ClassifierOutput(self.classifier(self.dropout(read)), hidden, pooled)

    def _embed(self, input_ids: Tensor, token_type_ids: Tensor, positions: Tensor) -> Tensor:
        """As :meth:`Embeddings.forward`, which numbers the tokens of a row by itself; here positions are given."""
        part = self.encoder.embeddings
        placed = part.word(input_ids) + part.position(positions + part.position_offset)
        return part.dropout(part.norm(placed + part.types(token_type_ids)))

    def example_inputs(self, tokens: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``tokens``, the inputs of a classifier, with each text cut into two requests, for `export`."""
        ids, is_token, types = (
            tokens[name].cpu().numpy() for name in ("input_ids", "attention_mask", "token_type_ids")
        )
        halves = [
            [half for row, n in zip(array, is_token.sum(1), strict=True) for half in np.array_split(row[:n], 2)]
            for array in (ids, types)
        ]
        requests = TokenizedSplit(*halves, Gold(np.zeros(2 * len(ids), np.int64)), fingerprint="")
        device = tokens["input_ids"].device
        batch = pack(requests, np.arange(2 * len(ids)).reshape(-1, 2).tolist())
        return {name: torch.from_numpy(array).to(device) for name, array in batch.inputs.items()}


graph.WRITERS[PackedClassifier] = graph.packed  # for `export`
