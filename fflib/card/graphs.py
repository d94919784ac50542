"""One request without the launches: all kernels of a text length recorded once and started as one, as a CUDA graph.

A card finishes a small layer before Python has started the next one, so a single request takes as long as its launches.
A graph can only be replayed for the shapes that it was recorded with: texts are padded up to the next of a few lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from fflib.engine import predictors
from fflib.measure import device
from fflib.measure.timing import Predictor

ENGINE = "torch.compile, CUDA graphs"
Compile = Callable[[nn.Module], nn.Module]


def lacking() -> str:
    """Say why this way cannot be taken here; '' where it can."""
    if not device.is_card():
        return "CUDA graphs are of a graphics card; this run's device is the processor."
    try:
        import triton  # noqa: F401  with which PyTorch writes kernels for a card
    except ImportError:
        return "torch.compile writes kernels for a card with Triton, which is not installed."
    return ""


def sizes(lengths: Sequence[int] | np.ndarray, step: int) -> list[int]:
    """Return the lengths that texts are padded up to: the multiples of ``step`` that some text needs, ascending."""
    return sorted({-(-int(length) // step) * step for length in lengths})


def compiled(model: nn.Module) -> nn.Module:
    """Return ``model`` compiled for fixed shapes, its kernels recorded as one graph a shape."""
    return torch.compile(model, mode="reduce-overhead", dynamic=False)


def predictor(
    model: nn.Module, lengths: Sequence[int] | np.ndarray, step: int, compile: Compile = compiled
) -> Predictor:
    """Serve one request at a time, padded up to a multiple of ``step``; ``lengths`` are those of the texts to come.

    Each length is compiled and recorded when it is first met, so the first request of each is slow.
    """
    padded_to = sizes(lengths, step)
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, len(padded_to) + 1)
    serve = predictors.torch_predictor(compile(model.eval()))
    return predictors.bucketed(dict.fromkeys(padded_to, serve))
