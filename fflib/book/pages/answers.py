"""The numbers in the answers to questions that people ask: a function a question, of one run's records.

Each returns what stands between the braces of template/pages/questions.yaml. LookupError: the run did not measure it.
"""

from __future__ import annotations

from fflib.book.pages.measured_beyond import BEYOND
from fflib.book.pages.measured_int8 import KEPT, QUANTIZATION
from fflib.book.pages.measured_models import BATCHING
from fflib.book.pages.measured_runtime import RUNTIME, SERVING, divisions
from fflib.book.pages.outcomes import ratio
from fflib.book.pages.sources import STORY, Missing, Source, row
from fflib.plotting import number
from fflib.runs.ladder import UNPADDED
from fflib.runtime import fusions
from fflib.story import headline_told
from fflib.story.factors import AGAINST

Values = dict[str, str]


def int8(source: Source) -> Values:
    """What eight bits gain in products, in requests, and inside attention."""
    found = source.fact(QUANTIZATION, "predicted")[-1]
    inside = next((each for each in source.fact(QUANTIZATION, "packing") if "wide" in each["name"]), None)
    if inside is None:
        raise Missing("no product inside attention was timed")
    return {
        "instructions": source.fact(QUANTIZATION, "int8")["instructions"],
        "model": found["model"],
        "product": ratio(found["their speed-up in int8"]),
        "whole": ratio(found["measured speed-up"]),
        "inside_int8": number(inside["int8, both computed, us"]),
        "inside_fp32": number(inside["fp32, both computed, us"]),
    }


def _headline(source: Source) -> Values:
    against = source.fact(STORY, "headline")["against"]
    return {
        name: headline_told.factor_words(against[start])
        for name, start in zip(("padded", "unpadded"), AGAINST[:2], strict=True)
    }


def whole_stack(source: Source) -> Values:
    """The headline, and the factor of each technique that was left out, the largest first."""
    rows = sorted(source.fact(STORY, "leave_one_out"), key=lambda each: -each["factor"])
    told = [f"{each['technique']} {ratio(each['factor'])} times" for each in rows]
    return _headline(source) | {"left_out": "; ".join(told)}


def engine(source: Source) -> Values:
    """Both engines one by one and in batches, and the graphs with and without all fusions."""
    engines, graphs = source.fact(RUNTIME, "engines"), source.fact(RUNTIME, "graph_variants")
    fp32 = {each["variant"]: each["ms"] for each in graphs if each["model"].endswith("fp32")}
    return {
        "ort_ms": number(row(engines, engine="onnxruntime")["ms"]),
        "torch_ms": number(row(engines, engine="pytorch")["ms"]),
        "in_batches": ratio(source.rung("ONNX Runtime")["speedup_step"]),
        "all_ms": number(fp32["all"]),
        "own_ms": number(fp32[fusions.WHOLE]),
    }


def fair(source: Source) -> Values:
    """What leaving out the padding is worth alone, and the headline against both starts."""
    return _headline(source) | {"padding": ratio(source.rung(UNPADDED)["speedup_step"])}


def sessions(source: Source) -> Values:
    """The best division of the cores beside one session with all threads, and the same as processes."""
    _, wide, many = divisions(source)
    apart = row(source.fact(SERVING, "divisions"), kind="process", instances=many["instances"], threads=1)
    return {
        "instances": str(many["instances"]),
        "threads": "one",
        "best": number(many["throughput_per_s"]),
        "all_threads": str(wide["threads"]),
        "one": number(wide["throughput_per_s"]),
        "processes": number(apart["throughput_per_s"]),
    }


def threads(source: Source) -> Values:
    """One thread, all threads and as many instances, in throughput and latency."""
    one, wide, many = divisions(source)
    return {
        "all_threads": str(wide["threads"]),
        "gain": ratio(wide["throughput_per_s"] / one["throughput_per_s"]),
        "one_ms": number(one["p50_ms"]),
        "all_ms": number(wide["p50_ms"]),
        "instances": str(many["instances"]),
        "by_instances": ratio(many["throughput_per_s"] / one["throughput_per_s"]),
    }


def batching(source: Source) -> Values:
    """The largest batches in order of arrival, and the best budget of tokens."""
    rows = source.fact(BATCHING, "sweep")
    size = "batch size or tokens"
    largest = max((each for each in rows if each["batching"] == "in order"), key=lambda each: each[size])
    best = max(
        (each for each in rows if each["batching"] == "token budget"), key=lambda each: each["measured speed-up"]
    )
    if largest[size] == 1:
        raise Missing("only single requests were timed in order")
    return {
        "size": str(largest[size]),
        "padding": largest["padding"],
        "in_order": ratio(largest["measured speed-up"]),
        "budget": f"{best[size]:,}",
        "best": ratio(best["measured speed-up"]),
    }


def tokenizer(source: Source) -> Values:
    """What the tokenizer takes beside the served model, and what is left of the speed from token ids.

    The share is the one that was measured on whole requests: the parts timed one by one add up to less.
    """
    found = source.fact(BEYOND, "from_text")
    speed_left = found["the model, from text"]["of the speed from token ids"]
    return {
        "tokenizing": f"{found['tokenizing_core_ms']:.2f}",
        "model": f"{found['model_core_ms']:.2f}",
        "share": f"{max(0.0, 1 - speed_left):.0%}",
        "ratio": ratio(speed_left),
    }


def shapes(source: Source) -> Values:
    """Requests a second by the way in which unlike lengths are dealt with."""
    found = {each["way"]: each["requests/s"] for each in source.fact(RUNTIME, "by_length")}
    per_s = {way: number(value) for way, value in found.items()}
    fixed_wins = found["first token, a graph for each length"] > found["first token, one by one"]
    return {
        "verdict": "faster of the two on this machine"
        if fixed_wins
        else "slower of the two, and has to be made for each",
        "dynamic": per_s["first token, one by one"],
        "fixed": per_s["first token, a graph for each length"],
        "packed": per_s["whole graph, packed rows"],
        "plain": per_s["whole graph, one by one"],
        "sorted": per_s["first token, sorted batches"],
    }


def accuracy(source: Source) -> Values:
    """The labels that recipes keep, the trap of the heads, and what the last rung keeps of its teacher's score."""
    recipes = source.fact(QUANTIZATION, "recipes")
    worst = min((each for each in recipes if each["recipe"] == "library's default"), key=lambda each: each[KEPT])
    dynamic = row(recipes, model=worst["model"], recipe="dynamic")
    trap = row(source.fact(RUNTIME, "heads_trap"), told="those it had")
    kept = source.fact(STORY, "retention")
    return {
        "model": worst["model"],
        "default": f"{worst[KEPT]:.1f} %",
        "dynamic": f"{dynamic[KEPT]:.1f} %",
        "trap": number(trap["largest change of a logit"]),
        "kept": f"{kept['value']:.1%}",
        "low": f"{kept['low']:.1%}",
        "high": f"{kept['high']:.1%}",
    }
