import dataclasses
import functools

import numpy as np
import pytest
import torch
from conftest import examples_of, tiny_classifier

from fflib.data import metrics
from fflib.data.metrics import Gold
from fflib.data.registry import get_task
from fflib.data.splits import tokenized
from fflib.model import cache, training
from fflib.model.training import Recipe

TRAIN, DEV = examples_of([6 + i % 9 for i in range(64)], seed=1), examples_of([8] * 32, seed=2)
RECIPE = Recipe(epochs=2, batch_size=8, learning_rate=3e-3, evaluations_per_epoch=2)


def accuracy(logits, gold):
    return float((logits.argmax(1) == gold.labels).mean())


def weights(model):
    return torch.cat([tensor.flatten() for tensor in model.state_dict().values()])


def fit(recipe=RECIPE, model=None, score=accuracy, **options):
    model = model or tiny_classifier()
    history = training.fit(model, TRAIN, DEV, training.label_loss(TRAIN), score, recipe, **options)
    return model, history


def test_it_learns_a_learnable_task():
    more = examples_of([6 + i % 9 for i in range(512)], seed=3)
    recipe = Recipe(epochs=10, batch_size=8, learning_rate=5e-3)
    history = training.fit(tiny_classifier(), more, DEV, training.label_loss(more), accuracy, recipe)
    assert history.best_score > 0.9
    assert history.loss[-1][1] < history.loss[0][1]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    first, second = fit()[0], fit()[0]
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(fit(Recipe(2, 8, 3e-3, seed=1))[0]))


def test_the_best_weights_on_dev_are_kept():
    model, history = fit()
    assert (
        accuracy(training.predict(model, DEV), DEV.gold) == history.best_score == max(s for _, s in history.dev_score)
    )


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0)
    whole, _ = fit()
    state, calls = tmp_path / "state", 0

    def interrupt(logits, gold):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return accuracy(logits, gold)

    with pytest.raises(KeyboardInterrupt):
        training.fit(tiny_classifier(), TRAIN, DEV, training.label_loss(TRAIN), interrupt, RECIPE, state)
    assert state.exists()
    resumed, history = fit(state_file=state)
    assert history.resumed == 1 and not state.exists()
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=0)


@pytest.mark.parametrize("content", [b"", b"half a file", b"PK\x03\x04"])
def test_a_damaged_state_is_ignored(tmp_path, content, capsys):
    state = tmp_path / "state"
    state.write_bytes(content)
    model, history = fit(state_file=state)
    assert history.resumed == 0 and torch.equal(weights(model), weights(fit()[0]))
    assert "cannot be read" in capsys.readouterr().err


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """The state of a training that was interrupted."""
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0)
    state = tmp_path / "state"
    scores = [0.5, 0.6]
    with pytest.raises(IndexError):
        fit(state_file=state, score=lambda *_: scores.pop())
    return state


def test_a_state_with_zeros_inside_is_ignored(interrupted, capsys):
    content = bytearray(interrupted.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    interrupted.write_bytes(content)
    model, history = fit(state_file=interrupted)
    assert history.resumed == 0 and torch.equal(weights(model), weights(fit()[0]))
    assert "cannot be read" in capsys.readouterr().err


def test_the_state_of_another_model_or_loss_is_ignored(interrupted):
    content = interrupted.read_bytes()
    assert fit(state_file=interrupted)[1].resumed == 1
    for other in ({"model": tiny_classifier(seed=7)}, {"origin": "another loss"}):
        interrupted.write_bytes(content)
        assert fit(state_file=interrupted, **other)[1].resumed == 0


def test_the_state_of_another_recipe_is_ignored(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0)
    state = tmp_path / "state"
    with pytest.raises(ZeroDivisionError):
        training.fit(
            tiny_classifier(),
            TRAIN,
            DEV,
            training.label_loss(TRAIN),
            lambda *_: 1 / 0 if state.exists() else 0.5,
            RECIPE,
            state,
        )
    _, history = fit(Recipe(epochs=1, batch_size=8, learning_rate=3e-3), state_file=state)
    assert history.resumed == 0


def test_patience_stops_early():
    scores = iter([0.9, *[0.1] * 99])
    history = training.fit(
        tiny_classifier(), TRAIN, DEV, training.label_loss(TRAIN), lambda *_: next(scores), Recipe(20, 8, patience=2)
    )
    assert len(history.dev_score) == 3 and history.best_score == 0.9


def test_predictions_come_in_the_order_of_the_examples():
    model = tiny_classifier(num_labels=3)
    few, many = training.predict(model, DEV, max_tokens=8), training.predict(model, DEV, max_tokens=4096)
    np.testing.assert_allclose(few, many, atol=1e-5)
    one = training.predict(model, DEV.take([5]))
    np.testing.assert_allclose(one[0], many[5], atol=1e-5)


def test_a_saved_model_is_taken_again_only_if_nothing_changed(tmp_path):
    def make_loss(model):
        return training.label_loss(TRAIN)

    def get(recipe=RECIPE, origin="tiny", model=tiny_classifier):
        return cache.train_or_load(model, tmp_path / "model", TRAIN, DEV, make_loss, accuracy, recipe, origin)

    first, history = get()
    again, known = get()
    assert torch.equal(weights(first), weights(again)) and known.seconds == history.seconds
    assert get(origin="another")[1].seconds != history.seconds
    get()
    trained_anew = get(model=lambda: tiny_classifier(seed=1))
    assert not torch.equal(weights(trained_anew[0]), weights(first)), "the weights it begins with are others"
    assert get(Recipe(1, 8, 3e-3))[1].dev_score[-1][0] == 8  # one epoch of eight steps was really trained


def test_the_schedule_warms_up_and_ends_at_zero():
    loop = training._Loop(tiny_classifier(), lambda *_: None, Recipe(learning_rate=1.0, warmup=0.2), 10, None, "")
    rates = []
    for _ in range(10):
        rates.append(loop.optimizer.param_groups[0]["lr"])
        loop.optimizer.step()
        loop.schedule.step()
    expected = [0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]
    assert rates == pytest.approx(expected)


def test_frozen_words_stay_as_they_are_and_can_be_trained_later():
    before = tiny_classifier().encoder.embeddings.word.weight
    model, _ = fit(Recipe(1, 8, 3e-3, freeze_words=True))
    assert torch.equal(model.encoder.embeddings.word.weight, before)
    assert not torch.equal(
        model.encoder.embeddings.position.weight, tiny_classifier().encoder.embeddings.position.weight
    )
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_cached_predictions_follow_the_weights_and_survive_a_damaged_file(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path))
    model = tiny_classifier()
    first = cache.predict_cached(model, DEV)
    monkeypatch.setattr(training, "predict", lambda *_: 1 / 0)
    np.testing.assert_array_equal(cache.predict_cached(model, DEV), first)
    with pytest.raises(ZeroDivisionError):
        cache.predict_cached(tiny_classifier(seed=1), DEV)
    monkeypatch.undo()
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path))
    (path,) = (tmp_path / "predictions").glob("*/logits.npz")
    path.write_bytes(b"half")
    np.testing.assert_array_equal(cache.predict_cached(model, DEV), first)


def test_answers_that_compete_share_one_softmax():
    """By hand: the log-odds of yes of each question go through a softmax, whatever the order of its answers."""
    questions, labels = np.array([4, 2, 4, 2, 2]), np.array([1, 0, 0, 0, 1])
    gold = Gold(np.append(labels, 0), np.append(questions, 9), one_right=True)
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.5], [0.3, 0.1], [0.0, -1.0], [1.0, 3.0]], requires_grad=True)
    odds = (logits[:, 1] - logits[:, 0]).detach().numpy()
    by_hand = [-np.log(np.exp(odds[i]) / np.exp(odds[questions == questions[i]]).sum()) for i in (0, 4)]
    loss = training.cross_entropy(logits, gold, np.arange(5))
    assert float(loss.detach()) == pytest.approx(np.mean(by_hand), abs=1e-6)
    loss.backward()
    together = torch.zeros(5).index_add(0, torch.from_numpy(questions), logits.grad[:, 1])
    assert together.abs().max() < 1e-6, "to raise every answer of a question changes nothing"
    assert float(training.cross_entropy(logits + 1e4, gold, np.arange(5)).detach()) == pytest.approx(
        np.mean(by_hand), abs=1e-2
    )


def test_a_choice_is_learnt_from_its_loser_too():
    """A shortcut that a pair class would fall for: every answer of some questions looks right."""
    train = examples_of([6] * 64, seed=5)
    gold = Gold(train.labels, np.arange(64) // 2, one_right=True)
    labels = np.tile([1, 0], 32)
    ids = [np.where(row == 7, 8, row) for row in train.input_ids]
    for i, label in enumerate(labels):
        ids[i][2] = 7 if label else 9
    split = tokenized(ids, train.token_type_ids, dataclasses.replace(gold, labels=labels))
    model = tiny_classifier()
    score = functools.partial(metrics.score, get_task("COPA"))
    history = training.fit(model, split, split, training.label_loss(split), score, Recipe(12, 8, 3e-3))
    assert history.best_score == 1 and history.loss[-1][1] < history.loss[0][1]
