"""Prices, break-even loads and batches, and the hybrid: all by hand, and against what FastFormers printed."""

from __future__ import annotations

import pytest

from fflib.story import cpu_or_gpu, fastformers
from fflib.story.cpu_or_gpu import Part, Server

CPU, CARD = Server(100, 1.0, 5.0, 0.02, "a processor"), Server(1000, 3.0, 4.0, None, "a card")


def test_the_break_even_load_by_hand():
    """Three processors cost as much as a card; from the fourth on, above 300 requests a second, the card is cheaper."""
    assert cpu_or_gpu.break_even_load(CPU, CARD) == 300
    assert cpu_or_gpu.machines(300, CPU) == 3 and cpu_or_gpu.machines(300.5, CPU) == 4
    assert cpu_or_gpu.machines(0, CPU) == 1


def test_a_card_that_is_cheaper_than_one_processor_always_pays():
    assert cpu_or_gpu.break_even_load(CPU, Server(1000, 0.5)) == 0


def test_cards_are_rented_whole_as_well():
    """The card answers 150 for 1.4. Up to 100 one processor will do (1.0), up to 150 two of them cost 2.0: the card."""
    assert cpu_or_gpu.break_even_load(CPU, Server(150, 1.4)) == 100


def test_a_card_that_never_pays():
    assert cpu_or_gpu.break_even_load(CPU, Server(1000, 10.0)) is None, "at 10 USD a request costs the same"
    assert "never the cheaper one" in cpu_or_gpu.verdict(CPU, Server(1000, 11.0), None)
    assert "Above **300 requests a second**" in cpu_or_gpu.verdict(CPU, CARD, 16)
    assert "batches of 16 or more" in cpu_or_gpu.verdict(CPU, CARD, 16)


def test_the_smallest_batch_that_pays():
    per_s = {1: 50.0, 8: 299.0, 64: 301.0, 256: 1000.0}
    assert cpu_or_gpu.break_even_batch(per_s, 3.0, CPU) == 64 and cpu_or_gpu.break_even_batch(per_s, 30.0, CPU) is None


def test_the_price_of_100_million():
    assert (
        CPU.usd_per_100m == pytest.approx(1e8 / 100 / 3600) and cpu_or_gpu.rows(CPU, CARD)[1]["measured on"] == "a card"
    )


PARTS = {  # ReCoRD's texts are long, so the card is the better one there
    "ReCoRD": {"cpu": Part(36.0, 1.0, 720.0), "card": Part(3.6, 5.0, 700.0)},
    "WiC": {"cpu": Part(7.2, 1.0, 144.0), "card": Part(3.6, 5.0, 500.0)},
    "RTE": {"cpu": Part(1.8, 1.0, 36.0), "card": Part(0.9, 5.0, 100.0)},
}


def test_the_hybrid_by_hand():
    divided = cpu_or_gpu.plan(PARTS)
    assert divided.device_by_part == {"ReCoRD": "card", "WiC": "cpu", "RTE": "cpu"}
    assert divided.seconds == pytest.approx(9.0) and divided.seconds_in_turn == pytest.approx(12.6)
    assert divided.usd == pytest.approx((3.6 * 5 + 9.0) / 3600) and divided.joules == pytest.approx(880)
    cpu, card = (cpu_or_gpu.alone(PARTS, device) for device in ("cpu", "card"))
    assert cpu.seconds == pytest.approx(45) and card.seconds == pytest.approx(8.1)
    assert divided.usd < min(cpu.usd, card.usd), "no single device is cheaper"


def test_by_time_each_part_goes_where_it_is_faster():
    assert set(cpu_or_gpu.plan(PARTS, by="seconds").device_by_part.values()) == {"card"}


def test_energy_is_unknown_where_a_part_of_it_is():
    parts = PARTS | {"RTE": {"cpu": Part(1.8, 1.0), "card": Part(0.9, 5.0, 100.0)}}
    assert cpu_or_gpu.plan(parts).joules is None


def test_all_tasks_together_are_no_mean():
    """Half of the time twice as fast and half of it ten times: 1 / (0.25 + 0.05), far from the mean of 6."""
    assert cpu_or_gpu.overall_speedup({"a": 0.5, "b": 0.5}, {"a": 2, "b": 10}) == pytest.approx(1 / 0.3)


def test_the_papers_two_systems_give_multirc_a_share_of_the_time():
    """Systems 5 and 6 of Table 4 differ in MultiRC alone; put back into the formula, the share gives both factors."""
    first, second = fastformers.TABLE_4
    of_task = first.speedups["MultiRC"], second.speedups["MultiRC"]
    share = cpu_or_gpu.share_of_time((first.speedup, second.speedup), of_task)
    assert 0.1 < share < 0.12
    rest = (1 / first.speedup - share / of_task[0]) / (1 - share)  # time of the other tasks, as a part of theirs
    whole = [
        cpu_or_gpu.overall_speedup({"MultiRC": share, "rest": 1 - share}, {"MultiRC": s, "rest": 1 / rest})
        for s in of_task
    ]
    assert whole == pytest.approx([first.speedup, second.speedup])
    others = [speedup for task, speedup in first.speedups.items() if task != "MultiRC"]
    assert min(others) <= 1 / rest <= max(others), "a weighted mean lies between its parts"


def test_the_papers_systems_with_a_card_lie_between_their_tasks():
    alone, hybrid = fastformers.TABLE_4_WITH_A_CARD
    assert alone.lowest <= alone.speedup <= alone.highest and hybrid.speedup > alone.speedup
    assert hybrid.speedup < fastformers.TABLE_4[1].speedup, "the paper's processors alone were faster still"
