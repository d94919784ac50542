"""Models of unlike layers with their inputs, gates and logits, for tests that cut them."""

from __future__ import annotations

import numpy as np
import torch
from conftest import examples_of
from torch import Tensor

from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.model.encoder import Classifier, EncoderConfig, LayerGates, LayerShape

SHAPES = (LayerShape(4, 3, 20), LayerShape(3, 5, 12), LayerShape(2, 7, 9), LayerShape(5, 2, 6))


TOLERANCE = 1e-5


TRAIN = examples_of([5, 9, 12, 7, 3, 11, 6, 8], seed=4)


def classifier(shapes=SHAPES, hidden=16, num_labels=3, seed=0, **others) -> Classifier:
    """A model whose weights are large enough for attention to be far from uniform."""
    config = EncoderConfig(50, hidden, tuple(shapes), max_position_embeddings=64, **others)
    model = Classifier(config, num_labels).eval()
    torch.manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.05, 0.3)
    return model


def double(**others) -> Classifier:
    return classifier(SHAPES[:2], **others).double()


def inputs_of(examples: TokenizedSplit, group=None, pad_to=None, pad_token_id=0) -> dict[str, Tensor]:
    group = range(len(examples)) if group is None else group
    batch = batching.collate(examples, group, pad_to, pad_token_id)
    return {name: torch.from_numpy(array) for name, array in batch.inputs.items()}


def logits_of(model: Classifier, **options) -> Tensor:
    with torch.no_grad():
        return model(**inputs_of(TRAIN, pad_to=14), **options).logits


def gates_of(model: Classifier, heads=None, neurons=None) -> list[LayerGates]:
    """Gates of one, or of one for the named parts and zero for the others."""
    gates = []
    for i, shape in enumerate(model.encoder.config.layers):
        pair = []
        for size, kept in ((shape.num_heads, heads), (shape.intermediate_size, neurons)):
            chosen = range(size) if kept is None else kept[i]
            pair.append(torch.tensor([float(k in chosen) for k in range(size)], dtype=model.classifier.weight.dtype))
        gates.append(LayerGates(*pair))
    return gates


def some(rng: np.random.Generator, size: int, count: int | None = None) -> list[int]:
    count = rng.integers(size + 1) if count is None else count
    return sorted(rng.permutation(size)[:count].tolist())


def close(a: Tensor, b: Tensor, tolerance: float = TOLERANCE) -> bool:
    assert a.shape == b.shape
    return bool((a - b).abs().max() <= tolerance * max(1, b.abs().max()))
