"""Pruning tokens: all are read, and after the first layer's attention a part of them goes on.

A text says most things more than once, and much of it does not bear on the question. Once every token has looked at
every other, the states of a part of them hold what is needed, and the rest of the work is done for these alone. It is
the idea of PoWER-BERT (2001.08950), with one place where tokens end, for a student has few layers.
"""

from __future__ import annotations

from dataclasses import replace

from fflib.model import checkpoints
from fflib.model.encoder import Classifier


def let_go_on(model: Classifier, share: float, layer: int = 0) -> Classifier:
    """Return a copy of ``model``, in evaluation mode, in which a ``share`` of the tokens goes on after ``layer``.

    Its weights are the same, and see `encoder.go_on` for which tokens those are. InputError: the share is not above 0
    and at most 1, or the model cannot let tokens end, as one whose head reads marked words.
    """
    config = model.encoder.config
    shapes = [replace(shape, tokens=share) if i == layer else shape for i, shape in enumerate(config.layers)]
    copy = checkpoints.blank(replace(config, layers=tuple(shapes)), model.classifier.out_features)
    copy.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()}, assign=True)
    return copy.eval()
