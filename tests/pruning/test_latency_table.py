"""The table of latencies: reading it by hand, the pieces against whole layers, and the cache."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fflib.engine import predictors
from fflib.files import InputError
from fflib.model.config import EncoderConfig, LayerShape
from fflib.model.encoder import Classifier
from fflib.pruning import latency_table, sublayers

TABLE = latency_table.LatencyTable(
    heads=(0, 2, 4),
    neurons=(0, 32),
    lengths=(10, 20, 40),
    attention_ms=np.array([[1.0, 2.0, 3.0], [3.0, 6.0, 13.0], [5.0, 10.0, 21.0]]),
    feed_forward_ms=np.array([[1.0, 1.0, 1.0], [3.0, 5.0, 9.0]]),
    rest_ms=np.array([2.0, 3.0, 5.0]),
)
SETTINGS = {"threads": 1, "heads": [1, 2], "neurons": [16], "lengths": [16, 8], "rounds": 2}
LEVELS = ((0, 1, 2, 4), (0, 16, 40, 64), (8, 16))


def tiny(**others) -> Classifier:
    torch.manual_seed(0)
    shapes = (LayerShape(4, 8, 64), LayerShape(2, 8, 40))
    config = EncoderConfig(vocab_size=50, hidden_size=32, layers=shapes, max_position_embeddings=24, **others)
    return Classifier(config, 3)


@pytest.fixture
def untimed(monkeypatch, tmp_path):
    """A cache of its own, and instead of the clock, a list that tells how often it would have been needed."""
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path))
    timed = []

    def time(pieces, requests, rounds, seed):
        timed.append(list(pieces))
        widths = {name: 1.0 + name[1] for name in pieces} | {("whole", 0): 500.0}
        return {name: width * np.arange(1.0, 1 + len(requests)) for name, width in widths.items()}

    monkeypatch.setattr(latency_table, "_time", time)
    return timed


def test_levels_and_buckets():
    assert latency_table.head_levels(3) == (0, 1, 2, 3)
    assert latency_table.neuron_levels(1536, 13) == tuple(range(0, 1537, 128))
    assert latency_table.neuron_levels(100, 5) == (0, 24, 48, 72, 100)  # all, though 100 is no multiple
    assert latency_table.neuron_levels(12, 9) == (0, 8, 12) and latency_table.neuron_levels(4, 3) == (0, 4)
    lengths = np.arange(3, 601)
    assert latency_table.buckets(lengths, 4) == (8, 200, 400, 512)
    assert latency_table.buckets(np.full(9, 30), 4) == (32,) and latency_table.buckets(lengths, 1) == (304,)
    assert all(length % 8 == 0 for length in latency_table.buckets(np.random.default_rng(0).integers(9, 300, 50), 6))


def test_half_layers_by_hand():
    assert TABLE.half_ms("attention", 2, np.array([20])) == 6
    assert TABLE.half_ms("attention", 3, np.array([20])) == 8  # between two levels
    assert TABLE.half_ms("attention", 2, np.array([15, 25])) == pytest.approx((4.5 + 7.75) / 2)
    assert TABLE.half_ms("attention", 4, np.array([50, 5])) == pytest.approx((26.5 + 2.5) / 2)  # beyond the outer ones
    assert TABLE.half_ms("feed_forward", 8, np.array([10, 40])) == pytest.approx((1.5 + 3) / 2)
    with pytest.raises(InputError, match="0 to 4 units, not 5"):
        TABLE.half_ms("attention", 5, np.array([10]))
    with pytest.raises(InputError, match="half of a layer"):
        TABLE.half_ms("ffn", 1, np.array([10]))


def test_a_model_is_the_sum_of_its_parts():
    shapes = [LayerShape(4, 8, 32), LayerShape(0, 8, 16)]
    assert TABLE.model_ms(shapes, np.array([20])) == pytest.approx(3 + 10 + 5 + 2 + 3)
    assert TABLE.model_ms((), np.array([10, 40])) == pytest.approx(3.5)


def test_a_last_layer_of_one_token_has_one_price_whatever_it_keeps():
    table = replace(TABLE, last_ms=np.array([0.5, 0.7, 1.0]))
    shapes = [LayerShape(4, 8, 32), LayerShape(0, 8, 16)]
    assert table.model_ms(shapes, np.array([20])) == pytest.approx(3 + 10 + 5 + 0.7)
    assert table.model_ms(shapes[::-1], np.array([20])) == pytest.approx(3 + 2 + 3 + 0.7)
    assert table.model_ms(shapes[:1], np.array([20])) == table.fixed_ms(np.array([20])) == pytest.approx(3.7)
    assert table.model_ms((), np.array([20])) == TABLE.fixed_ms(np.array([20])) == 3
    assert [*table.priced(3)] == [0, 1] and [*TABLE.priced(3)] == [0, 1, 2]


def test_one_bucket_stands_for_all_lengths():
    cells = {"attention_ms": TABLE.attention_ms[:, 1:2], "feed_forward_ms": TABLE.feed_forward_ms[:, 1:2]}
    table = replace(TABLE, lengths=(20,), rest_ms=TABLE.rest_ms[1:2], **cells)
    assert table.model_ms([LayerShape(2, 8, 32)], np.array([3, 300])) == pytest.approx(3 + 6 + 5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("engine", predictors.ENGINES)
def test_measured_in_earnest(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path))
    model, drawn = tiny(), torch.get_rng_state()
    seen = []

    def time(pieces, *others, original=latency_table._time):
        seen.append(original(pieces, *others))
        return seen[-1]

    monkeypatch.setattr(latency_table, "_time", time)
    table = latency_table.measure_table(model, engine, **SETTINGS)
    assert (table.heads, table.neurons, table.lengths) == LEVELS
    assert table.attention_ms.shape == table.feed_forward_ms.shape == (4, 2) and table.rest_ms.shape == (2,)
    assert min(array.min() for array in (table.attention_ms, table.feed_forward_ms, table.rest_ms)) > 0
    for at, length in enumerate(table.lengths):  # prediction and measurement agree on the unpruned model
        predicted = table.model_ms(model.encoder.config.layers, np.array([length]))
        assert predicted == pytest.approx(seen[0]["whole", 0][at], rel=1e-9)
    assert table.last_is_free == (engine == "onnxruntime") and (not table.last_is_free or table.last_ms.min() > 0)
    assert model.training and torch.equal(torch.get_rng_state(), drawn)  # left as it was, nothing drawn
    again = latency_table.measure_table(model, engine, **SETTINGS)
    assert len(seen) == 1 and all(np.array_equal(*pair) for pair in zip(*map(vars_of, (table, again)), strict=True))


def vars_of(table):
    return list(vars(table).values())


def test_the_pieces_in_a_chain_are_the_model():
    model = tiny().eval()
    arrays = sublayers.inputs(model.encoder.config, 2, 9)
    tokens = [torch.from_numpy(arrays[name]) for name in sublayers.TOKENS]
    with torch.no_grad():
        wanted = model(*tokens).last_hidden_state
        state = model.encoder.embeddings(tokens[0], tokens[2])
        for layer, kind in itertools.product(model.encoder.layers, sublayers.KINDS):
            state = sublayers.half(layer, kind, state, torch.from_numpy(arrays["mask"]))
    assert torch.allclose(state, wanted, atol=1e-5)


@pytest.mark.parametrize(("spans", "has_last"), [(0, True), (2, False)])
def test_the_last_layer_is_a_piece_where_it_is_computed_for_one_token(spans, has_last):
    model = tiny(spans=spans).eval()
    pieces = sublayers.pieces(model, "onnxruntime", 1, [0, 4], [0, 64])
    assert (("last", 0) in pieces) == has_last
    arrays = sublayers.inputs(model.encoder.config, 2, 9)
    if has_last:
        assert pieces["last", 0](arrays).shape == (2, 1, 32)
    with torch.no_grad():
        wanted = model(*(torch.from_numpy(arrays[name]) for name in sublayers.TOKENS)).logits
    np.testing.assert_allclose(pieces["whole", 0](arrays), wanted, atol=1e-4)


def test_a_graph_that_is_off_is_not_timed(monkeypatch):
    right = {("whole", 0): lambda arrays: np.zeros(3)}
    monkeypatch.setattr(sublayers, "_onnx_pieces", lambda *_: {name: lambda arrays: np.full(3, 2e-4) for name in right})
    with pytest.raises(AssertionError, match="off by"):
        sublayers.pieces(tiny(), "onnxruntime", 1, [0, 4], [0, 64])


def test_the_table_is_measured_once_and_again_if_damaged(untimed, tmp_path):
    model = tiny()
    first = latency_table.measure_table(model, "pytorch", **SETTINGS)
    latency_table.measure_table(model, "pytorch", **SETTINGS)
    assert len(untimed) == 1
    (file,) = (tmp_path / "latency").iterdir()
    whole = json.loads(file.read_text())
    one_row_less = whole | {"attention_ms": whole["attention_ms"][1:]}
    for i, text in enumerate(("", "[]", "{}", file.read_text()[:-30], json.dumps(one_row_less), "[1, 2]"), start=2):
        file.write_text(text)
        again = latency_table.measure_table(model, "pytorch", **SETTINGS)
        assert len(untimed) == i and np.array_equal(again.attention_ms, first.attention_ms)
        assert json.loads(file.read_text()) == whole


def test_another_machine_engine_or_setting_has_another_table(untimed, monkeypatch):
    def count(model=None, engine="pytorch", **others):
        latency_table.measure_table(model or tiny(), engine, **SETTINGS | others)
        return len(untimed)

    monkeypatch.setattr(sublayers, "_onnx_pieces", lambda models, layers, threads: {("whole", 0): None})
    monkeypatch.setattr(
        sublayers,
        "pieces",
        lambda *_: {(k, n): None for k in ("whole", "rest", *sublayers.KINDS) for n in range(99)},
    )
    assert count() == count() == 1
    changes = [
        {"heads": [3]},
        {"neurons": [8]},
        {"lengths": [8]},
        {"rounds": 3},
        {"seed": 1},
        {"engine": "onnxruntime"},
    ]
    assert [count(**change) for change in changes] == [2, 3, 4, 5, 6, 7]
    assert count(tiny(activation="relu")) == 8
    card = latency_table.hardware.card()
    monkeypatch.setattr(latency_table.hardware, "card", lambda: card | {"cpu": "another"})
    assert count() == 9
    monkeypatch.setattr(latency_table.cores, "resolve_threads", lambda threads: threads)
    assert count(engine="onnxruntime", threads=2) == 10


def test_what_cannot_be_measured_is_refused(untimed):
    with pytest.raises(InputError, match="engine"):
        latency_table.measure_table(tiny(), "tensorrt", **SETTINGS)
    with pytest.raises(InputError, match="1 to 24 tokens"):
        latency_table.measure_table(tiny(), "pytorch", **SETTINGS | {"lengths": [8, 32]})
    unlike = Classifier(replace(tiny().encoder.config, layers=(LayerShape(4, 8, 8), LayerShape(2, 6, 8))), 2)
    with pytest.raises(InputError, match="one size"):
        latency_table.measure_table(unlike, "pytorch", **SETTINGS)
    torch.set_num_threads(2)
    with pytest.raises(InputError, match=r"set_threads\(1\)"):
        latency_table.measure_table(tiny(), "pytorch", **SETTINGS)
    assert not untimed
