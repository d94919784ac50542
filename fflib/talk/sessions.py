"""A session at the keyboard, made up from texts, and what a model does with its keys: the recorded typing demo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fflib.talk.models import SEED

KEY_MS, PAUSE_MS = 120.0, 2500.0  # between two keys of the typing session, on average; between two texts
TYPED = 60  # characters that the session types of a text


def typed(texts: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Return the keys of the session: [t_ms, number of the text, what stands in the box then], as a person types.

    Of a long text the beginning stands there already.
    """
    rng, at, keys = np.random.default_rng(SEED), 1000.0, []
    for number, text in enumerate(texts):
        whole = text["texts"][text["edited"]][len(text["fixed"]) :]
        for length in range(max(1, len(whole) - TYPED + 1), len(whole) + 1):
            if not (text["fixed"] + whole[:length]).strip():
                continue  # no model is asked about nothing
            keys.append([round(at), number, whole[:length]])
            at += KEY_MS * rng.lognormal(-0.06, 0.35)
        at += PAUSE_MS
    return keys


def queued(keys_ms: Sequence[float], answer: Callable[[int], tuple[int, float]]) -> list[list[float]]:
    """Return rows [t_ms, key, label, ms] of a model that takes the newest key whenever it is free; others it loses.

    ``answer`` gives the label of a key and the ms it took. Time is that of the keys: nothing waits for the clock.
    """
    rows, free_ms, last = [], 0.0, -1
    while last < len(keys_ms) - 1:
        arrived = [key for key in range(last + 1, len(keys_ms)) if keys_ms[key] <= free_ms]
        last = arrived[-1] if arrived else last + 1
        label, ms = answer(last)
        free_ms = max(free_ms, keys_ms[last]) + ms
        rows.append([round(free_ms), last, label, round(ms, 2)])
    return rows
