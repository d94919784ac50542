"""The one training loop of the book: fine-tuning and distillation differ only in the loss they hand it.

AdamW with warm-up and linear decay, clipped gradients, batches of like length, bfloat16 where the device has it,
selection of the best weights on *dev*, and a state file that lets an interrupted run go on where it was. (Longer than
the other modules, since the loop and the state it goes on from are one idea.)
"""

from __future__ import annotations

import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fflib import progress, spent
from fflib.data import batching
from fflib.data.metrics import Gold
from fflib.data.splits import TokenizedSplit
from fflib.files import atomic_path, content_hash
from fflib.measure import device, hardware
from fflib.model.encoder import Classifier

Loss = Callable[[nn.Module, dict[str, Tensor], np.ndarray], Tensor]
Score = Callable[[np.ndarray, Gold], float]
SAVE_EVERY_S = 60.0


@dataclass(frozen=True)
class Recipe:
    """How to train. ``warmup`` is a share of the steps; ``patience``: how many bad evaluations end it (0: none).

    With no ``evaluations_per_epoch`` dev is not looked at and the last weights are kept: a student that matches inner
    states has no answers to score yet.
    """

    epochs: int = 2
    batch_size: int = 16
    learning_rate: float = 5e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dropout: float = 0.1
    freeze_words: bool = False  # leave the word embeddings as they are: in MiniLM about half of all weights
    evaluations_per_epoch: int = 2
    patience: int = 0
    seed: int = 0


@dataclass
class History:
    """What training saw: (step, mean loss of up to 20 steps), (step, dev score), the best of these, seconds of work."""

    loss: list[tuple[int, float]] = field(default_factory=list)
    dev_score: list[tuple[int, float]] = field(default_factory=list)
    best_score: float | None = None
    seconds: float = 0.0
    resumed: int = 0


def label_loss(train: TokenizedSplit) -> Loss:
    """Make the loss of plain fine-tuning, `cross_entropy` of the logits with what is right about ``train``."""

    def loss(model: nn.Module, inputs: dict[str, Tensor], indices: np.ndarray) -> Tensor:
        return cross_entropy(model(**inputs, **_logits_alone(model)).logits, train.gold, indices)

    return loss


def cross_entropy(logits: Tensor, gold: Gold, indices: np.ndarray) -> Tensor:
    """Return the mean cross-entropy of a batch: ``logits`` [batch, classes] of the examples at ``indices``.

    Where one answer of each question is right, the answers compete: their scores, the log-odds of yes, go through one
    softmax, as in a choice, and not each through its own (COPA in SuperGLUE, 1905.00537, appendix B).
    """
    labels = torch.from_numpy(gold.labels[indices]).to(logits.device)
    if not gold.one_right:
        return nn.functional.cross_entropy(logits.float(), labels)
    questions = torch.from_numpy(np.unique(gold.questions[indices], return_inverse=True)[1]).to(logits.device)
    scores = logits[:, 1].float() - logits[:, 0].float()
    together = scores.new_zeros(int(questions.max()) + 1).index_add(0, questions, (scores - scores.max()).exp())
    return (together.log() + scores.max() - scores[labels == 1]).mean()


def fit(
    model: Classifier,
    train: TokenizedSplit,
    dev: TokenizedSplit,
    loss: Loss,
    score: Score,
    recipe: Recipe,
    state_file: Path | None = None,
    origin: str = "",
) -> History:
    """Train ``model`` in place and leave it with the weights that scored best on ``dev``.

    Args:
        loss: called with (model, inputs on the model's device, indices into ``train``); returns a scalar. One that is a
            module may have weights of its own (projections), which are trained along.
        score: called with (logits [n, classes], what is right) of dev; larger is better.
        state_file: where to keep the state for resuming; removed at the end. A state of other inputs is ignored.
        origin: what else decides the weights, such as how ``loss`` was made: a state of another origin is ignored too.
    """
    torch.manual_seed(recipe.seed)
    _set_dropout(model, recipe.dropout)
    model.encoder.embeddings.word.requires_grad_(not recipe.freeze_words)
    plans = [_epoch_plan(train, recipe, epoch) for epoch in range(recipe.epochs)]
    batches = [group for plan in plans for group in plan]
    evaluate_at = _evaluation_steps([len(plan) for plan in plans], recipe.evaluations_per_epoch)
    key = content_hash(asdict(recipe), train.fingerprint, dev.fingerprint, origin, torch.__version__)
    loop = _Loop(model, loss, recipe, len(batches), state_file, key)
    bar = progress.bar(len(batches), "train", "step")
    bar.update(loop.step)
    while loop.step < len(batches) and not loop.stopped:
        start = time.perf_counter()
        group = batches[loop.step]
        model.train()
        with _autocast(model):
            value = loss(model, _to_device(batching.collate(train, group), model), group)
        loop.update(value)
        if loop.step in evaluate_at:
            loop.evaluated(score(predict(model, dev, rough=True), dev.gold))
            bar.set_postfix(dev=f"{loop.history.dev_score[-1][1]:.3f}")
        loop.history.seconds += time.perf_counter() - start
        loop.save_if_due()
        bar.update()
    bar.close()
    return loop.finish()


@spent.on("prediction")
def predict(model: nn.Module, examples: TokenizedSplit, max_tokens: int = 2048, rough: bool = False) -> np.ndarray:
    """Return the logits [n, classes] (float32) of all examples in their own order; batches hold ``max_tokens``.

    ``rough`` computes as training does, in bfloat16 where the device has it: to choose among many trials, never for
    what is reported.
    """
    model.eval()
    plan = batching.token_budget(examples.lengths, max_tokens)
    parts, options = [], _logits_alone(model)
    with torch.inference_mode(), _autocast(model) if rough else nullcontext():
        for batch in batching.batches(examples, plan):
            parts.append(model(**_to_device(batch, model), **options).logits.float().cpu().numpy())
    return np.concatenate(parts)[np.argsort(np.concatenate(plan))]


def _logits_alone(model: nn.Module) -> dict[str, bool]:
    """Spare a classifier of ours what no logit depends on: the last layer's other tokens."""
    return {"first_only": True} if isinstance(model, Classifier) else {}


class _Loop:
    """The state of a training run, and how it is saved and taken up again."""

    def __init__(
        self, model: nn.Module, loss: Loss, recipe: Recipe, steps: int, state_file: Path | None, key: str
    ) -> None:
        self.model, self.recipe, self.state_file = model, recipe, state_file
        self.trained = nn.ModuleList([model, *([loss] if isinstance(loss, nn.Module) else [])])
        self.trained.to(next(model.parameters()).device)  # a loss has its projections where its model is
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.trained, recipe.weight_decay), recipe.learning_rate, fused=True
        )
        warmup = max(1, round(recipe.warmup * steps))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
        )
        self.step, self.bad_evaluations, self.history = 0, 0, History()
        self.best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        self._recent: list[float] = []
        self._saved_at = time.monotonic()
        weights = self.trained.state_dict().values() if state_file else ()  # with which it begins
        self._begun = content_hash(key, *map(_bytes, weights))
        self._resume()

    @property
    def stopped(self) -> bool:
        return 0 < self.recipe.patience <= self.bad_evaluations

    def update(self, loss: Tensor) -> None:
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._recent.append(loss.item())
        if len(self._recent) == 20:
            self._note_loss()

    def _note_loss(self) -> None:
        self.history.loss.append((self.step, float(np.mean(self._recent))))
        self._recent = []

    def evaluated(self, score: float) -> None:
        self.history.dev_score.append((self.step, score))
        self.bad_evaluations += 1
        if self.history.best_score is None or score > self.history.best_score:
            self.history.best_score, self.bad_evaluations = score, 0
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def save_if_due(self) -> None:
        if self.state_file is None or time.monotonic() - self._saved_at < SAVE_EVERY_S:
            return
        state = {
            "key": self._begun,
            "step": self.step,
            "bad_evaluations": self.bad_evaluations,
            "recent": self._recent,
            "history": asdict(self.history),
            "trained": self.trained.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
        }
        with atomic_path(self.state_file) as temporary:
            torch.save(state, temporary)
        self._saved_at = time.monotonic()

    def _resume(self) -> None:
        if self.state_file is None or not self.state_file.exists():
            return
        try:
            with zipfile.ZipFile(self.state_file) as archive:  # PyTorch does not look at its checksums
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(damaged)
            state = torch.load(self.state_file, weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file; training anew is always right
            print(
                f"{self.state_file.name} cannot be read ({type(error).__name__}); training starts anew", file=sys.stderr
            )
            return
        if state.get("key") != self._begun:
            return
        self.trained.load_state_dict(state["trained"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        self.step, self.best, self._recent = state["step"], state["best"], state["recent"]
        self.bad_evaluations, self.history = state["bad_evaluations"], History(**state["history"])
        self.history.resumed += 1

    def finish(self) -> History:
        if self._recent:
            self._note_loss()
        if self.history.dev_score:
            self.model.load_state_dict(self.best)
        self.model.eval().requires_grad_(True)
        if self.state_file is not None:
            self.state_file.unlink(missing_ok=True)
        return self.history


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()


def _epoch_plan(train: TokenizedSplit, recipe: Recipe, epoch: int) -> batching.Plan:
    rng = np.random.default_rng([recipe.seed, epoch])
    if not train.gold.one_right:
        return batching.shuffled_by_length(train.lengths, recipe.batch_size, rng)
    return batching.shuffled_together(train.lengths, train.gold.numbered(), recipe.batch_size, rng)


def _evaluation_steps(steps_per_epoch: list[int], evaluations: int) -> set[int]:
    """Steps after which dev is looked at: evenly spaced in each epoch, the last step of all included."""
    if not evaluations:
        return set()
    ends = np.cumsum(steps_per_epoch)
    spaced = {
        int(end - steps * k / evaluations)
        for end, steps in zip(ends, steps_per_epoch, strict=True)
        for k in range(evaluations)
    }
    return spaced | {int(ends[-1])}


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Decay matrices, but neither biases nor LayerNorm (as BERT does); frozen weights are left out."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _set_dropout(model: nn.Module, probability: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability


def _autocast(model: nn.Module) -> AbstractContextManager:
    """bfloat16 products where the model's device has them: half the bytes, twice the rate, fp32 master weights."""
    kind = device.of(model)
    return torch.autocast(kind, dtype=torch.bfloat16) if hardware.multiplies_bf16(kind) else nullcontext()


def _to_device(batch: batching.Batch, model: nn.Module) -> dict[str, Tensor]:
    where = next(model.parameters()).device
    return {name: torch.from_numpy(array).to(where) for name, array in batch.inputs.items()}
