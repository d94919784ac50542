"""The fp32 peak: of all threads, or of one thread times their number, whichever is higher."""

from __future__ import annotations

import pytest
import torch

from fflib.measure import ceiling


@pytest.mark.parametrize(("by_threads", "peak"), [({1: 60.0, 2: 100.0}, 120.0), ({1: 40.0, 2: 100.0}, 100.0)])
def test_the_peak_is_the_higher_of_both_ways_to_use_the_cores(monkeypatch, by_threads, peak):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        rate = lambda dtype, seconds: by_threads[torch.get_num_threads()]  # noqa: E731
        monkeypatch.setattr(ceiling, "product_gflop_per_s", rate)
        assert ceiling.fp32_peak_gflop_per_s(0.1) == peak
        assert torch.get_num_threads() == 2, "the threads are as they were"
    finally:
        torch.set_num_threads(before)
