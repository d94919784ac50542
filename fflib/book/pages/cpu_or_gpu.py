"""The pages on graphics cards: "CPU or GPU?", a run on a card beside one on a processor, and what is different on one.

Both claim nothing as long as no kept run is of a card: they say so, and what would be measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fflib import display
from fflib.book.pages import sources
from fflib.book.pages.sources import STORY, Book, Missing, Source, template
from fflib.runs import params
from fflib.story import cpu_or_gpu, fastformers
from fflib.story.cpu_or_gpu import Part, Server

NOT_YET = (
    "**Not yet run on a GPU.** This book comes with no run on a graphics card, so nothing here is measured on one. "
    "`make book HARDWARE=gpu` on a machine with a card makes such a run, and this page is then filled with its numbers."
)
REQUESTS = 1_000  # of each task, in the hybrid over tasks


def page_of(book: Book, cards: Sequence[Source] | None = None) -> str:
    """Return the page "CPU or GPU?" as Markdown. ``cards``: the kept runs on a card; None: those there are."""
    cards = _cards(book, cards)
    processors = [source for source in book.all_sources if not sources.is_on_card(source.side.records)]
    measured = _beside(cards[0], processors) if cards else NOT_YET
    return template("cpu_or_gpu").format(
        measured=measured, hybrid=_hybrid(cards, processors), paper=_paper(), share=f"{_share_of_multirc():.0%}"
    )


def what_is_different(book: Book, cards: Sequence[Source] | None = None) -> str:
    """Return the page on what is different on a card as Markdown."""
    cards = _cards(book, cards)
    status = f"Its numbers are on the page [CPU or GPU?](cpu_or_gpu.md): {_machine(cards[0])}." if cards else NOT_YET
    return template("graphics_card").format(
        status=status, fp16=fastformers.FP16_SPEEDUP, batch=fastformers.CARD_BATCH, paper=_paper()
    )


def _cards(book: Book, kept: Sequence[Source] | None) -> list[Source]:
    """Return the runs that were measured on a card: this one, if it was, then the kept ones."""
    here = [book.here] if sources.is_on_card(book.here.side.records, measured=True) else []
    return [*here, *(sources.card_runs() if kept is None else kept)]


def server_of_card(source: Source) -> Server:
    """Return the card of a run, with the best batch of its last model. Missing: the run has no chapter on cards."""
    return Server(**source.fact(params.CARD, "card"))


def server_of_processor(source: Source) -> Server:
    """Return the processor of a run with the rung that the run ends with. Missing: it has no such rung."""
    row = source.rung(source.last)
    energy = row["energy_wh_per_1k"]
    return Server(
        row["throughput_per_s"],
        source.parameter("01_baseline", "usd_per_hour"),
        _alone_ms(source, row),
        energy if energy == energy else None,  # NaN: not measured
        source.by_name["baseline"]["machine"]["cpu"],
    )


def _alone_ms(source: Source, row: Mapping[str, Any]) -> float | None:
    try:
        found = {each["rung"]: each["p50_ms"] for each in source.fact(STORY, "latency")}
    except Missing:
        found = {}
    return found.get(row["rung"], None if row["batch_size"] > 1 else row["latency_p50_ms"])


def _beside(card_run: Source, processors: Sequence[Source]) -> str:
    """Set a run on a card beside the processor of its own machine, and beside the best run on a processor."""
    card, beside = server_of_card(card_run), Server(**card_run.fact(params.CARD, "processor"))
    task = card_run.parameter("01_baseline", "task")
    parts = [
        f"The card's numbers are of {_machine(card_run)}, task {task}. First the processor of that same machine, with "
        "the same model in ONNX Runtime, fp32:",
        _table(beside, card),
        cpu_or_gpu.verdict(beside, card, _batch(card_run, card, beside)),
    ]
    own = next((each for each in processors if each.parameter("01_baseline", "task") == task), None)
    if own is None:
        parts.append(f"There is no run of the task {task} on a processor to stand beside it.")
        return "\n\n".join(parts)
    cpu = server_of_processor(own)
    elsewhere = "" if cpu.machine == card_run.by_name["baseline"]["machine"]["cpu"] else ", **another machine**"
    which = own.label or "this run"
    parts += [
        f"Then the last rung of the ladder on a processor, *{own.last}*, of {which}{elsewhere}:",
        _table(cpu, card),
        cpu_or_gpu.verdict(cpu, card, _batch(card_run, card, cpu)),
    ]
    return "\n\n".join(parts)


def _batch(card_run: Source, card: Server, cpu: Server) -> int | None:
    per_s = {int(batch): value for batch, value in card_run.fact(params.CARD, "by_batch").items()}
    return cpu_or_gpu.break_even_batch(per_s, card.usd_per_hour, cpu)


def _table(cpu: Server, card: Server) -> str:
    return str(display.table(cpu_or_gpu.rows(cpu, card)).data)


def _machine(source: Source) -> str:
    """Name a run's card, and the run where it is a kept one."""
    name = source.by_name["baseline"]["machine"]["device"]["identity"]["name"]
    return f"{name} ({source.label or 'this run'})"


def parts_of(cards: Sequence[Source], processors: Sequence[Source]) -> dict[str, dict[str, Part]]:
    """Return what `REQUESTS` requests of each task take on a card and on a processor; tasks with both runs only."""
    found: dict[str, dict[str, Part]] = {}
    for device, runs, server_of in (("card", cards, server_of_card), ("processor", processors, server_of_processor)):
        for source in runs:
            try:
                server = server_of(source)
            except (Missing, LookupError):
                continue
            seconds = REQUESTS / server.per_s
            joules = None if server.wh_per_1k is None else server.wh_per_1k * REQUESTS / 1e3 * 3600
            task = source.parameter("01_baseline", "task")
            found.setdefault(task, {}).setdefault(device, Part(seconds, server.usd_per_hour, joules))
    return {task: on for task, on in found.items() if len(on) == 2}


def _hybrid(cards: Sequence[Source], processors: Sequence[Source]) -> str:
    """Return the table of tasks with the device of each and what all of them take; why there is none, otherwise."""
    parts = parts_of(cards, processors)
    if len(parts) < 2:
        count = {0: "no task has", 1: "one task has"}[len(parts)]
        return f"So far {count} both a run on a card and one on a processor, so there is nothing to divide."
    chosen = cpu_or_gpu.plan(parts)
    rows = [
        {"task": task} | {f"{device}, USD": on[device].usd for device in on} | {"goes to": chosen.device_by_part[task]}
        for task, on in parts.items()
    ]
    plans = {device: cpu_or_gpu.alone(parts, device) for device in ("processor", "card")} | {"divided": chosen}
    totals = [
        {"all tasks": name, "seconds": each.seconds, "USD": each.usd, "joules": each.joules}
        for name, each in plans.items()
    ]
    intro = f"{REQUESTS:,} requests of each task. The two halves are of different machines."
    return "\n\n".join([intro, str(display.table(rows, 4).data), str(display.table(totals, 4).data)])


def _paper() -> str:
    rows = [
        {
            "in the paper": each.systems,
            "where the tasks ran": each.where,
            "speed-up by task": f"{each.lowest:g} to {each.highest:g}" if each.lowest else "",
            "speed-up over all": each.speedup,
            "energy saved, up to": each.energy_saved,
        }
        for each in fastformers.TABLE_4_WITH_A_CARD
    ]
    rows += [
        {
            "in the paper": each.system,
            "where the tasks ran": "all tasks on the processor",
            "speed-up by task": f"{min(each.speedups.values()):g} to {max(each.speedups.values()):g}",
            "speed-up over all": each.speedup,
            "energy saved, up to": each.energy_saved,
        }
        for each in fastformers.TABLE_4
    ]
    return str(display.table(rows, 1).data)


def _share_of_multirc() -> float:
    first, second = fastformers.TABLE_4
    return cpu_or_gpu.share_of_time(
        (first.speedup, second.speedup), (first.speedups["MultiRC"], second.speedups["MultiRC"])
    )
