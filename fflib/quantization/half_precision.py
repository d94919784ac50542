"""Sixteen bits: a whole model in bfloat16 where a processor multiplies it, or in float16 on a GPU.

The second is what FastFormers (2010.13382, section 5) does for a GPU: all weights, no loss scaling, inference only.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from fflib.data.splits import TokenizedSplit
from fflib.engine import predictors
from fflib.files import InputError, check_known
from fflib.measure import fitness, hardware
from fflib.measure.race import Race
from fflib.measure.timing import Predictor
from fflib.model.encoder import Classifier

KINDS = {"bf16": torch.bfloat16, "fp16": torch.float16}
TRIED = (("bf16", "cpu", 1), ("fp16", "cuda", 256))  # kind, device, requests in a batch


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


def beside_fp32(model: Classifier, kind: str, device: str) -> dict[str, Predictor]:
    """Serve ``model`` on ``device`` in fp32 and in ``kind``, by these names; InputError as `converted`."""
    versions = {"fp32": on_device(model, device), kind: converted(model, kind, device)}
    return {name: predictors.torch_predictor(version) for name, version in versions.items()}


def at_least(texts: TokenizedSplit, count: int) -> TokenizedSplit:
    """Return ``texts``, over and over where they are fewer than ``count``: enough to fill a large batch."""
    return texts.take(np.resize(np.arange(len(texts)), max(count, len(texts))))


def row(race: Race, kind: str, device: str, batch: int, min_agreement: float) -> dict[str, Any]:
    """Describe a race of `beside_fp32` in batches of ``batch``; ``min_agreement`` of the labels have to stay."""
    return {
        "teacher in": kind,
        "on": device,
        "batch": batch,
        "speed-up over fp32": race.speedup(kind, "fp32"),
        "labels kept %": 100 * race[kind].checked.label_agreement,
        "answers": fitness.verdict(race[kind].checked, min_agreement),
    }


def words(row: dict[str, Any]) -> str:
    """Say in a sentence what a `row` tells."""
    batch = "one request at a time" if row["batch"] == 1 else f"in batches of {row['batch']}"
    return (
        f"In {row['teacher in']} on the {row['on'].upper() if row['on'] == 'cpu' else 'GPU'}, {batch}, the teacher is "
        f"{row['speed-up over fp32']:.2f} times as fast as in fp32 (PyTorch) and keeps {row['labels kept %']:.0f} % of "
        f"the labels: {row['answers']}."
    )
