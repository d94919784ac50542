"""What TinyBERT printed (Jiao et al., arXiv 1909.10351): what its student of four layers loses by a change.

Scores in per cent, the mean of the dev sets of MNLI (both), MRPC and CoLA. Its student began from a general model and
learnt from augmented text, so the order of the parts may be compared with a run's, the sizes may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

FULL = 75.6  # the whole recipe
WITHOUT: Mapping[str, float] = MappingProxyType(
    {
        "inside": 56.3,  # Table 3, its "Trm": neither hidden states nor attention
        "augmentation": 68.4,  # Table 2, its "DA"
        "attention": 71.0,  # Table 3
        "hidden": 72.9,  # Table 3
        "the teacher's answers": 73.5,  # Table 3, its "Pred"
        "embedding": 74.1,  # Table 3
    }
)

LEARN_FROM: Mapping[str, float] = MappingProxyType(  # Table 4: which layers of the teacher the student learns from
    {"uniform": FULL, "last": 70.9, "first": 71.3}
)


def maps() -> list[dict[str, str | float]]:
    """Return a row a layer map, by the names of this book: what TinyBERT's student scores with it."""
    return [{"TinyBERT learns from": name, "mean score": score} for name, score in LEARN_FROM.items()]


def rows() -> list[dict[str, str | float]]:
    """Return a row a part: what the student scores without it, and how many points that costs."""
    return [
        {"TinyBERT without": part, "mean score": score, "points lost": FULL - score} for part, score in WITHOUT.items()
    ]
