"""The pages on graphics cards: what they claim without a run on one, and with made-up ones of both kinds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fflib.book.pages import cpu_or_gpu, sources
from fflib.book.pages.sources import Book, Source
from fflib.files import ROOT
from fflib.runs import params
from fflib.runs.ladder import COLUMNS
from fflib.runs.run_folder import Side

PROCESSOR = {"per_s": 50.0, "usd_per_hour": 1.0, "alone_ms": 20.0, "wh_per_1k": None, "machine": "A Processor"}
CARD = {"per_s": 1000.0, "usd_per_hour": 3.0, "alone_ms": 4.0, "wh_per_1k": 0.01, "machine": "A Card"}
ON_CARD = {"device": {"identity": {"name": "A Card"}}}


def record(chapter, facts, task="docs", machine=None):
    parameters = {"task": task, "usd_per_hour": 1.0, "size": "standard"}
    machine = {"cpu": "A Processor"} | (machine or {})
    return {"chapter": chapter, "facts": facts, "parameters": parameters, "machine": machine, "rungs": []}


def on_processor(task="docs", per_s=100.0, cpu="A Processor", label=""):
    """A run that ends with the rung 'instances'."""
    rung = dict.fromkeys(COLUMNS, "") | {"rung": "instances", "stacks_on": "", "status": "ok", "batch_size": 1}
    rung |= {"throughput_per_s": per_s, "latency_p50_ms": 7.5, "energy_wh_per_1k": 0.02}
    ended = record("07_serving", {"goes_on_from": "instances"}, task) | {"rungs": [{"rung": "instances"}]}
    first = record("01_baseline", {}, task, {"cpu": cpu})
    return Source(Side("a run", pd.DataFrame([rung]), [first, ended]), label)


def on_card(task="docs", label="kept run on-card, A Card, 2026-12-01", card=None, machine=ON_CARD):
    facts = {"card": card or CARD, "processor": PROCESSOR, "by_batch": {"1": 200.0, "16": 320.0, "256": 1000.0}}
    records = [record("01_baseline", {}, task, machine), record(params.CARD, facts, task, machine)]
    return Source(Side("on card", pd.DataFrame(columns=list(COLUMNS)), records), label)


def book(here, *kept):
    return Book(Path("nowhere"), here, list(kept))


def test_without_a_run_on_a_card_nothing_is_claimed():
    for page in (cpu_or_gpu.page_of, cpu_or_gpu.what_is_different):
        text = page(book(on_processor()), [])
        assert "Not yet run on a GPU" in text and "requests a second**" not in text
        assert "systems 3 and 4" in text and "14.5" in text and "11.3" in text, "the paper's figures may be quoted"
    assert "no task has both" in cpu_or_gpu.page_of(book(on_processor()), [])


def test_readme_says_so_as_long_as_no_kept_run_is_of_a_card():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert ("Not yet run on a GPU" in readme) == (not sources.card_runs())


def test_a_run_on_a_card_stands_beside_its_own_processor_and_the_best_one():
    text = cpu_or_gpu.page_of(book(on_processor()), [on_card()])
    assert "Not yet run" not in text and "A Card (kept run on-card, A Card, 2026-12-01)" in text
    assert "Above **150 requests a second**" in text, "beside it: 50 for 1 USD, so above three of them"
    assert "Above **300 requests a second**" in text, "the last rung on a processor: 100 for 1 USD"
    assert "batches of 16 or more" in text, "200 a second for 3 USD are dearer than 100 for 1, 320 are not"
    assert "*instances*, of this run:" in text and "another machine" not in text


def test_it_says_where_one_half_is_of_another_machine():
    elsewhere = on_processor(cpu="Another Processor", label="kept run docs-cpu, Another Processor")
    text = cpu_or_gpu.page_of(book(on_card(label=""), elsewhere), [])
    assert "kept run docs-cpu, Another Processor, **another machine**" in text and "A Card (this run)" in text
    only = cpu_or_gpu.page_of(book(on_processor(task="RTE")), [on_card()])
    assert "There is no run of the task docs on a processor" in only


def test_the_hybrid_over_tasks_by_hand():
    """ReCoRD: 1,000 requests take the processor 100 s, 0.0278 USD, the card 1 s, 0.00083. WiC: 0.5 s and 0.9 s."""
    processors = [on_processor("ReCoRD", 10.0), on_processor("WiC", 2000.0)]
    cards = [on_card("ReCoRD"), on_card("WiC", card=CARD | {"per_s": 1111.0})]
    parts = cpu_or_gpu.parts_of(cards, processors)
    assert parts["ReCoRD"]["processor"].seconds == pytest.approx(100) and parts["ReCoRD"]["card"].joules == 36
    assert parts["WiC"]["processor"].usd == pytest.approx(0.5 / 3600)
    text = cpu_or_gpu.page_of(book(processors[0], processors[1]), cards)
    rows = {line.split("|")[1].strip(): line.split("|") for line in text.splitlines() if line.startswith("|")}
    assert rows["ReCoRD"][-2].strip() == "card" and rows["WiC"][-2].strip() == "processor"
    assert float(rows["divided"][2]) == pytest.approx(1.0), "both at the same time"
    assert float(rows["divided"][3]) == pytest.approx((3.0 + 0.5) / 3600, abs=1e-4)
    assert "The two halves are of different machines" in text


def test_a_run_that_only_tried_the_way_on_the_processor_is_none_of_a_card():
    tried = on_card(machine={})
    assert not sources.is_on_card(tried.side.records, measured=True) and sources.is_on_card(tried.side.records)
    text = cpu_or_gpu.page_of(book(tried), [])
    assert "Not yet run on a GPU" in text


def test_every_link_and_name_of_the_texts_is_filled_in():
    for page in (cpu_or_gpu.page_of, cpu_or_gpu.what_is_different):
        text = page(book(on_processor()), [on_card()])
        assert "{" not in text.replace("{doc}", "") and text.startswith("# ")
