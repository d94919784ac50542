"""A classifier for words inside a text: does "bank" mean the same in both sentences (the task WiC)?

The head of FastFormers (2010.13382) for such tasks takes the spans out one by one in a Python loop, and so the paper
could not export it. Here a span is a mask, and the graph has any batch size and length.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from fflib.encoder import MASKED, ClassifierOutput, Encoder, init_weights
from fflib.files import InputError


class SpanClassifier(nn.Module):
    """An encoder with a linear layer on the element-wise largest states of each of ``spans`` spans of tokens."""

    dimensions: Mapping[str, tuple[str, ...]] = {"span_starts": ("batch",), "span_ends": ("batch",)}  # for `export`

    def __init__(self, encoder: Encoder, num_labels: int, spans: int = 2) -> None:
        super().__init__()
        if spans < 1:
            raise InputError(f"spans is {spans}, which leaves nothing to classify; give at least 1")
        self.encoder, self.spans = encoder, spans
        self.dropout = nn.Dropout(encoder.config.dropout)
        self.classifier = nn.Linear(spans * encoder.config.hidden_size, num_labels)
        init_weights(self.classifier)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        span_starts: Tensor,
        span_ends: Tensor,
    ) -> ClassifierOutput:
        """Classify a batch of texts by their spans.

        Tokens are those of :meth:`Encoder.forward`; the spans, int64 [batch, spans], go from the token at the start to
        the one before the end. What `check_spans` refuses gives logits that mean nothing, and no error.
        """
        encoded = self.encoder(input_ids, attention_mask, token_type_ids)
        states = largest_in_spans(encoded.last_hidden_state, span_starts, span_ends)
        return ClassifierOutput(self.classifier(self.dropout(states.flatten(1))), *encoded)

    def example_inputs(self, tokens: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``tokens``, the inputs of a classifier, with random spans, for `export`."""
        lengths = tokens["attention_mask"].sum(1).cpu().numpy()
        rng = np.random.default_rng(len(lengths))
        starts = rng.integers(lengths[:, None], size=(len(lengths), self.spans))
        ends = rng.integers(starts, lengths[:, None]) + 1
        device = tokens["input_ids"].device
        return tokens | {
            "span_starts": torch.from_numpy(starts).to(device),
            "span_ends": torch.from_numpy(ends).to(device),
        }


def largest_in_spans(states: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """Return the largest value of each hidden unit in each span.

    States [batch, length, hidden] and two times [batch, spans] -> [batch, spans, hidden].
    """
    place = torch.arange(states.shape[1], device=states.device)
    inside = (starts[..., None] <= place) & (place < ends[..., None])  # [batch, spans, length]
    return states[:, None].masked_fill(~inside[..., None], MASKED).amax(2)


def check_spans(starts: np.ndarray, ends: np.ndarray, lengths: np.ndarray) -> None:
    """Raise InputError where a span is empty or leaves its text: a graph cannot, and would answer anything.

    In int8 such a span would also spoil the other texts of its batch, which share one scale with it.

    Args:
        starts: the first token of each span, [n, spans].
        ends: the token after the last one, [n, spans].
        lengths: the tokens of each text, [n].
    """
    if starts.ndim != 2 or starts.shape != ends.shape or len(starts) != len(lengths):
        shapes = f"starts are {starts.shape}, ends {ends.shape} and lengths {lengths.shape}"
        raise InputError(f"{shapes}; give [n, spans] twice, and [n]")
    wrong = np.argwhere((starts < 0) | (ends <= starts) | (ends > lengths[:, None]))
    if len(wrong):
        row, span = wrong[0]
        where = f"span {span} of text {row} goes from {starts[row, span]} to {ends[row, span]}"
        raise InputError(f"{where}; give at least one of the text's {lengths[row]} tokens, the end exclusive")
