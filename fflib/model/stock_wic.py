"""The stock encoder with the head for marked words, which transformers has not: the baseline of the task WiC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import transformers
from torch import Tensor, nn

from fflib.data.task import SEGMENTS
from fflib.model import hf_names
from fflib.model.encoder import Classifier, ClassifierOutput, init_weights, read_words

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class StockWordReader(nn.Module):
    """``AutoModel`` and a linear layer on its largest states over each of ``spans`` marked words."""

    def __init__(self, config: PreTrainedConfig, spans: int) -> None:
        super().__init__()
        self.config, self.spans = config, spans
        self.base = transformers.AutoModel.from_config(config, add_pooling_layer=False)
        self.classifier = nn.Linear(spans * config.hidden_size, config.num_labels)
        init_weights(self.classifier)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> ClassifierOutput:
        """Classify token ids, mask and marked types, each [batch, length]."""
        states = self.base(input_ids, attention_mask, token_type_ids=token_type_ids % SEGMENTS).last_hidden_state
        return ClassifierOutput(self.classifier(read_words(states, token_type_ids, self.spans)), states, states[:, 0])

    def fill(self, model: Classifier) -> None:
        """Take the weights of ``model``; its pooler, which nothing reads, is left out."""
        state = {name: tensor for name, tensor in model.encoder.state_dict().items() if not name.startswith("pooler.")}
        self.base.load_state_dict({hf_names.stock_name(name): tensor for name, tensor in state.items()})
        self.classifier.load_state_dict(model.classifier.state_dict())
