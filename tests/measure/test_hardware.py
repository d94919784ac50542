import os

import pytest
import torch
from conftest import tiny_classifier
from torch.utils.flop_counter import FlopCounterMode

from fflib.files import InputError
from fflib.measure import cores, hardware
from fflib.measure.ceiling import measure_ceiling
from fflib.model import flops


def test_counted_operations_agree_with_pytorchs_own_counter():
    model, length = tiny_classifier(), 24
    ids = torch.ones(1, length, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model.encoder(ids, torch.ones_like(ids))
    pooler = 2 * model.encoder.config.hidden_size**2
    assert flops.forward_flop(model.encoder.config, length) == counter.get_total_flops() - pooler


def test_threads_are_set_for_every_engine():
    assert hardware.set_threads(1) == 1 == hardware.threads_in_use()
    assert os.environ["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize("threads", [-1, 10_000])
def test_impossible_threads_are_refused(threads):
    with pytest.raises(InputError, match="cores"):
        cores.resolve_threads(threads)


def test_zero_threads_are_all_available_cores():
    assert cores.resolve_threads(0) == hardware.available_cores() <= (os.cpu_count() or 1)


def test_an_affinity_mask_is_honoured():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity masks on this system")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert hardware.available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_the_card_names_what_a_number_depends_on():
    card = hardware.card()
    assert card["cpu"] and card["cores"] >= 1 and card["ram_gb"] > 0
    assert card["versions"]["torch"] == torch.__version__


def test_the_ceiling_is_a_plausible_rate():
    ceiling = measure_ceiling(seconds=0.05)
    assert 1 < ceiling.fp32_gflop_per_s < 1e5 and 0.5 < ceiling.memory_gb_per_s < 1e4
