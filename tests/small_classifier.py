"""A classifier of random weights, small enough for every test."""

from __future__ import annotations

import torch

from fflib.model import encoder
from fflib.model.encoder import Classifier


def classifier(layers=2, heads=2, hidden=16, seed=0, num_labels=2) -> Classifier:
    torch.manual_seed(seed)
    config = encoder.EncoderConfig.uniform(layers, heads, hidden, 24, vocab_size=50, max_position_embeddings=64)
    model = Classifier(config, num_labels).eval()
    for parameter in model.parameters():  # BERT's initial weights are so small that all students look alike
        parameter.data *= 5
    return model
