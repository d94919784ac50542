"""Distillation: a student learns from what its teacher computes, not from labels alone.

The losses of TinyBERT (1909.10351, section 3), of FastFormers (2010.13382, section 2) and of MiniLMv2 (2012.15828),
each as in its paper and with padding left out, and which layer learns from which. ``objective`` adds them up.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from fflib.files import InputError
from fflib.model.encoder import MASKED


def soft_cross_entropy(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy of the student's with the teacher's probabilities, both [batch, classes] (TinyBERT, eq. 10).

    Summed over the classes, mean over the batch; times temperature squared, which keeps the size of the gradient
    (Hinton et al., 1503.02531, section 2).
    """
    target = (teacher_logits / temperature).softmax(-1)
    return F.cross_entropy(student_logits / temperature, target) * temperature**2


def state_loss(student: Tensor, teacher: Tensor, mask: Tensor, projection: nn.Module | None = None) -> Tensor:
    """Mean squared difference of states [batch, length, width] at real tokens (TinyBERT, eq. 8 and 9).

    ``mask`` [batch, length] is 1 at tokens; ``projection`` takes the student's width to the teacher's.
    """
    student = student if projection is None else projection(student)
    return _mean_where((student - teacher).square(), mask[:, :, None])


def attention_scores(query: Tensor, key: Tensor, num_heads: int) -> Tensor:
    """Scaled scores before the softmax [batch, heads, length, length] of two states [batch, length, width]."""
    query, key = (states.unflatten(-1, (num_heads, -1)).transpose(1, 2) for states in (query, key))
    return query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5


def attention_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of the **scores** [batch, heads, length, length], before the softmax (TinyBERT, eq. 7).

    Both sides of a pair of tokens must be real. The number of heads must be the same; `relation_loss` does without.
    """
    pairs = mask[:, None, :, None] * mask[:, None, None, :]
    return _mean_where((student - teacher).square(), pairs)


def attention_cosine_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """One minus the cosine of the attention **probabilities**, of each query's row; takes scores as `attention_loss`.

    An option of FastFormers' code, off by default; there it stands behind the dropout.
    """
    student, teacher = (_log_probabilities(scores, mask).exp() for scores in (student, teacher))
    return 1 - _mean_where(F.cosine_similarity(student, teacher, dim=-1), mask[:, None, :])


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor, relation_heads: int) -> Tensor:
    """KL divergence of the relations between tokens (MiniLMv2, eq. 2 to 5), for queries, keys or values.

    States [batch, length, width] are cut into ``relation_heads`` parts, however many heads made them, so neither the
    number of heads nor the width need be the teacher's. Mean over relation heads and real tokens.
    """
    log_student = _log_probabilities(attention_scores(student, student, relation_heads), mask)
    log_teacher = _log_probabilities(attention_scores(teacher, teacher, relation_heads), mask)
    divergence = F.kl_div(log_student, log_teacher, log_target=True, reduction="none").sum(-1)
    return _mean_where(divergence, mask[:, None, :])


def layer_map(kind: str | Sequence[int], student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    """Return g(1) to g(M), the teacher's layer (counted from 1) that each of the student's M layers learns from.

    ``uniform`` is TinyBERT's g(m) = m N / M (rounded down where M does not divide N), ``last`` and ``first`` take the
    top and the bottom M layers; a sequence, also written "1,3", is checked and taken as it is.

    Raises:
        InputError: the student is deeper than the teacher, or the sequence does not fit the two.
    """
    m, n = student_layers, teacher_layers
    if m > n:
        raise InputError(f"the student has {m} layers, the teacher only {n}; a student must not be deeper")
    known = {
        "uniform": tuple(i * n // m for i in range(1, m + 1)),
        "last": tuple(range(n - m + 1, n + 1)),
        "first": tuple(range(1, m + 1)),
    }
    if isinstance(kind, str) and kind.replace(",", "").isdecimal():
        kind = [int(layer) for layer in kind.split(",")]
    if isinstance(kind, str):
        if kind not in known:
            raise InputError(f"there is no layer map {kind!r}; use {', '.join(known)} or a list of layers")
        return known[kind]
    if len(kind) != m or list(kind) != sorted(set(kind)) or not all(1 <= layer <= n for layer in kind):
        raise InputError(f"the layer map {list(kind)} does not fit: it needs {m} ascending layers out of 1 to {n}")
    return tuple(kind)


def _log_probabilities(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the real keys of scores [batch, heads, length, length]; a masked key gets exp(-10000) = 0."""
    return (scores + (1 - mask[:, None, None, :].to(scores.dtype)) * MASKED).log_softmax(-1)


def _mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask``, which broadcasts to them, is 1."""
    keep = mask.to(values.dtype).expand_as(values)
    return (values * keep).sum() / keep.sum()
