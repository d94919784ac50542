"""Sixteen bits: a whole model in bfloat16 where a processor multiplies it, or in float16 on a GPU.

The second is what FastFormers (2010.13382, section 5) does for a GPU: all weights, no loss scaling, inference only.
"""

from __future__ import annotations

import copy

import torch

from fflib.files import InputError, check_known
from fflib.measure import hardware
from fflib.model.encoder import Classifier

KINDS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def missing(kind: str, device: str) -> str:
    """Return why ``kind`` does not pay here, in a sentence, or "" where it does."""
    check_known("sixteen-bit kind", [kind], KINDS)
    if device == "cuda":
        return "" if torch.cuda.is_available() else f"PyTorch sees no GPU, so {kind} on one was not measured."
    if kind == "fp16":
        return "No CPU kernel of PyTorch or ONNX Runtime gains from fp16: every operator would convert there and back."
    return "" if hardware.has_fast_bf16() else "This processor does not multiply bf16, so it was not measured."


def on_device(model: Classifier, device: str) -> Classifier:
    """Return a copy of ``model``, in its own precision, on ``device``."""
    return copy.deepcopy(model).to(device)


def converted(model: Classifier, kind: str, device: str = "cpu") -> Classifier:
    """Return a copy of ``model`` with all weights, LayerNorms included, in ``kind``; it is served as any other.

    Raises:
        InputError: fp16 on a CPU, or no such device or kind. bf16 on a CPU without it works, slowly.
    """
    if (why := missing(kind, device)) and not (kind == "bf16" and device == "cpu"):
        raise InputError(why)
    return copy.deepcopy(model).to(device, KINDS[kind])
