"""Small classifiers of given shapes, with random weights, for tests of what is served."""

from __future__ import annotations

import torch

from fflib.model import encoder
from fflib.model.encoder import Classifier


def model_of(*shapes, seed=0) -> Classifier:
    """Heads, head size and neurons of each layer."""
    torch.manual_seed(seed)
    layers = tuple(encoder.LayerShape(*shape) for shape in shapes)
    config = encoder.EncoderConfig(vocab_size=50, hidden_size=16, layers=layers, max_position_embeddings=64)
    model = encoder.Classifier(config, 2).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights) * 0.2)
    return model
