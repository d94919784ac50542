"""The box "What you measured" at the end of a chapter: plain sentences made of its record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from fflib.plotting import number, times
from fflib.runs import ladder

Facts = Mapping[str, Any]
MOST = 8  # rungs that are told; a chapter with more has a table for all


def box(rungs: Sequence[Mapping[str, Any]], facts: Facts, table: pd.DataFrame) -> str:
    """Return the box as Markdown for JupyterLab and for the rendered book; '' where a chapter has nothing to tell.

    Args:
        rungs: of the chapter, as its record keeps them.
        facts: of the chapter.
        table: the ladder up to this chapter, for the factors; see `ladder.ladder`.
    """
    columns = {row["rung"]: row for row in table.to_dict("records")}
    floors = [rung for rung in rungs if rung["rung"].startswith(ladder.FLOOR)]
    others = [rung for rung in rungs if rung not in floors]
    lines = [_rung(rung, columns.get(rung["rung"], {})) for rung in others[:MOST]]
    if len(others) > MOST:
        lines.append(f"The other {len(others) - MOST} rungs of this chapter are in the table at its top.")
    lines += [_floors(floors, facts.get("floors", {}).get("best", ""))] if floors else []
    lines += filter(None, (tell(facts) for tell in FACTS))
    if not lines:
        return ""
    listed = "\n".join(f"- {line}" for line in lines)
    return f'<div class="measured">\n\n**What you measured**\n\n{listed}\n\n</div>'


def _rung(rung: Mapping[str, Any], columns: Mapping[str, Any]) -> str:
    """Tell how fast a rung is, against what, and what it answers."""
    if rung["status"] != "ok":
        return f"**{rung['rung']}**: {rung['status']}."
    parts = [_speed(rung, columns), _quality(rung)]
    return f"**{rung['rung']}**" + "; ".join(filter(None, parts)) + "."


def _speed(rung: Mapping[str, Any], columns: Mapping[str, Any]) -> str:
    per_s, below = rung["throughput_per_s"], rung["stacks_on"]
    if not per_s:
        return ": its speed was not measured"
    told = f" answers {number(per_s)} requests a second"
    step, padded = columns.get("speedup_step"), columns.get("speedup_vs_padded")
    if below and _is_known(step):
        interval = rung["evidence"].get("step_interval")
        spread = " ({} to {} by round)".format(*map(number, interval)) if interval else ""
        told += f", {number(step)} times as many as *{below}*{spread}"
    if below not in ("", ladder.PADDED) and _is_known(padded):
        told += f" and, all steps multiplied, {number(padded)} times as many as *{ladder.PADDED}*"
    return told


def _quality(rung: Mapping[str, Any]) -> str:
    if rung["accuracy"] is None:
        return ""
    told = f"it scores {rung['accuracy']:.1%} on test"
    if rung["keeps_rule"] and _is_known(rung["retention"]):  # of the teacher itself nothing is asked
        told += f", {rung['retention']:.1%} of its teacher's score"
    return told + {"yes": ", and keeps the rule on dev", "no": ", and does not keep the rule on dev"}.get(
        rung["keeps_rule"], ""
    )


def _floors(floors: Sequence[Mapping[str, Any]], best_on_dev: str) -> str:
    scored = [rung for rung in floors if rung["accuracy"] is not None]
    if not scored:
        return "No floor was scored."
    best = max(scored, key=lambda rung: rung["accuracy"])
    name = best["rung"].removeprefix(ladder.FLOOR)
    told = f"Of {len(scored)} floors the highest on test is *{name}*, with {best['accuracy']:.1%}"
    return f"{told}; the teacher is judged by the best on dev, *{best_on_dev}*." if best_on_dev else f"{told}."


def _teacher(facts: Facts) -> str:
    if "teacher_is_clear" not in facts:
        return ""
    verdict = "is clearly above" if facts["teacher_is_clear"] else "is **not** clearly above"
    return f"The teacher {verdict} the floors."


def _goes_on(facts: Facts) -> str:
    name = facts.get("goes_on_from")
    return f"The next chapters build on **{name}**." if isinstance(name, str) and name else ""


def _simulation(facts: Facts) -> str:
    if "simulation_holds" not in facts:
        return ""
    holds = "agrees" if facts["simulation_holds"] else "does **not** agree"
    missed = facts.get("simulation_misses", [])
    others = f", but not for {' and '.join(missed)}" if facts["simulation_holds"] and missed else ""
    best = " for the policy that answers most" if others else ""
    return f"The simulation of the server {holds} with the loads that were measured{best}{others}."


def _headline(facts: Facts) -> str:
    """Tell what the story measured; of its record and not by its module, on which every chapter would then depend."""
    told = facts.get("headline")
    if not told:
        return ""
    factors = [
        f"**{times(factor['factor'])}** as fast as {name} ({times(factor['low'])} to {times(factor['high'])})"
        for name, factor in list(told["against"].items())[:2]
    ]
    return f"The last rung, *{told['rung']}*, is {' and '.join(factors)}, in {told['rounds']} rounds side by side."


FACTS: tuple[Callable[[Facts], str], ...] = (_teacher, _simulation, _headline, _goes_on)


def _is_known(value: Any) -> bool:
    return value is not None and not pd.isna(value)
