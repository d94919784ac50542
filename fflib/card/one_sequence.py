"""No blank at all: the requests of a batch as one sequence, of which each request attends to its own tokens alone.

`runtime.packing` puts a few requests into each row and masks what they may not see; what is masked is computed all the
same. A card has kernels for attention that is block-diagonal to begin with: the tokens of all requests lie behind one
another, and offsets say where each begins. PyTorch reaches them through jagged nested tensors.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fflib.files import InputError
from fflib.measure.timing import Predictor
from fflib.model.encoder import Attention, Classifier

# Nested tensors ask it a question of yesterday, and warn that they are young: once would do, on no page.
warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors", category=UserWarning)
logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)


def lacking(model: Classifier) -> str:
    """Say why a model cannot be served so; '' where it can."""
    if model.encoder.config.spans:
        return "The head of this task reads marked words, and this way knows the first token of each request alone."
    if model.encoder.config.drops_tokens:
        return "Tokens of this model end early, and this way lets all of them go on."
    return ""


class OneSequence(nn.Module):
    """The same classifier for one sequence of requests; it shares its modules, and so its weights, with ``model``.

    InputError: see `lacking`.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        if why := lacking(model):
            raise InputError(why)
        self.encoder, self.classifier = model.encoder, model.classifier

    def forward(self, ids: Tensor, types: Tensor, positions: Tensor, starts: Tensor, longest: int) -> Tensor:
        """Classify the requests behind one another: -> logits [requests, num_labels].

        Args:
            ids, types: the tokens of all requests and their types, [tokens].
            positions: the place of each token in its request, from 0, [tokens].
            starts: where each request begins, and last where the last one ends, [requests + 1].
            longest: the tokens of the longest request.
        """
        part = self.encoder.embeddings
        placed = part.word(ids) + part.position(positions + part.position_offset)
        hidden = part.norm(placed + part.types(types))
        for layer in self.encoder.layers:
            attended = attend(layer.attention, hidden, starts, longest)
            hidden = layer.attention_norm(hidden + attended)
            hidden = layer.feed_forward_norm(hidden + layer.feed_forward(hidden, None))
        pooled = torch.tanh(self.encoder.pooler(hidden[starts[:-1]]))
        return self.classifier(pooled)


def attend(attention: Attention, hidden: Tensor, starts: Tensor, longest: int) -> Tensor:
    """Let the tokens of each request attend to each other: [tokens, hidden] -> the same shape."""
    if attention.num_heads == 0:
        return attention.output.bias.expand_as(hidden)
    shape = attention.num_heads, attention.head_size
    parts = (linear(hidden).unflatten(-1, shape) for linear in (attention.query, attention.key, attention.value))
    nested = (  # [requests, heads, its own tokens, head_size]
        torch.nested.nested_tensor_from_jagged(part, starts, min_seqlen=1, max_seqlen=longest).transpose(1, 2)
        for part in parts
    )
    context = F.scaled_dot_product_attention(*nested).transpose(1, 2)
    return attention.output(context.values().flatten(1))


def predictor(model: Classifier) -> Predictor:
    """Serve ``model`` so, on the device and in the precision that it has; the batch may come with blanks."""
    served, where = OneSequence(model).eval(), model.classifier.weight.device

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        arrays, longest = flat(inputs)
        with torch.no_grad():  # nested tensors know no inference mode
            tensors = (torch.from_numpy(array).to(where) for array in arrays)
            return served(*tensors, longest).float().cpu().numpy()

    return predict


def flat(inputs: dict[str, np.ndarray]) -> tuple[tuple[np.ndarray, ...], int]:
    """Lay the tokens of a padded batch behind one another: ids, types, positions and starts (int64), the longest."""
    is_token = inputs["attention_mask"].astype(bool)
    lengths = is_token.sum(1)
    if not lengths.all():
        raise InputError("a request without tokens has no first one to be classified by; leave it out")
    starts = np.concatenate([[0], np.cumsum(lengths)])
    positions = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    arrays = inputs["input_ids"][is_token], inputs["token_type_ids"][is_token], positions, starts
    return tuple(np.ascontiguousarray(array, np.int64) for array in arrays), int(lengths.max())
