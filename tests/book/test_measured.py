"""The box at a chapter's end: sentences that say what its record says."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fflib.book import measured
from fflib.runs import ladder
from fflib.runs.ladder import Rung


def rung(name: str, on: str, per_s: float | None, **fields: Any) -> dict[str, Any]:
    return asdict(Rung(name, on, "m", "e", "fp32", "none", 1, 1, throughput_per_s=per_s, **fields))


PADDED = rung(ladder.PADDED, "", 2.0)
STUDENT = rung(
    "student", "batching", 40.0, accuracy=0.76, retention=0.95, keeps_rule="no", evidence={"step_interval": [3.5, 4.5]}
)


def box(rungs: list[dict[str, Any]], **facts: Any) -> str:
    earlier = [PADDED, rung("batching", ladder.PADDED, 10.0)]
    return measured.box(rungs, facts, ladder.ladder([*earlier, *rungs]))


def test_a_rung_is_told_against_its_baseline_with_the_interval_and_what_it_keeps() -> None:
    told = box([STUDENT])
    assert (
        "**student** answers 40 requests a second, 4 times as many as *batching* (3.5 to 4.5 by round) "
        "and, all steps multiplied, 20 times as many as *reference padded*; it scores 76.0% on test, 95.0% of its "
        "teacher's score, and does not keep the rule on dev."
    ) in told
    assert told.startswith('<div class="measured">\n\n') and told.endswith("\n\n</div>"), "or no Markdown within it"


def test_what_was_not_measured_or_failed_is_said_and_never_a_zero() -> None:
    told = box([rung("broken", "batching", None, status="failed: no engine"), rung("quiet", "batching", None)])
    assert "**broken**: failed: no engine." in told and "**quiet**: its speed was not measured." in told
    assert "times" not in told and "nan" not in told and "None" not in told


def test_of_the_floors_only_the_best_is_told() -> None:
    floors = [rung(f"floor: {name}", "", None, accuracy=score) for name, score in (("words", 0.53), ("always no", 0.5))]
    told = box(floors, teacher_is_clear=False)
    assert "Of 2 floors the highest on test is *words*, with 53.0%." in told and "always no" not in told
    assert "is **not** clearly above the floors" in told
    told = box(floors, floors={"best": "always no"})
    assert "is *words*, with 53.0%; the teacher is judged by the best on dev, *always no*." in told


def test_a_long_chapter_has_a_short_box() -> None:
    told = box([rung(f"r{i}", "batching", 10.0 + i) for i in range(11)])
    assert told.count("\n- ") == measured.MOST + 1 and "The other 3 rungs" in told


def test_the_story_tells_its_headline_and_a_chapter_what_goes_on() -> None:
    factor = {"factor": 420.4, "low": 354.0, "high": 472.2}
    fact = {"rung": "instances", "rounds": 6, "against": {"the padded reference": factor}}
    assert "**420x** as fast as the padded reference (354x to 472x), in 6 rounds" in box([], headline=fact)
    assert "build on **student**" in box([], goes_on_from="student")


def test_a_chapter_with_nothing_to_tell_has_no_box() -> None:
    assert measured.box([], {}, ladder.ladder([])) == ""
