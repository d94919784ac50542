"""What the processor or the card can do at best, measured: the bound that predictions and engines are held against."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from fflib import spent
from fflib.measure import device
from fflib.measure.hardware import multiplies_bf16, threads_in_use


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

    A graphics card makes a copy that no cache of its own can hold.
    """
    numbers = 256_000_000 if device.is_card() else 32_000_000  # 128 MB each, or 1 GB: larger than any cache
    source = torch.ones(numbers, device=device.in_use())
    target = torch.empty_like(source)
    copy_s = _best_time(lambda: target.copy_(source), seconds)
    bf16 = product_gflop_per_s(torch.bfloat16, seconds) if multiplies_bf16(device.in_use()) else None
    return Ceiling(
        product_gflop_per_s(torch.float32, seconds), bf16, 2 * source.nbytes / copy_s / 1e9, threads_in_use()
    )


@spent.on("timing")
def fp32_peak_gflop_per_s(seconds: float) -> float:
    """Return the higher of two fp32 rates of that product: of all threads, and of one thread times their number.

    Integer rates on one thread are multiplied in the same way (`beyond.request_budget`), and several instances of one
    thread each never wait for one another. So only the higher one is a limit for them.
    """
    together, threads = product_gflop_per_s(torch.float32, seconds), threads_in_use()
    if device.is_card() or threads == 1:
        return together
    torch.set_num_threads(1)
    try:
        return max(together, threads * product_gflop_per_s(torch.float32, seconds))
    finally:
        torch.set_num_threads(threads)


def product_gflop_per_s(dtype: torch.dtype, seconds: float) -> float:
    """Return the best rate of a matrix product in 1e9 operations a second, of the tries within ``seconds``.

    The shape is a feed-forward product of BERT-base over 512 tokens: the largest product the book ever asks a processor
    for. A graphics card gets the tokens of a large batch.
    """
    tokens, hidden, wide = (32_768 if device.is_card() else 512), 768, 3072
    a, b = (torch.randn(rows, hidden).to(device.in_use(), dtype) for rows in (tokens, wide))
    return 2 * tokens * hidden * wide / _best_time(lambda: torch.nn.functional.linear(a, b), seconds) / 1e9


def _best_time(call, seconds: float) -> float:
    call()
    device.synchronise()
    best, stop = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        call()
        device.synchronise()
        best = min(best, time.perf_counter() - start)
    return best
