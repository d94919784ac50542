"""Where the time of a request goes: the operators of PyTorch's profiler, by what they do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from fflib import spent
from fflib.measure import device

PRODUCTS = "matrix products"
# The operators of PyTorch's profiler, by what they do; whatever is not named here is "other".
OPERATORS = {
    PRODUCTS: ("addmm", "mm", "bmm", "linear", "matmul", "mkldnn_linear", "baddbmm"),
    "attention": ("_scaled_dot_product_flash_attention_for_cpu", "scaled_dot_product_attention", "softmax", "_softmax"),
    "LayerNorm": ("native_layer_norm", "layer_norm"),
    "GELU, tanh": ("gelu", "relu", "tanh"),
    "add": ("add", "add_"),
    "embedding": ("embedding", "index_select"),
}
OTHER = "other"


def group_operators(profile: Mapping[str, float], table: Mapping[str, Sequence[str]] = OPERATORS) -> dict[str, float]:
    """Add up the operators of a profile by the kinds of ``table``, in ms; those it does not name are `OTHER`."""
    kinds = {operator: kind for kind, operators in table.items() for operator in operators}
    groups = dict.fromkeys([*table, OTHER], 0.0)
    for name, milliseconds in profile.items():
        groups[kinds.get(name.removeprefix("aten::"), OTHER)] += milliseconds
    return groups


@spent.on("timing")
def operator_profile(call: Callable[[], object], repeats: int = 5) -> dict[str, float]:
    """Return the self time in ms of each ATen operator per call, largest first, from PyTorch's profiler.

    On a graphics card it is the time of the kernels that the operator started there, not that of starting them.
    """
    call()
    kinds = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if device.is_card() else [])]
    with _silent_library(), torch.profiler.profile(activities=kinds) as profile:
        for _ in range(repeats):
            call()
    asked = [event for event in profile.key_averages() if event.device_type == torch.autograd.DeviceType.CPU]
    of = "self_device_time_total" if device.is_card() else "self_cpu_time_total"
    times = {event.key: getattr(event, of) / repeats / 1e3 for event in asked}
    return dict(sorted(times.items(), key=lambda item: -item[1]))


@contextmanager
def _silent_library() -> Iterator[None]:
    """Keep C++ code from writing to stderr: the profiler announces each start and stop there, past Python."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
