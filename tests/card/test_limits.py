"""Operations, bytes and launches against the limits of a device: by hand, and counted on a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import examples_of, tiny_classifier
from torch import nn

from fflib.card import limits
from fflib.card.limits import Limits, Work
from fflib.data import batching
from fflib.model.encoder import EncoderConfig

KNOWN = Limits({"fp32": 100.0, "fp16": 1000.0}, memory_gb_per_s=10.0, launch_us=5.0)


def test_the_work_of_a_layer_by_hand():
    config = EncoderConfig.uniform(1, 2, 8, 32, vocab_size=50)  # d = w = 8, f = 32
    work = limits.work(config, [3, 5], "fp32", launches=7)
    weights = 4 * 8 * 8 + 2 * 8 * 32
    assert work.flop == 2 * 8 * weights + 4 * (9 + 25) * 8
    numbers = weights + 8 * (16 * 8 + 8 * 8 + 4 * 32 + 6 * 8)
    assert work.bytes == 4 * numbers and limits.work(config, [3, 5], "bf16", 7).bytes == 2 * numbers
    assert work.launches == 7


def test_each_limit_leaves_its_time():
    took = limits.seconds(Work(flop=2e9, bytes=1e8, launches=100), KNOWN, "fp32")
    assert took == pytest.approx({"operations": 0.02, "bytes": 0.01, "launches": 5e-4})
    assert limits.seconds(Work(2e9, 1e8, 100), KNOWN, "fp16")["operations"] == pytest.approx(0.002)


def test_batches_take_the_sum_of_their_largest_limits():
    """2 ms of operations, 1 ms of bytes, twice 3 ms of launches: 2 + 1 + 6, and the launches are the limit."""
    work = [Work(2e8, 0, 0), Work(0, 1e7, 0), Work(1e8, 0, 600), Work(0, 0, 600)]
    assert limits.bound(work, KNOWN, "fp32") == (pytest.approx(0.009), "launches")
    assert limits.bound(work[:2], KNOWN, "fp32") == (pytest.approx(0.003), "operations")


def test_launches_are_the_operators_that_compute_and_no_views():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return (x.view(-1)[1:].unsqueeze(0) * self.weight).sum()  # three views, a product and a sum

    assert limits.launches(Two(), {"x": np.ones((3, 1), np.float32)}) == 2


def test_fewer_layers_start_fewer_kernels_and_narrower_ones_as_many():
    from fflib.model import slicing

    model, texts = tiny_classifier(), examples_of([6])
    batch = batching.collate(texts, [0]).inputs
    whole = limits.launches(model, batch)
    assert limits.launches(slicing.slice_model(model, [0]), batch) < whole
    assert limits.launches(slicing.slice_model(model, heads=[[0], [0]], neurons=[range(4)] * 2), batch) == whole


def test_limits_are_measured_on_the_device_in_use():
    found = limits.measure("bf16", seconds=0.01)
    assert min(*found.gflop_per_s.values(), found.memory_gb_per_s, found.launch_us) > 0
    assert set(found.gflop_per_s) == {"fp32", "bf16"}
