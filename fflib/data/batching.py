"""From tokenised examples to rectangles of numbers: which examples share a batch, and how far each batch is padded.

A *plan* is a list of index arrays, one per batch. Plans differ in how they group; `collate` turns a group into arrays.
Everything here works on lengths and token ids and knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fflib.data.splits import TokenizedSplit

Plan = list[np.ndarray]


@dataclass(frozen=True)
class Batch:
    """One rectangle of tokens: every array is int64 of shape [batch_size, length]; padding has attention_mask 0."""

    input_ids: np.ndarray
    attention_mask: np.ndarray
    token_type_ids: np.ndarray

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """The arrays under the names that transformers, our encoder and ONNX files share."""
        return vars(self)


def collate(
    examples: TokenizedSplit, indices: Sequence[int], pad_to: int | None = None, pad_token_id: int = 0
) -> Batch:
    """Pad the examples at ``indices`` on the right, to the longest of them or to ``pad_to`` tokens.

    ``pad_to=512`` is the padded baseline of FastFormers; ``pad_to=None`` its "dynamic sequence length" (section 3).
    """
    length = pad_to or max(len(examples.input_ids[i]) for i in indices)
    shape = (len(indices), length)
    ids, mask, types = np.full(shape, pad_token_id, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, i in enumerate(indices):
        n = len(examples.input_ids[i])
        ids[row, :n], mask[row, :n], types[row, :n] = examples.input_ids[i], 1, examples.token_type_ids[i]
    return Batch(ids, mask, types)


def in_order(lengths: np.ndarray, batch_size: int) -> Plan:
    """Batches of ``batch_size`` in the order of arrival: what a user gets who does not think about lengths."""
    return _chunks(np.arange(len(lengths)), batch_size)


def sorted_by_length(lengths: np.ndarray, batch_size: int) -> Plan:
    """Batches of ``batch_size`` neighbours in length, so that hardly any padding is left."""
    return _chunks(np.argsort(lengths, kind="stable"), batch_size)


def token_budget(lengths: np.ndarray, max_tokens: int) -> Plan:
    """Neighbours in length, as many as fit in a padded rectangle of ``max_tokens``: equal work, not equal counts.

    An example longer than the budget gets a batch of its own.
    """
    plan, current = [], []
    for i in np.argsort(lengths, kind="stable"):  # ascending, so the newest member is the longest
        if current and lengths[i] * (len(current) + 1) > max_tokens:
            plan.append(np.array(current))
            current = []
        current.append(i)
    return [*plan, np.array(current)] if current else plan


# By name, as records have them.
PLANS = {"in order": in_order, "sorted": sorted_by_length, "token budget": token_budget}


def grid(lengths: np.ndarray, sizes: Mapping[str, Sequence[int]]) -> dict[tuple[str, int], Plan]:
    """Return the plans of ``sizes`` {kind of `PLANS`: sizes} by (kind, size); a batch of one is in order."""
    keys = [(kind, size) for kind in sizes for size in sizes[kind] if (kind, size) != ("sorted", 1)]
    return {(kind, size): PLANS[kind](lengths, size) for kind, size in keys}


def words(kind: str, size: int) -> str:
    """Say how requests are batched: "sorted 16", "token budget 512 tokens"."""
    return f"{kind} {size} tokens" if kind == "token budget" else f"{kind} {size}"


def mean_size(plan: Plan) -> int:
    """Return the mean number of requests in a batch of ``plan``, rounded."""
    return round(np.mean([len(group) for group in plan]))


def padded_lengths(lengths: np.ndarray, plan: Plan, pad_to: int | None = None) -> np.ndarray:
    """Return how many tokens are computed for each example, padding included, [n]."""
    padded = np.empty(len(lengths))
    for group in plan:
        padded[group] = pad_to or lengths[group].max()
    return padded


def shuffled_by_length(lengths: np.ndarray, batch_size: int, rng: np.random.Generator, pool: int = 50) -> Plan:
    """Training batches: shuffle, sort within pools of ``pool`` batches, shuffle the batches.

    Neighbours in a batch have like lengths (little padding) yet differ from epoch to epoch.
    """
    order = rng.permutation(len(lengths))
    plan = []
    for start in range(0, len(order), batch_size * pool):
        group = order[start : start + batch_size * pool]
        plan += _chunks(group[np.argsort(lengths[group], kind="stable")], batch_size)
    return [plan[i] for i in rng.permutation(len(plan))]


def shuffled_together(lengths: np.ndarray, groups: np.ndarray, batch_size: int, rng: np.random.Generator) -> Plan:
    """As `shuffled_by_length`, with the examples of one of ``groups`` [n] (numbers from 0) never in two batches.

    A batch has ``batch_size`` examples where groups are of equal size, and about as many where they are not.
    """
    members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
    longest = np.array([lengths[group].max() for group in members])
    count = max(1, round(batch_size * len(members) / len(lengths)))
    return [np.concatenate([members[i] for i in chosen]) for chosen in shuffled_by_length(longest, count, rng)]


def padded_tokens(lengths: np.ndarray, plan: Plan, pad_to: int | None = None) -> int:
    """Count the tokens a model really computes for ``plan``, padding included."""
    return int(sum(len(group) * (pad_to or lengths[group].max()) for group in plan))


def padding_share(lengths: np.ndarray, plan: Plan, pad_to: int | None = None) -> float:
    """Return the part of the computed tokens that is padding, from 0 to 1."""
    return 1 - float(lengths.sum()) / padded_tokens(lengths, plan, pad_to)


def evenly_by_length(lengths: np.ndarray, count: int) -> np.ndarray:
    """Pick ``count`` indices whose lengths are spread as those of all: evenly spaced ranks, then the original order.

    A small timing sample with the length distribution of the whole test set.
    """
    count = min(count, len(lengths))
    ranks = ((np.arange(count) + 0.5) * len(lengths) / count).astype(int)
    return np.sort(np.argsort(lengths, kind="stable")[ranks])


def batches(examples: TokenizedSplit, plan: Plan, pad_to: int | None = None, pad_token_id: int = 0) -> Iterator[Batch]:
    """Collate each group of ``plan`` in turn."""
    for group in plan:
        yield collate(examples, group, pad_to, pad_token_id)


def _chunks(order: np.ndarray, size: int) -> Plan:
    return [order[i : i + size] for i in range(0, len(order), size)]
