"""Shared tiny models and data: invented, random, and small enough for every test to be quick."""

from __future__ import annotations

import fflib  # noqa: F401  first of all, so that what the environment says reaches no library

# isort: split
import numpy as np
import pytest
import torch

from fflib.data.metrics import Gold
from fflib.data.splits import TokenizedSplit
from fflib.model import encoder
from fflib.model.encoder import Classifier

# Files that take a minute or more: begun first, so that no process is left alone with one of them at the end.
LONG = [f"test_{name}.py" for name in ("smoke_book", "all_tasks", "own_data", "hub_book", "sweep", "stopping")]


# Together with these, what takes ten seconds or more a file; `-m "not slow"` leaves them out while somebody edits.
SLOW = "damaged files graph instances life local_hub params queue_sim shipped simulation_check stage try_it workers"
SLOW_FILES = {*LONG, *(f"test_{name}.py" for name in SLOW.split())}


def pytest_collection_modifyitems(items):
    """Put the tests of long files first, the order within a file stays; mark those of slow files."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))
    for item in items:
        if item.path.name in SLOW_FILES:
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def examples_of(lengths, seed=0, vocabulary=50) -> TokenizedSplit:
    """Random token ids of the given lengths; the label says whether token 7 comes up, so it can be learnt."""
    rng = np.random.default_rng(seed)
    ids = [rng.integers(8, vocabulary, n) for n in lengths]
    labels = rng.integers(0, 2, len(lengths))
    for row, label in zip(ids, labels, strict=True):
        row[rng.integers(len(row))] = 7 if label else row[0]
    types = [np.zeros(n, np.int64) for n in lengths]
    return TokenizedSplit(ids, types, Gold(labels), f"made-{seed}-{len(lengths)}")


def tiny_classifier(num_labels=2, seed=0) -> Classifier:
    """Two layers of unlike shape."""
    torch.manual_seed(seed)
    shapes = (encoder.LayerShape(2, 8, 32), encoder.LayerShape(1, 8, 16))
    config = encoder.EncoderConfig(vocab_size=50, hidden_size=16, layers=shapes, max_position_embeddings=64)
    return Classifier(config, num_labels).eval()
