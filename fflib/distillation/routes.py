"""Other routes to the same student, to see what the two stages are worth: labels alone, one stage, more text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fflib.data.metrics import Scored
from fflib.distillation import augmentation
from fflib.distillation.objective import FASTFORMERS, Objectives
from fflib.distillation.stages import DistillationStage
from fflib.distillation.students import StudentInit
from fflib.distillation.study import Distilled, Study
from fflib.distillation.teacher import TeacherOutputs
from fflib.files import check_known
from fflib.model import checkpoints
from fflib.model.encoder import Classifier

LABELS = ("labels", "labels, teacher's layers")
OTHERS = ("one stage", "augmented", "recombined")  # these look inside, or make text of the teacher's tokens


def names(logits_only: bool = False) -> tuple[str, ...]:
    """Name the routes there are; with ``logits_only`` those for a student that reads other tokens than its teacher."""
    return LABELS if logits_only else LABELS + OTHERS


def verdict(labels: Scored | None, n_seen: int, n_teacher: int) -> str:
    """Return a sentence on what the teacher gave that labels do not.

    Args:
        labels: by how much the route *labels* scores above the two stages; None where it was not tried.
        n_seen: how many examples both students saw.
        n_teacher: how many the teacher learnt from; 0 stands for all.
    """
    if labels is None:
        return "This run did not try labels alone; name *labels* in `routes_tried`."
    apart = "clearly ahead of" if labels.high < 0 else "clearly behind" if labels.low > 0 else "not clearly apart from"
    points, low, high = (-100 * value for value in (labels.value, labels.high, labels.low))
    many = f"{n_teacher:,} examples" if n_teacher else "all of them"
    more = " and so knows more than these examples hold" if not 0 < n_teacher <= n_seen else ""
    return (
        f"On these test texts the student taught in two stages is **{apart}** the same architecture trained on labels "
        f"alone ({points:+.1f} points, {low:+.1f} to {high:+.1f}). Both saw {n_seen:,} examples. The teacher had "
        f"learnt from {many}{more}. The learning rate of the label routes was not tuned."
    )


@dataclass(frozen=True)
class Routes:
    """Routes to the student ``shape`` of ``study``, each of as many epochs as the study's stages together.

    Args:
        pretrained: the model that became the teacher, before it saw the task.
        copies: new texts made from each example, where a route makes some.
        max_length: in tokens, of these.
    """

    study: Study
    shape: str
    pretrained: str
    copies: int = 1
    max_length: int = 128

    def possible(self, wanted: Sequence[str]) -> list[str]:
        """Return those of the routes ``wanted`` that these texts allow, see `left_out`."""
        why = self.left_out(wanted)
        return [route for route in wanted if route not in why]

    def left_out(self, wanted: Sequence[str]) -> dict[str, str]:
        """Say of those of the routes ``wanted`` that these texts do not allow why not."""
        why, known, tokenizer = {}, self.study.outputs.examples, self.study.init.tokenizer
        if "recombined" in wanted and not augmentation.are_pairs(known, tokenizer):
            why["recombined"] = "it exchanges the second texts of pairs, and these are single texts"
        elif "recombined" in wanted and self.copies >= len(known):
            why["recombined"] = f"{len(known)} pairs are too few for {self.copies} copies of each"
        if "augmented" in wanted and not any(map(len, augmentation.replaceable(known, tokenizer))):
            why["augmented"] = "it replaces English words, and these texts have none"
        return why

    def distil(self, route: str) -> Distilled:
        """Train the student by one of `names`; InputError: there is no such route for it."""
        check_known("route", [route], names(self.study.init.logits_only))
        start = self.study.init.make(self.shape)
        if route == "labels":
            return self.study.distil(route, self.untaught(), self.one_stage("labels", Objectives(labels=1.0)))
        if route == "labels, teacher's layers":
            return self.study.distil("own labels", start, self.one_stage("labels", Objectives(labels=1.0)))
        if route == "one stage":
            return self.study.distil(route, start, self.one_stage("single", FASTFORMERS))
        return self.study.distil(route, start, outputs=self.more_text(route))

    def one_stage(self, name: str, objectives: Objectives) -> Sequence[DistillationStage]:
        """Return a single stage, trained as the last of the study's is, but for the epochs of all."""
        epochs = sum(stage.recipe.epochs for stage in self.study.stages)
        return [DistillationStage(name, objectives, replace(self.study.stages[-1].recipe, epochs=epochs))]

    def untaught(self) -> Classifier:
        """Return the student as one would start it without a teacher: of the pretrained model's layers."""
        init, seed = self.study.init, self.study.stages[-1].recipe.seed
        if init.named:
            return init.make(self.shape)
        labels, spans = self.study.task.num_labels, self.study.task.spans
        pretrained = checkpoints.load_classifier(self.pretrained, labels, seed, spans)
        return StudentInit(init.name, pretrained, init.tokenizer).make(self.shape)

    def more_text(self, route: str) -> TeacherOutputs:
        """Return the teacher's outputs on the examples and on new ones made from them, see `augmentation`."""
        known, tokenizer, seed = self.study.outputs, self.study.init.tokenizer, self.study.stages[-1].recipe.seed
        if route == "recombined":
            new = augmentation.recombined(known.examples, tokenizer, self.copies, self.max_length, seed)
        else:
            words = known.model.encoder.embeddings.word.weight
            near = augmentation.neighbour_candidates(known.examples, tokenizer, words)
            new = augmentation.augment(known.examples, tokenizer, near, self.copies, seed=seed)
        return TeacherOutputs(known.model, augmentation.joined(known.examples, new), known.cache_gb)
