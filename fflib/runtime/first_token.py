"""The last layer for the first token alone: exact, and a large part of a small student's work.

A classifier reads nothing but the first token of the last layer. There the other tokens are asked no question, and
nothing that comes after attention is computed for them. PyTorch still makes a key and a value of each; the graph
regroups these products (`graph.attention_of_first`), so that of the layer's six products none is left with all tokens.
Of two layers that is nearly half the work, of twelve hardly any.
"""

from __future__ import annotations

from torch import Tensor, nn

from fflib.engine import graph
from fflib.model.encoder import Classifier, ClassifierOutput, read_words


class FirstTokenClassifier(nn.Module):
    """Compute the logits of a `Classifier`, for inference; the weights are shared, under the same names.

    Where the head reads words, wherever they stand, the last layer is computed for all tokens as ever.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.encoder, self.classifier = model.encoder, model.classifier

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> ClassifierOutput:
        """Classify token ids, mask and types, each [batch, length]; the last state is [batch, 1, hidden]."""
        spans = self.encoder.config.spans
        encoded = self.encoder(input_ids, attention_mask, token_type_ids, first_only=not spans)
        hidden = encoded.last_hidden_state
        read = read_words(hidden, token_type_ids, spans) if spans else encoded.pooled
        return ClassifierOutput(self.classifier(read), hidden, read, None, None)


graph.WRITERS[FirstTokenClassifier] = graph.first_token  # for `export`
