"""The file that is served: made once, judged by labels where it is rounded, and refused where it keeps too few."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import examples_of, tiny_classifier

from fflib.data import batching
from fflib.engine import export, predictors
from fflib.files import InputError
from fflib.measure import fitness
from fflib.measure.timing import Check, Variant
from fflib.model import training
from fflib.runtime import served

EXAMPLES = examples_of((5, 9, 3, 12))
RIGHT = np.array([[2.0, 1.0], [1.0, 2.0], [2.0, 1.0], [1.0, 2.0]], np.float32)


def saying(logits):
    """A predictor that knows each request by its length."""
    by_length = dict(zip(EXAMPLES.lengths, logits, strict=True))
    return lambda inputs: np.array([by_length[row.sum()] for row in inputs["attention_mask"]])


@pytest.mark.parametrize("recipe", ["dynamic", "static, largest"])
def test_the_integers_lie_beside_the_file_and_are_made_once(tmp_path, recipe):
    source = export.save_onnx(tiny_classifier(), tmp_path / "model.onnx")
    assert served.in_integers(source, "", EXAMPLES, 1) == source
    target = served.in_integers(source, recipe, EXAMPLES, 1)
    assert target == tmp_path / f"{recipe}.onnx"
    made = target.stat().st_mtime_ns
    assert served.in_integers(source, recipe, EXAMPLES, 1).stat().st_mtime_ns == made
    assert predictors.onnx_session(target, 1) and target.stat().st_size < source.stat().st_size


def test_the_final_form_is_the_model_in_fp32_and_the_file_that_is_served_in_eight_bits(tmp_path):
    model, plan = tiny_classifier(), batching.in_order(EXAMPLES.lengths, 2)
    in_fp32 = served.final_answers(model, "", EXAMPLES, plan, threads=1)
    np.testing.assert_allclose(in_fp32, training.predict(model, EXAMPLES), atol=1e-4)
    rounded = served.final_answers(model, "dynamic", EXAMPLES, plan, threads=1)
    kept = served.final_form(model, "dynamic", tmp_path, threads=1)
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "dynamic.onnx"}
    np.testing.assert_array_equal(rounded, Variant("kept", kept, plan).logits(EXAMPLES))
    assert np.abs(rounded - in_fp32).max() > 0, "nothing was rounded"


def test_a_form_that_needs_calibration_texts_says_so():
    plan = batching.in_order(EXAMPLES.lengths, 2)
    with pytest.raises(InputError, match="calibration"):
        served.final_answers(tiny_classifier(), "static, largest", EXAMPLES, plan, threads=1)


def test_who_keeps_too_few_labels_is_timed_but_not_served():
    one_wrong = RIGHT.copy()
    one_wrong[0] = one_wrong[0, ::-1] + 7
    plan = batching.in_order(EXAMPLES.lengths, 1)
    check = served.judged(Variant("int8", saying(one_wrong), plan), EXAMPLES, RIGHT).checked
    assert check.label_agreement == 0.75 and check.max_abs_difference > 1
    assert fitness.verdict(check, 0.75) == "checked" and fitness.verdict(check, 0.76) == "timed, not served"
    mad = served.judged(Variant("mad", saying(RIGHT[:, ::-1]), plan), EXAMPLES, RIGHT).checked
    assert mad.label_agreement == 0 and fitness.verdict(mad, 0.8) == "timed, not served"


def test_all_requests_judge_a_graph_that_only_some_time():
    one_wrong = RIGHT.copy()
    one_wrong[3] = one_wrong[3, ::-1]
    every_third = batching.in_order(EXAMPLES.lengths, 1)[::3][:1]
    judged = served.judged(Variant("int8", saying(one_wrong), every_third), EXAMPLES, RIGHT)
    assert judged.checked.n == 4 and judged.checked.label_agreement == 0.75, "the wrong one is not among the timed"
    assert len(judged.plan) == 1


def test_in_fp32_nothing_may_change():
    assert served.labels_to_keep("", 0.9, 96) == 0.999 and served.tolerance("", RIGHT) == 1e-3
    assert served.labels_to_keep("dynamic", 0.95, 1500) == fitness.least(0.95, 1500, fitness.NEARLY_NEVER)
    with pytest.raises(InputError, match="min_agreement is 0.5"):
        served.labels_to_keep("dynamic", 0.5, 96)
    assert served.tolerance("dynamic", RIGHT) == 1.0 and served.tolerance("dynamic", 10 * RIGHT) == pytest.approx(3.0)


def test_all_of_test_is_answered_in_the_batches_that_are_served():
    model = tiny_classifier()
    expected, seen = training.predict(model, EXAMPLES), []
    predict = predictors.torch_predictor(model)

    def noting(inputs):
        seen.append(len(inputs["input_ids"]))
        return predict(inputs)

    found = served.answers(noting, EXAMPLES, expected, ("sorted", 2), 0.999)
    assert seen == [2, 2] and found.check.n == 4 and found.check.max_abs_difference < 1e-4
    np.testing.assert_allclose(found.logits, expected, atol=1e-4)
    other = served.answers(saying(RIGHT), EXAMPLES, RIGHT + 1, ("in order", 1), 0.999)
    assert other.check == Check(1.0, 1.0, 4)
    with pytest.raises(AssertionError, match=r"only 0.0% of the labels are those of the model, 85.0% have to be"):
        served.answers(saying(RIGHT), EXAMPLES, RIGHT[:, ::-1], ("in order", 1), 0.85)
