import numpy as np
import pytest
import torch
from conftest import examples_of, tiny_classifier
from small_classifier import classifier
from torch.nn import functional as F

from fflib.data import batching
from fflib.data.metrics import Gold
from fflib.distillation import losses, objective, teacher
from fflib.distillation.objective import Distillation, Objectives
from fflib.files import InputError
from fflib.model import training
from fflib.model.training import Recipe

EXAMPLES = examples_of([4 + i % 7 for i in range(24)], seed=5)
GROUP = np.array([3, 0, 9, 4])
INSIDE = Objectives(embedding=1.0, hidden=1.0, attention=1.0)  # TinyBERT's first stage


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path))


def inputs():
    batch = batching.collate(EXAMPLES, GROUP)
    return {name: torch.from_numpy(array) for name, array in batch.inputs.items()}


def loss_of(student, the_teacher, objectives, maps_to=(2, 4), cache_gb=4.0):
    outputs = teacher.TeacherOutputs(the_teacher, EXAMPLES, cache_gb)
    return Distillation(student, outputs, objectives, maps_to, EXAMPLES.gold)


def test_observed_features_are_what_the_encoder_computes():
    model = classifier()
    output = model(**inputs(), output_hidden_states=True)
    features = [("hidden", 0), ("hidden", 2), ("query", 1), ("value", 2)]
    logits, seen = objective.observe(model, inputs(), features)
    torch.testing.assert_close(logits, output.logits)
    torch.testing.assert_close(seen["hidden", 0], output.hidden_states[0])
    torch.testing.assert_close(seen["hidden", 2], output.last_hidden_state)
    torch.testing.assert_close(seen["query", 1], model.encoder.layers[0].attention.query(output.hidden_states[0]))
    torch.testing.assert_close(seen["value", 2], model.encoder.layers[1].attention.value(output.hidden_states[1]))
    assert not any(module._forward_hooks for module in model.modules()), "a hook was left behind"


@pytest.mark.parametrize("cache_gb", [4.0, 0.0])
def test_the_parts_are_the_losses_between_the_mapped_layers(cache_gb):
    student, the_teacher = classifier(2, seed=1), classifier(4, seed=2)
    weights = Objectives(1, 1, 1, 1, 1, 1, 1, 1, temperature=2.0)
    ours, theirs = (
        model(**inputs(), output_hidden_states=True, output_attention_scores=True) for model in (student, the_teacher)
    )
    mask = inputs()["attention_mask"]
    layers = ((1, 2), (2, 4))
    on_scores = {
        name: sum(compare(ours.attention_scores[m - 1], theirs.attention_scores[g - 1], mask) for m, g in layers)
        for name, compare in (
            ("attention", losses.attention_loss),
            ("attention_cosine", losses.attention_cosine_loss),
        )
    }
    states = losses.state_loss
    wanted = on_scores | {
        "logits": losses.soft_cross_entropy(ours.logits, theirs.logits, 2.0),
        "labels": F.cross_entropy(ours.logits, torch.from_numpy(EXAMPLES.labels[GROUP])),
        "embedding": states(ours.hidden_states[0], theirs.hidden_states[0], mask),
        "hidden": sum(states(ours.hidden_states[m], theirs.hidden_states[g], mask) for m, g in layers),
        "last_hidden": states(ours.last_hidden_state, theirs.last_hidden_state, mask),
        "relations": sum(
            losses.relation_loss(*(_projected(model, out, kind) for model, out in pair), mask, 2)
            for kind in objective.RELATIONS
            for pair in [((student, ours), (the_teacher, theirs))]
        ),
    }
    loss = loss_of(student, the_teacher, weights, cache_gb=cache_gb)
    got = loss.parts(student, inputs(), GROUP)
    assert got.keys() == wanted.keys()
    for name in wanted:  # the cache holds half precision
        torch.testing.assert_close(got[name], wanted[name], rtol=3e-3, atol=1e-4, msg=name)
    total = sum(getattr(weights, name) * got[name] for name in got)
    torch.testing.assert_close(loss(student, inputs(), GROUP), total)


def _projected(model, output, kind):
    """Queries, keys or values of the last layer."""
    return getattr(model.encoder.layers[-1].attention, kind)(output.hidden_states[-2])


def test_a_part_without_weight_costs_nothing():
    loss = loss_of(classifier(2), classifier(4, seed=1), Objectives(logits=1))
    assert loss.terms == [] and loss.parts(classifier(2), inputs(), GROUP).keys() == {"logits"}


def test_a_student_like_its_teacher_has_no_distance_from_it():
    model = classifier(2)
    loss = loss_of(
        model, model, Objectives(embedding=1, hidden=1, attention=1, attention_cosine=1, relations=1), (1, 2)
    )
    for name, value in loss.parts(model, inputs(), GROUP).items():
        assert value.item() == pytest.approx(0, abs=1e-4), name


def test_relations_need_neither_the_same_heads_nor_the_same_width():
    student, the_teacher = tiny_classifier(), classifier(4, heads=4, hidden=32)
    loss = loss_of(student, the_teacher, Objectives(relations=1.0), maps_to=(2, 4))
    value = loss(student, inputs(), GROUP)
    value.backward()
    assert value > 0 and student.encoder.layers[1].attention.value.weight.grad.any()


def test_attention_losses_of_unlike_heads_are_refused():
    loss = loss_of(classifier(2, heads=4), classifier(4, heads=2), Objectives(attention=1.0))
    with pytest.raises(InputError, match="4 heads and the teacher.s 2; use the relation loss"):
        loss(classifier(2, heads=4), inputs(), GROUP)


def test_a_projection_between_widths_is_trained_along_and_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0)
    recipe = Recipe(epochs=2, batch_size=8, learning_rate=1e-2, evaluations_per_epoch=0)

    def fit(stop_after=None, state=None):
        student, steps = classifier(2, hidden=8, seed=3), 0
        torch.manual_seed(7)
        loss = loss_of(student, classifier(4), Objectives(embedding=1, hidden=1))
        before = loss.project_hidden.weight.detach().clone()

        class Stopping(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = loss

            def forward(self, *arguments):
                nonlocal steps
                steps += 1
                if steps == stop_after:
                    raise KeyboardInterrupt
                return self.inner(*arguments)

        history = training.fit(student, EXAMPLES, EXAMPLES, Stopping(), lambda *_: 1 / 0, recipe, state)
        assert not torch.equal(loss.project_hidden.weight, before)
        return history, loss.project_hidden.weight.detach(), student

    whole = fit()
    with pytest.raises(KeyboardInterrupt):
        fit(stop_after=4, state=tmp_path / "state")
    resumed = fit(state=tmp_path / "state")
    assert resumed[0].resumed == 1
    torch.testing.assert_close(resumed[1], whole[1], rtol=0, atol=0)
    for ours, theirs in zip(resumed[2].parameters(), whole[2].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_intermediate_distillation_brings_the_states_together():
    student, the_teacher = classifier(2, seed=1), classifier(4, seed=2)
    loss = loss_of(student, the_teacher, INSIDE)
    before = loss(student, inputs(), GROUP).item()
    recipe = Recipe(epochs=20, batch_size=8, learning_rate=1e-2, dropout=0.0, evaluations_per_epoch=0)
    history = training.fit(student, EXAMPLES, EXAMPLES, loss, lambda *_: 1 / 0, recipe)
    assert loss(student, inputs(), GROUP).item() < before / 2 and history.dev_score == []


def test_the_label_loss_refuses_text_without_labels():
    outputs = teacher.TeacherOutputs(classifier(4), EXAMPLES)
    for gold in (None, Gold(np.where(EXAMPLES.labels == 1, 1, -1))):
        with pytest.raises(InputError, match="nobody labelled"):
            Distillation(classifier(2), outputs, Objectives(labels=1.0), (2, 4), gold)


@pytest.mark.parametrize(
    ("student", "says"),
    [
        (classifier(6), "6 layers, the teacher only 4"),
        (classifier(3), "needs 3 ascending layers"),  # the map has two
        (classifier(2, num_labels=3), "3 labels, the teacher 2"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(student, says):
    with pytest.raises(InputError, match=says):
        loss_of(student, classifier(4), Objectives(logits=1))


def test_parts_of_the_inside_weigh_the_same():
    assert Objectives.inside(["hidden", "relations"]) == Objectives(hidden=1.0, relations=1.0)
    with pytest.raises(InputError, match="no part of the inside 'logits'"):
        Objectives.inside(["logits"])
