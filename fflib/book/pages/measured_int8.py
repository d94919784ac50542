"""What did not work in chapter 5: recipes in fewer bits, and another engine."""

from __future__ import annotations

from fflib.book.pages.outcomes import Outcome, ratio
from fflib.book.pages.sources import Missing, Source, row
from fflib.plotting import number

QUANTIZATION = "05_quantization"
KEPT = "labels kept %"


def attention(source: Source) -> Outcome:
    """Products of two computed matrices, in eight bits and in fp32."""
    rows = [each for each in source.fact(QUANTIZATION, "packing") if "wide" in each["name"]]
    told = [
        f"*{each['name']}*: {number(each['int8, both computed, us'])} µs in eight bits, "
        f"{number(each['fp32, both computed, us'])} µs in fp32"
        for each in rows
    ]
    slower = all(each["int8, both computed, us"] > each["fp32, both computed, us"] for each in rows)
    return Outcome(bool(rows) and slower, f"For a request of {rows[0]['tokens']} tokens: {'; '.join(told)}.")


def fewer_labels(recipe: str, source: Source) -> Outcome:
    """The model that a recipe hurts most, beside dynamic eight bits of the same model."""
    rows = [each for each in source.fact(QUANTIZATION, "recipes") if each["recipe"] == recipe]
    if not rows:
        raise Missing(f"no recipe '{recipe}'")
    worst = min(rows, key=lambda each: each[KEPT])
    dynamic = row(source.fact(QUANTIZATION, "recipes"), model=worst["model"], recipe="dynamic")
    told = (
        f"Of the {worst['model']}'s labels it keeps {worst[KEPT]:.1f} % ({worst['95 % from']:.1f} to "
        f"{worst['95 % to']:.1f} %), where one scale a column keeps {dynamic[KEPT]:.1f} %, at "
        f"{ratio(worst['speed-up'])} times and {ratio(dynamic['speed-up'])} times the speed of fp32."
    )
    return Outcome(worst["95 % to"] < dynamic[KEPT], told)


def four_bits(source: Source) -> Outcome:
    """Weights in four bits: the speed of each model, and its size beside eight bits."""
    found = source.fact(QUANTIZATION, "recipes")
    rows = [each for each in found if each["recipe"] == "int4 weights"]
    if not rows:
        raise Missing("no weights in four bits")
    told = []
    for each in rows:
        eight = row(found, model=each["model"], recipe="dynamic")
        told.append(
            f"{each['model']}: {ratio(each['speed-up'])} times the speed of fp32 and {number(each['MB'])} MB "
            f"(eight bits: {ratio(eight['speed-up'])} times, {number(eight['MB'])} MB)"
        )
    return Outcome(all(each["speed-up"] < 1 for each in rows), "; ".join(told) + ".")


def static_scales(source: Source) -> Outcome:
    """Static scales, beside dynamic ones, as rungs of the ladder."""
    dynamic, static = source.rung("int8 dynamic"), source.rung("int8 static, largest")
    rule = {"no": ", and misses the rule on dev", "yes": ", and keeps the rule on dev"}.get(static["keeps_rule"], "")
    told = (
        f"Static scales are {ratio(static['speedup_step'])} times as fast as fp32, dynamic ones "
        f"{ratio(dynamic['speedup_step'])} times. Static scores {static['accuracy']:.1%} on test{rule}; "
        f"dynamic scores {dynamic['accuracy']:.1%}."
    )
    return Outcome(static["speedup_step"] <= dynamic["speedup_step"] or static["keeps_rule"] == "no", told)


def peak(source: Source) -> Outcome:
    """What the instructions could gain in a product, what the products gained, and what the request did."""
    most = source.fact(QUANTIZATION, "int8")
    found = source.fact(QUANTIZATION, "predicted")[-1]
    name = "most that int8 can gain in a product"
    told = (
        f"This processor's instructions ({most['instructions']}) could make a product up to "
        f"{number(most[name])} times as fast. The products of the {found['model']} became "
        f"{ratio(found['their speed-up in int8'])} times as fast, the whole request "
        f"{ratio(found['measured speed-up'])} times."
    )
    return Outcome(found["measured speed-up"] < most[name], told)


def sixteen_bits(source: Source) -> Outcome:
    """The teacher in sixteen bits on the CPU, beside the same in eight."""
    half = row(source.fact(QUANTIZATION, "sixteen_bits"), on="cpu")
    eight = row(source.fact(QUANTIZATION, "predicted"), model="teacher")
    told = (
        f"The teacher in {half['teacher in']} is {ratio(half['speed-up over fp32'])} times as fast as in fp32, "
        f"in eight bits {ratio(eight['measured speed-up'])} times."
    )
    return Outcome(half["speed-up over fp32"] < eight["measured speed-up"], told)


def peer(source: Source) -> Outcome:
    """OpenVINO's eight bits, beside its own fp32."""
    rows = source.fact(QUANTIZATION, "peer")
    int8, fp32, ours = (
        row(rows, engine=name) for name in ("OpenVINO int8", "OpenVINO fp32", "ONNX Runtime int8 dynamic")
    )
    told = (
        f"OpenVINO takes {number(int8['mean ms'])} ms a request in eight bits and {number(fp32['mean ms'])} ms "
        f"in fp32; ONNX Runtime in eight bits {number(ours['mean ms'])} ms."
    )
    return Outcome(int8["mean ms"] > fp32["mean ms"], told)


def learned_rounding(source: Source) -> Outcome:
    """What training with the rounding gains on dev, and whether its file was taken."""
    found, chosen = source.fact(QUANTIZATION, "quantized_training"), source.fact(QUANTIZATION, "quantised")
    told = (
        f"Rounded to eight bits, the model scores {found['before']:.1f} % on dev before this training and "
        f"{found['after']:.1f} % after it. The chosen file was {'' if chosen['learned'] else 'not '}trained so."
    )
    return Outcome(found["after"] <= found["before"] or not chosen["learned"], told)
