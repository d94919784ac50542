"""What a chapter gets: its parameters, the task and its texts, and what earlier chapters of the run left."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import nn
from transformers import PreTrainedTokenizerBase

from fflib.book import kept
from fflib.data import batching, metrics, registry, retention, splits
from fflib.data.metrics import Gold, Scored
from fflib.data.retention import Retention
from fflib.data.splits import Split, TokenizedSplit
from fflib.data.task import Task
from fflib.files import InputError, resolve
from fflib.measure import device
from fflib.model import cache, checkpoints
from fflib.model.encoder import Classifier
from fflib.runs import params, records

TEACHER, STUDENT, PRUNED = MODELS = ("teacher", "student", "pruned student")
Model = TypeVar("Model", bound=nn.Module)
LIMITS = {"dev": "n_dev", "test": "n_test"}  # the parameters that say how many examples of a split count


class Inputs:
    """Parameters, texts and models of a chapter. All is read when it is first asked for, and once.

    Args:
        chapter: the name of the notebook, such as ``03_distillation``.
        namespace: the notebook's variables; those that its parameters cell declares are the chapter's parameters.

    Raises:
        InputError: a parameter is of another type, or its device cannot be used here.
    """

    def __init__(self, chapter: str, namespace: Mapping[str, Any]) -> None:
        self.name = chapter
        declared = params.declared(chapter)
        self.values = {name: params.check_value(one, namespace[name]) for name, one in declared.items()}
        self.device = device.use(self.values.get("device", device.CPU))
        self.folder = resolve(self.values["run_dir"])
        self._records: dict[str, dict[str, Any]] = {}
        self._splits: dict[tuple[str, int], Split] = {}
        self._teacher_logits: dict[str, np.ndarray] = {}

    def record(self, chapter: str) -> dict[str, Any]:
        """Return what an earlier chapter of this run left; InputError: it is missing or outdated, see `records`."""
        if chapter not in self._records:
            self._records[chapter] = records.current(self.folder, chapter)
        return self._records[chapter]

    def facts_of(self, chapter: str) -> dict[str, Any]:
        """Return what an earlier chapter found out."""
        return self.record(chapter)["facts"]

    def kept(self, run: str = "docs-cpu") -> kept.KeptChapter | None:
        """Return what a kept run found in this same chapter, to be shown beside this run's; None: it has none."""
        return kept.chapter_of(self.name, run)

    def rung(self, name: str) -> dict[str, Any]:
        """Return a rung of an earlier chapter. InputError: there is none of that name."""
        chapters = params.ON_CARD if self.name == params.CARD else params.chapters()[1:]
        earlier = [self.record(chapter) for chapter in chapters if chapter < self.name]
        rungs = {rung["rung"]: rung for record in earlier for rung in record["rungs"]}
        if name not in rungs:
            raise InputError(f"no chapter before {self.name} left a rung '{name}'; run the book again")
        return rungs[name]

    @cached_property
    def task(self) -> Task:
        """The task of the run."""
        return registry.get_task(self.values["task"])

    def split(self, name: str, limit: int | None = None) -> Split:
        """Return the texts of train, dev or test, the first ``limit`` of a random order (0: all).

        Of dev and test as many as the parameters say, and the very ones that chapter 1 saw. InputError: they are not.
        """
        count = (self.values[LIMITS[name]] if limit is None and name in LIMITS else limit) or 0
        if (name, count) in self._splits:
            return self._splits[name, count]
        found = splits.load_split(self.values["task"], name, self.values["data_source"], count or None)
        reported = name in LIMITS and self.name != params.BASELINE
        if reported and found.fingerprint != self.facts_of(params.BASELINE)["data_fingerprint"][name]:
            raise InputError(f"chapter 1 saw other {name} data; run the book again")
        self._splits[name, count] = found
        return found

    def texts(
        self,
        name: str,
        model: str | PreTrainedTokenizerBase = TEACHER,
        limit: int | None = None,
        length: int | None = None,
    ) -> TokenizedSplit:
        """Return `split` in the tokens that ``model`` reads, cut to ``length`` tokens (none: the task's longest).

        ``model`` is one of `MODELS`, or a tokenizer.
        """
        tokenizer = self.tokenizer(model) if isinstance(model, str) else model
        return splits.tokenize(self.split(name, limit), tokenizer, length or self.task.max_length)

    def folder_of(self, model: str) -> Path:
        """Return where the weights of one of `MODELS` are."""
        if model == TEACHER:
            return resolve(self.facts_of("01_baseline")["teacher"]["folder"])
        if self._learned_its_rounding(model):  # other weights, in a folder of their own
            return self.folder / "models" / "quantised-student"
        if model == STUDENT:
            return resolve(self.facts_of("03_distillation")["student"]["folder"])
        return resolve(self.facts_of("04_pruning")["pruned"]["folder"])

    def graph_file(self, model: str) -> Path:
        """Return where the ONNX graph of one of `MODELS` lies; the files of its recipes lie beside it."""
        folders = {TEACHER: "teacher", STUDENT: "unpruned"}
        if self._learned_its_rounding(model):
            name = "learned"
        else:
            name = folders.get(model) or self.facts_of("04_pruning")["pruned"]["shape"].replace("/", "-")
        return self.folder / "models" / "onnx" / name / "model.onnx"

    def load(self, model: str) -> Classifier:
        """Return one of `MODELS` as an earlier chapter left it, on the device of this run."""
        return device.placed(checkpoints.load(self.folder_of(model)))

    def placed(self, model: Model) -> Model:
        """Return a model that was made here on the device of this run."""
        return device.placed(model)

    @property
    def peak_mb(self) -> float | None:
        """The most memory, in MB, that this chapter's tensors have taken on the card; None: its device is no card."""
        return device.peak_mb()

    def tokenizer(self, model: str) -> PreTrainedTokenizerBase:
        """Return the tokenizer of one of `MODELS`: a student may have another vocabulary than its teacher."""
        origins = {TEACHER: lambda: self.folder_of(TEACHER)}
        origins[STUDENT] = lambda: resolve(self.facts_of("03_distillation")["student"]["folder"])
        origins[PRUNED] = lambda: resolve(self.facts_of("04_pruning")["pruned"]["folder"])
        return checkpoints.load_tokenizer(str(origins[model]()))

    @cached_property
    def final(self) -> str:
        """The model that the story goes on with after chapter 4: the pruned student if it kept its accuracy."""
        return PRUNED if self.facts_of("04_pruning")["pruned"]["met_the_rule"] else STUDENT

    @cached_property
    def best_batching(self) -> tuple[str, int]:
        """What chapter 2 found fastest: a key of `batching.PLANS`, and its size."""
        kind, size = self.facts_of("02_batching")["best"]
        return kind, size

    def best_plan(self, lengths: np.ndarray) -> batching.Plan:
        """Return the batches that chapter 2 found fastest, for texts of these lengths."""
        kind, size = self.best_batching
        return batching.PLANS[kind](lengths, size)

    @property
    def teacher_accuracy(self) -> float:
        """What the teacher scores on test."""
        return self.facts_of("01_baseline")["teacher"]["accuracy"]

    @property
    def teacher_is_clear(self) -> bool:
        """Whether the teacher is clearly above the floors; of one that is not, no share is shown as kept."""
        return records.teacher_is_clear(self.facts_of(params.BASELINE))

    def score(self, logits: np.ndarray, gold: Gold) -> float:
        """Return the score of ``logits`` [n, classes] by the task's metrics, 0 to 1."""
        return metrics.score(self.task, logits, gold)

    def scored(self, logits: np.ndarray, gold: Gold) -> Scored:
        """Return the score with its bootstrap interval, of as many resamples as the parameters say."""
        return metrics.scored(self.task, logits, gold, self.values["n_resamples"])

    def teacher_logits(self, split: str) -> np.ndarray:
        """Return the teacher's logits [n, classes] on all examples of dev or test that count."""
        if split not in self._teacher_logits:
            self._teacher_logits[split] = cache.predict_cached(self.load(TEACHER), self.texts(split))
        return self._teacher_logits[split]

    def retention(self, logits: np.ndarray, split: str = "dev") -> Retention:
        """Return what share of the teacher's score ``logits`` [n, classes] keep, paired, on all of dev or test.

        Every choice asks `Retention.holds` on dev; see `fflib.data.retention` for the rule.
        """
        gold, resamples = self.split(split).gold, self.values["n_resamples"]
        return retention.retention(self.task, logits, self.teacher_logits(split), gold, resamples)

    def _learned_its_rounding(self, model: str) -> bool:
        if self.name <= "05_quantization" or self.name == params.CARD or model == TEACHER:
            return False
        quantised = self.facts_of("05_quantization")["quantised"]
        return quantised["learned"] and quantised["model"] == model
