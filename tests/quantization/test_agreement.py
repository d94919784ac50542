"""Cheaper predictors against their original: labels, logits, neighbours in a batch; and models in sixteen bits."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import predictors
from fflib.files import InputError
from fflib.measure import hardware
from fflib.measure.race import race
from fflib.model import training
from fflib.quantization import agreement, half_precision

LENGTHS = [4, 9, 2, 7, 5, 11, 3]
EXAMPLES = examples_of(LENGTHS, seed=3)
SUMS = np.array([ids.sum() for ids in EXAMPLES.input_ids], np.float32)
WANTED = np.stack([SUMS, np.full(7, np.median(SUMS) + 0.5, np.float32)], 1)  # both labels occur
SHUFFLED = [np.array([5, 0]), np.array([3]), np.array([6, 1, 4]), np.array([2])]


def sums(inputs) -> np.ndarray:
    """The logits ``WANTED``: what each row holds, whatever stands beside it."""
    return np.stack([inputs["input_ids"].sum(1), np.full(len(inputs["input_ids"]), WANTED[0, 1])], 1).astype(np.float32)


def compare(predict, plan=SHUFFLED, expected=WANTED) -> agreement.Fidelity:
    return agreement.compare(predict, EXAMPLES, plan, expected)


@pytest.mark.parametrize("plan", [SHUFFLED, batching.in_order(EXAMPLES.lengths, 3), [np.arange(7)[::-1]]])
def test_a_true_predictor_changes_nothing(plan):
    found = compare(sums, plan)
    np.testing.assert_array_equal(found.logits, WANTED)  # in the order of the examples, not of the plan
    assert (found.agreement, found.max_change, found.n) == (1, 0, 7)
    assert (found.flips_by_batch, found.changes_by_batch.max()) == (0, 0)
    np.testing.assert_array_equal(found.changes_by_batch, np.zeros(7))


def test_changes_against_the_original():
    expected = WANTED.copy()
    expected[2] = WANTED[2, ::-1]
    expected[4, 0] += 0.25
    expected[6] = WANTED[6, ::-1]
    found = compare(sums, expected=expected)
    assert found.agreement == pytest.approx(5 / 7)
    assert found.max_change == np.abs(np.diff(WANTED[[2, 6]])).max() > 0.25
    assert (found.flips_by_batch, found.changes_by_batch.max()) == (0, 0)


def test_answers_that_depend_on_the_size_of_the_batch():
    """Every further row takes 1000 from the first logit: the label flips where that one was the larger."""

    def predict(inputs):
        return sums(inputs) - [[1000 * (len(inputs["input_ids"]) - 1), 0]]

    found = compare(predict)
    further = np.array([1, 2, 0, 0, 2, 1, 2])  # rows beside each example in SHUFFLED
    np.testing.assert_allclose(found.changes_by_batch, 1000 * further)
    first = WANTED.argmax(1) == 0
    assert found.flips_by_batch == (first & (further > 0)).sum() > 0
    assert found.agreement == pytest.approx(1 - found.flips_by_batch / 7)
    assert (found.changes_by_batch.max(), found.max_change) == (2000, 2000)


def test_answers_that_depend_on_the_mates():
    """As with a scale that the largest row of a batch decides: the mates change, not the original."""

    def predict(inputs):
        answers = sums(inputs)
        return answers + [[1, 0]] * (answers[:, :1].max() - answers[:, :1])

    found, changes = compare(predict), np.zeros(7)
    for group in SHUFFLED:
        changes[group] = SUMS[group].max() - SUMS[group]
    np.testing.assert_array_equal(found.changes_by_batch, changes)
    assert found.changes_by_batch.max() == changes.max() > 0
    flipped = (SUMS + changes > WANTED[:, 1]) != (WANTED[:, 1] < SUMS)
    assert found.flips_by_batch == flipped.sum() > 0
    assert found.max_change == changes.max()
    assert compare(predict, batching.in_order(EXAMPLES.lengths, 1)).changes_by_batch.max() == 0


def test_flips_by_batch_are_no_disagreement_with_the_original():
    """A predictor that errs alone but not in company agrees in full, and yet depends on its batch."""

    def predict(inputs):
        answers = sums(inputs)
        return answers[:, ::-1] if len(answers) == 1 else answers

    found = compare(predict, [np.arange(7)])
    assert (found.agreement, found.max_change, found.flips_by_batch) == (1, 0, 7)


@pytest.fixture
def model():
    return tiny_classifier(num_labels=3, seed=4)


def test_bf16_is_near_and_leaves_the_original_alone(model, monkeypatch):
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda: False)  # slow is no reason to refuse
    for parameter in model.parameters():
        parameter.data *= 5 if parameter.ndim > 1 else 1
    wanted, before = training.predict(model, EXAMPLES), copy.deepcopy(model.state_dict())
    half = half_precision.converted(model, "bf16")
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    got = predictors.torch_predictor(half)(batching.collate(EXAMPLES, range(7)).inputs)
    assert got.dtype == np.float32
    assert np.ptp(wanted, axis=0).max() > 0.2
    assert 1e-5 < np.abs(got - wanted).max() < 0.03
    assert all(t.dtype == torch.float32 and torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert half.encoder.config == model.encoder.config


@pytest.mark.parametrize("fast", [True, False])
def test_fp16_on_a_cpu_is_refused(model, monkeypatch, fast):
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda: fast)
    with pytest.raises(InputError, match="No CPU kernel of PyTorch or ONNX Runtime gains from fp16"):
        half_precision.converted(model, "fp16")
    assert half_precision.missing("fp16", "cpu").startswith("No CPU kernel")


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_a_gpu_must_be_there(model, monkeypatch, kind):
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=f"PyTorch sees no GPU, so {kind} on one was not measured."):
        half_precision.converted(model, kind, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert half_precision.missing(kind, "cuda") == ""


def test_bf16_pays_where_the_processor_multiplies_it(monkeypatch):
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda: True)
    assert half_precision.missing("bf16", "cpu") == ""
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda: False)
    assert half_precision.missing("bf16", "cpu") == "This processor does not multiply bf16, so it was not measured."


def test_a_copy_on_a_device_keeps_its_precision(model):
    copied = half_precision.on_device(model, "cpu")
    assert all(torch.equal(a, b) for a, b in zip(copied.parameters(), model.parameters(), strict=True))
    with torch.no_grad():
        copied.classifier.bias += 1
    assert not torch.equal(copied.classifier.bias, model.classifier.bias)
    assert (
        half_precision.on_device(half_precision.converted(model, "bf16"), "cpu").classifier.bias.dtype == torch.bfloat16
    )


def test_an_unknown_kind_is_refused(model):
    for use in (lambda kind: half_precision.missing(kind, "cpu"), lambda kind: half_precision.converted(model, kind)):
        with pytest.raises(InputError, match="no sixteen-bit kind 'fp8'; there are bf16, fp16"):
            use("fp8")


def test_sixteen_bits_are_served_and_shown_beside_fp32(model, monkeypatch):
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda: True)
    many = half_precision.at_least(EXAMPLES, 10)
    assert many.lengths.tolist() == LENGTHS + LENGTHS[:3]
    assert len(half_precision.at_least(EXAMPLES, 3)) == len(EXAMPLES)
    ways = half_precision.beside_fp32(model, "bf16", "cpu")
    assert list(ways) == ["fp32", "bf16"]
    found = race(ways, EXAMPLES, training.predict(model, EXAMPLES), 1, tolerance=0.1, agreement=0.0)
    row = half_precision.row(found, "bf16", "cpu", 1, 0.9)
    assert row["speed-up over fp32"] == found.speedup("bf16", "fp32") and row["answers"] in (
        "checked",
        "timed, not served",
    )
