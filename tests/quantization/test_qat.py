"""Fake quantisation against ONNX Runtime's own, and what training with it does."""

from __future__ import annotations

import copy
import logging
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import examples_of
from onnx.reference import ReferenceEvaluator
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn
from torch.nn import functional as F

from fflib.data import batching
from fflib.distillation import losses, objective, teacher
from fflib.distillation.objective import Distillation, Objectives
from fflib.engine import export, predictors
from fflib.files import InputError
from fflib.model import encoder, training
from fflib.model.encoder import Classifier
from fflib.model.training import Recipe
from fflib.quantization import qat as fake
from fflib.quantization.qat import QuantizationAware, fake_quantized

EXAMPLES, DEV = examples_of([4 + i % 7 for i in range(24)], seed=5), examples_of([6, 8, 5, 9], seed=6)
GROUPS = [np.array(group) for group in ([3, 0, 9, 4], [1, 2, 5, 6], [20, 7, 8, 10], [11, 12, 13, 14], [19, 6, 23, 17])]
TOLERANCE = 2e-3  # of a logit


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))


def classifier(seed=0, hidden=32) -> Classifier:
    """A random model whose logits int8 changes visibly: matrices larger than BERT's first ones, and biases."""
    torch.manual_seed(seed)
    config = encoder.EncoderConfig.uniform(2, 2, hidden, 64, vocab_size=50, max_position_embeddings=64)
    model = Classifier(config, 3).eval()
    for parameter in model.parameters():
        parameter.data = parameter * 15 if parameter.ndim > 1 else parameter + 0.1 * torch.randn_like(parameter)
    return model


def inputs(group=GROUPS[0]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in batching.collate(EXAMPLES, group).inputs.items()}


def arrays(group) -> dict[str, np.ndarray]:
    return batching.collate(EXAMPLES, group).inputs


def logits(model, group=GROUPS[0], bits=None, per_column=True) -> np.ndarray:
    with torch.inference_mode():
        if bits is None:
            return model(**inputs(group)).logits.numpy()
        with fake_quantized(model, bits, per_column):
            return model(**inputs(group)).logits.numpy()


def linears(model) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """A model, and ONNX Runtime's int8 graph of it for 7 or 8 bits, with a scale per column or not."""
    folder, model, graphs = tmp_path_factory.mktemp("int8"), classifier(1), {}
    path = export.save_onnx(model, folder / "model.onnx")
    logging.disable(logging.WARNING)  # advice to preprocess the graph
    try:
        for bits in (7, 8):
            for per_column in (True, False):
                options = {"weight_type": QuantType.QInt8, "per_channel": per_column, "reduce_range": bits == 7}
                extra = {"WeightSymmetric": True, "DefaultTensorType": onnx.TensorProto.FLOAT}
                small = folder / "int8.onnx"
                quantize_dynamic(path, small, op_types_to_quantize=["MatMul"], **options, extra_options=extra)
                graphs[bits, per_column] = onnx.load(small)
    finally:
        logging.disable(logging.NOTSET)
    return model, graphs


def compare(answer, model, bits, per_column, groups) -> None:
    """Assert that the fake-quantised logits are those of ``answer``, while the float logits are far from them."""
    off = [np.abs(answer(group) - logits(model, group, bits, per_column)).max() for group in groups]
    far = [np.abs(answer(group) - logits(model, group)).max() for group in groups]
    # A value on the border of two whole numbers may round to either side, so one batch in five may differ by a step.
    assert np.median(off) < TOLERANCE / 10 and np.max(off) < np.median(far) / 2, off
    assert sum(difference > TOLERANCE for difference in off) <= len(groups) // 5, off
    assert np.min(far) > 10 * TOLERANCE, far


@pytest.mark.parametrize("per_column", [True, False])
def test_seven_bits_are_what_onnx_runtime_computes(quantized, per_column):
    model, graphs = quantized
    predictor = predictors.onnx_predictor(predictors.onnx_session(graphs[7, per_column], 1))
    compare(lambda group: predictor(arrays(group)), model, 7, per_column, GROUPS)


@pytest.mark.parametrize("per_column", [True, False])
def test_eight_bits_are_what_the_graph_says(quantized, per_column):
    """The reference evaluator's: engines for processors without VNNI let sums of 8-bit products saturate."""
    model, graphs = quantized
    graph = ReferenceEvaluator(graphs[8, per_column])
    wanted = {node.name for node in graphs[8, per_column].graph.input}

    def answer(group):
        return graph.run(None, {name: array for name, array in arrays(group).items() if name in wanted})[0]

    compare(answer, model, 8, per_column, GROUPS[:3])


@pytest.mark.parametrize("bits", [7, 8])
@pytest.mark.parametrize("per_column", [True, False])
def test_codes_and_scales_are_those_in_the_librarys_file(quantized, bits, per_column):
    model, graphs = quantized
    graph = graphs[bits, per_column].graph
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    pairs = [(held[name], held[name.replace("_quantized", "_scale")]) for name in held if name.endswith("_quantized")]
    assert len(pairs) == len(linears(model)) == sum(node.op_type == "MatMulInteger" for node in graph.node)
    for linear in linears(model):
        codes, scale = (tensor.detach().numpy() for tensor in fake.weight_codes(linear.weight, bits, per_column))
        assert any(np.array_equal(codes.T, c) and np.array_equal(scale, s) for c, s in pairs)
        assert np.abs(codes).max() == (64 if bits == 7 else 127)


def test_inputs_are_quantised_as_the_operator_does_it():
    node = onnx.helper.make_node("DynamicQuantizeLinear", ["x"], ["codes", "scale", "zero_point"])
    kinds = {"x": 1, "codes": 2, "scale": 1, "zero_point": 2}
    shapes = {"x": [None, None], "codes": [None, None], "scale": [], "zero_point": []}
    info = {name: onnx.helper.make_tensor_value_info(name, kinds[name], shapes[name]) for name in kinds}
    graph = onnx.helper.make_graph([node], "one", [info.pop("x")], list(info.values()))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = torch.randn(40, 32, generator=torch.Generator().manual_seed(0))
    halves = torch.tensor([[-0.5, 0.5, 1.5, 2.5, 254.5, 0.0]])  # a scale of 1: what lies in the middle goes to even
    for x in (values, values + 9, values - 9, values.abs(), halves, torch.zeros(2, 2)):
        codes, scale, zero_point = session.run(None, {"x": x.numpy()})
        got, step = fake.activation_codes(x)
        np.testing.assert_array_equal(got.numpy(), codes.astype(np.float32) - zero_point)
        assert step.item() == scale


@pytest.mark.parametrize("bits", range(2, 9))
def test_any_number_of_bits_rounds_to_the_nearest_code(bits):
    weight = torch.randn(5, 16, generator=torch.Generator().manual_seed(bits))
    weight[2] = 0  # a column that was pruned has no range
    codes, scale = fake.weight_codes(weight, bits)
    largest = {2: 1, 3: 3, 4: 7, 5: 15, 6: 31, 7: 64, 8: 127}[bits]
    assert torch.equal(codes, codes.round()) and codes[2].eq(0).all() and scale[2] == 1
    assert codes.abs().amax(1)[[0, 1, 3, 4]].eq(largest).all()
    assert ((codes * scale[:, None] - weight).abs() <= scale[:, None] * 0.50001).all()
    assert np.isclose(fake.weight_codes(weight, bits, per_column=False)[1], weight.abs().max() / largest)


@pytest.mark.parametrize("bits", [1, 9, 2.5])
def test_other_numbers_of_bits_are_refused(bits):
    with pytest.raises(InputError, match="take 2 to 8"), fake_quantized(classifier(), bits):
        pass


@pytest.mark.parametrize("per_column", [True, False])
def test_gradients_pass_the_rounding_straight_through(per_column):
    torch.manual_seed(0)
    linear, x, slope = nn.Linear(6, 4), torch.randn(3, 5, 6, requires_grad=True), torch.randn(3, 5, 4)
    with fake_quantized(linear, 4, per_column):
        y = linear(x)
    y.backward(slope)
    # By hand, in NumPy: y = x' w'^T + b of the rounded x' and w', and the rounding as if it were the identity.
    w, b, values = linear.weight.detach().numpy(), linear.bias.detach().numpy(), x.detach().numpy()
    scale = np.abs(w).max(axis=1, keepdims=True) / 7 if per_column else np.abs(w).max() / 7
    rounded_w = np.round(w / scale) * scale
    step = (values.max() - values.min()) / 255
    zero = np.round(-values.min() / step)
    rounded_x = (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step
    assert np.abs(rounded_w - w).max() > 0.02 and np.abs(rounded_x - values).max() > 0.004
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(y.detach(), rounded_x @ rounded_w.T + b)
    close(x.grad, slope.numpy() @ rounded_w)
    close(linear.weight.grad, np.einsum("abo,abi->oi", slope.numpy(), rounded_x))
    close(linear.bias.grad, slope.numpy().sum((0, 1)))


def test_a_layer_without_bias():
    linear, x = nn.Linear(6, 4, bias=False), torch.eye(6)  # 0 and 1 are whole steps of 1/255
    codes, scale = fake.weight_codes(linear.weight, 3)
    with fake_quantized(linear, 3):
        torch.testing.assert_close(linear(x), (codes * scale[:, None]).T)


def test_bfloat16_multiplies_the_same_whole_numbers():
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 4), torch.randn(3, 64)
    codes, step = fake.activation_codes(x)
    weights, scale = fake.weight_codes(linear.weight)
    product = codes.double() @ weights.double().T  # exact; what follows is the one rounding that bfloat16 adds
    with torch.autocast("cpu", dtype=torch.bfloat16), fake_quantized(linear):
        y = linear(x)
    y.sum().backward()
    torch.testing.assert_close(y, product.bfloat16() * (step * scale) + linear.bias)
    assert y.dtype == torch.float32 and linear.weight.grad.all()


def test_all_is_as_before_afterwards_also_after_an_error():
    model = classifier()
    before, names = logits(model), list(model.state_dict())
    with fake_quantized(model, 4):
        assert list(model.state_dict()) == names
        assert not np.allclose(model(**inputs()).logits.detach(), before, atol=0.05)
        with pytest.raises(InputError, match="fake-quantised already"), fake_quantized(model):
            pass
        assert not np.allclose(model(**inputs()).logits.detach(), before, atol=0.05), "the outer block goes on"
    assert np.array_equal(logits(model), before) and list(model.state_dict()) == names
    with pytest.raises(ZeroDivisionError), fake_quantized(model, 4):
        _ = 1 / 0
    assert np.array_equal(logits(model), before)
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("cache_gb", [4.0, 0.0])
def test_the_loss_sees_the_quantised_student_the_float_teacher_and_its_own_float_projection(cache_gb):
    student, the_teacher = classifier(1, hidden=16), classifier(2)
    before = the_teacher(**inputs(), output_hidden_states=True).hidden_states
    outputs = teacher.TeacherOutputs(the_teacher, EXAMPLES, cache_gb)
    inner = Distillation(student, outputs, Objectives(hidden=1.0), "uniform")
    value = QuantizationAware(inner, 2)(student, inputs(), GROUPS[0])
    with fake_quantized(student, 2):
        rounded = student(**inputs(), output_hidden_states=True).hidden_states
        _, seen = objective.observe(student, inputs(), [("hidden", 1), ("query", 2)])
        query = student.encoder.layers[1].attention.query(rounded[1])
    torch.testing.assert_close(seen["hidden", 1], rounded[1])
    torch.testing.assert_close(seen["query", 2], query)

    def distance(ours) -> torch.Tensor:
        project, mask = inner.project_hidden, inputs()["attention_mask"]
        projected = [F.linear(state, project.weight, project.bias) for state in ours[1:]]
        pairs = zip(projected, before[1:], strict=True)
        return sum(losses.state_loss(state, target, mask) for state, target in pairs)

    torch.testing.assert_close(value, distance(rounded), rtol=1e-3, atol=0)  # the cache holds half precision
    unrounded = student(**inputs(), output_hidden_states=True).hidden_states
    assert not torch.isclose(value, distance(unrounded), rtol=1e-2, atol=0)


def test_weights_of_the_loss_are_trained_through_the_wrapper():
    student = classifier(1, hidden=16)
    inner = Distillation(student, teacher.TeacherOutputs(classifier(2), EXAMPLES), Objectives(hidden=1.0), "uniform")
    before = inner.project_hidden.weight.detach().clone(), student.encoder.layers[0].attention.key.weight.clone()
    training.fit(
        student, EXAMPLES, DEV, QuantizationAware(inner), lambda *_: 1 / 0, Recipe(1, 12, evaluations_per_epoch=0)
    )
    assert not torch.equal(inner.project_hidden.weight, before[0])
    assert not torch.equal(student.encoder.layers[0].attention.key.weight, before[1])


def divergence(model, target, bits) -> float:
    """Mean KL divergence of the fake-quantised answers from the target logits."""
    answers = torch.from_numpy(fake.predict(model, EXAMPLES, bits)).log_softmax(-1)
    return F.kl_div(answers, target.log_softmax(-1), log_target=True, reduction="batchmean").item()


def test_training_brings_the_quantised_answers_to_the_teachers():
    the_teacher = classifier(3)
    student, outputs = copy.deepcopy(the_teacher), teacher.TeacherOutputs(the_teacher, EXAMPLES)
    before = divergence(student, outputs.logits, 4)
    loss = QuantizationAware(Distillation(student, outputs, Objectives(logits=1.0), "uniform"), 4)
    recipe = Recipe(8, 8, 2e-3, dropout=0.0, evaluations_per_epoch=0)
    training.fit(student, EXAMPLES, DEV, loss, lambda *_: 1 / 0, recipe)
    assert before > 0.01 and divergence(student, outputs.logits, 4) < before / 2


def test_distil_keeps_its_work_scores_what_is_served_and_leaves_the_start_alone(tmp_path, monkeypatch):
    start, outputs, fits = classifier(3), teacher.TeacherOutputs(classifier(4), EXAMPLES), []
    before, fit = copy.deepcopy(start.state_dict()), training.fit
    monkeypatch.setattr(training, "fit", lambda *arguments: fits.append(1) or fit(*arguments))

    def score(answers, gold) -> float:
        return -float(np.square(answers).mean())

    def distil(**changes):
        recipe, objectives = Recipe(1, 12, 1e-3, dropout=0.0), Objectives(logits=1.0)
        return fake.distil(start, recipe, outputs, objectives, DEV, score, tmp_path / "student", **changes)

    model, history = distil(weight_bits=3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.state_dict().items())
    assert not torch.equal(model.classifier.weight, start.classifier.weight)
    assert history.best_score == pytest.approx(score(fake.predict(model, DEV, 3), DEV.gold), abs=1e-6)
    assert history.best_score != pytest.approx(score(training.predict(model, DEV), DEV.gold), abs=1e-3)
    again, known = distil(weight_bits=3)
    assert len(fits) == 1 and (known.best_score, known.seconds) == (history.best_score, history.seconds)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    for changes in ({"weight_bits": 4}, {"weight_bits": 4, "per_column": False}, {"learn_from": "last"}):
        distil(**changes)
    assert len(fits) == 4
    with pytest.raises(InputError, match="take 2 to 8"):
        distil(weight_bits=9)


def test_distil_is_one_run_of_the_training_loop(tmp_path):
    start, outputs, score = classifier(3), teacher.TeacherOutputs(classifier(4), EXAMPLES), lambda *_: 0.0
    recipe, objectives = Recipe(1, 12, 1e-3, dropout=0.0, evaluations_per_epoch=0), Objectives(logits=1.0, hidden=0.1)
    model, _ = fake.distil(start, recipe, outputs, objectives, DEV, score, tmp_path / "a", 4, per_column=False)
    loss = QuantizationAware(Distillation(start, outputs, objectives, (1, 2)), 4, per_column=False)
    training.fit(start, EXAMPLES, DEV, loss, score, recipe)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), start.parameters(), strict=True))
