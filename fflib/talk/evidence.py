"""What the slides show of a run: rows for their figures, and sentences, all from the records of its chapters.

A run may lack a part, as a smoke run or one without a student does: what is not in the records is not told.
(Longer than 200 lines: one short function a slide.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import pandas as pd

from fflib.plotting import number, times
from fflib.runs import ladder as ladders
from fflib.runs.ladder import PADDED, UNPADDED
from fflib.story import bill, factors, front, headline_told
from fflib.story.factors import AGAINST, TEACHER

Row = dict[str, Any]
CHAPTERS = {
    name[3:]: name
    for name in ("01_baseline", "02_batching", "03_distillation", "04_pruning", "05_quantization", "06_runtime")
} | {"serving": "07_serving", "story": "09_story"}
NAMED = ("distillation", "pruning", "quantisation")  # techniques that move the accuracy
MOST_BARS = 11  # that a figure has room for
BATCHING_WORDS = {"in order": "as they come", "sorted": "sorted by length", "token budget": "a budget of tokens"}
GRAPHS_SHOWN = (
    "no optimisation", "all", "+ skip-LayerNorm", "+ GELU", "+ attention", "the paper's recipe", "this book's",
)  # fmt: skip


class Evidence:
    """The records of a run's chapters, as slides need them.

    Args:
        records: of all chapters up to the story, as `records.all_current` returns them.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.records = {record["chapter"]: record for record in records}
        measured = [record for record in records if record["chapter"] < CHAPTERS["story"]]
        self.last = factors.last_rung(measured)
        self.headline = headline_told.of_records(records)
        self.by_steps = factors.ladder_of(measured)  # every factor of it is a product of steps
        self.ladder = headline_told.in_ladder(self.by_steps, self.headline)
        self.stack = ladders.stack(self.ladder, self.last)
        self.steps = factors.factors(self.by_steps, self.stack)

    def facts(self, chapter: str) -> Mapping[str, Any]:
        """Return what a chapter, by a key of `CHAPTERS`, found out."""
        return self.records[CHAPTERS[chapter]]["facts"]

    @cached_property
    def rung(self) -> pd.DataFrame:
        """The ladder by the names of its rungs."""
        return self.ladder.set_index("rung")

    @property
    def machine(self) -> str:
        """The processor and how many cores the run used."""
        record = self.records[CHAPTERS["story"]]
        threads = self.records[CHAPTERS["baseline"]]["rungs"][0]["threads"]
        return f"{record['machine']['cpu']}, {threads} {'core' if threads == 1 else 'cores'}"

    @property
    def date(self) -> str:
        """The day on which the story was measured."""
        return str(self.records[CHAPTERS["story"]]["written"])[:10]

    @property
    def source(self) -> str:
        """What stands at the foot of every slide: run, size, machine, day."""
        values = self.records[CHAPTERS["story"]]["parameters"]
        return f"run {values['run']}, size {values['size']} · {self.machine} · {self.date}"

    @property
    def rule(self) -> float:
        """The share of the teacher's score on dev that a step has to keep."""
        return float(self._parameter("story", "min_retention", 0.0))

    @property
    def usd_per_hour(self) -> float:
        """The price of the machine."""
        return float(self._parameter("story", "usd_per_hour", 0.0))

    def factor(self, against: str) -> Mapping[str, Any]:
        """Return the measured factor against one of `factors.AGAINST`, with its range and the product of steps."""
        return self.headline["against"][against]

    def measured(self, against: str) -> str:
        """Write that factor with its range: "592x (570x to 610x)"."""
        return headline_told.factor_words(self.factor(against))

    def step(self, technique: str) -> float | None:
        """Return what a technique brought when it was added; None: the run did not take it."""
        return factors.factor_by_technique(self.steps).get(technique)

    def accuracy(self, rung: str) -> float | None:
        """Return the accuracy of a rung on test, 0 to 1; None where it has none."""
        value = self.rung.loc[rung, "accuracy"] if rung in self.rung.index else None
        return None if value is None or pd.isna(value) else float(value)

    # ---- rows for the figures, in the order of the slides

    def baselines(self) -> list[Row]:
        """Milliseconds of one request, of both references and the teacher, padded and not."""
        names = [(PADDED, "base"), (UNPADDED, "base"), ("teacher padded", "pale"), (TEACHER, "good")]
        rows = [(name, kind, float(self.rung.loc[name, "latency_p50_ms"])) for name, kind in names]
        return [_row(name, ms, kind, f"{number(ms)} ms") for name, kind, ms in rows]

    def floors(self) -> list[Row]:
        """Accuracy on test, per cent, of what needs no fine-tuned transformer, of the teacher, of what is served."""
        rows = [
            _row(row["floor"], 100 * row["test"], "plain", "", low=100 * row["low"], high=100 * row["high"])
            for row in self.facts("baseline").get("floors", {}).get("rows", [])
        ]
        for name, rung, kind in (("teacher", TEACHER, "good"), ("what is served", self.last, "best")):
            value, low, high = (100 * self.rung.loc[rung, one] for one in ("accuracy", "accuracy_low", "accuracy_high"))
            rows.append(_row(name, value, kind, "", low=low, high=high))
        return [row | {"words": f"{row['value']:.1f}%"} for row in rows]

    def batches(self) -> list[Row]:
        """How many times as fast as one by one, by how requests are put together."""
        facts = self.facts("batching")
        rows = []
        for row in facts["sweep"]:
            kind, size = row["batching"], row["batch size or tokens"]
            if [kind, size] == ["in order", 1]:
                name = "one by one"
            else:
                unit = "tokens" if kind == "token budget" else "a batch"
                name = f"{BATCHING_WORDS.get(kind, kind)}, {size:,} {unit}".replace("budget of tokens, ", "budget of ")
            gain, chosen = row["measured speed-up"], [kind, size] == list(facts["best"])
            look = "best" if chosen else "bad" if gain < 0.995 else "plain"
            rows.append(_row(name, gain, look, f"{times(gain)}, {row['padding']} padding"))
        return rows

    def students(self) -> list[Row]:
        """Accuracy on test, per cent, of the teacher, of the students and of who learned from labels alone."""
        facts = self.facts("distillation")
        chosen = facts.get("goes_on_from")
        rows = [_row("teacher", 100 * self.accuracy(TEACHER), "base", f"{self.accuracy(TEACHER):.1%}")]
        for rung in self.records[CHAPTERS["distillation"]]["rungs"]:
            if rung["accuracy"] is not None:
                kind = "best" if rung["rung"] == chosen else "bad" if rung["keeps_rule"] == "no" else "pale"
                gain = self.rung.loc[rung["rung"], "speedup_step"]
                words = f"{rung['accuracy']:.1%}" + ("" if pd.isna(gain) else f", {times(float(gain))} as fast")
                rows.append(_row(rung["rung"], 100 * rung["accuracy"], kind, words))
        for route in facts.get("routes", []):
            if route["route"] == "labels":
                score = route["test %"]
                rows.append(_row("a student, from labels alone", score, "bad", f"{score:.1f}%"))
        best = self.facts("baseline").get("floors", {}).get("rows", [])
        if best:
            floor = max(best, key=lambda row: row["dev"])
            rows.append(_row(f"floor: {floor['floor']}", 100 * floor["test"], "plain", f"{floor['test']:.1%}"))
        return rows

    def cuts(self) -> dict[str, list[Row]]:
        """Accuracy on dev, per cent, over the share that is kept, by how the kept units were chosen."""
        return {
            {"importance": "by importance", "magnitude": "by size of weights", "random": "at random"}.get(name, name): [
                {"x": 100 * x, "y": 100 * y, "low": 100 * low, "high": 100 * high} for x, y, low, high in sorted(points)
            ]
            for name, points in self.facts("pruning").get("controls", {}).items()
        }

    def recipes(self) -> list[Row]:
        """How many times as fast as fp32 the recipes of eight bits and less make the model that is served."""
        facts, rows = self.facts("quantization"), []
        least = self._parameter("quantization", "min_agreement", 0.0)
        model, chosen = facts["quantised"]["model"], facts["quantised"]["recipe"]
        of_model = [row for row in facts["recipes"] if row["model"] == model]
        for row in of_model:
            gain, kept = row["speed-up"], row["labels kept %"]
            fails = kept < 100 * least or gain < 0.995
            kind = (
                "best" if row["recipe"] == chosen else "bad" if fails else "base" if row["recipe"] == "fp32" else "pale"
            )
            rows.append(_row(row["recipe"], gain, kind, f"{times(gain)}, {kept:.0f}% of the labels kept"))
        rows.sort(key=lambda row: -row["value"])
        while len(rows) > MOST_BARS and (ordinary := [row for row in rows if row["kind"] == "pale"]):
            rows.remove(ordinary[-1])  # what was taken, what was lost and where it began are always shown
        return rows

    def graphs(self) -> list[Row]:
        """Milliseconds of a request by how the graph was rewritten, of the eight-bit model where there is one."""
        variants = self.facts("runtime").get("graph_variants", [])
        eight = [row for row in variants if row["model"].endswith("int8")] or variants
        plain = next((row["ms"] for row in eight if row["variant"] == GRAPHS_SHOWN[0]), None)
        rows = []
        for row in eight:
            if row["variant"] in GRAPHS_SHOWN or row["default"]:
                slower = plain is not None and row["ms"] > 1.02 * plain
                kind = "best" if row["default"] else "bad" if slower or not row["kept"] else "pale"
                words = f"{number(row['ms'])} ms" + ("" if row["kept"] else ", changes answers")
                rows.append(_row(_graph_name(row["variant"]), row["ms"], kind, words))
        return rows

    def accuracy_by_speed(self) -> list[Row]:
        """All rungs with an accuracy: requests a second, accuracy on test in per cent; refused: below the rule."""
        padded = self.factor(AGAINST[0])
        found = front.points(self.by_steps, self.stack, padded["factor"] / padded["product"])
        named = {step["rung"] for step in self.steps if step["technique"] in NAMED} | {TEACHER, self.last}
        rows = []
        for point in found:
            if point["rung"].startswith(ladders.FLOOR):
                continue
            mine = point["on_the_way"]
            kind = "best" if point["rung"] == self.last else "bad" if point["below"] else "good" if mine else "pale"
            is_named = point["rung"] in named or point["below"]
            row = {"name": point["rung"] if is_named else "", "x": point[front.SPEED], "kind": kind}
            row |= {"y": 100 * point["accuracy"], "refused": point["below"]}
            rows.append(row | {"low": 100 * point["accuracy_low"], "high": 100 * point["accuracy_high"]})
        return rows

    def left_out(self) -> list[Row]:
        """How many times as slow the full stack is without a technique, with the range."""
        rows = []
        for row in self.facts("story").get("leave_one_out", []):
            words = f"{times(row['factor'])}, {row['points']:+.1f} points"
            kind = "good" if row["low"] > 1 else "plain"
            name = row["technique"].partition(",")[0]
            rows.append(_row(name, row["factor"], kind, words, low=row["low"], high=row["high"]))
        return rows

    def limits(self) -> list[Row]:
        """Requests a second: what is served, and what the processor's best products would allow."""
        kinds = {"measured": "best", "limit": "base"}
        return [
            _row(
                row["limit"], row["throughput_per_s"], kinds.get(row["kind"], "plain"), number(row["throughput_per_s"])
            )
            for row in self.facts("story").get("limits", [])
        ]

    def bill(self) -> list[Row]:
        """USD for 100 million requests, from the padded reference to what is served."""
        wanted = {PADDED: "base", UNPADDED: "base", TEACHER: "pale", self.last: "best"}
        costs = {row["rung"]: row["USD for 100 million"] for row in bill.bill(self.ladder, self.stack)}
        return [
            _row(name, costs[name], kind, f"{costs[name]:,.0f} USD") for name, kind in wanted.items() if name in costs
        ]

    def _parameter(self, chapter: str, name: str, default: Any) -> Any:
        return self.records[CHAPTERS[chapter]]["parameters"].get(name, default)


def _row(name: str, value: float, kind: str, words: str, **more: float) -> Row:
    return {"name": name, "value": float(value), "kind": kind, "words": words, **more}


def _graph_name(variant: str) -> str:
    return {"all": "all the engine's fusions", "+ skip-LayerNorm": "only skip-LayerNorm fused"}.get(
        variant, variant.replace("+ ", "only ") + (" fused" if variant.startswith("+") else "")
    )
