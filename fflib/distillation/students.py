"""Where a student comes from: layers of its teacher, or a small general model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from fflib.data.splits import TokenizedSplit
from fflib.data.task import Task
from fflib.distillation import losses, shipped_student
from fflib.files import InputError
from fflib.measure import device
from fflib.model import checkpoints, shipped, slicing
from fflib.model.encoder import Classifier
from fflib.model.importance import Importance, first_order, gradients, magnitude

TEACHER = "teacher"  # in a list of students: the teacher itself, whole, which no student is more accurate to
RANKING_TEXTS = 256  # that tell which units of a teacher a narrower student keeps


@dataclass(frozen=True)
class StudentShape:
    """The size of a student, "3x384" for layers x hidden, and the teacher's layers it starts from, "3x384@last".

    Heads and neurons shrink with the hidden width. ``start`` is a `losses.layer_map`.
    """

    layers: int
    hidden: int
    start: str = "first"

    @classmethod
    def parse(cls, text: str) -> StudentShape:
        """Read "3x384", "3x384@last" or "2x384@2,3"; InputError: it is written otherwise."""
        size, _, start = text.partition("@")
        parts = size.split("x")
        if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
            raise InputError(f"the student {text!r} is not of the form LAYERSxHIDDEN; write '3x384' or '2x384@2,3'")
        return cls(int(parts[0]), int(parts[1]), start or "first")


def from_teacher(
    teacher_model: Classifier,
    shape: StudentShape,
    importance: Importance | None = None,
    activation: str = "",
) -> Classifier:
    """Return an untrained student made of the teacher's layers, its pooler and its classifier.

    Args:
        importance: of the teacher's heads, neurons and hidden units; a narrower student keeps the most important ones,
            as many of each as its hidden width is of the teacher's. By default their magnitude decides.
        activation: another one than the teacher's: ``relu`` in place of GELU is FastFormers' choice (section 2).

    Raises:
        InputError: the student is deeper or wider than the teacher, or its width leaves a layer without a head.
    """
    config = teacher_model.encoder.config
    if shape.hidden > config.hidden_size:
        wide = f"{shape.hidden} units wide, wider than its teacher ({config.hidden_size})"
        raise InputError(f"the student is {wide}; take a narrower one")
    layers = [layer - 1 for layer in losses.layer_map(shape.start, shape.layers, len(config.layers))]
    if shape.hidden < config.hidden_size:
        student = _narrowed(teacher_model, layers, shape.hidden / config.hidden_size, importance)
    else:
        student = slicing.slice_model(teacher_model, layers)
    return with_activation(student, activation) if activation else student


def with_activation(model: Classifier, activation: str) -> Classifier:
    """Return a model with the same weights and another activation; it has to be trained again."""
    config = replace(model.encoder.config, activation=activation)
    other = Classifier(config, model.classifier.out_features).to(model.classifier.weight.device)
    other.load_state_dict(model.state_dict())
    return other.eval()


class StudentInit:
    """Where the students of a chapter come from: layers of ``model``, or the small general model called ``name``.

    ``logits_only`` allows a named model of another vocabulary. A narrower student keeps the heads, neurons and hidden
    units of ``model`` that matter most to the loss on the first `RANKING_TEXTS` of ``texts`` (first order, see
    `importance`); without texts, the largest ones. "@kept" is the student that comes with the book for ``task``.
    """

    def __init__(
        self,
        name: str,
        model: Classifier,
        tokenizer: PreTrainedTokenizerBase,
        logits_only: bool = False,
        texts: TokenizedSplit | None = None,
        task: Task | None = None,
    ) -> None:
        self._task = task
        self.left_out: dict[str, str] = {}  # why a student that comes with the book is not tried
        self.name, self.named, self.logits_only = name, name != TEACHER, logits_only
        self._model, self._texts, self._general, self.tokenizer = model, texts, None, tokenizer
        if self.named:
            labels = model.classifier.out_features
            self._general, self.tokenizer = from_checkpoint(
                name, labels, tokenizer, logits_only, spans=model.encoder.config.spans
            )

    def candidates(self, shapes: Sequence[str]) -> list[str]:
        """Return what to try, in order: ``shapes``, or the one model that has a name; after them the `TEACHER` itself.

        So there is always one that keeps all of the teacher. A student that comes with the book is left out where it
        does not fit this teacher and task; `left_out` says why. InputError: there is no student among ``shapes``.
        """
        students = [shape for shape in shapes if shape != TEACHER and (self.named or self._fits(shape))]
        if not students and not self.named:
            why = "".join(f" ({reason})" for reason in self.left_out.values())
            raise InputError(f"students_tried names no student to try{why}; name one, such as '3x384'")
        return [*([self.name] if self.named else students), TEACHER]

    def make(self, shape: str, start: str = "", activation: str = "") -> Classifier:
        """Return an untrained student; ``start`` takes the place of the one in ``shape``. The `TEACHER`: as it is."""
        if shape == TEACHER:
            return self._model
        if self._general is not None:
            return with_activation(self._general, activation or self._general.encoder.config.activation)
        wanted = StudentShape.parse(shape)
        wanted = replace(wanted, start=start or wanted.start)
        if wanted.start == shipped_student.KEPT:
            student = shipped_student.take(self._kept_file(wanted), self._model)
            return with_activation(student, activation) if activation else student
        narrower = wanted.hidden < self._model.encoder.config.hidden_size
        return from_teacher(self._model, wanted, self._importance if narrower else None, activation)

    def minutes_before(self, shape: str) -> float:
        """Return how many minutes a student that comes with the book had been taught; of any other 0."""
        return sum(history["seconds"] for history in self._record_before(shape).get("histories", ())) / 60

    def texts_before(self, shape: str) -> int:
        """Return on how many texts a student that comes with the book had been taught; of any other 0."""
        record = self._record_before(shape)
        return record.get("taught_on", {}).get("n") or record.get("examples", {}).get("train", 0)

    def _record_before(self, shape: str) -> dict[str, Any]:
        is_kept = shipped_student.is_kept(shape)
        return shipped.record_of(self._kept_file(StudentShape.parse(shape))) if is_kept else {}

    def _fits(self, shape: str) -> bool:
        if shipped_student.is_kept(shape):
            try:
                shipped_student.take(self._kept_file(StudentShape.parse(shape)), self._model)
            except InputError as error:
                self.left_out[shape] = str(error)
        return shape not in self.left_out

    def _kept_file(self, shape: StudentShape) -> Path:
        return shipped_student.file_of(self._task, f"{shape.layers}x{shape.hidden}")

    @cached_property
    def _importance(self) -> Importance:
        if self._texts is None:
            return magnitude(self._model)
        texts = self._texts.take(range(min(len(self._texts), RANKING_TEXTS)))
        return first_order(gradients(self._model, texts))


def from_checkpoint(
    name: str,
    num_labels: int,
    teacher_tokenizer: PreTrainedTokenizerBase,
    logits_only: bool = False,
    seed: int = 0,
    spans: int = 0,
) -> tuple[Classifier, PreTrainedTokenizerBase]:
    """Return a small general model (TinyBERT, distilRoBERTa, ...) and the tokenizer it reads text with.

    Raises:
        InputError: it reads text as other tokens than the teacher, unless ``logits_only`` says that no inner states
            will be compared.
    """
    tokenizer = checkpoints.load_tokenizer(name)
    if tokenizer.get_vocab() != teacher_tokenizer.get_vocab() and not logits_only:
        raise InputError(
            f"{name} reads text as other tokens than its teacher, so their inner states belong to different tokens "
            "(FastFormers found that distilling across vocabularies does not work well); take a student with the "
            "teacher's vocabulary, or set logits_only"
        )
    return device.placed(checkpoints.load_classifier(name, num_labels, seed, spans)), tokenizer


def _narrowed(
    teacher_model: Classifier, layers: Sequence[int], share: float, importance: Importance | None
) -> Classifier:
    """Keep the same share of hidden units, of heads and of neurons, the most important of each."""
    importance = magnitude(teacher_model) if importance is None else importance
    config = teacher_model.encoder.config
    heads = [slicing.top(importance.heads[i], round(share * config.layers[i].num_heads)) for i in layers]
    neurons = [slicing.top(importance.neurons[i], round(share * config.layers[i].intermediate_size)) for i in layers]
    if not all(heads):
        raise InputError(f"{share:.0%} of the teacher's width leaves a layer without a head; take a wider student")
    hidden = slicing.top(importance.hidden, round(share * config.hidden_size))
    return slicing.slice_model(teacher_model, layers, heads, neurons, hidden)
