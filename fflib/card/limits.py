"""What a device can do at best, and what a batch asks of it: the roofline, with the price of a launch as a third limit.

A batch takes at least as long as its operations at the best rate of a product, as its bytes at the best rate of a copy,
and as its kernels at the time that starting one takes (Williams et al., 2009, for the first two). All three limits are
measured on the device itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from fflib import spent
from fflib.measure import ceiling, device
from fflib.model import flops
from fflib.model.config import EncoderConfig
from fflib.quantization import half_precision

FP32 = "fp32"
BYTES = {FP32: 4} | dict.fromkeys(half_precision.KINDS, 2)  # of a number
CHAIN = 300  # kernels that are started behind one another to time one


@dataclass(frozen=True)
class Limits:
    """The rates that a device reached: of products by precision, of copies, and what one launch takes."""

    gflop_per_s: dict[str, float]
    memory_gb_per_s: float
    launch_us: float


@dataclass(frozen=True)
class Work:
    """What a batch asks for: operations, bytes of weights and of states that move, and kernels that are started."""

    flop: float
    bytes: float
    launches: int


@spent.on("timing")
def measure(kind: str, seconds: float = 0.3) -> Limits:
    """Measure the limits of the device in use, products in fp32 and in the 16 bits of ``kind``."""
    found = ceiling.measure_ceiling(seconds)
    rates = {FP32: found.fp32_gflop_per_s, kind: ceiling.product_gflop_per_s(half_precision.KINDS[kind], seconds)}
    return Limits(rates, found.memory_gb_per_s, launch_us())


def launch_us(chain: int = CHAIN) -> float:
    """Return what starting a kernel takes, in microseconds, where nothing else does: the best of five chains."""
    number = torch.zeros(1, device=device.in_use())
    best = float("inf")
    for _ in range(6):  # the first warms up
        start = time.perf_counter()
        for _ in range(chain):
            number.add_(1)
        device.synchronise()
        best = min(best, time.perf_counter() - start)
    return best / chain * 1e6


class _Counter(TorchDispatchMode):
    """Counts the operators that compute something: a view changes only how a tensor is read."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returns = func._schema.returns
        is_view = bool(returns) and all(each.alias_info and not each.alias_info.is_write for each in returns)
        self.count += not is_view
        return func(*args, **(kwargs or {}))


def launches(model: nn.Module, inputs: dict[str, np.ndarray]) -> int:
    """Count the kernels that one batch starts: on any device, since it is PyTorch that starts them one by one."""
    where = next(model.parameters()).device
    tensors = {name: torch.from_numpy(array).to(where) for name, array in inputs.items()}
    with torch.no_grad(), _Counter() as counter:
        model(**tensors)
    return counter.count


def work(config: EncoderConfig, lengths: Sequence[int] | np.ndarray, precision: str, launches: int) -> Work:
    """Return what a batch of requests of these ``lengths`` asks for, blanks included where they are computed.

    Of the word embeddings only the rows of its tokens are read. In a layer d wide, with heads w wide and f neurons, a
    token's operators read and write 16 d + 8 w + 4 f numbers, if attention keeps its scores to itself.
    """
    tokens = float(np.sum(lengths))
    weights = moved = 0.0
    d = config.hidden_size
    for layer in config.layers:
        w, f = layer.num_heads * layer.head_size, layer.intermediate_size
        weights += 4 * d * w + 2 * d * f
        moved += 16 * d + 8 * w + 4 * f
    moved += 6 * d  # three embeddings are read, their sum is written, read again and normalised
    flop = sum(flops.forward_flop(config, int(length)) for length in lengths)
    return Work(flop, BYTES[precision] * (weights + tokens * moved), launches)


def seconds(work: Work, limits: Limits, precision: str) -> dict[str, float]:
    """Return the least time that each limit leaves a batch: "operations", "bytes" and "launches"."""
    return {
        "operations": work.flop / limits.gflop_per_s[precision] / 1e9,
        "bytes": work.bytes / limits.memory_gb_per_s / 1e9,
        "launches": work.launches * limits.launch_us / 1e6,
    }


def bound(work: Sequence[Work], limits: Limits, precision: str) -> tuple[float, str]:
    """Return the least seconds that several batches take behind one another, and the limit that takes most of them."""
    parts = [seconds(each, limits, precision) for each in work]
    by_limit = dict.fromkeys(parts[0], 0.0)
    for part in parts:
        largest = max(part, key=lambda name: part[name])
        by_limit[largest] += part[largest]
    return sum(by_limit.values()), max(by_limit, key=lambda name: by_limit[name])
