"""Requests behind one another in one sequence: each answers as it does alone."""

from __future__ import annotations

import numpy as np
import pytest
import small_models
from conftest import examples_of, tiny_classifier
from random_models import model_of

from fflib.card import one_sequence
from fflib.data import batching
from fflib.files import InputError
from fflib.model import training

TEXTS = examples_of([5, 1, 9, 9, 30, 3])


def batch_of(texts=TEXTS, pad_to=None):
    return batching.collate(texts, range(len(texts)), pad_to).inputs


@pytest.mark.parametrize("pad_to", [None, 40])
@pytest.mark.parametrize(
    "model",
    [
        tiny_classifier(),
        small_models.classifier(num_labels=3),  # attention that is far from uniform, layers of unlike shape
        small_models.classifier(position_offset=2, pad_token_id=1),  # as RoBERTa
        model_of((2, 4, 0), (0, 4, 8), (2, 4, 8)),  # half layers without units
    ],
    ids=["tiny", "unlike", "roberta", "without units"],
)
def test_each_request_is_answered_as_alone(model, pad_to):
    expected = training.predict(model, TEXTS)
    answers = one_sequence.predictor(model)(batch_of(pad_to=pad_to))
    assert np.abs(answers - expected).max() <= 1e-5


def test_a_wrong_beginning_would_be_seen():
    """The check above can fail: with other bounds between the requests the answers are others."""
    model = small_models.classifier()
    arrays, longest = one_sequence.flat(batch_of())
    wrong = arrays[3].copy()
    wrong[1] += 1
    served, tensors = one_sequence.OneSequence(model), [*map(small_models.torch.from_numpy, arrays)]
    with small_models.torch.no_grad():
        right, moved = (
            served(*tensors[:3], small_models.torch.from_numpy(starts), longest) for starts in (arrays[3], wrong)
        )
    assert (right - moved).abs().max() > 1e-4


def test_the_sequence_holds_no_blank():
    (ids, types, positions, starts), longest = one_sequence.flat(batch_of(pad_to=40))
    assert len(ids) == len(types) == TEXTS.lengths.sum() and longest == 30
    assert starts.tolist() == [0, *np.cumsum(TEXTS.lengths)]
    assert positions[starts[:-1]].tolist() == [0] * len(TEXTS) and positions.max() == 29
    assert ids[starts[2] : starts[3]].tolist() == TEXTS.input_ids[2].tolist()


def test_a_request_without_tokens_is_refused():
    with pytest.raises(InputError, match="without tokens"):
        one_sequence.flat({name: array * (np.arange(6) > 0)[:, None] for name, array in batch_of().items()})


def test_a_head_that_reads_words_is_refused_with_a_sentence():
    model = small_models.classifier(spans=2, type_vocab_size=2)
    assert "marked words" in one_sequence.lacking(model) and one_sequence.lacking(tiny_classifier()) == ""
    with pytest.raises(InputError, match="marked words"):
        one_sequence.OneSequence(model)
