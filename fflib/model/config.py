"""What an encoder looks like: the sizes of its layers, and the little else that tells one checkpoint from another."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from torch.nn import functional as F

from fflib.files import InputError

ACTIVATIONS = {"gelu": F.gelu, "gelu_new": partial(F.gelu, approximate="tanh"), "relu": F.relu}


@dataclass(frozen=True)
class LayerShape:
    """The size of one layer. With no heads, or no neurons, that half of it is only bias, residual and LayerNorm.

    ``tokens`` is the share of a text's tokens that go on after attention, see `encoder.go_on`. The others have been
    asked by all, and end there.
    """

    num_heads: int
    head_size: int
    intermediate_size: int
    tokens: float = 1.0


@dataclass(frozen=True)
class EncoderConfig:
    """What an encoder looks like, in the words of transformers' ``BertConfig`` where it has them.

    ``position_offset`` 0 numbers positions from 0 (BERT). RoBERTa's is ``pad_token_id + 1``: the number of the first
    token; only tokens that are not padding are counted, and padding has the position ``pad_token_id``.
    ``spans`` says what a head reads: the first token (0), or so many marked words (`encoder.read_words`).
    """

    vocab_size: int
    hidden_size: int
    layers: tuple[LayerShape, ...]
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    activation: str = "gelu"
    layer_norm_eps: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1
    pad_token_id: int = 0
    position_offset: int = 0
    spans: int = 0

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation {self.activation!r} is unknown; use one of {', '.join(ACTIVATIONS)}")
        for shape in self.layers:
            if not 0 < shape.tokens <= 1:
                raise InputError(f"a share of {shape.tokens} of the tokens cannot go on; give more than 0, at most 1")
            if shape.tokens < 1 and not shape.num_heads:
                raise InputError("a layer without heads cannot tell which tokens should go on; let all do")
        if self.spans and self.drops_tokens:
            raise InputError("the head of this task reads marked words, and they might not go on; let all tokens do")

    @property
    def drops_tokens(self) -> bool:
        """Whether some tokens end before the last layer."""
        return any(shape.tokens < 1 for shape in self.layers)

    @classmethod
    def uniform(
        cls, num_layers: int, num_heads: int, hidden_size: int, intermediate_size: int, vocab_size: int, **others: Any
    ) -> EncoderConfig:
        """Make the config of an unpruned model: equal layers whose heads share ``hidden_size`` (a multiple) evenly."""
        if hidden_size % num_heads:
            raise InputError(f"hidden size {hidden_size} is not a multiple of {num_heads} heads; change one of them")
        shape = LayerShape(num_heads, hidden_size // num_heads, intermediate_size)
        return cls(vocab_size, hidden_size, (shape,) * num_layers, **others)

    def to_dict(self) -> dict[str, Any]:
        """Return the config as JSON can hold it; a layer after which all tokens go on does not mention them."""
        layers = [asdict(shape) for shape in self.layers]
        for layer in layers:
            if layer["tokens"] == 1:
                del layer["tokens"]
        return asdict(self) | {"layers": layers}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EncoderConfig:
        """Undo :meth:`to_dict`; a missing or unknown key raises ``KeyError`` or ``TypeError``."""
        return cls(**values | {"layers": tuple(LayerShape(**shape) for shape in values["layers"])})
