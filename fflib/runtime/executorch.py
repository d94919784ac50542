"""ExecuTorch with XNNPACK: a program compiled ahead of time from PyTorch, with dynamic int8; an optional extra, a peer.

Its int8 is dynamic: scales of the inputs are found as they come, and each output of a weight has a scale of its own.
The steps are those of docs.pytorch.org/executorch, "XNNPACK backend: quantization".
"""

from __future__ import annotations

import importlib.util

import numpy as np
import torch
from torch import Tensor, nn

from fflib.engine import export
from fflib.files import InputError
from fflib.measure import cores
from fflib.measure.timing import Predictor

FEWEST = 2  # tokens: a dimension of one is taken for a constant


def missing() -> str:
    """Return '' where ExecuTorch can be used, else a sentence that says what to do."""
    absent = [name for name in ("executorch", "torchao") if importlib.util.find_spec(name) is None]
    if absent:
        return f'not installed: {" and ".join(absent)}; run .venv/bin/python -m pip install -e ".[peers]"'
    return ""


def program(model: nn.Module, batch: int, length: int, int8: bool = True) -> bytes:
    """Return ``model`` as a program for batches of at most ``batch`` texts of ``length`` tokens, in int8 or fp32.

    Memory is laid out for the largest batch. InputError: ExecuTorch is missing.
    """
    if why := missing():
        raise InputError(why)
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    module, inputs = _Positional(model).eval(), _example(model, batch, length)
    rows = torch.export.Dim("rows", min=1, max=batch) if batch > 1 else None
    tokens = torch.export.Dim("tokens", min=FEWEST, max=length)
    shapes = tuple({0: rows, 1: tokens} if rows is not None else {1: tokens} for _ in inputs)
    with torch.no_grad(), export.quiet():
        exported = torch.export.export(module, inputs, dynamic_shapes=shapes)
        if int8:
            exported = torch.export.export(_in_int8(exported.module(), inputs), inputs, dynamic_shapes=shapes)
        lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        return lowered.to_executorch().buffer


def predictor(program: bytes, threads: int) -> Predictor:
    """Serve what `program` made: arrays [batch, length] to logits, float32 [batch, labels].

    ``threads`` (0: all cores) count for every program of the process, since they share XNNPACK's pool of them.
    """
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    with export.quiet():
        _unsafe_reset_threadpool(cores.resolve_threads(threads))
        loaded = Runtime.get().load_program(program)
        loaded.load_method("forward")

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        tensors = [torch.from_numpy(inputs[name]) for name in export.INPUTS]
        # Asked of the program each time, which keeps it: a method alone does not hold the bytes it runs from, and the
        # process would die once they are gone.
        return loaded.load_method("forward").execute(tensors)[0].numpy()

    return predict


class _Positional(nn.Module):
    """A program takes its inputs by place and returns tensors: here the logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        return self.model(input_ids, attention_mask, token_type_ids).logits


def _example(model: nn.Module, batch: int, length: int) -> tuple[Tensor, ...]:
    found = export.example_inputs(model, min(batch, export.TRACED[0]), min(length, export.TRACED[1]))
    return tuple(found[name] for name in export.INPUTS)


def _in_int8(module: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    settings = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    prepared = prepare_pt2e(module, XNNPACKQuantizer().set_global(settings))
    prepared(*inputs)  # nothing is calibrated by it; the observers want to have seen a batch
    return convert_pt2e(prepared)
