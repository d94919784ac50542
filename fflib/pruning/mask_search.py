"""Structured pruning without training (Kwon et al., 2204.09656): search a mask, rearrange it, tune what is left.

A mask is a gate on each head and neuron. What removing some costs is read from the Fisher information F, the mean over
examples of g g^T, where g are the slopes by the gates: a trained model's loss rises by half of (1-m)^T F (1-m),
where 1-m has a one for each removed part. The search takes F's diagonal alone, as if parts did not interact.
(Longer than 200 lines: the paper's three steps, in its order.)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fflib import progress
from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.files import InputError
from fflib.model import slicing
from fflib.model.encoder import MASKED, Classifier, Layer
from fflib.model.importance import Gradients

Batches = list[Tensor]  # a tensor of each batch
TUNINGS = ("masks", "weights", "none")


def fisher_losses(slopes: Tensor) -> Tensor:
    """Estimate by F's diagonal how the loss rises with but the k best units, for all k: [n, units] -> [units + 1]."""
    return 0.5 * F.pad(slopes.square().mean(0).sort().values.cumsum(0), (1, 0)).flip(0)


def search(slopes: Gradients, head_cost: float, neuron_cost: float, budget: float) -> list[tuple[int, int]]:
    """Return how many (heads, neurons) each layer keeps: the masks of least loss by the diagonal of F (section 4.1).

    For each number of heads, the best of all layers, the best neurons of all layers fill the rest of the budget. As all
    heads cost alike, and all neurons, no other choice within the budget has a smaller estimated loss. Budget and costs
    (of one head, of one neuron) are in one unit, such as operations; InputError: a cost is not above 0, or no budget.
    """
    if not (head_cost > 0 and neuron_cost > 0 and budget >= 0):
        raise InputError(
            f"budget {budget}, costs {head_cost} and {neuron_cost}: give costs above 0, a budget from 0 on"
        )
    heads, neurons = (torch.cat(layers, 1).cpu().double() for layers in (slopes.heads, slopes.neurons))
    head_losses, neuron_losses = fisher_losses(heads), fisher_losses(neurons)
    left = budget - head_cost * torch.arange(len(head_losses), dtype=torch.float64)
    # 1e-9: a cost such as 0.1 is not exact in binary, so that what just fits may seem not to
    num_neurons = (left[left >= -1e-9 * head_cost] / neuron_cost + 1e-9).clamp(0, len(neuron_losses) - 1).long()
    num_heads = int((head_losses[: len(num_neurons)] + neuron_losses[num_neurons]).argmin())
    counts = []
    ranked = (slopes.heads, heads, num_heads), (slopes.neurons, neurons, int(num_neurons[num_heads]))
    for layers, units, number in ranked:
        layer_of = torch.arange(len(layers)).repeat_interleave(torch.tensor([layer.shape[1] for layer in layers]))
        best = layer_of[slicing.top(units.square().mean(0), number)]
        counts.append(best.bincount(minlength=len(layers)).tolist())
    return list(zip(*counts, strict=True))


def rearranged(slopes: Tensor, count: int, rounds: int = 500) -> list[int]:
    """Choose which ``count`` units to keep, ascending, by all of F: slopes [n, units] (section 4.2).

    From the best by the diagonal on, the two units whose exchange lowers (1-m)^T F (1-m) most change places, until none
    does or ``rounds`` times. Kept units that cancel each other are not found, since only both at once could go.
    """
    slopes = slopes.cpu().double()
    chosen = slicing.top(slopes.square().mean(0), count)
    kept, removed = torch.tensor(chosen), torch.tensor(sorted({*range(slopes.shape[1])} - {*chosen}))
    if not (len(kept) and len(removed)):
        return chosen
    fisher = slopes.T @ slopes / len(slopes)
    diagonal, sums = fisher.diagonal(), fisher[removed].sum(0)  # sums: F (1-m)
    between = fisher[removed][:, kept]  # kept up to date, since a swap changes but a row and a column of it
    for _ in range(rounds):
        # If j comes back and k goes, the form changes by F_jj + F_kk - 2 F_jk + 2 (sums_k - sums_j).
        change = torch.add((diagonal - 2 * sums)[removed][:, None], between, alpha=-2)
        change += (diagonal + 2 * sums)[kept]
        j, k = divmod(int(change.argmin()), len(kept))
        if change[j, k] >= -1e-12 * diagonal.sum():  # nothing left but rounding
            break
        removed[j], kept[k] = int(kept[k]), int(removed[j])
        sums += fisher[removed[j]] - fisher[kept[k]]
        between[j], between[:, k] = fisher[removed[j], kept], fisher[removed, kept[k]]
    return sorted(kept.tolist())


def keep(slopes: Gradients, counts: Sequence[slicing.Counts]) -> slicing.Kept:
    """Keep of each layer as many heads and neurons as ``counts`` says, `rearranged`; see `slicing.keep_top`."""
    return slicing.keep_top(slopes.heads, slopes.neurons, counts, rearranged)


@torch.no_grad()
def tune(
    model: Classifier,
    kept: slicing.Kept,
    examples: TokenizedSplit,
    what: str = "masks",
    damping: float = 0.01,
    batch_size: int = 16,
) -> Classifier:
    """Return the model of ``kept`` parts, each half layer tuned to give what the whole model has there (section 4.3).

    From the bottom up, on top of what is tuned already, output matrices are fitted by least squares at all real tokens:
    what goes into the LayerNorm behind each to what goes into that of ``model``.

    Args:
        kept: layers in ascending order; each makes up for removed ones below it as far as it can.
        examples: of *train*, at least one; their labels are not looked at.
        what: "masks" scales each head and neuron by one number, as the paper. A half layer stays as it is where a
            number leaves [-10, 10] (the authors' code then leaves all above it, too). "weights" goes beyond the paper:
            it fits whole matrices and biases, so that a half layer without units gives the mean. "none" fits nothing.
        damping: above 0: the ridge, as a share of the mean diagonal, towards changing nothing.
    """
    if what not in TUNINGS:
        raise InputError(f"tuning {what!r} is unknown; use one of {', '.join(TUNINGS)}")
    if not (len(examples) and damping > 0 and list(kept.layers) == sorted(kept.layers)):
        raise InputError("tuning needs an example, a damping above 0, and layers in ascending order; give all of them")
    model, tuned = copy.deepcopy(model).eval(), slicing.slice_model(model, *kept)
    if what == "none" or tuned.encoder.config == model.encoder.config:  # where nothing is gone, nothing is to be mended
        return tuned
    # Both models go up half a layer at a time: memory holds their states at one place, thrice [all tokens, hidden].
    masks, whole = _start(model, examples, batch_size)
    small, narrow = whole, dict(zip(kept.layers, tuned.encoder.layers, strict=True))
    with progress.bar(len(model.encoder.layers), "tuning", "layer") as bar:
        for i, layer in enumerate(model.encoder.layers):
            for half in ("attention", "feed_forward"):
                targets = _sums(layer, half, whole, masks)
                if i in narrow:
                    _fit(narrow[i], half, small, masks, targets, what, damping)
                    small = [getattr(narrow[i], f"{half}_norm")(x) for x in _sums(narrow[i], half, small, masks)]
                whole = [getattr(layer, f"{half}_norm")(target) for target in targets]
            bar.update()
    return tuned


def best_tuning(
    model: Classifier,
    kept: slicing.Kept,
    examples: TokenizedSplit,
    ways: Sequence[str],
    loss: Callable[[Classifier], float],
) -> tuple[str, float]:
    """Return which of the ``ways`` to `tune` leaves the least ``loss``, and that loss.

    What is fitted to few examples may fit these alone, and a model that was taught to be cut need not be mended at all;
    so ``loss`` looks at others. Of equals the first is taken.
    """
    losses = {way: loss(tune(model, kept, examples, way)) for way in ways}
    best = min(ways, key=losses.__getitem__)
    return best, losses[best]


def mask_values(gram: Tensor, errors: Tensor, weight: Tensor, unit_size: int, damping: float) -> Tensor:
    """Return the factors [units] on units of ``unit_size`` inputs that fit best; all 1 if one leaves [-10, 10].

    Of inputs Z [tokens, m], ``weight`` W [m, hidden] and the errors E of Z W, ``gram`` is Z^T Z [m, m] and ``errors``
    Z^T E [m, hidden]. What is solved for is the factors less 1, so that the ridge draws them to 1.
    """
    units = (len(weight) // unit_size, unit_size)
    products = (gram * (weight @ weight.T)).unflatten(1, units).unflatten(0, units).sum((1, 3))
    slopes = (errors * weight).sum(1).unflatten(0, units).sum(1)
    values = 1 + _solve(products, slopes[:, None], damping, len(slopes))[:, 0]
    return values if (values.abs() <= 10).all() else torch.ones_like(values)


def _start(model: Classifier, examples: TokenizedSplit, batch_size: int) -> tuple[Batches, Batches]:
    """Return of each batch the attention mask, as the encoder makes it, and the embeddings."""
    plan = batching.sorted_by_length(examples.lengths, batch_size)
    masks, states = [], []
    for batch in batching.batches(examples, plan, pad_token_id=model.encoder.config.pad_token_id):
        ids, is_token, types = (torch.from_numpy(a).to(model.classifier.weight.device) for a in vars(batch).values())
        states.append(model.encoder.embeddings(ids, types))
        masks.append((1 - is_token[:, None, None, :].to(states[-1].dtype)) * MASKED)
    return masks, states


def _sums(layer: Layer, half: str, states: Batches, masks: Batches) -> Batches:
    """Return what goes into the LayerNorm of a half layer."""
    if half == "feed_forward":
        return [x + layer.feed_forward(x, None) for x in states]
    return [x + layer.attention(x, mask, None, False)[0] for x, mask in zip(states, masks, strict=True)]


def _fit(layer: Layer, half: str, states: Batches, masks: Batches, targets: Batches, what: str, damping: float) -> None:
    """Change the output matrix of a half layer so that its `_sums` come close to ``targets`` at all real tokens."""
    output, seen = getattr(layer, half).output, []
    width = output.in_features
    # Z [tokens, width + 1] is what goes into the matrix, and a 1 for its bias; gram is Z^T Z, errors Z^T E.
    gram = output.weight.new_zeros(width + 1, width + 1, dtype=torch.float64)
    errors = gram.new_zeros(width + 1, output.out_features)
    handle = output.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for state, mask, target in zip(states, masks, targets, strict=True):
        error, is_token = target - _sums(layer, half, [state], [mask])[0], mask[:, 0, 0] == 0
        inputs = seen.pop() if seen else state[..., :0]  # a half layer of width 0 is not run
        inputs = F.pad(inputs[is_token], (0, 1), value=1.0)
        gram += inputs.T @ inputs  # of one batch in the model's own precision, which is faster
        errors += inputs.T @ error[is_token]
    handle.remove()
    if what == "weights":
        change = _solve(gram, errors, damping, width)  # no ridge on the bias, which is free to become the mean
        output.weight += change[:-1].T
        output.bias += change[-1]
    elif width:
        unit_size = layer.attention.head_size if half == "attention" else 1
        values = mask_values(gram[:-1, :-1], errors[:-1], output.weight.T.double(), unit_size, damping)
        output.weight *= values.repeat_interleave(unit_size)


def _solve(gram: Tensor, right: Tensor, damping: float, damped: int) -> Tensor:
    """Solve (gram + ridge) x = right, the ridge on the first ``damped`` unknowns, and added to ``gram`` itself."""
    gram.diagonal()[:damped] += damping * gram.diagonal()[:damped].mean().clamp(1e-30)  # all zero: so is x
    factor, failed = torch.linalg.cholesky_ex(gram)
    if failed:
        raise InputError(f"a damping of {damping} is lost in the rounding of these examples; give a larger one")
    return torch.cholesky_solve(right, factor)
