"""What a teacher computes on fixed examples, computed once: logits and inner states, kept on disk.

Every student, every loss and every ablation asks the same teacher about the same examples. Its answers are the same
each time (dropout is off: the reference code of TinyBERT had it on), so they are read from disk, in half precision.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fflib import progress
from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.data.task import Task
from fflib.distillation.objective import Feature, observe
from fflib.files import InputError, atomic_path, check_known, content_hash, write_text
from fflib.model import cache, digests, floor_report
from fflib.model.encoder import Classifier


class TeacherOutputs:
    """Logits [n, classes] and features of ``model`` on ``examples``; implements ``objective.Teacher``.

    ``cache_gb`` bounds the files of the features that are prepared together: above it they are computed anew for each
    batch, which costs the teacher's time in every epoch but no disk. The logits are always kept.
    """

    def __init__(self, model: Classifier, examples: TokenizedSplit, cache_gb: float = 4.0) -> None:
        self.model, self.examples, self.cache_gb = model.eval(), examples, cache_gb
        self._folder = cache.outputs_folder(model, examples)
        self.key = self._folder.name  # depends on the teacher's weights and on the examples
        self._starts = np.concatenate([[0], np.cumsum(examples.lengths)])
        self._rows: dict[Feature, np.ndarray] = {}  # [tokens of all examples, width]

    @cached_property
    def logits(self) -> Tensor:
        """Logits [n, classes], float32."""
        return torch.from_numpy(cache.predict_cached(self.model, self.examples))

    def prepare(self, features: Collection[Feature]) -> None:
        """Compute what is not on disk yet, in one pass, unless it is too much for ``cache_gb``."""
        if sum(np.prod(self._shape(feature)) * 2 / 1e9 for feature in features) > self.cache_gb:
            return
        opened = {feature: self._open(feature) for feature in sorted(features) if feature not in self._rows}
        missing = [feature for feature, rows in opened.items() if rows is None]
        if missing:
            self._write(missing)
        self._rows |= opened | {feature: self._open(feature) for feature in missing}

    def features(
        self, indices: np.ndarray, inputs: Mapping[str, Tensor], wanted: Collection[Feature]
    ) -> dict[Feature, Tensor]:
        """Return the features of the examples at ``indices``, [batch, length, width]: from disk if prepared."""
        if not self._rows.keys() >= set(wanted):
            with torch.no_grad():
                return observe(self.model.eval(), inputs, wanted)[1]
        length, device = inputs["input_ids"].shape[1], inputs["input_ids"].device
        return {feature: self._rectangle(self._rows[feature], indices, length).to(device) for feature in wanted}

    def take(self, indices: Sequence[int]) -> PartOfOutputs:
        """Return the outputs on some of the examples; what is on disk serves them too."""
        return PartOfOutputs(self, np.asarray(indices))

    def first(self, count: int) -> TeacherOutputs | PartOfOutputs:
        """Return the outputs on the first ``count`` examples; 0, or more than there are, means all."""
        return self.take(range(count)) if 0 < count < len(self.examples) else self

    def _rectangle(self, rows: np.ndarray, indices: np.ndarray, length: int) -> Tensor:
        """Gather the tokens of some examples into [batch, length, width], 0 at padding."""
        batch = np.zeros((len(indices), length, rows.shape[1]), np.float32)
        for row, i in enumerate(indices):
            tokens = rows[self._starts[i] : self._starts[i + 1]]
            batch[row, : len(tokens)] = tokens
        return torch.from_numpy(batch)

    def _write(self, features: Sequence[Feature]) -> None:
        """Compute features, and the logits on the way, in one pass; a file takes its name when all are whole."""
        logits = torch.empty(len(self.examples), self.model.classifier.out_features)
        device = self.model.classifier.weight.device
        plan = batching.token_budget(self.examples.lengths, 4096)
        bar = progress.bar(len(plan), "teacher", "batch")
        with ExitStack() as stack, torch.inference_mode():
            files = {feature: stack.enter_context(self._new_file(feature)) for feature in features}
            for group, batch in zip(plan, batching.batches(self.examples, plan), strict=True):
                inputs = {name: torch.from_numpy(array).to(device) for name, array in batch.inputs.items()}
                answers, seen = observe(self.model.eval(), inputs, features)
                logits[group] = answers.float().cpu()
                for feature, states in seen.items():
                    for i, tokens in zip(group, states.half().cpu().numpy(), strict=True):
                        files[feature][self._starts[i] : self._starts[i + 1]] = tokens[: self.examples.lengths[i]]
                bar.update()
        bar.close()
        cache.keep_predictions(self.model, self.examples, logits.numpy())

    @contextmanager
    def _new_file(self, feature: Feature) -> Iterator[np.ndarray]:
        with atomic_path(self._path(feature)) as temporary:
            rows = np.lib.format.open_memmap(temporary, "w+", np.float16, self._shape(feature))
            _claim_space(temporary)
            yield rows
            rows.flush()
            digest = digests.of(temporary)
        write_text(self._digest(feature), digest)

    def _open(self, feature: Feature) -> np.ndarray | None:
        """Map a feature's file into memory; None where it is missing or damaged, as by a machine that stopped."""
        try:
            if self._digest(feature).read_text(encoding="utf-8") != digests.of(self._path(feature)):
                return None
            rows = np.load(self._path(feature), mmap_mode="r")
        except (OSError, ValueError, EOFError):
            return None
        return rows if rows.shape == self._shape(feature) else None

    def _path(self, feature: Feature) -> Path:
        kind, layer = feature
        return self._folder / f"{kind}-{layer}.npy"

    def _digest(self, feature: Feature) -> Path:
        return self._path(feature).with_suffix(".sha256")

    def _shape(self, feature: Feature) -> tuple[int, int]:
        kind, layer = feature
        config = self.model.encoder.config
        shape = config.layers[layer - 1]
        width = config.hidden_size if kind == "hidden" else shape.num_heads * shape.head_size
        return int(self._starts[-1]), width


def _claim_space(path: Path) -> None:
    """Ask for the disk space of a mapped file: a full disk then is an error now, not a signal that kills, later."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


class PartOfOutputs:
    """The outputs on a part of the examples, see `TeacherOutputs.take`; implements ``objective.Teacher`` too."""

    def __init__(self, whole: TeacherOutputs, indices: np.ndarray) -> None:
        self.whole, self.indices, self.model = whole, indices, whole.model
        self.examples = whole.examples.take(indices)
        self.key = content_hash(whole.key, self.examples.fingerprint)

    @property
    def logits(self) -> Tensor:
        """Logits [n, classes], float32."""
        return self.whole.logits[self.indices]

    def prepare(self, features: Collection[Feature]) -> None:
        """See `TeacherOutputs.prepare`."""
        self.whole.prepare(features)

    def features(
        self, indices: np.ndarray, inputs: Mapping[str, Tensor], wanted: Collection[Feature]
    ) -> dict[Feature, Tensor]:
        """See `TeacherOutputs.features`."""
        return self.whole.features(self.indices[indices], inputs, wanted)


def check_teacher(task: Task, found: floor_report.Fact, when_weak: str = "refuse", description: str = "") -> str:
    """Return a sentence on how a teacher scores on dev beside the best floor, from chapter 1's fact "floors".

    Distilling from a model that hardly learned its task fails quietly: the student learns to answer at random.
    ``when_weak`` is ``warn`` or ``refuse``, which raises InputError where the teacher is within the floor's interval.
    ``description`` is the file of a reader's own data.
    """
    check_known("way with a weak teacher", [when_weak], ("warn", "refuse"))
    above, scores = found["teacher_above_best_on_dev"], found["dev"]
    difference = f"{above['points']:+.1f} points, {above['low']:+.1f} to {above['high']:+.1f}, paired"
    beside = f"{scores['best']:.1%} of the best floor, {found['best']} ({difference})"
    if found["teacher_is_clear"]:
        return f"The teacher scores **{scores[floor_report.TEACHER]:.1%}** on dev, clearly above the {beside}."
    problem = f"the teacher scores {scores[floor_report.TEACHER]:.1%} on dev, not clearly above the {beside}"
    change = floor_report.what_to_change(found, task, description)
    advice = " ".join(filter(None, [change, floor_report.skew(found, task, description)]))
    if when_weak == "refuse":
        raise InputError(f"{problem}; {advice[0].lower()}{advice[1:].replace('*', '').rstrip('.')}")
    goes_on = f"This run goes on, since `weak_teacher` is '{when_weak}', and shows no share of its accuracy as kept."
    return f"**Careful: {problem}.** {advice} {goes_on}"
