"""What each recipe cost a run, and what did not work in it, in sentences for a slide.

Each function takes `Evidence` and returns sentences, the weightiest first; what a run did not try is not told.
"""

from __future__ import annotations

from collections.abc import Callable

from fflib.plotting import number, times
from fflib.story.factors import TEACHER
from fflib.talk.evidence import BATCHING_WORDS, CHAPTERS, Evidence

SLOWER = 0.995  # a factor below this is told as slower


def batching(evidence: Evidence) -> list[str]:
    """Say what waits for a batch, and which batches lost."""
    facts, told = evidence.facts("batching"), []
    rows = {(row["batching"], row["batch size or tokens"]): row for row in facts["sweep"]}
    alone, best = rows.get(("in order", 1)), rows.get((facts["best"][0], facts["best"][1]))
    if alone and best and best is not alone:
        told.append(
            f"**A request waits for its batch**: {number(best['batch p50 ms'])} ms for the best batch, where one "
            f"alone takes {number(alone['batch p50 ms'])} ms."
        )
    worst = min(facts["sweep"], key=lambda row: row["measured speed-up"])
    if worst["measured speed-up"] < SLOWER:
        told.append(
            f"**Did not work**: batches of {worst['batch size or tokens']:,}, {BATCHING_WORDS[worst['batching']]}. "
            f"{worst['padding']} of what is computed is padding; they are {times(worst['measured speed-up'])} as fast "
            "as one by one."
        )
    by_policy = [row for row in facts.get("online", []) if row["load"] == min(one["load"] for one in facts["online"])]
    patient = next((row for row in by_policy if row["policy"].startswith("patient")), None)
    adaptive = next((row for row in by_policy if row["policy"] == "adaptive"), None)
    if patient and adaptive:
        told.append(
            f"**Adaptive, not patient**: at light load a server that waits for more requests answers in "
            f"{number(patient['p50 ms'])} ms, one that takes what is there in {number(adaptive['p50 ms'])} ms."
        )
    big = next((row for row in facts.get("batch_1", []) if row["model"] == "big"), None)
    if big and big["its gain"] <= 1.005:
        told.append("**The large reference gains nothing** from batches: one request already fills the processor.")
    return told


def distillation(evidence: Evidence) -> list[str]:
    """Say what teaching took, what it lost, and what learns nothing."""
    facts, told = evidence.facts("distillation"), []
    kept = facts["student"].get("kept")
    chosen = next((row for row in facts.get("grid", []) if row["student"] == facts["student"]["shape"]), None)
    if chosen:
        told.append(f"**Training**: {number(chosen['minutes of training'])} minutes for the student that was taken.")
    if kept and kept["value"] is not None:
        told.append(
            f"**Accuracy**: on test the student keeps {kept['value']:.1%} of its teacher's score "
            f"({kept['low']:.1%} to {kept['high']:.1%}, paired)."
        )
    labels = next((row for row in facts.get("routes", []) if row["route"] == "labels"), None)
    if labels:
        told.append(
            f"**Did not work**: a small model taught by the labels alone, {labels['against two stages, points']:+.1f} "
            f"points ({labels['95 % from']:+.1f} to {labels['to']:+.1f}) against the same one taught by the teacher."
        )
    for row in facts.get("ablation", {}).get("rows", [])[:1]:
        told.append(
            f"**Distilled {row['name']}**: {100 * row['difference']:+.1f} points on dev "
            f"({100 * row['low']:+.1f} to {100 * row['high']:+.1f}), with fewer examples."
        )
    missed = [row for row in facts.get("grid", []) if row["keeps the rule"] == "no"]
    if missed:
        names = ", ".join(f"*{row['student']}*" for row in missed)
        told.append(f"**Below the rule**: {names}; the run did not go on from these.")
    return told


def pruning(evidence: Evidence) -> list[str]:
    """Say what the cut lost, what the clock said against the count, and what was not better."""
    facts, told = evidence.facts("pruning"), []
    before, after = evidence.accuracy(_below(evidence, "pruning")), evidence.accuracy(facts.get("goes_on_from", ""))
    if before is not None and after is not None and before != after:
        told.append(f"**Accuracy**: {100 * (after - before):+.1f} points on test, from {before:.1%} to {after:.1%}.")
    off = [row for row in facts.get("speed", []) if row.get("measured / predicted")]
    if off:
        worst = max(off, key=lambda row: abs(1 - row["measured / predicted"]))
        told.append(
            f"**The clock decides, not the count of weights**: *{worst['shape']}* took "
            f"{worst['measured / predicted']:.2f} times the milliseconds that its parts had predicted."
        )
    lost = [row for row in evidence.ladder.itertuples() if row.rung.startswith("pruned") and row.keeps_rule == "no"]
    if lost:
        names = "; ".join(f"*{row.rung}*, {times(row.speedup_step)}" for row in lost)
        told.append(f"**Did not work**: below the rule on dev, and so not taken: {names}.")
    words = facts.get("vocabulary", {})
    if words.get("requests checked"):
        told.append(
            f"**Rare words cut**: {number(words['MB, pruned'])} MB become "
            f"{number(words['MB, small vocabulary'])}, but {words['of these fell back']} of "
            f"{words['requests checked']} requests contained a word that was cut."
        )
    return told


def quantization(evidence: Evidence) -> list[str]:
    """Say what eight bits lost, and which recipes change answers or are slower."""
    facts, told = evidence.facts("quantization"), []
    mine = facts["quantised"]
    chosen = next((row for row in facts.get("rungs", []) if row["rung"] == facts.get("goes_on_from")), None)
    if chosen:
        points, kept = 0.0 - chosen["test points lost"], chosen["of the teacher's on dev"]
        told.append(f"**Accuracy**: {points:+.2f} points on test; on dev {kept} of the teacher's.")
    worst = min(facts["recipes"], key=lambda row: row["labels kept %"])
    if worst["labels kept %"] < 100:
        told.append(
            f"**Did not work**: *{worst['recipe']}* on the {worst['model']} keeps {worst['labels kept %']:.0f}% of "
            f"the labels ({worst['95 % from']:.0f} to {worst['95 % to']:.0f}), and no error tells you so."
        )
    slow = min((row for row in facts["recipes"] if row["model"] == mine["model"]), key=lambda row: row["speed-up"])
    if slow["speed-up"] < SLOWER:
        told.append(
            f"**Smaller is not faster**: *{slow['recipe']}* runs at {times(slow['speed-up'])}, slower than fp32."
        )
    for row in facts.get("sixteen_bits", [])[:1]:
        gain = times(row["speed-up over fp32"])
        told.append(f"**Sixteen bits** ({row['teacher in']}, batch {row['batch']}): {gain} as fast as fp32.")
    return told


def runtime(evidence: Evidence) -> list[str]:
    """Say which fusions hurt, what a graph that was told wrong does, and what dividing the cores brings."""
    facts, serving, told = evidence.facts("runtime"), evidence.facts("serving"), []
    first = facts.get("first_token_gain", {})
    if first:
        gains = ", ".join(f"{times(gain)} in {kind}" for kind, gain in first.items())
        told.append(
            f"**The last layer for one token only**: {gains}, and no answer changes, since a classifier reads no other."
        )
    hurting = [row for row in evidence.graphs() if row["kind"] == "bad"]
    if hurting:
        worst = max(hurting, key=lambda row: row["value"])
        told.append(f"**Did not work**: *{worst['name']}*, {worst['words']}: slower than the unchanged graph.")
    trap = max(facts.get("heads_trap", []), key=lambda row: row["largest change of a logit"], default=None)
    if trap and trap["largest change of a logit"] > 1e-3:
        told.append(
            f"**The trap**: a fusion that is given the number of heads from before pruning moves a logit by "
            f"{trap['largest change of a logit']:.2f}, and no error says so."
        )
    divided = serving.get("division")
    one = [row for row in serving.get("divisions", []) if row["instances"] == 1 and divided]
    if one and divided["instances"] > 1:
        best = max(one, key=lambda row: row["throughput_per_s"])
        told.append(
            f"**Cores divided**: {divided['instances']} instances answer {number(divided['throughput_per_s'])} "
            f"requests per second, a single one at most {number(best['throughput_per_s'])}."
        )
    if serving.get("simulation_holds") is False:
        told.append("**Did not work**: the simulation of a fleet missed its own check here, so no fleet is promised.")
    return told


RECIPES: dict[str, Callable[[Evidence], list[str]]] = {
    function.__name__: function for function in (batching, distillation, pruning, quantization, runtime)
}


def brief(evidence: Evidence, recipe: str) -> str:
    """Return what a recipe cost first of all, and what did not work, as two paragraphs; '' where nothing is told."""
    told = RECIPES[recipe](evidence)
    failed = [sentence for sentence in told[1:] if sentence.startswith("**Did not work")]
    return "\n\n".join([*told[:1], *failed[:1]])


def bullets(evidence: Evidence, recipe: str) -> str:
    """Return all sentences about a recipe as a Markdown list."""
    told = RECIPES[recipe](evidence)
    return "\n".join(f"- {sentence}" for sentence in told) or "- Everything that this run tried here was taken."


def _below(evidence: Evidence, technique: str) -> str:
    """Return the rung below the one that a technique added; the teacher where there is none."""
    names = [step["rung"] for step in evidence.steps if step["technique"] == technique]
    return evidence.rung.loc[names[0], "stacks_on"] if names else TEACHER


def minutes(evidence: Evidence) -> float:
    """Return how many minutes the chapters of the run took."""
    return sum(evidence.records[name]["seconds"] for name in CHAPTERS.values() if name in evidence.records) / 60
