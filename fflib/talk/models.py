"""The models that the talk shows live, as a finished run left them: four lanes, and one for each rung of the ladder.

Read are the records of the run, of whatever code they are: whether they are current is for `preflight` to say. What a
lane or a stop *is* (a `Model`) is plain data, so that the process that serves it can be told.
(Longer than 200 lines: what may answer, and where each chapter of a run left it, are one page.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fflib.data import registry, splits
from fflib.data.splits import Split, TokenizedSplit
from fflib.data.task import Task
from fflib.files import InputError, resolve, shown
from fflib.model import cache, checkpoints
from fflib.runs import ladder as rungs
from fflib.runs import records
from fflib.story import factors, headline_told, stacks

NEEDED = ("01_baseline", "02_batching", "03_distillation", "04_pruning", "05_quantization", "06_runtime", "07_serving")
STORY = "09_story"
SEED = 0  # of the order in which requests are asked
SHOWN = 96  # characters of a request that the race shows
CLEAR_PREFIX = ": "  # in the docs task what stands before it names the parameter; the audience types what comes after


@dataclass(frozen=True)
class Model:
    """One way to answer, as plain data.

    Attributes:
        name: for people.
        what: what it is, in a few words.
        folder: of the weights, for PyTorch; '' for the reference with untrained weights.
        graph: the ONNX file, for ONNX Runtime.
        reference: the architecture, where there are no weights.
        num_labels, spans: of the task, for the untrained reference.
        pad_to: every request is padded to so many tokens; 0: none is.
        trained: whether its answers mean anything.
        threads: of one instance; 0: all cores.
        kind: what an instance is, see `instances.start`; '' for one in the process that serves.
        batches: a plan of `batching.PLANS` and its size.
    """

    name: str
    what: str
    folder: str = ""
    graph: str = ""
    reference: str = ""
    num_labels: int = 2
    spans: int = 0
    pad_to: int = 0
    trained: bool = True
    threads: int = 0
    kind: str = ""
    batches: tuple[str, int] = ("in order", 1)

    @property
    def weights(self) -> tuple[str, str, str]:
        """What it shares with others that answer in another way."""
        return self.graph, self.folder, self.reference

    def check_files(self) -> None:
        """Raise InputError if a file is not where it should be."""
        file = Path(self.graph) if self.graph else Path(self.folder) / checkpoints.WEIGHTS if self.folder else None
        if file and not file.is_file():
            raise InputError(
                f"{shown(file)} is missing, which '{self.name}' of the talk answers with; make the book again"
            )


@dataclass(frozen=True)
class Stop:
    """A rung of the ladder as the slider shows it: its row of ``ladder.csv``, and the model that answers."""

    row: Mapping[str, Any]
    model: Model


@dataclass(frozen=True, eq=False)
class Requests:
    """What is asked, in a seeded order: examples of test as text and tokens, and what the teacher says to them [n]."""

    texts: Split
    tokens: TokenizedSplit
    teacher: np.ndarray


class TalkRun:
    """What the talk takes from the folder of a finished run.

    InputError: a chapter has not run or left nothing that can be read, or a file of a model is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = resolve(folder)
        found = {record["chapter"]: record for record in records.readable(self.folder).values()}
        lacking = [chapter for chapter in NEEDED if chapter not in found]
        if lacking:
            name = self.folder.name
            raise InputError(f"run '{name}' has no {lacking[0]} in {shown(self.folder)}; make it: make book RUN={name}")
        self.records = [found[chapter] for chapter in NEEDED]
        self.facts = {record["chapter"]: record["facts"] for record in found.values()}
        self.parameters = found[NEEDED[0]]["parameters"]
        self._headline = headline_told.of_records([found[STORY]]) if STORY in found else None

    @cached_property
    def task(self) -> Task:
        """The task of the run."""
        return registry.get_task(self.parameters["task"])

    @cached_property
    def requests(self) -> Requests:
        """All examples of test in the order in which they are asked. InputError: the run saw others."""
        values = self.parameters
        test = splits.load_split(values["task"], "test", values["data_source"], values["n_test"] or None)
        if test.fingerprint != self.facts[NEEDED[0]]["data_fingerprint"]["test"]:
            raise InputError("the run saw other test data than there are now (other packages?); make the book again")
        tokens = splits.tokenize(test, self.tokenizer, self.task.max_length)
        says = cache.predict_cached(checkpoints.load(self._teacher.folder), tokens).argmax(axis=-1)
        order = np.random.default_rng(SEED).permutation(len(test))
        return Requests(test.take(order), tokens.take(order), says[order])

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer that all models of the story share."""
        return checkpoints.load_tokenizer(self._teacher.folder)

    @cached_property
    def labels(self) -> list[str]:
        """What answers are called."""
        return [str(label) for label in self.task.labels]

    @cached_property
    def edited(self) -> int:
        """Which text of an example the audience types: the shorter one."""
        means = [np.mean([len(text) for text in column]) for column in zip(*self.requests.texts.texts, strict=True)]
        return int(np.argmin(means))

    def fixed(self, request: int) -> str:
        """Return how the edited text of a request has to begin: a parameter's name, or up to the marked word."""
        text = self.requests.texts.texts[request][self.edited]
        if self.task.spans:
            return text[: max(span.end for span in self.requests.texts.spans[request] if span.text == self.edited)]
        before, found, _ = text.partition(CLEAR_PREFIX)
        return before + found if self.task == registry.DOCS else ""

    @cached_property
    def ladder(self) -> pd.DataFrame:
        """The ladder with the measured factors of its last rung; a row a rung, `rung` as its index."""
        table = headline_told.in_ladder(factors.ladder_of(self.records), self._headline)
        return table.set_index("rung", drop=False)

    @cached_property
    def lanes(self) -> list[Model]:
        """The lanes of the race: stock padded, stock unpadded, teacher, and what is served at the end."""
        served = self.facts["07_serving"]["served"]
        _, threads, kind = served["division"]
        final = self._of_graph(served["rung"], resolve(served["onnx"]))
        each = "an instance on each core" if threads == 1 else f"instances of {threads} threads"
        how = f"{each}, batches: {self.ladder.loc[served['rung'], 'batching']}"
        return [
            replace(self._reference, name="stock model, padded", pad_to=self.task.max_length),
            replace(self._reference, name="stock model, unpadded"),
            replace(self._teacher, name="fine-tuned teacher"),
            replace(
                final,
                name="the end of the story",
                what=how,
                threads=threads,
                kind=kind,
                batches=tuple(served["batches"]),
            ),
        ]

    @cached_property
    def stops(self) -> list[Stop]:
        """The rungs that the story took, from the padded reference up, each with the model that answers there."""
        last = factors.last_rung(self.records)
        chapter_of = {rung["rung"]: record["chapter"] for record in self.records for rung in record["rungs"]}
        taken = rungs.stack(self.ladder, last)
        rows = self.ladder.astype(object).where(self.ladder.notna(), None).to_dict("index")
        return [Stop(rows[name], self._model_of(name, chapter_of[name])) for name in taken]

    def check(self) -> None:
        """Raise InputError if a file that a lane or a stop answers with is missing."""
        for model in [*self.lanes, *(stop.model for stop in self.stops)]:
            model.check_files()

    @cached_property
    def _teacher(self) -> Model:
        name, folder = self.parameters["teacher"], resolve(self.facts[NEEDED[0]]["teacher"]["folder"])
        return Model("teacher", f"{name}, one request at a time", folder=str(folder), **self._shape)

    @cached_property
    def _reference(self) -> Model:
        name = self.parameters["reference"]
        if name.partition("@")[0] == self.parameters["teacher"].partition("@")[0]:
            return self._teacher
        return Model("reference", f"{name}, one request at a time", reference=name, trained=False, **self._shape)

    @property
    def _shape(self) -> dict[str, int]:
        return {"num_labels": self.task.num_labels, "spans": self.task.spans}

    def _model_of(self, rung: str, chapter: str) -> Model:
        """Return what answers at a rung: of which chapter it is tells, and in the first its name."""
        served, quantised = (self.facts[c][n] for c, n in (("07_serving", "served"), ("05_quantization", "quantised")))
        graphs = stacks.graphs_of_run(self.folder, served, quantised)
        threads = int(self.ladder.loc[rung, "threads"])
        if chapter in NEEDED[:2]:
            model = self._reference if rung in (rungs.PADDED, rungs.UNPADDED) else self._teacher
            padded = chapter == NEEDED[0] and rung.endswith("padded") and not rung.endswith("unpadded")
            return replace(model, name=rung, pad_to=self.task.max_length if padded else 0)
        if chapter == "03_distillation":
            folder = resolve(self.facts[chapter]["student"]["folder"])
            return Model(rung, self.ladder.loc[rung, "model"], folder=str(folder), **self._shape)
        if chapter == "04_pruning":
            is_pruned = rung == self.facts[chapter]["goes_on_from"] and rung.startswith("pruned")
            return self._of_graph(rung, graphs[served["model"] if is_pruned else "student", False])
        if chapter == "05_quantization" or (chapter == "06_runtime" and not rung.startswith("first token")):
            whole = graphs[served["model"], False]
            return self._of_graph(rung, resolve(quantised["onnx"]) if quantised["onnx"] else whole)
        return replace(self._of_graph(rung, resolve(served["onnx"])), threads=threads)

    def _of_graph(self, rung: str, graph: Path) -> Model:
        row = self.ladder.loc[rung]
        return Model(rung, f"{row['model']}, {row['precision']}", graph=str(graph), **self._shape)
