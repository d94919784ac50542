"""The head that reads marked words: against a loop over them, in the stock class, as an ONNX file, packed, pruned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from small_tokenizer import make_tokenizer
from torch import Tensor, nn

from fflib.data import batching, splits
from fflib.data.metrics import Gold
from fflib.data.task import SEGMENTS, Span
from fflib.engine import export, predictors
from fflib.files import InputError
from fflib.model import checkpoints, flops, importance, slicing
from fflib.model.encoder import Classifier, EncoderConfig, LayerShape
from fflib.runtime import first_token, packing

SHAPES = (LayerShape(4, 4, 32), LayerShape(4, 4, 32))
PRUNED = (LayerShape(3, 4, 10), LayerShape(0, 4, 6), LayerShape(1, 7, 0))
SIZES = ((3, 9), (1, 4), (2, 30), (5, 2))  # rows, length
VOCABULARY = 50

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


def classifier(spans=2, shapes=SHAPES, seed=0, **others) -> Classifier:
    """A model whose weights are large enough for attention to be far from uniform."""
    torch.manual_seed(seed)
    model = Classifier(EncoderConfig(VOCABULARY, 16, shapes, 64, spans=spans, **others), 3).eval()
    for parameter in model.parameters():
        if parameter.numel():
            nn.init.normal_(parameter, 0.05, 0.3)
    return model


def examples(lengths, spans=2, seed=0) -> splits.TokenizedSplit:
    """Random tokens; every word has one to three of them and stands anywhere."""
    rng, ids, types = np.random.default_rng(seed), [], []
    for n in lengths:
        ids.append(rng.integers(8, VOCABULARY, n))
        row = (np.arange(n) >= n // 2).astype(np.int64)
        for number, start in enumerate(rng.choice(n - 2, spans, replace=False) if n > spans + 2 else range(spans), 1):
            row[start : start + (1 if n <= 3 * spans else rng.integers(1, 2))] += SEGMENTS * number
        types.append(row)
    return splits.tokenized(ids, types, Gold(rng.integers(0, 2, len(lengths))))


def inputs_of(split, indices=None) -> dict[str, Tensor]:
    batch = batching.collate(split, range(len(split)) if indices is None else indices)
    return {name: torch.from_numpy(array) for name, array in batch.inputs.items()}


def logits_of(model, inputs) -> np.ndarray:
    with torch.no_grad():
        return model(**inputs).logits.numpy()


def by_loop(model: Classifier, inputs: dict[str, Tensor]) -> np.ndarray:
    """Take the words out one by one, as FastFormers does, of what the encoder makes of unmarked types."""
    spans, types = model.encoder.config.spans, inputs["token_type_ids"]
    plain = classifier(0)
    plain.encoder = type(model.encoder)(replace(model.encoder.config, spans=0)).eval()
    plain.encoder.load_state_dict(model.encoder.state_dict())
    with torch.no_grad():
        states = plain.encoder(**inputs | {"token_type_ids": types % SEGMENTS}).last_hidden_state
        words = [
            [row[marks // SEGMENTS == number].max(0).values for number in range(1, spans + 1)]
            for row, marks in zip(states, types, strict=True)
        ]
        return model.classifier(torch.stack([torch.cat(row) for row in words])).numpy()


LENGTHS = [9, 4, 30, 12, 7]


@pytest.mark.parametrize("spans", [1, 2])
@pytest.mark.parametrize("shapes", [SHAPES, PRUNED], ids=["equal", "pruned"])
def test_equals_a_loop_over_the_words(spans, shapes):
    model, inputs = classifier(spans, shapes), inputs_of(examples(LENGTHS, spans))
    np.testing.assert_allclose(logits_of(model, inputs), by_loop(model, inputs), atol=1e-5)


def test_padding_and_neighbours_change_nothing():
    model, split = classifier(), examples(LENGTHS)
    together = logits_of(model, inputs_of(split))
    for i in range(len(split)):
        np.testing.assert_allclose(logits_of(model, inputs_of(split, [i])), together[i : i + 1], atol=1e-5)


def test_a_word_without_a_token_counts_as_zeros():
    model, inputs = classifier(), inputs_of(examples([9, 12]))
    unmarked = inputs | {"token_type_ids": inputs["token_type_ids"] % SEGMENTS}
    np.testing.assert_allclose(logits_of(model, unmarked), np.tile(model.classifier.bias.detach(), (2, 1)), atol=1e-6)
    untyped = {name: tensor for name, tensor in inputs.items() if name != "token_type_ids"}
    np.testing.assert_allclose(logits_of(model, untyped), logits_of(model, unmarked), atol=1e-6)


def test_gradients_reach_the_encoder_through_the_words():
    model, inputs = classifier(), inputs_of(examples([9, 12]))
    model(**inputs).logits.square().sum().backward()
    assert float(model.encoder.embeddings.word.weight.grad.abs().sum()) > 0
    assert model.encoder.pooler.weight.grad is None  # nothing reads it


@pytest.mark.parametrize("offset", [0, 1], ids=["BERT", "RoBERTa"])
def test_the_stock_encoder_with_the_same_head_answers_the_same(offset):
    others = {"position_offset": offset, "pad_token_id": 0, "type_vocab_size": 2}
    model, inputs = classifier(**others), inputs_of(examples(LENGTHS))
    stock = checkpoints.to_transformers(model)
    np.testing.assert_allclose(logits_of(stock, inputs), logits_of(model, inputs), atol=1e-4)
    again = checkpoints.from_transformers(stock)
    assert again.encoder.config == model.encoder.config
    np.testing.assert_allclose(logits_of(again, inputs), logits_of(model, inputs), atol=1e-6)
    np.testing.assert_allclose(
        predictors.torch_predictor(stock)({k: v.numpy() for k, v in inputs.items()}),
        logits_of(model, inputs),
        atol=1e-4,
    )


def test_a_head_of_another_kind_is_drawn_anew(tmp_path):
    checkpoints.save(classifier(), tmp_path / "words")
    loaded = checkpoints.load(tmp_path / "words")
    inputs = inputs_of(examples(LENGTHS))
    np.testing.assert_array_equal(logits_of(loaded, inputs), logits_of(classifier(), inputs))
    kept = checkpoints.load_classifier(tmp_path / "words", 3, spans=2)
    assert torch.equal(kept.classifier.weight, loaded.classifier.weight)
    first = checkpoints.load_classifier(tmp_path / "words", 3)
    assert first.classifier.weight.shape == (3, 16) and first.encoder.config.spans == 0
    assert torch.equal(first.encoder.layers[0].attention.query.weight, loaded.encoder.layers[0].attention.query.weight)


def test_the_file_equals_the_model_at_other_sizes_and_reads_no_other_inputs(tmp_path):
    model = classifier(shapes=PRUNED)
    path = export.save_onnx(model, tmp_path / "model.onnx")
    assert [node.name for node in onnx.load(path).graph.input] == list(export.INPUTS)
    predict = predictors.onnx_predictor(predictors.onnx_session(path, 1))
    for lengths in ([9, 4], [30], [5, 12, 7]):
        inputs = inputs_of(examples(lengths, seed=1))
        got = predict({name: tensor.numpy() for name, tensor in inputs.items()})
        np.testing.assert_allclose(got, logits_of(model, inputs), atol=1e-4)


def test_the_last_layer_is_whole_for_words():
    model, inputs = classifier(), inputs_of(examples(LENGTHS))
    lean = first_token.FirstTokenClassifier(model)
    np.testing.assert_allclose(logits_of(lean, inputs), logits_of(model, inputs), atol=1e-5)
    config = model.encoder.config
    assert flops.first_token_flop(config, 20) > flops.first_token_flop(replace(config, spans=0), 20)
    assert flops.first_token_product_flop(config, 20) > flops.first_token_product_flop(replace(config, spans=0), 20)


def test_packed_rows_do_not_read_each_other_s_words():
    model, split = classifier(), examples(LENGTHS)
    batch = packing.pack(split, [[2, 0], [1, 3, 4]])
    packed = packing.PackedClassifier(model).eval()
    got = logits_of(packed, {name: torch.from_numpy(array) for name, array in batch.inputs.items()})
    np.testing.assert_allclose(got[np.argsort(batch.order)], logits_of(model, inputs_of(split)), atol=1e-5)


def test_hidden_units_are_cut_out_of_every_word():
    model = classifier()
    kept = [0, 3, 4, 8, 15]
    small = slicing.slice_model(model, hidden=kept)
    weight = model.classifier.weight.detach()
    assert torch.equal(
        small.classifier.weight.detach(), torch.cat([weight[:, kept], weight[:, [16 + i for i in kept]]], 1)
    )
    assert slicing.slice_model(model).classifier.weight.shape == (3, 32)
    assert importance.magnitude(model).hidden.shape == (16,)


def text_split(texts, spans) -> splits.Split:
    return splits.text_split("invented", "train", texts, Gold(np.zeros(len(texts), int)), spans)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))


def test_marks_are_at_the_tokens_of_the_words():
    texts, spans = [("is it a river", "the sea or a tree")], [(Span(0, 8, 13), Span(1, 0, 7))]
    tokens = splits.tokenize(text_split(texts, spans), make_tokenizer(), 32)
    assert tokens.token_type_ids[0].tolist() == [0, 0, 0, 0, 2, 0, 5, 5, 1, 1, 1, 1]
    again = splits.tokenize(text_split(texts, spans), make_tokenizer(), 32)  # from the cache
    assert again.token_type_ids[0].tolist() == tokens.token_type_ids[0].tolist()
    other = splits.tokenize(text_split(texts, [(Span(0, 0, 2), Span(1, 0, 7))]), make_tokenizer(), 32)
    assert other.fingerprint != tokens.fingerprint


def test_a_text_that_would_lose_its_word_is_left_longer():
    texts = [("is it a river", "the sea " * 9 + "tree"), ("is it a river", "the sea " * 9 + "tree")]
    tokens = splits.tokenize(
        text_split(texts, [(Span(0, 8, 13), Span(1, 72, 76)), (Span(0, 8, 13), Span(1, 0, 3))]), make_tokenizer(), 12
    )
    assert tokens.lengths.tolist() == [26, 12] and tokens.token_type_ids[0][-2] == 5


def test_a_word_behind_all_that_fits_is_refused():
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = 12
    with pytest.raises(InputError, match="a marked word behind its 12 tokens"):
        splits.tokenize(
            text_split([("is it", "the sea " * 20 + "tree")], [(Span(0, 0, 2), Span(1, 160, 164))]), tokenizer, 12
        )
