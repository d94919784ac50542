"""The last layer for the first token alone: exact, and a large part of a small student's work.

A classifier reads nothing but the first token of the last layer. There the other tokens are needed as keys and values,
but not as queries, and not in anything that comes after attention. Of the six products of that layer only two are left
with all tokens; of two layers that is nearly half the work, of twelve hardly any.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fflib.engine import graph
from fflib.model.encoder import MASKED, Attention, Classifier, ClassifierOutput, Layer, read_words


class FirstTokenClassifier(nn.Module):
    """Compute the logits of a `Classifier`, for inference; the weights are shared, under the same names.

    Where the head reads words, wherever they stand, the last layer is computed for all tokens as ever.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.encoder, self.classifier = model.encoder, model.classifier

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> ClassifierOutput:
        """Classify token ids, mask and types, each [batch, length]; the last state is [batch, 1, hidden]."""
        hidden = self.encoder.embeddings(input_ids, token_type_ids)
        mask = (1 - attention_mask[:, None, None, :].to(hidden.dtype)) * MASKED
        *layers, last = self.encoder.layers
        for layer in layers:
            hidden, _ = layer(hidden, mask, (None, None), False)
        if spans := self.encoder.config.spans:
            hidden, _ = last(hidden, mask, (None, None), False)
            read = pooled = read_words(hidden, token_type_ids, spans)
        else:
            hidden = first_of_layer(last, hidden, mask)
            read = pooled = torch.tanh(self.encoder.pooler(hidden[:, 0]))
        return ClassifierOutput(self.classifier(read), hidden, pooled, None, None)


def first_of_layer(layer: Layer, hidden: Tensor, mask: Tensor) -> Tensor:
    """Return what `Layer` makes of the first token: [batch, length, hidden] -> [batch, 1, hidden].

    ``mask`` is added to the attention scores, [batch, 1, 1, length].
    """
    first = hidden[:, :1]
    first = layer.attention_norm(first + _look_at_all(layer.attention, first, hidden, mask))
    return layer.feed_forward_norm(first + layer.feed_forward(first, None))


def _look_at_all(attention: Attention, first: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
    """Let one query meet the keys and values of all tokens (Vaswani et al., eq. 1)."""
    if attention.num_heads == 0:
        return attention.output.bias.expand_as(first)
    query, key, value = (
        attention.split_heads(linear(states))
        for linear, states in ((attention.query, first), (attention.key, hidden), (attention.value, hidden))
    )
    scores = (query * attention.head_size**-0.5) @ key.transpose(-1, -2) + mask
    return attention.output((scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))


graph.WRITERS[FirstTokenClassifier] = graph.first_token  # for `export`
