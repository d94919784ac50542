"""The bench a chapter works at: it opens the chapter, compares models, adds rungs, shows and saves.

A chapter's first cell makes one, its last cell saves it:

    bench = Bench.open("03_distillation", globals())
    race = bench.compare({"teacher": teacher, "student": student}, requests, expected)
    bench.add_rung("distilled student", race["student"], on="best batching", like="best batching")
    bench.save()

(Longer than 200 lines: one object with a short method for each thing that a chapter does.)
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import pandas as pd
from IPython.display import Markdown
from IPython.display import display as show
from matplotlib.figure import Figure

from fflib import display, spent
from fflib.book import measured, titles
from fflib.book.inputs import Inputs
from fflib.data import batching
from fflib.data.metrics import Scored
from fflib.data.retention import Retention
from fflib.data.splits import TokenizedSplit
from fflib.files import InputError, atomic_path, write_json
from fflib.measure import device, hardware
from fflib.measure import race as races
from fflib.measure.race import Race
from fflib.measure.timing import Predictor, Timing, Together, Variant
from fflib.runs import ladder, nodes, params, provenance, records
from fflib.runs.ladder import Rung

NOTHING = "<!-- no rungs -->"  # Jupyter shows the name of the class in place of a text without a letter
LEGEND = "*The rungs of the run so far. [What the columns mean](00_introduction.ipynb#how-to-read-the-ladder).*"
LIKE = ("model", "engine", "precision", "batching", "batch_size", "model_mb")  # what a rung may share with another


class Bench(Inputs):
    """A chapter at work: what it gets (`Inputs`), and the rungs, facts and figures it leaves. `save` marks it done."""

    def __init__(self, chapter: str, namespace: Mapping[str, Any]) -> None:
        super().__init__(chapter, namespace)
        self.rungs: list[Rung] = []
        self.facts: dict[str, Any] = {}
        self._timings: dict[str, Timing] = {}
        self.seconds_spent: dict[str, float] = {}
        # Taken before anything runs: code that is edited meanwhile must not lend its name to these results.
        self._key = provenance.chapter_key(chapter, self.values)
        self._start, self._start_s = time.perf_counter(), time.time()
        spent.restart()
        self._summary: Any = None

    @classmethod
    def open(cls, chapter: str, namespace: Mapping[str, Any]) -> Bench:
        """Begin a chapter: give every engine its threads, show the machine, keep a place for the table of rungs."""
        bench = cls(chapter, namespace)
        bench._summary = show(Markdown("*The chapter's rungs appear here when it has run.*"), display_id=True)
        show(display.card(bench.machine, bench.threads))
        if chapter != params.BASELINE and "task" in bench.values:
            bench.facts["data_fingerprint"] = bench.facts_of(params.BASELINE)["data_fingerprint"]
        return bench

    @cached_property
    def threads(self) -> int:
        """The threads of every engine, PyTorch's among them, from the parameter of that name."""
        return hardware.set_threads(self.values.get("threads", 0))

    @cached_property
    def machine(self) -> dict[str, Any]:
        """The machine and its software, see `hardware.card`."""
        return hardware.card()

    @property
    def caption(self) -> str:
        """What stands below every figure: where its numbers come from."""
        run, size = self.values["run"], self.values["size"]
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        if device.is_card():
            return f"{self.machine['device']['identity']['name']}; run {run}, size {size}"
        return f"{self.machine['cpu']}, {threads}; run {run}, size {size}"

    def compare(
        self,
        ways: Mapping[str, Predictor | Variant],
        requests: TokenizedSplit,
        expected: races.Expected,
        *,
        rounds: int = 0,
        **options: Any,
    ) -> Race:
        """Check ``ways`` to serve against the logits ``expected``, then time them in turn; see `race.race`.

        ``rounds`` 0 takes the parameter of that name.
        """
        _ = self.threads  # set them before anything is timed
        return races.race(ways, requests, expected, rounds or self.values["rounds"], **options)

    def compare_at_once(
        self,
        ways: Mapping[str, Together],
        requests: TokenizedSplit,
        expected: races.Expected,
        *,
        plans: batching.Plan | Mapping[str, batching.Plan],
        rounds: int = 0,
        **options: Any,
    ) -> Race:
        """Time ``ways`` to answer several batches at the same time and check every round; see `race.race_at_once`.

        ``rounds`` 0 takes the parameter of that name.
        """
        _ = self.threads  # set them before anything is timed
        return races.race_at_once(ways, requests, expected, rounds or self.values["rounds"], plans, **options)

    def add_rung(
        self,
        name: str,
        timing: Timing | None,
        *,
        on: str,
        like: str = "",
        below: Timing | None = None,
        scored: Scored | None = None,
        kept: Retention | None = None,
        plan: batching.Plan | None = None,
        **fields: Any,
    ) -> Rung:
        """Add a rung to the ladder and return it.

        Args:
            name: new in this chapter. InputError: it is not.
            timing: what was measured, with its check; None where nothing could be, then give a ``status``.
            on: the rung that it stands on; '' for one on the ground.
            like: an earlier rung, of this chapter or another, with which it shares what ``fields`` does not say.
            below: the rung that it stands on, timed in the same rounds; without it both must be of this chapter.
            scored: its accuracy on test.
            kept: what it keeps of the teacher on dev, by which it keeps the rule (`min_retention`) or does not.
            plan: its batches, whose mean size is noted.
            fields: of `Rung`: model, engine, precision, batching, model_mb, threads, instances, status.
        """
        if name in [rung.rung for rung in self.rungs]:
            raise InputError(f"chapter {self.name} has two rungs named '{name}'")
        shared = {field: self._known_rung(like)[field] for field in LIKE} if like else {}
        size = {"batch_size": batching.mean_size(plan)} if plan else {}
        rung = Rung(name, on, **shared | {"threads": self.threads, "batch_size": 1} | size | fields)
        rung.engine = self._where(name, rung.engine)
        if timing:
            rung.timed(timing, timing.checked, self.values["usd_per_hour"])
            rung.paired_baseline_per_s = below.throughput_per_s if below else None
            if under := below or self._timings.get(on):
                rung.evidence["step_interval"] = timing.speedup_interval(under)
            self._timings[name] = timing
        if scored:
            of_teacher = self.teacher_accuracy if self.teacher_is_clear else None
            rung.scored(scored.value, (scored.low, scored.high), of_teacher)
        if kept and kept.is_known:
            rung.keeps_rule = "yes" if kept.holds(self.values["min_retention"]) else "no"
        self.rungs.append(rung)
        return rung

    @property
    def teacher_accuracy(self) -> float:
        """What the teacher scores on test; chapter 1 finds it out."""
        return self.facts["teacher"]["accuracy"] if self.name == params.BASELINE else super().teacher_accuracy

    @property
    def teacher_is_clear(self) -> bool:
        """Whether the teacher is clearly above the floors; chapter 1 finds it out."""
        is_first = self.name == params.BASELINE
        return records.teacher_is_clear(self.facts) if is_first else super().teacher_is_clear

    def _where(self, rung: str, engine: str) -> str:
        """Say of a rung's engine that it ran on a card; floors run on the processor, whatever a run's device is."""
        on_processor = not device.is_card() or rung.startswith(ladder.FLOOR) or engine.endswith(f", {self.device}")
        return engine if on_processor else f"{engine}, {self.device}"

    def _known_rung(self, name: str) -> Mapping[str, Any]:
        mine = {rung.rung: vars(rung) for rung in self.rungs}
        return mine[name] if name in mine else self.rung(name)

    @spent.on("figures")
    def figure(self, figure: Figure, name: str) -> Figure:
        """Write ``figures/<name>.png`` for the page and ``.svg`` for slides; return the figure, to be shown.

        It tells its name and its title, of which the rendered book makes a numbered caption.
        """
        figure.draw_without_rendering()  # laid out once, and not anew for each file and for the page
        figure.set_layout_engine("none")
        for kind in ("svg", "png"):
            with atomic_path(self.folder / "figures" / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind, dpi=150)
        titles.tell(figure, name)
        return figure

    def table(self, rows: Sequence[Mapping[str, Any]], decimals: int = 2, keep: str = "") -> Markdown:
        """Return rows as a table, to be shown; with ``keep`` they are also left as a fact of that name."""
        if keep:
            self.facts[keep] = list(rows)
        return display.table(rows, decimals)

    def rungs_table(self) -> Markdown:
        """Return the rungs of this chapter as a table: how fast, how noisy, how accurate."""
        return display.table(
            [
                {
                    "rung": rung.rung,
                    "batches": rung.batching,
                    "requests/s": rung.throughput_per_s,
                    "range of rounds": "{:.0f} to {:.0f}".format(*rung.evidence["throughput_interval_per_s"]),
                    "p50 ms": rung.latency_p50_ms,
                    "p95 ms": rung.latency_p95_ms,
                    "test %": None if rung.accuracy is None else 100 * rung.accuracy,
                }
                for rung in self.rungs
                if rung.throughput_per_s
            ]
        )

    def _ladder_so_far(self) -> pd.DataFrame:
        so_far = records.all_current(self.folder, before=f"{self.name}_")
        return ladder.ladder([rung for record in so_far for rung in record["rungs"]])

    @contextmanager
    def clocked(self, step: str) -> Iterator[None]:
        """Add how long the block takes to that step's ``seconds_spent``."""
        start = time.perf_counter()
        yield
        self.seconds_spent[step] = self.seconds_spent.get(step, 0.0) + time.perf_counter() - start

    def save(self) -> None:
        """Write ``results/<chapter>.json``: the rungs, the facts, and what they came from; then show what it says."""
        record = {
            "schema_version": records.SCHEMA_VERSION,
            "chapter": self.name,
            "key": self._key,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._start, 1),
            "seconds_by_kind": spent.by_kind(self._start_s),
            "parameters": self.values,
            "machine": hardware.card() | nodes.mark(),
            "facts": self.facts,
            "rungs": [asdict(rung) for rung in self.rungs],
        }
        write_json(records.path_of(self.folder, self.name), record)
        if not self._summary:
            return
        table = self._ladder_so_far() if self.rungs else ladder.ladder([])
        told = f"{ladder.ladder_markdown(table)}\n\n{LEGEND}" if self.rungs else NOTHING
        self._summary.update(Markdown(told))
        if box := measured.box(record["rungs"], self.facts, table):
            show(Markdown(box))
