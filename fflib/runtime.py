"""Engines behind one call: a predictor takes the arrays of a batch and returns logits as a NumPy array."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from fflib.checkpoints import to_transformers
from fflib.encoder import Classifier
from fflib.files import InputError
from fflib.measure import Predictor


def torch_predictor(model: nn.Module) -> Predictor:
    """Serve ``model`` in eager PyTorch: ours or a stock transformers classifier, both return ``.logits``."""
    model.eval()
    device = next(model.parameters()).device

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
            return model(**tensors).logits.float().cpu().numpy()

    return predict


def eager(model: Classifier) -> tuple[nn.Module, str]:
    """Return what serves ``model`` in eager PyTorch, and the name of that engine: a user's class where there is one.

    That is the stock transformers class, unless the model's layers have shapes it cannot hold.
    """
    try:
        return to_transformers(model), "transformers, PyTorch eager"
    except InputError:
        return model, "fflib, PyTorch eager"
