"""The shapes that a pruning study compares: which there are, what becomes of each, and how one is chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fflib.data.retention import Retention
from fflib.model import slicing
from fflib.model.config import LayerShape
from fflib.model.encoder import Classifier
from fflib.model.slicing import Counts
from fflib.model.training import History

UNPRUNED = "unpruned"  # the name of the model that all of them are cut from
UNIFORM, SEARCHED, DEPTH, TOKENS = "uniform", "searched", "fewer layers", "fewer tokens"  # kinds of shapes


@dataclass
class Candidate:
    """A shape to prune to and, as they come, its models and their scores.

    ``counts`` has the heads and neurons that each layer of the unpruned model keeps (None: the layer goes), and
    ``goes_on`` the share of tokens that go on after the first layer. ``target``
    is the speed-up that a searched shape and the uniform one it is compared with are made for. ``rung`` is the name
    under which it always stands on the ladder; '' for none. ``tuned`` is the cut and tuned model, not trained, and
    ``tuning`` how it was tuned, one of `mask_search.TUNINGS`; ``retrained`` has the trained model of each seed with its
    histories. ``predicted_ms`` is the mean time of a request. ``kept`` is what the served model keeps of the teacher's
    score on dev.
    """

    name: str
    kind: str
    counts: Sequence[Counts]
    target: float | None = None
    rung: str = ""
    goes_on: float = 1.0
    tuning: str = "weights"
    tuned: Classifier | None = None
    retrained: list[tuple[Classifier, list[History]]] = field(default_factory=list)
    predicted_ms: float = math.nan
    dev_scores: list[float] = field(default_factory=list)
    kept: Retention | None = None

    @property
    def file_name(self) -> str:
        """The name, fit to be that of a folder."""
        return self.name.replace("/", "-")

    @property
    def models(self) -> list[Classifier]:
        """The tuned model, then the retrained one of each seed."""
        return [self.tuned, *(model for model, _ in self.retrained)]

    def judge(self, dev_score: Callable[[Classifier], float], kept_on_dev: Callable[[Classifier], Retention]) -> None:
        """Score all `models`, 0 to 1, by ``dev_score``: it decides which one is served, and that is asked the rule."""
        self.dev_scores = [dev_score(model) for model in self.models]
        self.kept = kept_on_dev(self.model)

    @property
    def is_retrained(self) -> bool:
        """Whether the first seed's model is served and not the tuned one, which is no worse on dev then."""
        return len(self.dev_scores) > 1 and self.dev_scores[1] > self.dev_scores[0]

    @property
    def model(self) -> Classifier:
        """The model that is served."""
        return self.models[int(self.is_retrained)]

    @property
    def dev_score(self) -> float:
        """What the served model scores on dev, 0 to 1."""
        return self.dev_scores[int(self.is_retrained)]

    @property
    def shown(self) -> dict[bool, Classifier]:
        """The models whose accuracy is reported, by whether they are retrained: the served one.

        Both, where it is to be compared with another shape of the same target.
        """
        versions = dict(enumerate(self.models[:2]))
        return {bool(i): model for i, model in versions.items() if self.target or bool(i) == self.is_retrained}

    @property
    def minutes(self) -> float:
        """What the retraining took, of all seeds."""
        return sum(history.seconds for _, histories in self.retrained for history in histories) / 60

    def row(self, unpruned_ms: float) -> dict[str, object]:
        """What a table shows of it: the predicted speed-up over ``unpruned_ms``, and what training did for it."""
        tuned, *retrained = (100 * score for score in self.dev_scores)
        return {
            "shape": self.name,
            "predicted speed-up": unpruned_ms / self.predicted_ms,
            "tuned": self.tuning,
            "dev %, tuned only": tuned,
            "dev %, retrained": retrained[0] if retrained else math.nan,
            "worst and best seed": f"{min(retrained):.1f} to {max(retrained):.1f}" if len(retrained) > 1 else "",
            "of the teacher's on dev": self.kept.words,
            "minutes of retraining": self.minutes,
        }


def collect(
    shapes: Sequence[LayerShape],
    percentages: Sequence[str],
    by_target: Mapping[float, Mapping[str, Sequence[Counts]]],
    depths: Sequence[int],
    removal_losses: Sequence[float],
    shares: Sequence[float] = (),
) -> list[Candidate]:
    """Return the candidates, each name once: uniform ones, two for each target, of fewer layers, and of fewer tokens.

    Args:
        shapes: of the unpruned model's layers.
        percentages: to remove everywhere, "33/50", see `slicing.uniform`.
        by_target: of each speed-up that is wanted the shapes "searched" and "uniform".
        depths: numbers of layers to leave; those that leave none or all are passed over.
        removal_losses: what is lost with each layer: the layers that stay are those that cost most to lose.
        shares: of the tokens, to go on after the first layer of a model that is whole otherwise.
    """
    found = [
        Candidate(f"uniform {text}", UNIFORM, slicing.uniform(text, shapes), rung=f"pruned {text}")
        for text in percentages
    ]
    for target, shape in by_target.items():
        found.append(Candidate(f"searched for {target:g}x", SEARCHED, shape["searched"], target))
        found.append(Candidate(f"uniform for {target:g}x", UNIFORM, shape["uniform"], target))
    for depth in depths:
        if 0 < depth < len(shapes):
            name = f"{depth} of {len(shapes)} layers"
            counts = fewer_layers(shapes, removal_losses, depth)
            found.append(Candidate(name, DEPTH, counts, rung=f"pruned to {name}"))
    whole = [(shape.num_heads, shape.intermediate_size) for shape in shapes]
    for share in shares:
        if share < 1:
            name = f"{share:.0%} of the tokens"
            found.append(Candidate(name, TOKENS, whole, rung=f"pruned to {name}", goes_on=share))
    return list({candidate.name: candidate for candidate in found}.values())


def fewer_layers(shapes: Sequence[LayerShape], removal_losses: Sequence[float], depth: int) -> list[Counts]:
    """Keep whole the ``depth`` layers whose removal costs most."""
    best = set(np.argsort(removal_losses)[::-1][:depth].tolist())
    return [(shape.num_heads, shape.intermediate_size) if i in best else None for i, shape in enumerate(shapes)]


def pairs(candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, Candidate]]:
    """Yield of each target the searched candidate, and the uniform one that is predicted to be as fast."""
    by_kind = {(candidate.kind, candidate.target): candidate for candidate in candidates if candidate.target}
    for (kind, target), candidate in by_kind.items():
        if kind == SEARCHED:
            yield candidate, by_kind[UNIFORM, target]


def by_target(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Return the shapes that are tried in any case, then those of each target speed-up, the fastest target first."""
    targets = sorted({candidate.target for candidate in candidates if candidate.target}, reverse=True)
    return [[candidate for candidate in candidates if candidate.target == target] for target in (None, *targets)]


def choose(candidates: Sequence[Candidate], ms: Mapping[str, float], min_retention: float, as_fast: float) -> Candidate:
    """Return the most accurate of the fastest candidates that keep the rule (`Retention.holds`) and save time.

    Where none does, the most accurate of all. ``ms`` has the measured time of each and of the unpruned model; times
    within the factor ``as_fast`` of the least count as equal.
    """
    accurate = [candidate for candidate in candidates if candidate.kept.holds(min_retention)]
    faster = [candidate for candidate in accurate if ms[candidate.name] < ms[UNPRUNED]]
    limit_ms = as_fast * min((ms[candidate.name] for candidate in faster), default=math.inf)
    fastest = [candidate for candidate in faster or candidates if ms[candidate.name] <= limit_ms]
    return max(fastest, key=lambda candidate: (candidate.dev_score, -ms[candidate.name]))


def rungs(
    candidates: Sequence[Candidate], ms: Mapping[str, float], min_retention: float, chosen: Candidate
) -> dict[str, Candidate]:
    """Return what goes on the ladder, by the name of the rung: shapes that always do, the searched one, the chosen one.

    Of the searched ones the fastest that keeps the rule; where none does, the fastest of all: the ladder shows its
    accuracy, and marks it.
    """
    found = {candidate.rung: candidate for candidate in candidates if candidate.rung}
    searched = [candidate for candidate in candidates if candidate.kind == SEARCHED]
    accurate = [candidate for candidate in searched if candidate.kept.holds(min_retention)]
    if searched:
        found["pruned for latency"] = min(accurate or searched, key=lambda candidate: ms[candidate.name])
    if chosen.name not in [candidate.name for candidate in found.values()]:
        found[f"pruned, {chosen.name}"] = chosen
    return found
