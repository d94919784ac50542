"""What the processor can do at best, measured: the bound that predictions and engines are held against."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from fflib import spent
from fflib.measure.hardware import has_fast_bf16, threads_in_use


@dataclass(frozen=True)
class Ceiling:
    """What the processor reached in a micro-benchmark, with the threads in use: the bound for predictions."""

    fp32_gflop_per_s: float
    bf16_gflop_per_s: float | None  # None where bf16 is only emulated
    memory_gb_per_s: float
    threads: int


@spent.on("timing")
def measure_ceiling(seconds: float = 0.5) -> Ceiling:
    """Measure the matrix-product rate of PyTorch and the memory bandwidth, best of the tries within ``seconds`` each.

    The shape is a feed-forward product of BERT-base over 512 tokens: the largest product the book ever asks for.
    """
    tokens, hidden, wide = 512, 768, 3072
    flop = 2 * tokens * hidden * wide

    def product_rate(dtype: torch.dtype) -> float:
        a, b = torch.randn(tokens, hidden, dtype=dtype), torch.randn(wide, hidden, dtype=dtype)
        return flop / _best_time(lambda: torch.nn.functional.linear(a, b), seconds) / 1e9

    source, target = torch.ones(32_000_000), torch.empty(32_000_000)  # 128 MB each: larger than any cache
    copy_s = _best_time(lambda: target.copy_(source), seconds)
    bf16 = product_rate(torch.bfloat16) if has_fast_bf16() else None
    return Ceiling(product_rate(torch.float32), bf16, 2 * source.nbytes / copy_s / 1e9, threads_in_use())


def _best_time(call, seconds: float) -> float:
    call()
    best, stop = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best
