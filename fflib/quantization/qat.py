"""Quantisation-aware distillation: a student learns with the rounding that int8 will do to it.

Simulated is what ONNX Runtime computes after ``quantize_dynamic`` with symmetric QInt8 weights: every linear layer
multiplies whole numbers, of its weights (scaled once) and of its input (scaled anew at each call). Rounding has no
useful slope, so gradients pass it unchanged: the straight-through estimator (Bengio et al., 1308.3432, section 4).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fflib.data.splits import TokenizedSplit
from fflib.distillation import losses, objective, teacher
from fflib.distillation.objective import Distillation, Objectives
from fflib.distillation.teacher import PartOfOutputs, TeacherOutputs
from fflib.engine.int8_graph import largest_code
from fflib.files import InputError, content_hash
from fflib.model import cache, training
from fflib.model.encoder import Classifier
from fflib.model.training import History, Recipe


def weight_codes(weight: Tensor, weight_bits: int = 8, per_column: bool = True) -> tuple[Tensor, Tensor]:
    """Return the whole numbers [out, in] for a linear layer's weight, and the scale that takes them back.

    The scale is [out], one for each output column of the product, or a scalar; either way it is max|w| / largest code
    (`compute_scale_zp` in onnxruntime's quant_utils.py), a constant to the gradient.
    """
    size = weight.detach().abs()
    largest = size.amax(1) if per_column else size.amax()
    scale = (largest.double() / largest_code(weight_bits)).to(weight.dtype)
    scale = torch.where(scale < torch.finfo(weight.dtype).tiny, 1.0, scale)  # a column of zeros
    steps = weight / (scale[:, None] if per_column else scale)
    return _straight_through(steps, steps.round()), scale


def activation_codes(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the whole numbers for a layer's input, less their zero point, and their scale, a scalar.

    ONNX's DynamicQuantizeLinear: uint8 for the range of the whole tensor, padding included, widened to contain 0.
    """
    low, high = torch.aminmax(inputs.detach())
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = torch.where(high > low, (high - low) / 255, 1.0)
    zero_point = (-low / scale).clamp(0, 255).round()
    steps = inputs / scale
    return _straight_through(steps, (steps.round() + zero_point).clamp(0, 255) - zero_point), scale


@contextmanager
def fake_quantized(model: nn.Module, weight_bits: int = 8, per_column: bool = True) -> Iterator[None]:
    """Within, every nn.Linear of ``model`` rounds its input and its weight; its bias stays in floating point.

    Names in the state_dict, hooks and gradients work as ever, and at the end the model computes as before. The bits are
    those of the weights; inputs always have 8. ``per_column`` is the library's ``per_channel``.

    Raises:
        InputError: not 2 to 8 bits, or the model is fake-quantised already.
    """
    largest_code(weight_bits)
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if any("forward" in vars(linear) for linear in linears):
        raise InputError("the model is fake-quantised already; leave that block before you enter another")
    try:
        for linear in linears:  # an attribute of the instance hides the method of its class
            linear.forward = partial(_product, linear, weight_bits, per_column)
        yield
    finally:
        for linear in linears:
            vars(linear).pop("forward", None)


class QuantizationAware(nn.Module):
    """A loss for `training.fit` that calls another, a module such as `Distillation`, on the fake-quantised model.

    Only the model is: the weights of the other loss (projections) and its teacher compute as ever. The dev score of
    `training.fit` is of the model in floating point; `distil` scores the fake-quantised one.
    """

    def __init__(self, loss: nn.Module, weight_bits: int = 8, per_column: bool = True) -> None:
        super().__init__()
        self.loss, self.weight_bits, self.per_column = loss, weight_bits, per_column

    def forward(self, model: nn.Module, inputs: dict[str, Tensor], indices: np.ndarray) -> Tensor:
        """Return the loss of one batch, a scalar."""
        with fake_quantized(model, self.weight_bits, self.per_column):
            return self.loss(model, inputs, indices)


def predict(model: nn.Module, examples: TokenizedSplit, weight_bits: int = 8, per_column: bool = True) -> np.ndarray:
    """Return the logits [n, classes] of `training.predict` of the fake-quantised model.

    An input's scale is that of its batch, so an answer depends a little on the examples and the padding beside it; in
    other batches than these, of like lengths and up to 4096 tokens, an engine gives slightly other logits.
    """
    with fake_quantized(model, weight_bits, per_column):
        return training.predict(model, examples)


def distil(
    student: Classifier,
    recipe: Recipe,
    outputs: TeacherOutputs | PartOfOutputs,
    objectives: Objectives,
    dev: TokenizedSplit,
    score: training.Score,
    folder: Path,
    weight_bits: int = 8,
    per_column: bool = True,
    learn_from: str = "uniform",
) -> tuple[Classifier, History]:
    """Train a copy of a float student to match its teacher once it is quantised; return it, its weights still float.

    The best weights are those whose fake-quantised answers score best on dev. What lies in ``folder`` from the same
    inputs is not trained again. The other arguments are those of `stages.distil`.

    Raises:
        InputError: not 2 to 8 bits, or student, teacher and objectives do not fit, see `Distillation`.
    """
    largest_code(weight_bits)  # refused before the teacher computes anything
    train = outputs.examples
    code = [Path(file) for file in (__file__, losses.__file__, objective.__file__, teacher.__file__)]
    settings = asdict(objectives), learn_from, weight_bits, per_column
    origin = content_hash(outputs.key, *settings, *code)
    model = copy.deepcopy(student)  # training changes the model that it is given

    def make_loss(model: Classifier) -> QuantizationAware:
        loss = Distillation(model, outputs, objectives, learn_from, train.gold)
        return QuantizationAware(loss, weight_bits, per_column)

    def quantized_score(_: np.ndarray, labels: np.ndarray) -> float:
        return score(predict(model, dev, weight_bits, per_column), labels)

    return cache.train_or_load(lambda: model, folder, train, dev, make_loss, quantized_score, recipe, origin)


def _product(linear: nn.Linear, weight_bits: int, per_column: bool, inputs: Tensor) -> Tensor:
    """Stand for the ``forward`` of ``linear``: [..., in] -> [..., out]."""
    codes, step = activation_codes(inputs.to(linear.weight.dtype))
    weights, scale = weight_codes(linear.weight, weight_bits, per_column)
    # Unscaled: whole numbers up to 255 are exact in bfloat16 too, so autocast multiplies what the engine does.
    product = F.linear(codes, weights) * (step * scale)
    return product if linear.bias is None else product + linear.bias


def _straight_through(values: Tensor, rounded: Tensor) -> Tensor:
    """Return ``rounded`` with the gradient of ``values``."""
    return values + (rounded - values).detach()
