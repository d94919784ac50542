"""What a race of engines takes from a finished run: its models, the file it serves, its texts, batches and threads.

And the form of what races: a `Way` to serve a `Subject`, made from a `Field`.

A run is read whatever code made it, since its models and files are all that counts here: that a file belongs to the
model's weights, and that the texts are those of the run, is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fflib.data import batching, registry, splits
from fflib.data.splits import Split, TokenizedSplit
from fflib.engine import export
from fflib.files import InputError, resolve, shown
from fflib.measure.timing import Predictor, Together
from fflib.model import checkpoints, training
from fflib.model.encoder import Classifier
from fflib.runs import params, records

TEACHER, STUDENT, PRUNED = "teacher", "student", "pruned student"
CHAPTERS = ("01_baseline", "03_distillation", "04_pruning", "05_quantization", "06_runtime", "07_serving")


@dataclass(frozen=True, eq=False)
class Subject:
    """A model that engines are given, and the texts in its own tokens.

    ``expected`` and ``expected_checked`` are its own logits [n, classes] on ``requests``, which are timed, and on
    ``checked``, on which labels are counted before that. ``calibration`` are texts of train.
    """

    name: str
    model: Classifier
    requests: TokenizedSplit
    checked: TokenizedSplit
    calibration: TokenizedSplit
    expected: np.ndarray
    expected_checked: np.ndarray


@dataclass(frozen=True, eq=False)
class Field:
    """What a race is about.

    ``final`` is the model that is served: its ``file`` holds the ``graph``, which is named, in ``recipe`` ('': fp32).
    ``student`` is the same before pruning, or ``final`` itself. ``folder`` takes what engines write. ``largest`` says
    how many texts a batch and how many tokens a text may have.
    """

    final: Subject
    student: Subject
    teacher: Subject
    file: Path
    graph: str
    recipe: str
    threads: int
    folder: Path
    largest: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Way:
    """A way to serve a model. ``exact``: its logits have to be the model's; else its labels are counted.

    ``note`` says in a sentence what a reader has to know to compare it, '' where nothing.
    """

    engine: str
    version: str
    settings: str
    subject: Subject
    exact: bool
    alone: Predictor
    together: Together
    note: str = ""

    @property
    def name(self) -> str:
        """The engine and the model."""
        return f"{self.engine}, {self.subject.name}"


class FinishedRun:
    """A run whose chapters up to 7 are there. InputError: one is not, or it is of a graphics card."""

    def __init__(self, run: params.Run) -> None:
        run.refuse_card("python -m fflib.runtime.peers")
        self.run = run
        self.records = {chapter: self._record(chapter) for chapter in CHAPTERS}

    def _record(self, chapter: str) -> dict[str, Any]:
        path = records.path_of(self.run.folder, chapter)
        if not path.exists():
            raise InputError(f"{shown(path)} is not there; run the book first: make book RUN={self.run.name}")
        return records.read_file(path)

    def facts(self, chapter: str) -> dict[str, Any]:
        """Return what a chapter found out."""
        return self.records[chapter]["facts"]

    @property
    def values(self) -> Mapping[str, Any]:
        """The parameters of chapter 6, which compares engines."""
        return self.records["06_runtime"]["parameters"]

    @property
    def served(self) -> Mapping[str, Any]:
        """What chapter 7 serves: its ``model``, ``recipe``, file (``onnx``), and ``batches``, a plan and its size."""
        return self.facts("07_serving")["served"]

    def plan(self, lengths: np.ndarray) -> batching.Plan:
        """Return the batches in which the run is served, for texts of these lengths."""
        kind, size = self.served["batches"]
        return batching.PLANS[kind](lengths, size)

    def served_file(self, model: Classifier) -> Path:
        """Return the file that is served. InputError: it is missing, or of other weights than those of ``model``."""
        path = resolve(self.served["onnx"])
        export.check_belongs(path, model)
        return path

    def subject(self, name: str, n_requests: int, n_checked: int) -> Subject:
        """Return one of `TEACHER`, `STUDENT` and `PRUNED` with so many texts of test, spread as the lengths of all.

        InputError: its folder is missing or damaged, or the texts are not those of the run.
        """
        model = checkpoints.load(self._folder_of(name))
        tokenizer = checkpoints.load_tokenizer(str(self._tokens_of(name)))
        test, train = (self._tokenized(split, tokenizer) for split in (self.test, self._train))
        requests = test.take(batching.evenly_by_length(test.lengths, n_requests))
        checked = test.take(batching.evenly_by_length(test.lengths, n_checked))
        expected = [training.predict(model, texts) for texts in (requests, checked)]
        return Subject(name, model, requests, checked, train, *expected)

    @cached_property
    def test(self) -> Split:
        """The test texts of the run. InputError: this machine has others."""
        found = splits.load_split(
            self.values["task"], "test", self.values["data_source"], self.values["n_test"] or None
        )
        if found.fingerprint != self.facts("01_baseline")["data_fingerprint"]["test"]:
            raise InputError("the run saw other test texts than there are now; run the book again: make book")
        return found

    @cached_property
    def _train(self) -> Split:
        values = self.values
        train = splits.load_split(values["task"], "train", values["data_source"], values["n_train"] or None)
        return train.head(values["n_calibrate"])

    def _tokenized(self, split: Split, tokenizer: Any) -> TokenizedSplit:
        return splits.tokenize(split, tokenizer, registry.get_task(self.values["task"]).max_length)

    def _tokens_of(self, name: str) -> Path:
        facts = {TEACHER: ("01_baseline", "teacher"), STUDENT: ("03_distillation", "student")}
        chapter, key = facts.get(name, ("04_pruning", "pruned"))
        return resolve(self.facts(chapter)[key]["folder"])

    def _folder_of(self, name: str) -> Path:
        quantised = self.facts("05_quantization")["quantised"]
        if quantised["learned"] and quantised["model"] == name:  # trained once more with its rounding: other weights
            return self.run.folder / "models" / "quantised-student"
        return self._tokens_of(name)
