"""What did not work in chapter 4: ways to choose what is cut, shapes, retraining, a small vocabulary."""

from __future__ import annotations

from typing import Any

from fflib.book.pages.outcomes import Outcome, ratio
from fflib.book.pages.sources import Missing, Source, row
from fflib.plotting import number

PRUNING = "04_pruning"
MOST_OFF, MOST_FALLBACK = 0.2, 0.05  # a prediction that is this far off has failed; as many requests may fall back


def smallest_weights(source: Source) -> Outcome:
    """Half of the heads and neurons kept by the size of their weights, by their importance, and by chance."""
    found = source.fact(PRUNING, "controls")
    by_size, by_importance, by_chance = (found[name][-1] for name in ("magnitude", "importance", "random"))
    told = (
        f"With {by_size[0]:.0%} of the heads and neurons kept, and no training after the cut, dev is "
        f"{by_size[1]:.1%} by the size of the weights, {by_chance[1]:.1%} by chance, and {by_importance[1]:.1%} by "
        "importance."
    )
    return Outcome(by_size[1] < by_importance[1], told)


def searched_shape(source: Source) -> Outcome:
    """A shape that was searched layer by layer, beside the uniform shape of the same predicted time."""
    rows = source.fact(PRUNING, "against_uniform")
    told = [
        f"{each['how']}, at {each['target']}: {each['searched less uniform, points']:+.1f} points on test "
        f"({each['95 % from']:+.1f} to {each['to']:+.1f})"
        for each in rows
    ]
    never = all(each["95 % from"] <= 0 for each in rows)
    return Outcome(never, f"The searched shape less the uniform one: {'; '.join(told)}.")


def by_time(source: Source) -> Outcome:
    """Whether a search that counts milliseconds finds another shape than one that counts operations."""
    rows = source.fact(PRUNING, "ways")
    shapes = [
        [row(rows, target=target, way=f"least estimated loss by {cost}")["kept"] for cost in ("time", "operations")]
        for target in dict.fromkeys(each["target"] for each in rows)
    ]
    same = sum(time == operations for time, operations in shapes)
    told = f"Both find the same shape for {same} of {len(shapes)} targets."
    return Outcome(same == len(shapes), told)


def whole_layers(source: Source) -> Outcome:
    """The layer that is missed least, beside a narrower model of the same predicted speed."""
    rows = source.fact(PRUNING, "depth")
    best = min(rows, key=lambda each: each["divergence"])
    narrow = best["divergence of the narrow model"]
    told = (
        f"Without *{best['taken out']}*, the layer that is missed least, the answers diverge by "
        f"{number(best['divergence'])} from the unpruned student's; those of the narrower model of the same "
        f"predicted speed diverge by {number(narrow)}."
    )
    return Outcome(best["divergence"] > narrow, told)


def fewer_tokens(source: Source) -> Outcome:
    """Models in which a share of the tokens goes on, under the rule."""
    rows = source.fact(PRUNING, "fewer_tokens")
    told = [
        f"with {each['tokens']:.0%} of the tokens a request is {ratio(each['speed-up'])} times as fast"
        + (f", and {each['kept']:.1%} of the teacher's score is kept on dev" if each["kept"] == each["kept"] else "")
        for each in rows
    ]
    sentence = "; ".join(told)
    return Outcome(not any(each["keeps the rule"] for each in rows), f"{sentence[0].upper()}{sentence[1:]}.")


def retraining(source: Source) -> Outcome:
    """How long the shapes were retrained, and whether the chosen one is a retrained one."""
    seconds = {
        name: value for name, value in source.fact(PRUNING, "seconds_spent").items() if name.startswith("retraining")
    }
    if not seconds:
        raise Missing("nothing was retrained")
    chosen = source.fact(PRUNING, "pruned")
    way = "retrained" if chosen["retrained"] else "tuned only, without any retraining"
    told = (
        f"{len(seconds)} shapes were retrained, in {sum(seconds.values()):.0f} seconds together. Chosen on dev was "
        f"*{chosen['shape']}*, {way}."
    )
    return Outcome(not chosen["retrained"], told)


def fisher(source: Source) -> Outcome:
    """Masks by Fisher information, rearranged, beside first-order importance, both with tuned weights."""
    rows = source.fact(PRUNING, "tuning")["rows"]
    ours, theirs = (row(rows, kept_by=by, tuned="weights") for by in ("importance", "Fisher, rearranged"))
    told = (
        "After the weights were tuned, the answers diverge from the unpruned student's by "
        f"{number(theirs['divergence'])} where the Fisher information chose, and by {number(ours['divergence'])} where "
        "first-order importance did."
    )
    return Outcome(theirs["divergence"] > ours["divergence"], told)


def peeking(source: Source) -> Outcome:
    """What it gains to judge importance by the texts on which one reports."""
    rows = source.fact(PRUNING, "flatter")
    told = [
        f"{each['peeking gains, points']:+.1f} points on {each['on']} ({each['95 % from']:+.1f} to {each['to']:+.1f})"
        for each in rows
    ]
    seen = rows[0]
    return Outcome(seen["95 % from"] <= 0, f"To peek gains {', and '.join(told)}.")


def layer_by_layer(source: Source) -> Outcome:
    """How far the sum of measured layers is off the measured model."""
    ratios = [each["measured / predicted"] for each in source.fact(PRUNING, "speed")]
    told = (
        f"The measured times of {len(ratios)} shapes are {ratio(min(ratios))} to {ratio(max(ratios))} times "
        "what the table of layers predicted."
    )
    return Outcome(max(abs(ratio - 1) for ratio in ratios) > MOST_OFF, told)


def small_vocabulary(source: Source) -> Outcome:
    """How many requests hold a word that a vocabulary of the training texts lacks."""
    found: dict[str, Any] = source.fact(PRUNING, "vocabulary")
    unseen = 1 - found["share of dev requests without an unseen word"]
    told = (
        f"{found['words kept']} words are kept, and the model shrinks from {number(found['MB, pruned'])} MB to "
        f"{number(found['MB, small vocabulary'])} MB. But {unseen:.1%} of the dev requests hold a word that is "
        "gone, and need the model with all words."
    )
    return Outcome(unseen > MOST_FALLBACK, told)
