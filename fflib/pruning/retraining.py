"""Pruning with retraining: cut, tune, and learn again from the model before the cut; in one step or by and by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fflib.data.splits import TokenizedSplit
from fflib.distillation import stages as learning
from fflib.distillation.stages import DistillationStage
from fflib.distillation.teacher import PartOfOutputs, TeacherOutputs
from fflib.files import InputError
from fflib.model import importance, slicing, training
from fflib.model.encoder import Classifier
from fflib.model.slicing import Counts
from fflib.model.training import History
from fflib.pruning import fewer_tokens, mask_search


def retrain(
    whole: Classifier,
    counts: Sequence[Counts],
    texts: TokenizedSplit,
    stages: Sequence[DistillationStage],
    outputs: TeacherOutputs | PartOfOutputs,
    dev: TokenizedSplit,
    score: training.Score,
    folder: Path,
    rounds: int = 1,
    tuning: str = "weights",
    goes_on: float = 1.0,
) -> tuple[Classifier, list[History]]:
    """Prune ``whole`` to ``counts`` and distil it back from what it was (FastFormers, 2010.13382, section 3).

    With several ``rounds`` the units go in equal parts, each part chosen anew on what the retraining before it left,
    and each followed by all of ``stages``; layers go in the first.

    Args:
        texts: of *train*; what to keep is chosen, and the cut is tuned (`mask_search.tune`), on these.
        outputs: those of ``whole``, the teacher, on the training examples.
        folder: what is trained in round k goes to ``folder``/k and is not trained again.
        rounds: 1 or more (else InputError).
        goes_on: the share of tokens that go on after the first layer, see `fewer_tokens`. Where states of tokens are
            compared all of them do, and answers are learnt with those alone that will.
    """
    if rounds < 1:
        raise InputError(f"{rounds} rounds of retraining would leave the model whole; take 1 or more")
    full = [(shape.num_heads, shape.intermediate_size) for shape in whole.encoder.config.layers]
    layers = [i for i, count in enumerate(counts) if count is not None]
    # A kept layer learns to hand on what the next kept one received in the whole model; the last, what came last.
    learn_from = ",".join(str(layer) for layer in [*layers[1:], len(full)])
    inside = [stage for stage in stages if stage.objectives.looks_inside]
    answers = [stage for stage in stages if not stage.objectives.looks_inside]
    in_turn = [(1.0, inside), (goes_on, answers)] if goes_on < 1 else [(1.0, stages)]
    model, histories = whole, []
    for k in range(1, rounds + 1):
        wanted = between(full, counts, k / rounds)
        if k > 1:
            wanted = [count for count in wanted if count is not None]  # these layers are gone already
        model = fewer_tokens.let_go_on(model, 1.0)
        scores = importance.first_order(importance.gradients(model, texts))
        kept = slicing.keep_top(scores.heads, scores.neurons, wanted)
        model = mask_search.tune(model, kept, texts, tuning)
        for share, some in in_turn:
            model = fewer_tokens.let_go_on(model, share)
            if some:
                model, new = learning.distil(model, some, outputs, dev, score, folder / str(k), learn_from)
                histories += new
    return model, histories


def between(full: Sequence[tuple[int, int]], counts: Sequence[Counts], share: float) -> list[Counts]:
    """Return the counts at ``share`` of the way from ``full`` to ``counts``, rounded to whole units."""

    def at(start: int, end: int) -> int:
        return round(start + share * (end - start))

    pairs = zip(full, counts, strict=True)
    return [end and (at(start[0], end[0]), at(start[1], end[1])) for start, end in pairs]
