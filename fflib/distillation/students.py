"""Where a student comes from, layers of its teacher or a small general model, and the stages in which it learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from fflib.data.splits import TokenizedSplit
from fflib.distillation import losses, objective, teacher
from fflib.distillation.objective import Distillation, Objectives
from fflib.distillation.teacher import PartOfOutputs, TeacherOutputs
from fflib.files import InputError, content_hash
from fflib.model import cache, checkpoints, slicing, training
from fflib.model.encoder import Classifier
from fflib.model.importance import Importance, magnitude
from fflib.model.training import History, Recipe


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


@dataclass(frozen=True)
class DistillationStage:
    """One training run of a student: what it is asked to match, and how it is trained."""

    name: str
    objectives: Objectives
    recipe: Recipe


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
    other = Classifier(config, model.classifier.out_features)
    other.load_state_dict(model.state_dict())
    return other.eval()


class StudentInit:
    """Where the students of a chapter come from: layers of ``model``, or the small general model called ``name``.

    ``importance`` is needed for narrower students only; ``logits_only`` allows a named model of another vocabulary.
    """

    def __init__(
        self,
        name: str,
        model: Classifier,
        tokenizer: PreTrainedTokenizerBase,
        logits_only: bool = False,
        importance: Importance | None = None,
    ) -> None:
        self.name, self.named = name, name != "teacher"
        self._model, self._importance, self._general, self.tokenizer = model, importance, None, tokenizer
        if self.named:
            labels = model.classifier.out_features
            self._general, self.tokenizer = from_checkpoint(
                name, labels, tokenizer, logits_only, spans=model.encoder.config.spans
            )

    def candidates(self, shapes: Sequence[str]) -> list[str]:
        """Return the students to try: ``shapes``, or the one model that has a name."""
        return [self.name] if self.named else list(shapes)

    def make(self, shape: str, start: str = "", activation: str = "") -> Classifier:
        """Return an untrained student; ``start`` takes the place of the one in ``shape``."""
        if self._general is not None:
            return with_activation(self._general, activation or self._general.encoder.config.activation)
        wanted = StudentShape.parse(shape)
        wanted = replace(wanted, start=start or wanted.start)
        return from_teacher(self._model, wanted, self._importance, activation)


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
    return checkpoints.load_classifier(name, num_labels, seed, spans), tokenizer


def same_examples(teacher_examples: TokenizedSplit, student_examples: TokenizedSplit) -> None:
    """Assert that two tokenisations are of the same examples, in the same order, as far as labels tell."""
    assert len(teacher_examples) == len(student_examples), "teacher and student saw different examples"
    assert (teacher_examples.labels == student_examples.labels).all(), "teacher and student saw different examples"


def distil(
    student: Classifier,
    stages: Sequence[DistillationStage],
    outputs: TeacherOutputs | PartOfOutputs,
    dev: TokenizedSplit,
    score: training.Score,
    folder: Path,
    learn_from: str = "uniform",
    train: TokenizedSplit | None = None,
) -> tuple[Classifier, list[History]]:
    """Train a student stage by stage; a stage starts from the last one's weights, and a finished one is not run again.

    Args:
        outputs: the teacher's, on the training examples.
        folder: the stages' models go to ``folder``/<stage>; the last one is the student.
        learn_from: which of the teacher's layers it learns from, a `losses.layer_map`.
        train: the examples as the student reads them, where that is not as the teacher does.
    """
    if not stages:
        raise InputError("a student without a stage learns nothing; name a part for it to match")
    train = outputs.examples if train is None else train
    same_examples(outputs.examples, train)
    code = [Path(module.__file__) for module in (losses, objective, teacher)]
    origin = content_hash(outputs.key, learn_from, *code)
    histories = []
    for stage in stages:
        origin = content_hash(origin, asdict(stage))
        student, history = cache.train_or_load(
            lambda student=student: student,
            folder / stage.name,
            train,
            dev,
            lambda model, stage=stage: Distillation(model, outputs, stage.objectives, learn_from, train.gold),
            score,
            stage.recipe,
            origin,
        )
        histories.append(history)
    return student, histories


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
