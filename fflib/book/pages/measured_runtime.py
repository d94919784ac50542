"""What did not work in chapters 6 to 9: graphs, engines, servers, and the stack as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fflib.book.pages.outcomes import Outcome, ratio
from fflib.book.pages.sources import STORY, Missing, Source, row
from fflib.plotting import number

RUNTIME, SERVING = "06_runtime", "07_serving"
ROUNDING = 1e-3  # a graph whose logits differ by more than rounding of fp32 computes something else


def _variant(source: Source, name: str, precision: str) -> dict:
    rows = source.fact(RUNTIME, "graph_variants")
    return next((r for r in rows if r["variant"] == name and r["model"].endswith(precision)), {}) or _no(name)


def _no(name: str) -> dict:
    raise Missing(f"no graph '{name}' was timed")


def fusions(variant: str, source: Source) -> Outcome:
    """A graph with more fusions, beside the same without the four that matter, in both precisions."""
    told, lost = [], []
    for precision in ("fp32", "int8"):
        more, without = (_variant(source, name, precision) for name in (variant, "all but these four"))
        told.append(
            f"in {precision} {number(more['ms'])} ms with it ({number(more['low'])} to {number(more['high'])}) and "
            f"{number(without['ms'])} ms without ({number(without['low'])} to {number(without['high'])})"
        )
        lost.append(more["low"] > without["high"])
    return Outcome(any(lost), f"A request takes {', '.join(told)}.")


def embedding_fusion(source: Source) -> Outcome:
    """Whether the engine found the embeddings to fuse at all."""
    more, without = (_variant(source, name, "fp32") for name in ("+ embedding", "all but these four"))
    told = f"The graph has {more['operators']} operators with this fusion on, and {without['operators']} with it off."
    return Outcome(more["operators"] == without["operators"], told)


def papers_graph(source: Source) -> Outcome:
    """The graph of FastFormers' recipe, beside this book's."""
    gain = source.fact(RUNTIME, "against_the_papers_graph")
    told = (
        f"This book's graph is {ratio(gain['int8'])} times as fast as the better form of the paper's in eight "
        f"bits, and {ratio(gain['fp32'])} times in fp32."
    )
    return Outcome(min(gain.values()) > 1, told)


def heads_trap(source: Source) -> Outcome:
    """The change of a logit where the fusion is told the heads from before pruning."""
    rows = source.fact(RUNTIME, "heads_trap")
    change = "largest change of a logit"
    old, new = (row(rows, told=told) for told in ("those it had", "those it has"))
    told = (
        f"Told {old['heads']} heads, it changes a logit by up to {number(old[change])}; told the "
        f"{new['heads']} that are left, by up to {new[change]:.0e}."
    )
    return Outcome(old[change] > max(ROUNDING, new[change]), told)


def by_length(way: str, beside: str, source: Source) -> Outcome:
    """A way to avoid padding, beside plain single requests."""
    rows = source.fact(RUNTIME, "by_length")
    tried, plain = row(rows, way=way), row(rows, way=beside)
    told = (
        f"{number(tried['requests/s'])} requests a second, where single requests on one graph for all lengths reach "
        f"{number(plain['requests/s'])}."
    )
    return Outcome(tried["requests/s"] < plain["requests/s"], told)


def engine_in_batches(source: Source) -> Outcome:
    """ONNX Runtime as a rung: the student in the best batches."""
    engine = source.rung("ONNX Runtime")
    told = (
        f"In the batches of chapter 2 ({engine['batching']}) the student in fp32 is "
        f"{ratio(engine['speedup_step'])} times as fast on ONNX Runtime as in PyTorch."
    )
    return Outcome(engine["speedup_step"] < 1, told)


def divisions(source: Source) -> tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]:
    """Return the rows of one thread, of all threads in one instance, and of as many instances as threads."""
    rows = [each for each in source.fact(SERVING, "divisions") if each["kind"] == "thread"]
    one = row(rows, instances=1, threads=1)
    wide = max((each for each in rows if each["instances"] == 1), key=lambda each: each["threads"])
    many = max((each for each in rows if each["threads"] == 1), key=lambda each: each["instances"])
    if wide is one or many is one:
        raise Missing("this machine has one core")
    return one, wide, many


def second_thread(source: Source) -> Outcome:
    """What more threads bring to one instance, beside as many instances of one thread."""
    one, wide, many = divisions(source)
    gain, by_instances = (each["throughput_per_s"] / one["throughput_per_s"] for each in (wide, many))
    told = (
        f"{wide['threads']} threads answer {ratio(gain)} times the requests a second of one thread, "
        f"{many['instances']} instances of one thread {ratio(by_instances)} times."
    )
    return Outcome(gain < by_instances, told)


def server_batches(source: Source) -> Outcome:
    """The server's batches of whatever waits, beside single requests, with all requests there at once."""
    found = source.fact(SERVING, "offline")
    batched, alone = found["adaptive batches"], found["one by one"]
    told = (
        f"With all requests there at once the server answers {number(batched)} a second in batches of whatever "
        f"waits, and {number(alone)} one by one."
    )
    return Outcome(batched < alone, told)


def simulation(source: Source) -> Outcome:
    """How far the simulated server is off the measured one."""
    holds = source.fact(SERVING, "simulation_holds")
    ratios = [each["ratio"] for each in source.fact(SERVING, "simulation_checks")]
    told = (
        f"At {len(ratios)} loads that it had not learned from, the simulated 95th percentile is "
        f"{ratio(min(ratios))} to {ratio(max(ratios))} times the measured one."
    )
    return Outcome(not holds, told)


def stacked_batches(source: Source) -> Outcome:
    """What the whole stack loses where batching is left out."""
    found = row(source.fact(STORY, "leave_one_out"), technique="batching")
    told = (
        f"The whole stack is {ratio(found['factor'])} times as fast as the same stack without it "
        f"({ratio(found['low'])} to {ratio(found['high'])}). When it was added, it brought "
        f"{ratio(found['added'])} times."
    )
    return Outcome(found["low"] <= 1, told)


def product_of_steps(source: Source) -> Outcome:
    """The product of all steps, beside the factor that was measured from end to end."""
    found = source.fact(STORY, "headline")["against"]["the padded reference"]
    told = (
        f"The steps multiply to {ratio(found['product'])} times. Measured side by side it is "
        f"{ratio(found['factor'])} times ({ratio(found['low'])} to {ratio(found['high'])})."
    )
    return Outcome(not found["low"] <= found["product"] <= found["high"], told)
