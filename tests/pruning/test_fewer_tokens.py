"""Fewer tokens: the same weights, the price of a shape by its table and by operations, and how it is trained."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import examples_of, tiny_classifier

from fflib.distillation import stages, teacher
from fflib.distillation.objective import FASTFORMERS, Objectives
from fflib.distillation.stages import DistillationStage
from fflib.files import InputError
from fflib.model import checkpoints, flops, training
from fflib.model.config import LayerShape
from fflib.model.training import Recipe
from fflib.pruning import fewer_tokens, retraining, study
from fflib.pruning.latency_table import LatencyTable
from fflib.runtime.packing import PackedClassifier

TRAIN, DEV = examples_of([6, 9, 7, 8] * 4), examples_of([6, 8], seed=1)
RECIPE = Recipe(1, 4, 1e-3, dropout=0.0, evaluations_per_epoch=0)
INSIDE, ANSWERS = (
    DistillationStage(name, objectives, RECIPE)
    for name, objectives in (("inside", Objectives(hidden=1.0)), ("answers", Objectives(logits=1.0)))
)


def score(logits, gold) -> float:
    return float((logits.argmax(1) == gold.labels).mean())


def test_a_copy_has_the_same_weights_and_none_of_the_memory(tmp_path):
    model = tiny_classifier()
    few = fewer_tokens.let_go_on(model, 0.5)
    assert [shape.tokens for shape in few.encoder.config.layers] == [0.5, 1.0]
    assert [shape.tokens for shape in model.encoder.config.layers] == [1.0, 1.0]
    assert all(torch.equal(a, b) for a, b in zip(few.parameters(), model.parameters(), strict=True))
    assert not np.allclose(training.predict(few, DEV), training.predict(model, DEV), atol=1e-6)
    again = fewer_tokens.let_go_on(few, 1.0)
    np.testing.assert_array_equal(training.predict(again, DEV), training.predict(model, DEV))
    with torch.no_grad():
        few.classifier.weight.zero_()
    assert model.classifier.weight.any()
    checkpoints.save(few, tmp_path)
    assert checkpoints.load(tmp_path).encoder.config == few.encoder.config, "it comes back from its folder"
    with pytest.raises(InputError, match="cannot be packed"):
        PackedClassifier(few)


def test_the_price_is_that_of_shorter_texts_from_the_feed_forward_half_on():
    lengths = np.array([10.0, 20.0])
    table = LatencyTable((0, 4), (0, 8), (10, 20), np.array([[1.0, 2], [3, 6]]), np.array([[1.0, 2], [5, 10]]), lengths)
    shapes = [LayerShape(4, 2, 8, 0.5), LayerShape(4, 2, 8)]
    # 20 tokens: the rest 20, attention 6, of 10 tokens the feed-forward half 5, then attention 3 and feed-forward 5.
    assert table.model_ms(shapes, np.array([20])) == pytest.approx(20 + 6 + 5 + 3 + 5)
    assert table.model_ms(shapes[1:], np.array([20])) == pytest.approx(20 + 6 + 10)


def test_the_operations_of_a_layer_are_of_the_tokens_that_are_there():
    config = fewer_tokens.let_go_on(tiny_classifier(), 0.4).encoder.config
    first, second = config.layers
    hidden, tokens, left = config.hidden_size, 9, math.ceil(0.4 * 9)
    width, narrow = (shape.num_heads * shape.head_size for shape in config.layers)
    layer = 2 * (4 * tokens * hidden * width + 2 * left * hidden * first.intermediate_size) + 4 * tokens**2 * width
    last = 2 * left * (4 * hidden * narrow + 2 * hidden * second.intermediate_size) + 4 * left**2 * narrow
    assert flops.forward_flop(config, tokens) == layer + last
    of_one = 2 * (2 * hidden * narrow + 2 * hidden * second.intermediate_size)  # the question, and the answer
    of_one += 2 * 2 * second.num_heads * hidden * (left + second.head_size)  # scores and means, by keys and values
    assert flops.first_token_flop(config, tokens) == layer + of_one


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    return teacher.TeacherOutputs(tiny_classifier(), TRAIN, 1.0)


def test_states_are_compared_while_all_go_on_and_answers_are_learnt_by_those_that_will(outputs, tmp_path):
    whole = outputs.model
    counts = [(shape.num_heads, shape.intermediate_size) for shape in whole.encoder.config.layers]
    learnt_from = TRAIN, [INSIDE, ANSWERS], outputs, DEV, score
    model, histories = retraining.retrain(whole, counts, *learnt_from, tmp_path / "a", goes_on=0.5)
    assert [shape.tokens for shape in model.encoder.config.layers] == [0.5, 1.0] and len(histories) == 2
    by_hand = fewer_tokens.let_go_on(whole, 1.0)
    by_hand, _ = stages.distil(by_hand, [INSIDE], outputs, DEV, score, tmp_path / "b", "1,2")
    by_hand = fewer_tokens.let_go_on(by_hand, 0.5)
    by_hand, _ = stages.distil(by_hand, [ANSWERS], outputs, DEV, score, tmp_path / "b", "1,2")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), by_hand.parameters(), strict=True))
    assert FASTFORMERS.looks_inside and not ANSWERS.objectives.looks_inside, "the paper compares the last states"


def test_shares_are_candidates_of_their_own():
    shapes = [LayerShape(4, 8, 32), LayerShape(2, 8, 16)]
    (only,) = study.collect(shapes, [], {}, [], [], [0.75, 1.0])
    assert (only.name, only.rung, only.goes_on) == ("75% of the tokens", "pruned to 75% of the tokens", 0.75)
    assert only.counts == [(4, 32), (2, 16)]
