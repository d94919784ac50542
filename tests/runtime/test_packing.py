"""Packed rows against each request alone: the same logits, in PyTorch, on ONNX Runtime and in int8."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from fflib.data import batching
from fflib.data.metrics import Gold
from fflib.data.splits import TokenizedSplit, tokenized
from fflib.engine import export, int8_support, predictors
from fflib.engine.int8_support import Int8Support
from fflib.files import InputError
from fflib.model.encoder import Classifier, EncoderConfig, LayerShape
from fflib.quantization import recipes
from fflib.quantization.qat import fake_quantized
from fflib.runtime import packing
from fflib.runtime.packing import PackedBatch, PackedClassifier, attended_share, first_fit, pack

UNIFORM = (LayerShape(2, 8, 24),) * 2
PRUNED = (LayerShape(3, 4, 10), LayerShape(0, 4, 6), LayerShape(1, 7, 0))
BERT: dict = {}
ROBERTA = {"pad_token_id": 1, "position_offset": 2}
LENGTHS = [5, 1, 12, 7, 3, 9, 2]
POSITIONS = 16  # of the models: fewer than the tokens of most rows
VOCABULARY = 50
PACKINGS = {
    "first fit": first_fit(LENGTHS, 16),
    "one row": [[4, 0, 6, 2, 1, 5, 3]],
    "no company": [[i] for i in range(7)],
    "two rows": [[6, 5, 4, 3], [2, 0, 1]],
}
INT8_TOLERANCE = 2e-3  # of a logit: a value between two whole numbers may go to either

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


def classifier(shapes=PRUNED, seed=0, **family) -> Classifier:
    """A model whose weights are large enough for attention to be far from uniform."""
    torch.manual_seed(seed)
    config = EncoderConfig(VOCABULARY, 16, shapes, max_position_embeddings=POSITIONS, **family)
    model = Classifier(config, num_labels=3).eval()
    for parameter in model.parameters():
        if parameter.numel():
            nn.init.normal_(parameter, 0.05, 0.3)
    return model


def requests(lengths=LENGTHS, seed=0) -> TokenizedSplit:
    """Random tokens of two types, none of them padding."""
    rng = np.random.default_rng(seed)
    ids, types = ([rng.integers(*bounds, n).astype(np.int32) for n in lengths] for bounds in ((4, VOCABULARY), (0, 2)))
    return tokenized(ids, types, Gold(np.zeros(len(lengths), np.int64)))


def alone(predict, examples: TokenizedSplit) -> np.ndarray:
    """The logits of each request without company or padding."""
    return np.concatenate([predict(batching.collate(examples, [i]).inputs) for i in range(len(examples))])


def restored(predict, batch: PackedBatch) -> np.ndarray:
    return predict(batch.inputs)[np.argsort(batch.order)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = classifier(**ROBERTA)
    path = export.save_onnx(PackedClassifier(model), tmp_path_factory.mktemp("packed") / "model.onnx")
    return model, path


def test_first_fit_by_hand():
    assert first_fit([3, 8, 2, 5, 5, 1], 10) == [[1, 2], [3, 4], [0, 5]]
    assert first_fit([4, 4, 4], 4) == [[0], [1], [2]]
    assert first_fit([2, 30, 3], 5) == [[1], [2, 0]]  # too long for a row: one of its own
    assert first_fit([], 5) == []


def fewest_rows(lengths, room) -> int:
    """Try every assignment of requests to rows."""
    for rows in itertools.count(1):
        for chosen in itertools.product(range(rows), repeat=len(lengths)):
            if np.bincount(chosen, weights=lengths, minlength=rows).max() <= room:
                return rows


def test_first_fit_wastes_little():
    rng = np.random.default_rng(0)
    for _ in range(25):
        lengths = rng.integers(1, 11, rng.integers(1, 6))
        rows = first_fit(lengths, 10)
        assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
        assert max(lengths[row].sum() for row in rows) <= 10
        assert len(rows) <= 11 / 9 * fewest_rows(lengths, 10) + 6 / 9  # Dosa 2007


def test_first_fit_of_many_requests():
    lengths = np.random.default_rng(1).integers(1, 60, 500)
    rows = first_fit(lengths, 64)
    sums = [lengths[row].sum() for row in rows]
    assert sorted(i for row in rows for i in row) == list(range(500))
    assert max(sums) <= 64
    for row, later in itertools.combinations(range(len(rows)), 2):  # first fit: nothing lies where it need not
        assert sums[row] + lengths[rows[later]].min() > 64


@pytest.mark.parametrize("room", [0, -3])
def test_rows_without_room(room):
    with pytest.raises(InputError, match=f"rows of {room} tokens"):
        first_fit([1, 2], room)


def test_pack_by_hand():
    ids = [np.array(row, np.int32) for row in ([11, 12], [21, 22, 23], [31], [41, 42])]
    types = [np.array(row, np.int32) for row in ([0, 1], [0, 0, 1], [0], [1, 1])]
    batch = pack(tokenized(ids, types, Gold(np.zeros(4, np.int64))), [[3, 2, 0], [1]], pad_token_id=9)
    wanted = {
        "input_ids": [[41, 42, 31, 11, 12], [21, 22, 23, 9, 9]],
        "token_type_ids": [[1, 1, 0, 0, 1], [0, 0, 1, 0, 0]],
        "segments": [[1, 1, 2, 3, 3], [1, 1, 1, 0, 0]],
        "positions": [[0, 1, 0, 0, 1], [0, 1, 2, 0, 0]],
        "firsts": [[0, 0], [0, 2], [0, 3], [1, 0]],
    }
    assert {name: array.tolist() for name, array in batch.inputs.items()} == wanted
    assert batch.order.tolist() == [3, 2, 0, 1]
    assert {array.dtype for array in vars(batch).values()} == {np.dtype(np.int64)}


@pytest.mark.parametrize("rows", [[], [[0], []], [[0, 2]], [[-1]]])
def test_rows_without_requests(rows):
    examples = requests([3, 4])
    for call in (lambda: pack(examples, rows), lambda: attended_share([3, 4], rows)):
        with pytest.raises(InputError, match="each row must hold some of the 2 requests"):
            call()


def test_requests_without_tokens():
    with pytest.raises(InputError, match="a request without tokens"):
        pack(requests([3, 0]), [[0, 1]])


@pytest.mark.parametrize("rows", PACKINGS.values(), ids=PACKINGS)
def test_share_is_that_of_the_mask(rows):
    """Count in the segments what a token sees."""
    segments = pack(requests(), rows).segments
    pairs = [(a == b) & (a > 0) for a, b in zip(segments[:, :, None], segments[:, None, :], strict=True)]
    assert attended_share(LENGTHS, rows) == pytest.approx(np.mean(pairs))


def test_share_by_hand():
    assert attended_share([2, 2], [[0, 1]]) == 0.5
    assert attended_share([2, 1], [[0], [1]]) == 5 / 8
    assert attended_share([4], [[0]]) == 1


@pytest.mark.parametrize("rows", PACKINGS.values(), ids=PACKINGS)
@pytest.mark.parametrize("family", [BERT, ROBERTA], ids=["bert", "roberta"])
@pytest.mark.parametrize("shapes", [UNIFORM, PRUNED], ids=["uniform", "pruned"])
def test_equals_each_request_alone(shapes, family, rows):
    model, examples = classifier(shapes, **family), requests()
    batch = pack(examples, rows, model.encoder.config.pad_token_id)
    got = restored(predictors.torch_predictor(PackedClassifier(model)), batch)
    np.testing.assert_allclose(got, alone(predictors.torch_predictor(model), examples), atol=1e-5)


def test_a_part_of_the_requests():
    model, examples = classifier(), requests()
    batch = pack(examples, [[5, 0], [3]])
    wanted = alone(predictors.torch_predictor(model), examples)[[5, 0, 3]]
    np.testing.assert_allclose(predictors.torch_predictor(PackedClassifier(model))(batch.inputs), wanted, atol=1e-5)


def test_requests_do_not_see_each_other_or_padding():
    model = classifier(UNIFORM)
    predict = predictors.torch_predictor(PackedClassifier(model))
    batch = pack(requests(), PACKINGS["two rows"])
    before = predict(batch.inputs)
    for others in (batch.segments != 2, batch.segments == 0):
        ids = np.where(others, VOCABULARY - 1 - batch.input_ids, batch.input_ids)
        stays = ~others[tuple(batch.firsts.T)]
        after = predict(batch.inputs | {"input_ids": ids})
        np.testing.assert_array_equal(after[stays], before[stays])
        assert stays.all() or (after[~stays] != before[~stays]).any(1).all()


def test_weights_and_their_gradients_are_shared():
    model, examples = classifier(UNIFORM), requests([5, 4])
    packed = PackedClassifier(model)
    assert list(packed.state_dict()) == list(model.state_dict())
    inputs = {name: torch.from_numpy(array) for name, array in pack(examples, [[0, 1]]).inputs.items()}
    packed(**inputs).logits.square().sum().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    padded = {name: torch.from_numpy(array) for name, array in batching.collate(examples, [0, 1]).inputs.items()}
    model(**padded).logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-3, rtol=1e-3, msg=name)


@pytest.mark.parametrize("rows", PACKINGS.values(), ids=PACKINGS)
def test_file_equals_each_request_alone(exported, rows):
    model, path = exported
    predict = predictors.onnx_predictor(predictors.onnx_session(path, 1))
    batch = pack(requests(seed=1), rows, pad_token_id=1)
    np.testing.assert_allclose(
        restored(predict, batch), alone(predictors.torch_predictor(model), requests(seed=1)), atol=1e-5
    )


def test_graph_knows_its_dimensions(exported):
    graph = onnx.load(exported[1]).graph
    shapes = {
        node.name: [axis.dim_param or axis.dim_value for axis in node.type.tensor_type.shape.dim]
        for node in (*graph.input, *graph.output)
    }
    rows = dict.fromkeys(("input_ids", "token_type_ids", "segments", "positions"), ["batch", "length"])
    assert shapes == rows | {"firsts": ["requests", 2], "logits": ["requests", 3]}


def test_file_belongs_to_the_model_but_is_another(exported, monkeypatch, tmp_path):
    """Its note tells the weights, which are the model's own; yet neither graph is taken for the other."""
    model, path = exported
    calls = []

    def graph_of(model):
        calls.append(model)
        return onnx.load(path)

    monkeypatch.setattr(export, "graph_of", graph_of)
    export.save_onnx(PackedClassifier(model), path)
    assert not calls
    for owner in (model, PackedClassifier(model)):
        export.check_belongs(path, owner)
    copy = tmp_path / "model.onnx"
    copy.write_bytes(path.read_bytes())
    with pytest.raises(KeyError, match="segments"):  # what the stand-in returns is no plain classifier's graph
        export.save_onnx(model, copy)
    assert len(calls) == 1
    changed = tmp_path / "packing.py"
    changed.write_text("another mask")
    monkeypatch.setattr(packing, "__file__", str(changed))
    export.save_onnx(PackedClassifier(model), copy)
    assert len(calls) == 2


def test_int8_is_what_rounding_makes_of_it(exported, monkeypatch, tmp_path):
    """Requests of a batch share scales, so that company changes a logit, by rounding alone. Weights of 7 bits: every
    processor computes the same."""
    monkeypatch.setattr(int8_support, "int8_support", lambda: Int8Support("invented", True, 4.0))
    model, path = exported
    small = recipes.quantize(path, tmp_path / "int8.onnx", recipes.get_recipe("dynamic"))
    export.check_belongs(small, model)
    assert "MatMulInteger" in {node.op_type for node in onnx.load(small).graph.node}
    predict = predictors.onnx_predictor(predictors.onnx_session(small, 1))
    in_torch = predictors.torch_predictor(PackedClassifier(model))
    together, single, far = [], [], []
    for seed in range(5):
        examples = requests(seed=seed)
        batch = pack(examples, PACKINGS["first fit"], pad_token_id=1)
        got = restored(predict, batch)
        by_itself = predict(pack(examples, [[2]]).inputs)
        far.append(np.abs(got - alone(predictors.torch_predictor(model), examples)).max())
        with fake_quantized(model, 7):
            together.append(np.abs(got - restored(in_torch, batch)).max())
            single.append(np.abs(by_itself - alone(predictors.torch_predictor(model), examples)[2]).max())
    assert np.median(together) < INT8_TOLERANCE < np.median(far), (together, far)
    assert np.median(single) < INT8_TOLERANCE, single


def test_row_by_row_answers_each_row_in_its_order():
    """The way that the chapter times: one row a call, answers in the order of the rows."""
    seen = []

    def predict(inputs):
        seen.append(inputs["input_ids"].shape)
        return inputs["input_ids"][tuple(inputs["firsts"].T)][:, None].astype(np.float32)

    examples, rows = requests(), [np.array([2, 0]), np.array([1])]
    answers, wall, seconds = packing.row_by_row(predict)(examples, rows)
    firsts = [[examples.input_ids[i][0] for i in row] for row in rows]
    assert [answer[:, 0].tolist() for answer in answers] == firsts
    assert [shape[0] for shape in seen] == [1, 1] and wall == pytest.approx(sum(seconds))
