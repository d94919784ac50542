"""What did not work in chapters 1 to 3: floors, batches and students."""

from __future__ import annotations

from fflib.book.pages.outcomes import Outcome, ratio
from fflib.book.pages.sources import Missing, Source, row
from fflib.plotting import number

BASELINE, BATCHING, DISTILLATION = "01_baseline", "02_batching", "03_distillation"
OF_TEACHER = "of the teacher's"  # a column of chapter 3's table


def floors(source: Source) -> Outcome:
    """The best classifier without a transformer, beside the teacher."""
    found = source.fact(BASELINE, "floors")
    best, teacher = row(found["rows"], floor=found["best"]), source.fact(BASELINE, "teacher")["accuracy"]
    above = found["teacher_above_best"]
    told = (
        f"The best of them, *{best['floor']}*, scores {best['test']:.1%} on test. The teacher scores {teacher:.1%}, "
        f"which is {above['points']:.1f} points more ({above['low']:.1f} to {above['high']:.1f})."
    )
    return Outcome(above["low"] > 0, told)


def in_order(source: Source) -> Outcome:
    """The largest batches in order of arrival, beside single requests."""
    rows = source.fact(BATCHING, "sweep")
    size = max(each["batch size or tokens"] for each in rows if each["batching"] == "in order")
    if size == 1:
        raise Missing("only single requests were timed in order")
    largest = row(rows, **{"batching": "in order", "batch size or tokens": size})
    told = (
        f"Batches of {size} in the order of arrival answer {number(largest['requests/s'])} requests a second, single "
        f"requests {number(row(rows, **{'batching': 'in order', 'batch size or tokens': 1})['requests/s'])}: "
        f"{ratio(largest['measured speed-up'])} times as many. Of what is computed {largest['padding']} is padding."
    )
    return Outcome(largest["measured speed-up"] < 1, told)


def large_budget(source: Source) -> Outcome:
    """The largest budget of tokens, beside the best one."""
    rows = [each for each in source.fact(BATCHING, "sweep") if each["batching"] == "token budget"]
    if len({each["batch size or tokens"] for each in rows}) < 2:
        raise Missing("fewer than two budgets were timed")
    best = max(rows, key=lambda each: each["measured speed-up"])
    largest = max(rows, key=lambda each: each["batch size or tokens"])
    told = (
        f"A budget of {largest['batch size or tokens']:,} tokens gives {ratio(largest['measured speed-up'])} "
        f"times the throughput of single requests ({largest['padding']} padding), a budget of "
        f"{best['batch size or tokens']:,} gives {ratio(best['measured speed-up'])} times ({best['padding']} padding)."
    )
    return Outcome(largest["measured speed-up"] < best["measured speed-up"], told)


def patient(source: Source) -> Outcome:
    """A server that waits for company, beside one that does not, at the lightest load."""
    rows = source.fact(BATCHING, "online")
    load = min(each["load"] for each in rows)
    waits = next((each for each in rows if each["load"] == load and each["policy"].startswith("patient")), None)
    if waits is None:
        raise Missing("no patient policy was simulated")
    alone = row(rows, load=load, policy="one by one")
    told = (
        f"At the lightest load a request takes {number(waits['p50 ms'])} ms (median) where the server waits "
        f"(*{waits['policy']}*), and {number(alone['p50 ms'])} ms where it answers each request at once."
    )
    return Outcome(waits["p50 ms"] > alone["p50 ms"], told)


def adaptive(source: Source) -> Outcome:
    """Batches of whatever waits, beside single requests, at the load that one server can just carry."""
    rows = source.fact(BATCHING, "online")
    batched, alone = (row(rows, load=1.0, policy=policy) for policy in ("adaptive", "one by one"))
    told = (
        f"At a load of 1 the 95th percentile is {number(batched['p95 ms'])} ms with batches of whatever waits, and "
        f"{number(alone['p95 ms'])} ms without batches."
    )
    return Outcome(batched["p95 ms"] > alone["p95 ms"], told)


def big_model(source: Source) -> Outcome:
    """What batches bring to the large model, beside the small one."""
    rows = source.fact(BATCHING, "batch_1")
    big, small = row(rows, model="big"), row(rows, model="small")
    told = (
        f"The best batches make the small model {ratio(small['its gain'])} times as fast as single requests, and the "
        f"large one {ratio(big['its gain'])} times (its best way: *{big['best of all']}*)."
    )
    return Outcome(big["its gain"] <= 1, told)


def short_training(source: Source) -> Outcome:
    """The students that miss the rule, and the best that keeps it."""
    grid = source.fact(DISTILLATION, "grid")
    missed = [each for each in grid if each["keeps the rule"] == "no"]
    if not missed:
        raise Missing("every student that was tried keeps the rule")
    rule = source.parameter(DISTILLATION, "min_retention")
    told = [
        f"*{each['student']}* keeps {each[OF_TEACHER]} of the teacher's score on dev after "
        f"{number(each['minutes of training'])} minutes of training"
        for each in [*missed, *(each for each in grid if each["keeps the rule"] == "yes")]
    ]
    return Outcome(True, f"The rule asks for {rule:.0%}. {'; '.join(told)}.")


def labels_alone(source: Source) -> Outcome:
    """Every other route to a student, beside the two stages."""
    rows = [each for each in source.fact(DISTILLATION, "routes") if each["route"] != "two stages"]
    if not rows:
        raise Missing("no other route was tried")
    told = [
        f"*{each['route']}*: {each['against two stages, points']:+.1f} points on test against the two stages "
        f"({each['95 % from']:+.1f} to {each['to']:+.1f}), after as many steps ({each['steps']:,})"
        for each in rows
    ]
    return Outcome(any(each["to"] < 0 for each in rows), "; ".join(told) + ".")


def answers_alone(source: Source) -> Outcome:
    """What is lost where a part of the recipe is left out."""
    found = source.fact(DISTILLATION, "ablation")
    told = [
        f"*{each['name']}*: {100 * each['difference']:+.1f} points on dev "
        f"({100 * each['low']:+.1f} to {100 * each['high']:+.1f})"
        for each in found["rows"]
    ]
    if not told:
        raise Missing("nothing was left out")
    lost = any(each["high"] < 0 for each in found["rows"])
    return Outcome(lost, f"With {found['n_train']:,} texts, against the whole recipe: {'; '.join(told)}.")


def few_texts(source: Source) -> Outcome:
    """The student of the fewest texts, beside that of the most."""
    few, *_, most = source.fact(DISTILLATION, "data_curve")
    told = (
        f"With {few[0]:,.0f} texts the student scores {few[1]:.1%} on dev ({few[2]:.1%} to {few[3]:.1%}), with "
        f"{most[0]:,.0f} texts {most[1]:.1%} ({most[2]:.1%} to {most[3]:.1%})."
    )
    return Outcome(few[3] < most[2], told)
