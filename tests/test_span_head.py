"""The head for spans against a loop over them, in PyTorch, on ONNX Runtime and in int8."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from torch import Tensor, nn

from fflib import export, processor, quantization, runtime, span_head
from fflib.encoder import Encoder, EncoderConfig, LayerShape
from fflib.fake_quantization import fake_quantized
from fflib.files import InputError
from fflib.processor import Int8Support
from fflib.span_head import SpanClassifier, check_spans, largest_in_spans

PRUNED = (LayerShape(3, 4, 10), LayerShape(0, 4, 6), LayerShape(1, 7, 0))
SIZES = ((3, 9), (1, 4), (2, 30), (5, 2))  # rows, length
VOCABULARY = 50
INT8_TOLERANCE = 2e-3  # of a logit: a value between two whole numbers may go to either

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


def classifier(spans=2, seed=0) -> SpanClassifier:
    """A model whose weights are large enough for attention to be far from uniform."""
    torch.manual_seed(seed)
    config = EncoderConfig(VOCABULARY, 16, PRUNED, max_position_embeddings=64)
    model = SpanClassifier(Encoder(config), 3, spans).eval()
    for parameter in model.parameters():
        if parameter.numel():
            nn.init.normal_(parameter, 0.05, 0.3)
    return model


def batch(rows, length, spans=2, seed=0) -> dict[str, Tensor]:
    """Random tokens of two types, the last row padded; the first span of the first row is the whole text."""
    rng = np.random.default_rng(seed)
    mask = np.ones((rows, length), np.int64)
    mask[-1, length // 2 + 1 :] = 0
    ids, types = (rng.integers(high, size=mask.shape) for high in (VOCABULARY, 2))
    ends = rng.integers(1, mask.sum(1)[:, None] + 1, size=(rows, spans))
    starts = rng.integers(ends)
    starts[0, 0], ends[0, 0] = 0, mask[0].sum()
    check_spans(starts, ends, mask.sum(1))
    arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: torch.from_numpy(a) for name, a in (arrays | {"span_starts": starts, "span_ends": ends}).items()}


def arrays(inputs: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in inputs.items()}


def by_loop(model: SpanClassifier, inputs: dict[str, Tensor]) -> Tensor:
    """Take the spans out one by one, as FastFormers does."""
    *tokens, starts, ends = inputs.values()
    rows = []
    for states, row_starts, row_ends in zip(model.encoder(*tokens).last_hidden_state, starts, ends, strict=True):
        spans = [states[i:j].max(dim=0).values for i, j in zip(row_starts, row_ends, strict=True)]
        rows.append(model.classifier(torch.cat(spans)))
    return torch.stack(rows)


def logits_of(model: SpanClassifier, inputs: dict[str, Tensor]) -> np.ndarray:
    with torch.no_grad():
        return model(**inputs).logits.numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = classifier()
    return model, export.save_onnx(model, tmp_path_factory.mktemp("spans") / "model.onnx")


@pytest.fixture
def exports(monkeypatch, exported):
    """Stand-in for the slow step: note each call, return the graph of ``exported``."""
    calls = []

    def to_onnx(*args):
        calls.append(args)
        return onnx.load(exported[1])

    monkeypatch.setattr(export, "to_onnx", to_onnx)
    return calls


def test_largest_of_a_span_by_hand():
    states = torch.tensor([[[1.0, -9.0], [5.0, -2.0], [-3.0, -4.0], [8.0, -1.0]]])
    largest = largest_in_spans(states, torch.tensor([[0, 2, 3]]), torch.tensor([[2, 3, 4]]))
    assert largest.tolist() == [[[5, -2], [-3, -4], [8, -1]]]


@pytest.mark.parametrize("spans", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_equals_a_loop_over_the_spans(spans, size):
    model, inputs = classifier(spans), batch(*size, spans)
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, by_loop(model, inputs), atol=1e-6, rtol=0)


def test_output_has_what_the_encoder_returns():
    model, inputs = classifier(), batch(3, 9)
    with torch.no_grad():
        output, encoded = model(**inputs), model.encoder(*list(inputs.values())[:3])
    assert output.logits.shape == (3, 3)
    assert torch.equal(output.last_hidden_state, encoded.last_hidden_state)
    assert torch.equal(output.pooled, encoded.pooled)


def test_padding_changes_nothing():
    model, inputs = classifier(), batch(3, 9)
    padded = {name: nn.functional.pad(t, (0, 6)) if t.shape[1] == 9 else t for name, t in inputs.items()}
    padded["input_ids"][:, 9:] = 13
    np.testing.assert_allclose(logits_of(model, padded), logits_of(model, inputs), atol=1e-5)


def test_gradients_are_those_of_the_loop():
    """Through one token a unit, in the spans alone; the encoder learns too."""
    model, inputs = classifier(), batch(3, 9)
    found = []
    for logits in (model(**inputs).logits, by_loop(model, inputs)):
        model.zero_grad()
        logits.square().sum().backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert float(found[0]["encoder.embeddings.word.weight"].abs().sum()) > 0
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], atol=1e-3, rtol=1e-4, msg=name)


def test_dropout_is_between_states_and_classifier():
    model, inputs = classifier(), batch(3, 9)
    model.dropout.p = 1.0
    assert np.abs(logits_of(model, inputs) - model.classifier.bias.detach().numpy()).max() > 0.1
    model.dropout.train()
    np.testing.assert_array_equal(logits_of(model, inputs), np.tile(model.classifier.bias.detach(), (3, 1)))
    assert SpanClassifier(Encoder(EncoderConfig(9, 4, (), dropout=0.25)), 2).dropout.p == 0.25


def test_no_spans_no_classifier():
    with pytest.raises(InputError, match="spans is 0"):
        classifier(spans=0)


def test_good_spans_pass():
    check_spans(np.array([[0, 4], [2, 0]]), np.array([[5, 5], [3, 1]]), np.array([5, 3]))


@pytest.mark.parametrize(
    ("starts", "ends", "message"),
    [
        ([[0, 1], [2, 2]], [[1, 2], [3, 2]], "span 1 of text 1 goes from 2 to 2; give at least one of the text's 4"),
        ([[0, 1], [3, 0]], [[1, 2], [2, 1]], "span 0 of text 1 goes from 3 to 2"),
        ([[0, 1], [-1, 0]], [[1, 2], [1, 1]], "span 0 of text 1 goes from -1 to 1"),
        ([[0, 6], [3, 0]], [[7, 8], [4, 5]], "span 1 of text 0 goes from 6 to 8; give at least one of the text's 7"),
        ([[0, 1], [3, 0]], [[1, 2], [4, 5]], "span 1 of text 1 goes from 0 to 5"),
        ([[0, 1]], [[1, 2]], r"starts are \(1, 2\), ends \(1, 2\) and lengths \(2,\); give \[n, spans\] twice"),
        ([[0], [1]], [[1, 2], [2, 3]], "ends"),
        ([0, 1], [1, 2], "starts are"),
    ],
)
def test_bad_spans_are_named(starts, ends, message):
    with pytest.raises(InputError, match=message):
        check_spans(np.array(starts), np.array(ends), np.array([7, 4]))


def test_file_equals_model_at_other_sizes(exported):
    model, path = exported
    predict = runtime.onnx_predictor(runtime.onnx_session(path, 1))
    for size in SIZES:
        inputs = batch(*size, seed=1)
        np.testing.assert_allclose(predict(arrays(inputs)), logits_of(model, inputs), atol=1e-5)


def test_graph_knows_its_dimensions(exported):
    graph = onnx.load(exported[1]).graph
    shapes = {
        node.name: [axis.dim_param or axis.dim_value for axis in node.type.tensor_type.shape.dim]
        for node in (*graph.input, *graph.output)
    }
    tokens = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), ["batch", "length"])
    assert shapes == tokens | {"span_starts": ["batch", 2], "span_ends": ["batch", 2], "logits": ["batch", 3]}
    with pytest.raises(InvalidArgument, match="span_starts"):
        runtime.onnx_predictor(runtime.onnx_session(exported[1], 1))(arrays(batch(3, 9, spans=3)))


@pytest.mark.parametrize("spans", [1, 3])
@pytest.mark.parametrize(("rows", "length"), [*export.CHECKED, export.TRACED, (9, 1)])
def test_spans_that_an_export_is_checked_with_are_good(spans, rows, length):
    inputs = arrays(export.example_inputs(classifier(spans), rows, length))
    assert inputs["span_starts"].shape == inputs["span_ends"].shape == (rows, spans)
    check_spans(inputs["span_starts"], inputs["span_ends"], inputs["attention_mask"].sum(1))


def test_file_is_kept_until_the_head_changes(exported, exports, monkeypatch, tmp_path):
    model, path = exported
    export.save_onnx(model, path)
    export.check_belongs(path, model)
    assert not exports
    changed = tmp_path / "span_head.py"
    changed.write_text("another head")
    monkeypatch.setattr(span_head, "__file__", str(changed))
    export.save_onnx(model, tmp_path / "model.onnx")
    assert len(exports) == 1
    assert export.notes(tmp_path / "model.onnx")["fingerprint"] != export.notes(path)["fingerprint"]


def test_wrong_graph_is_not_written(exports, tmp_path):
    other = classifier()
    with torch.no_grad():
        other.classifier.bias[1] += 0.25
    with pytest.raises(AssertionError, match="off by 0.25 "):
        export.save_onnx(other, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_int8_is_what_rounding_makes_of_it(exported, monkeypatch, tmp_path):
    """Weights of 7 bits: every processor computes the same."""
    monkeypatch.setattr(processor, "int8_support", lambda: Int8Support("invented", True, 4.0))
    model, path = exported
    small = quantization.quantize(path, tmp_path / "int8.onnx", quantization.get_recipe("dynamic"))
    export.check_belongs(small, model)
    operators = [node.op_type for node in onnx.load(small).graph.node]
    assert operators.count("MatMulInteger") == 6 + 2 + 4 + 1  # of the layers and the classifier; the pooler is not used
    predict = runtime.onnx_predictor(runtime.onnx_session(small, 1))
    off, far = [], []
    for seed in range(5):
        inputs = batch(3, 9, seed=seed)
        got = predict(arrays(inputs))
        far.append(np.abs(got - logits_of(model, inputs)).max())
        with fake_quantized(model, 7):
            off.append(np.abs(got - logits_of(model, inputs)).max())
    assert np.median(off) < INT8_TOLERANCE < np.median(far), (off, far)
