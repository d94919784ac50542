"""Vectors of texts against the stock way to make them: one text at a time, in plain NumPy."""

import little_superglue
import numpy as np
import pytest
import torch

from fflib.data import splits
from fflib.data.metrics import Gold
from fflib.data.task import Span
from fflib.model import checkpoints, text_means
from fflib.model.text_means import TextMeans


@pytest.fixture
def means(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    folder = little_superglue.save_teacher(tmp_path / "tiny")
    return TextMeans(checkpoints.load_classifier(folder, 2), checkpoints.load_tokenizer(folder))


def pairs(*texts, spans=None):
    return splits.text_split("t", "dev", list(texts), Gold(np.zeros(len(texts), int)), spans)


def alone(means, text, where=slice(None)):
    """The last states of one text, averaged over its tokens."""
    ids = torch.tensor(means.tokenizer([text])["input_ids"])
    with torch.inference_mode():
        return means.model.encoder(ids).last_hidden_state[0].numpy()[where].mean(0)


def test_a_text_is_the_mean_of_its_last_states_in_a_batch_too(means):
    texts = ("Ada sees a boat.", "Bo likes a lamp and sells a stone by the river."), ("Cy paints a bell.", "Dee.")
    for keep, off in ((False, 1e-5), (True, 0.05)):  # what is kept may be made in bfloat16
        first, second = means.encoded(pairs(*texts), keep)
        for row, (a, b) in enumerate(texts):
            assert np.abs(first[row] - alone(means, a)).max() < off
            assert np.abs(second[row] - alone(means, b)).max() < off


def test_equal_texts_are_encoded_once_and_read_again(means, monkeypatch):
    again = pairs(("Ada sees a boat.", "Bo."), ("Ada sees a boat.", "Cy."))
    seen = []
    right = text_means.mean_states
    monkeypatch.setattr(
        text_means, "mean_states", lambda model, tokens, *rest: seen.append(len(tokens)) or right(model, tokens, *rest)
    )
    first = means.encoded(again)
    assert seen == [1, 2] and (first[0][0] == first[0][1]).all()
    assert all((a == b).all() for a, b in zip(means.encoded(again), first, strict=True)) and seen == [1, 2]


def test_marked_words_alone_count_where_there_are_some(means):
    text = "Ada sees a boat."
    marked = pairs((text, "Bo."), spans=[(Span(0, 4, 8),)])  # sees
    first, second = means.encoded(marked, keep=False)
    encoding = means.tokenizer(text, return_offsets_mapping=True)
    inside = [i for i, (start, end) in enumerate(encoding["offset_mapping"]) if start >= 4 and end <= 8 and end > start]
    assert inside and np.abs(first[0] - alone(means, text, inside)).max() < 1e-5
    assert np.abs(second[0] - alone(means, "Bo.")).max() < 1e-5


def test_word_embeddings_are_averaged_without_the_special_tokens(means):
    ids = means.tokenizer(["Ada sees a boat."], add_special_tokens=False)["input_ids"][0]
    table = means.model.encoder.embeddings.word.weight.detach().numpy()
    first, _ = means.words(pairs(("Ada sees a boat.", ""), ("Bo.", "Ada")))
    assert first[0] == pytest.approx(table[ids].mean(0), abs=1e-6)
    assert not means.words(pairs(("Ada", "")))[1].any(), "no word, no direction"


def test_cosines_are_those_of_the_angle():
    first, second = np.array([[1.0, 0], [1, 1], [0, 0]]), np.array([[0, 2.0], [2, 2], [1, 0]])
    assert text_means.cosines(first, second) == pytest.approx([0, 1, 0])
