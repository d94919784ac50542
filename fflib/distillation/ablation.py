"""What an ablation of distillation changes, one thing at a time, as in TinyBERT's tables 2 to 4 (1909.10351)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fflib.distillation.objective import INSIDE
from fflib.distillation.stages import DistillationStage
from fflib.distillation.study import Study
from fflib.model.encoder import Classifier

LAYERS = ("first", "last", "uniform")


@dataclass(frozen=True)
class Change:
    """A recipe with one thing changed. Empty: as it was. ``start``: the layers it starts from, a layer map."""

    stages: tuple[DistillationStage, ...]
    start: str = ""
    learn_from: str = ""
    activation: str = ""


def names() -> list[str]:
    """Name every change there is."""
    parts = [f"{what} {part}" for part in INSIDE for what in ("without", "with")]
    layers = [f"{what} from {kind}" for kind in LAYERS for what in ("start", "learn")]
    return [*parts, "without the inside", "labels for answers", "answers and labels", "temperature 2", "ReLU", *layers]


def change(
    name: str, stages: Sequence[DistillationStage], student: Classifier, teacher: Classifier, named: bool
) -> Change | str:
    """Return the recipe ``stages`` with the change ``name``, or in a few words why it does not apply here.

    The last stage learns the answers; one before it, if there is one, the inside. ``named``: the student is a model of
    its own, not made of the teacher's layers.
    """
    *inside, answers = stages
    what, _, rest = name.partition(" ")
    if rest in INSIDE:
        return _with_part(rest, float(what == "with"), inside, answers, student, teacher)
    if what == "start":
        return "the student is not made of the teacher's layers" if named else Change(tuple(stages), start=rest[5:])
    if what == "learn":
        return Change(tuple(stages), learn_from=rest[5:]) if inside else "nothing inside is compared"
    if name == "ReLU":
        return Change(tuple(stages), activation="relu")
    if name == "without the inside":
        return Change((answers,)) if inside else "nothing inside is compared"
    weights = {
        "labels for answers": {"logits": 0.0, "labels": 1.0},
        "answers and labels": {"labels": 1.0},
        "temperature 2": {"temperature": 2.0},
    }[name]
    return Change((*inside, replace(answers, objectives=replace(answers.objectives, **weights))))


def applicable(names: Sequence[str], study: Study, student: Classifier) -> tuple[dict[str, Change], dict[str, str]]:
    """Return the changes of these ``names`` that apply to the recipe of ``study``, and why the others do not."""
    known = {name: change(name, study.stages, student, study.outputs.model, study.init.named) for name in names}
    apply = {name: found for name, found in known.items() if isinstance(found, Change)}
    return apply, {name: why for name, why in known.items() if isinstance(why, str)}


def _with_part(
    part: str,
    weight: float,
    inside: Sequence[DistillationStage],
    answers: DistillationStage,
    student: Classifier,
    teacher: Classifier,
) -> Change | str:
    """Change the weight of one part of the first stage."""
    if not inside:
        return "nothing inside is compared"
    before = inside[0].objectives
    if (getattr(before, part) > 0) == (weight > 0):
        return "the recipe has it already" if weight else "the recipe does not have it"
    after = replace(before, **{part: weight})
    if not any(getattr(after, other) for other in INSIDE):
        return "nothing would be left to compare"
    heads = {shape.num_heads for model in (student, teacher) for shape in model.encoder.config.layers}
    if part.startswith("attention") and len(heads) > 1:
        return "student and teacher have unlike numbers of heads"
    return Change((replace(inside[0], objectives=after), answers))
