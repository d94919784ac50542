"""The transformer itself: one encoder for BERT, MiniLM, TinyBERT and RoBERTa weights, to be read at one sitting.

It is BERT (Devlin et al., 1810.04805) made of the blocks of Vaswani et al. (1706.03762), with one difference from the
stock classes: every layer has its own number of heads, head size and feed-forward width, so a pruned model is an
ordinary model. Weights into and out of it: ``checkpoints``. (Longer than 200 lines: all of the model is here.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fflib.data.task import SEGMENTS
from fflib.model.config import ACTIVATIONS, EncoderConfig, LayerShape

MASKED = -10_000.0  # BERT's value: its exp() is 0 and, unlike -inf, differences of it are numbers
Scores = Tensor | None  # [batch, heads, length, length], where they were asked for


class LayerGates(NamedTuple):
    """Factors on the parts of one layer: ``heads`` [num_heads] and ``neurons`` [intermediate_size]; 1 changes nothing.

    The gradient of the loss by a gate tells how much that part matters (Michel et al., 1905.10650, eq. 2).
    """

    heads: Tensor
    neurons: Tensor


class EncoderOutput(NamedTuple):
    """What an encoder returns.

    Attributes:
        last_hidden_state: [batch, length, hidden].
        pooled: [batch, hidden], the state of the first token through the pooler and tanh.
        hidden_states: if asked for, that of the embeddings and of every layer, each [batch, length, hidden], or of the
            tokens that go on.
        attention_scores: if asked for, of every layer [batch, heads, length, length]: scaled, **before** the softmax,
            with -10000 added where the key is padding. The attention loss of TinyBERT (1909.10351, eq. 7) uses these.
    """

    last_hidden_state: Tensor
    pooled: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attention_scores: tuple[Tensor, ...] | None = None


class ClassifierOutput(NamedTuple):
    """What a classifier returns: ``logits`` [batch, num_labels], then the fields of :class:`EncoderOutput`."""

    logits: Tensor
    last_hidden_state: Tensor
    pooled: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attention_scores: tuple[Tensor, ...] | None = None


class Embeddings(nn.Module):
    """Word + position + token type, then LayerNorm (BERT, figure 2)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.pad_token_id, self.position_offset = config.pad_token_id, config.position_offset
        self.word = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.has_marks = config.spans > 0
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """Two times [batch, length] -> [batch, length, hidden]."""
        types = self.token_type.weight[0] if token_type_ids is None else self.types(token_type_ids)
        return self.dropout(self.norm(self.word(input_ids) + self.position(self.positions(input_ids)) + types))

    def types(self, token_type_ids: Tensor) -> Tensor:
        """Embed the token types, without the marks of words: [batch, length] -> [batch, length, hidden]."""
        return self.token_type(token_type_ids % SEGMENTS if self.has_marks else token_type_ids)

    def positions(self, input_ids: Tensor) -> Tensor:
        """Number the tokens: [length] for BERT, [batch, length] for RoBERTa."""
        if self.position_offset == 0:
            return torch.arange(input_ids.shape[1], device=input_ids.device)
        is_token = (input_ids != self.pad_token_id).long()
        return is_token.cumsum(dim=1) * is_token + self.position_offset - 1


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al., section 3.2.2), free to have heads * head_size unlike hidden_size."""

    def __init__(self, config: EncoderConfig, shape: LayerShape) -> None:
        super().__init__()
        self.num_heads, self.head_size = shape.num_heads, shape.head_size
        width = shape.num_heads * shape.head_size
        self.query = nn.Linear(config.hidden_size, width)
        self.key = nn.Linear(config.hidden_size, width)
        self.value = nn.Linear(config.hidden_size, width)
        self.output = nn.Linear(width, config.hidden_size)
        self.dropout = nn.Dropout(config.attention_dropout)

    def forward(
        self, hidden: Tensor, mask: Tensor, gate: Tensor | None, want_scores: bool, asking: Tensor | None = None
    ) -> tuple[Tensor, Scores]:
        """Mix information between the tokens: [batch, length, hidden] -> the same shape, and the scores.

        ``asking`` [batch, fewer, hidden] are the tokens that want an answer where these are not all; so is the result.
        """
        asking = hidden if asking is None else asking
        if self.num_heads == 0:
            return self.output.bias.expand_as(asking), hidden.new_zeros(
                len(hidden), 0, asking.shape[1], hidden.shape[1]
            )
        query = self.split_heads(self.query(asking))
        key, value = (self.split_heads(linear(hidden)) for linear in (self.key, self.value))
        in_16_bits = self.training and query.dtype == torch.bfloat16  # then the one call's way back is half of a step
        if want_scores or in_16_bits or torch.compiler.is_exporting():  # the steps of eq. 1; a graph is simplest so
            scores = (query * self.head_size**-0.5) @ key.transpose(-1, -2) + mask
            context = self.dropout(scores.softmax(dim=-1)) @ value
        else:  # the same in one call, which is faster but keeps the scores to itself
            dropout = self.dropout.p if self.training else 0.0
            context, scores = F.scaled_dot_product_attention(query, key, value, mask, dropout), None
        if gate is not None:
            context = context * gate[:, None, None]
        return self.output(context.transpose(1, 2).flatten(2)), scores if want_scores else None

    def split_heads(self, states: Tensor) -> Tensor:
        """[batch, length, heads * head_size] -> [batch, heads, length, head_size]."""
        return states.unflatten(-1, (self.num_heads, self.head_size)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with the activation between them (Vaswani et al., section 3.3)."""

    def __init__(self, config: EncoderConfig, shape: LayerShape) -> None:
        super().__init__()
        self.intermediate = nn.Linear(config.hidden_size, shape.intermediate_size)
        self.output = nn.Linear(shape.intermediate_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, hidden: Tensor, gate: Tensor | None) -> Tensor:
        """Transform each token alone: [batch, length, hidden] -> the same shape."""
        if self.intermediate.out_features == 0:
            return self.output.bias.expand_as(hidden)
        neurons = self.activation(self.intermediate(hidden))
        return self.output(neurons if gate is None else neurons * gate)


class Layer(nn.Module):
    """Attention, then feed-forward, each followed by dropout, residual and LayerNorm."""

    def __init__(self, config: EncoderConfig, shape: LayerShape) -> None:
        super().__init__()
        self.tokens = shape.tokens
        self.attention = Attention(config, shape)
        self.attention_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.feed_forward = FeedForward(config, shape)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden: Tensor, mask: Tensor, gates: LayerGates, want_scores: bool, first_only: bool = False
    ) -> tuple[Tensor, Scores, Tensor]:
        """[batch, length, hidden] -> the states that go on, the attention scores, and the mask of what goes on.

        All tokens go on, and then shape and mask are as before, where the layer's shape does not say otherwise.
        ``first_only`` computes the first token alone, [batch, 1, hidden]: the others are keys and values, no more.
        """
        head_gate, neuron_gate = gates
        asking = hidden[:, :1] if first_only else hidden
        some_end = self.tokens < 1 and not first_only
        attended, scores = self.attention(hidden, mask, head_gate, want_scores or some_end, asking)
        hidden = self.attention_norm(asking + self.dropout(attended))
        if some_end:
            hidden, mask = go_on(hidden, mask, scores, self.tokens)
        hidden = self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden, neuron_gate)))
        return hidden, scores if want_scores else None, mask


def go_on(hidden: Tensor, mask: Tensor, scores: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the tokens that others attend to most, and their mask: [batch, length, hidden] -> [batch, fewer, hidden].

    How much attention a token receives, summed over all heads and all tokens that ask, is its significance in
    PoWER-BERT (2001.08950). Of each text ``share`` of its tokens go on, rounded up, always the first among
    them, whatever the padding of its batch. They come in the order of their significance: places are told by
    the embeddings, before all layers.

    Args:
        mask: 0 for tokens, `MASKED` for padding, [batch, 1, 1, length].
        scores: those of attention, [batch, heads, length, length], see `EncoderOutput`.
    """
    mask = mask[:, 0, 0]
    is_token = (mask == 0).float()
    attention = scores.float().softmax(dim=-1)  # in 32 bits, or many tokens would be equally significant
    received = (attention * is_token[:, None, :, None]).sum((1, 2)) + mask
    each = torch.ceil(is_token.sum(1) * share).long()
    fewer = torch.ceil(torch.ones_like(is_token[0]).sum() * share).long()  # as many as of a text without padding
    others = received[:, 1:].topk(fewer - 1, dim=1).indices + 1
    places = F.pad(others, (1, 0))  # the first token comes first
    hidden = hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[2]))
    ended = torch.arange(fewer, device=mask.device) >= each[:, None]
    return hidden, (ended.to(mask.dtype) * MASKED)[:, None, None]


class Encoder(nn.Module):
    """Embeddings, layers, pooler."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config, shape) for shape in config.layers)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.apply(init_weights)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        gates: Sequence[LayerGates] | None = None,
        output_hidden_states: bool = False,
        output_attention_scores: bool = False,
        first_only: bool = False,
    ) -> EncoderOutput:
        """Encode token ids [batch, length]. The mask is 1 for tokens and 0 for padding (left out: all are tokens), the
        types are 0 where left out, both [batch, length]; ``gates`` has one pair a layer. With ``first_only`` the last
        state is that of the first token alone, [batch, 1, hidden], which is all that the pooler reads."""
        hidden = self.embeddings(input_ids, token_type_ids)
        is_token = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        mask = (1 - is_token[:, None, None, :].to(hidden.dtype)) * MASKED  # for all heads, all queries
        states, scores = [hidden], []
        for layer, layer_gates in zip(self.layers, gates or [(None, None)] * len(self.layers), strict=True):
            alone = first_only and layer is self.layers[-1]
            hidden, layer_scores, mask = layer(hidden, mask, layer_gates, output_attention_scores, alone)
            states.append(hidden)
            scores.append(layer_scores)
        pooled = torch.tanh(self.pooler(hidden[:, 0]))
        asked = tuple(states) if output_hidden_states else None, tuple(scores) if output_attention_scores else None
        return EncoderOutput(hidden, pooled, *asked)


class Classifier(nn.Module):
    """An encoder with a linear layer on what its head reads: the pooled first token, or marked words."""

    def __init__(self, config: EncoderConfig, num_labels: int) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(max(1, config.spans) * config.hidden_size, num_labels)
        init_weights(self.classifier)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **options: Any,
    ) -> ClassifierOutput:
        """Classify a batch; the arguments are those of :meth:`Encoder.forward`. A head that reads words, wherever they
        stand, needs all tokens, and ``first_only`` changes nothing for it."""
        if self.encoder.config.spans:
            options["first_only"] = False
        encoded = self.encoder(input_ids, attention_mask, token_type_ids, **options)
        read = encoded.pooled
        if spans := self.encoder.config.spans:
            types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
            read = read_words(encoded.last_hidden_state, types, spans)
        return ClassifierOutput(self.classifier(self.dropout(read)), *encoded)


def read_words(states: Tensor, token_type_ids: Tensor, spans: int) -> Tensor:
    """Return the largest value of each hidden unit over the tokens of each of ``spans`` marked words.

    States [batch, length, hidden] and types [batch, length] -> [batch, spans * hidden]. A token of word k has a type
    that is larger by 2k; a word without a token counts as zeros. FastFormers (2010.13382) takes the words out one by
    one in a Python loop, and so could not export its model for WiC; here a word is a mask.
    """
    numbers = torch.arange(1, spans + 1, device=states.device)
    inside = (token_type_ids // SEGMENTS)[:, None] == numbers[:, None]  # [batch, spans, length]
    largest = states[:, None].masked_fill(~inside[..., None], MASKED).amax(2)
    return torch.where(inside.any(2, keepdim=True), largest, 0.0).flatten(1)


def init_weights(module: nn.Module) -> None:
    """Draw matrices from normal(0, 0.02) and zero the biases, as BERT does."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
