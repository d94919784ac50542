"""The encoder against the stock transformers models, which are the oracle: same weights, same numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
import transformers
from torch import Tensor

from fflib.files import InputError
from fflib.model import hf_names
from fflib.model.encoder import Classifier, Encoder, EncoderConfig, LayerGates, LayerShape

TOLERANCE = 1e-5
VOCABULARY = 200
SHAPES = {  # family -> layers, hidden, heads, intermediate, and what else sets it apart
    "bert": (3, 48, 4, 96, {}),
    "tinybert": (4, 312, 12, 1200, {}),
    "relu": (1, 20, 5, 7, {"hidden_act": "relu"}),
    "gelu_new": (2, 20, 1, 7, {"hidden_act": "gelu_new"}),
    "roberta": (2, 48, 4, 96, {"type_vocab_size": 1, "pad_token_id": 1}),
}
PRUNED = (LayerShape(3, 4, 10), LayerShape(0, 4, 6), LayerShape(1, 7, 0), LayerShape(0, 4, 0))


pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def stock_encoder(family: str) -> transformers.PreTrainedModel:
    """A stock encoder whose random weights are large enough for attention to be far from uniform."""
    config_class = transformers.RobertaConfig if family == "roberta" else transformers.BertConfig
    layers, hidden, heads, intermediate, others = SHAPES[family]
    config = config_class(
        vocab_size=VOCABULARY,
        max_position_embeddings=64,
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        **others,
    )
    model = transformers.AutoModel.from_config(config, attn_implementation="eager").eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=0.02, std=0.15)
    return model


def ours_from(stock: transformers.PreTrainedModel) -> Encoder:
    encoder = Encoder(hf_names.our_config(stock.config.to_dict())).eval()
    encoder.load_state_dict(hf_names.encoder_state(stock.state_dict(), encoder.state_dict()))
    return encoder


def batch(padding: str, pad_token_id: int = 0, types: int = 2) -> dict[str, Tensor]:
    """Three rows of 9, 5 and 2 tokens, padded to 9 on one side (or none: three full rows)."""
    lengths = [9, 9, 9] if padding == "none" else [9, 5, 2]
    mask = torch.tensor([[1] * n + [0] * (9 - n) for n in lengths])
    mask = mask.flip(1) if padding == "left" else mask
    ids = torch.randint(5, VOCABULARY, (3, 9)) * mask + pad_token_id * (1 - mask)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.randint(0, types, (3, 9)) * mask}


def pruned_classifier(num_labels: int = 3, **others) -> Classifier:
    model = Classifier(EncoderConfig(VOCABULARY, 24, PRUNED, max_position_embeddings=64, **others), num_labels).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return (a - b).abs().max().item()


@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("family", SHAPES)
def test_equals_the_stock_model(family, padding):
    stock = stock_encoder(family)
    ours = ours_from(stock)
    inputs = batch(padding, stock.config.pad_token_id, stock.config.type_vocab_size)
    token = inputs["attention_mask"].bool()
    with torch.no_grad():
        theirs = stock(**inputs, output_hidden_states=True, output_attentions=True)
        fast = ours(**inputs)
        explicit = ours(**inputs, output_hidden_states=True, output_attention_scores=True)
    for out in (fast, explicit):
        assert difference(out.last_hidden_state[token], theirs.last_hidden_state[token]) < TOLERANCE
        assert difference(out.pooled, theirs.pooler_output) < TOLERANCE
    assert len(explicit.hidden_states) == len(theirs.hidden_states)
    for a, b in zip(explicit.hidden_states, theirs.hidden_states, strict=True):
        assert difference(a[token], b[token]) < TOLERANCE
    for scores, attention in zip(explicit.attention_scores, theirs.attentions, strict=True):
        rows = token[:, None, :].expand(attention.shape[:3])  # the queries that are tokens
        assert difference(scores.softmax(-1)[rows], attention[rows]) < TOLERANCE
    assert fast.hidden_states is None and fast.attention_scores is None


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_mask_and_types_may_be_left_out(family):
    stock = stock_encoder(family)
    ids = torch.randint(5, VOCABULARY, (2, 6))
    with torch.no_grad():
        assert difference(ours_from(stock)(ids).pooled, stock(ids).pooler_output) < TOLERANCE


def test_padding_changes_nothing():
    model = pruned_classifier()
    ids = torch.randint(5, VOCABULARY, (1, 6))
    padded, mask = torch.nn.functional.pad(ids, (0, 5)), torch.tensor([[1] * 6 + [0] * 5])
    with torch.no_grad():
        assert difference(model(ids).logits, model(padded, mask).logits) < TOLERANCE


def test_gradients_equal_the_stock_ones():
    stock = stock_encoder("bert")
    ours, inputs = ours_from(stock), batch("right")
    stock(**inputs).pooler_output.sum().backward()
    ours(**inputs).pooled.sum().backward()
    mine = ours.layers[0].attention.query.weight.grad
    assert difference(mine, stock.encoder.layer[0].attention.self.query.weight.grad) < 1e-4 * mine.abs().max()


def ones(config: EncoderConfig) -> list[LayerGates]:
    return [LayerGates(torch.ones(s.num_heads), torch.ones(s.intermediate_size)) for s in config.layers]


@pytest.mark.parametrize("scores", [False, True])
def test_gates_of_one_change_nothing(scores):
    model, inputs = pruned_classifier(), batch("right")
    with torch.no_grad():
        plain = model(**inputs, output_attention_scores=scores)
        gated = model(**inputs, output_attention_scores=scores, gates=ones(model.encoder.config))
    assert torch.equal(plain.logits, gated.logits)


def test_a_gate_of_zero_equals_zeroed_weights():
    model, inputs = pruned_classifier(), batch("right")
    gates = ones(model.encoder.config)
    gates[0].heads[1] = 0
    gates[0].neurons[3] = 0
    with torch.no_grad():
        plain, gated = model(**inputs).logits, model(**inputs, gates=gates).logits
        layer = model.encoder.layers[0]
        layer.attention.output.weight[:, 4:8] = 0  # the second head, of size 4
        layer.feed_forward.output.weight[:, 3] = 0
        assert difference(gated, model(**inputs).logits) < TOLERANCE
    assert difference(plain, gated) > 1e-3


def test_gate_gradients_are_the_taylor_importance():
    """The gradient of a head's gate is the sum of output weights times their gradients (first-order Taylor)."""
    model, inputs = pruned_classifier(), batch("right")
    gates = [LayerGates(g.heads.requires_grad_(), g.neurons.requires_grad_()) for g in ones(model.encoder.config)]
    model(**inputs, gates=gates).logits.square().sum().backward()
    layer = model.encoder.layers[0]
    for gate, linear, size in (
        (gates[0].heads, layer.attention.output, 4),
        (gates[0].neurons, layer.feed_forward.output, 1),
    ):
        by_weights = (linear.weight * linear.weight.grad).sum(0).view(-1, size).sum(1)
        assert difference(gate.grad, by_weights) < 1e-3 * by_weights.abs().max()


def test_wrong_number_of_gates_is_an_error():
    model = pruned_classifier()
    with pytest.raises(ValueError, match="zip"):
        model(**batch("none"), gates=ones(model.encoder.config)[:-1])


@pytest.mark.parametrize("num_labels", [1, 2, 7])
def test_empty_layers_reduce_to_bias_residual_and_norm(num_labels):
    model, inputs = pruned_classifier(num_labels), batch("right")
    with torch.no_grad():
        out = model(**inputs, output_hidden_states=True, output_attention_scores=True)
        layer, before = model.encoder.layers[3], out.hidden_states[3]
        middle = layer.attention_norm(before + layer.attention.output.bias)
        expected = layer.feed_forward_norm(middle + layer.feed_forward.output.bias)
    assert difference(out.last_hidden_state, expected) < TOLERANCE
    assert out.logits.shape == (3, num_labels)
    assert [tuple(s.shape) for s in out.attention_scores] == [(3, 3, 9, 9), (3, 0, 9, 9), (3, 1, 9, 9), (3, 0, 9, 9)]


def test_dropout_only_in_training():
    model, inputs = pruned_classifier(), batch("right")
    model.train()
    assert difference(model(**inputs).logits, model(**inputs).logits) > 1e-3
    scores = model(**inputs, output_attention_scores=True)  # the explicit path trains too
    scores.logits.sum().backward()
    model.eval()
    assert torch.equal(model(**inputs).logits, model(**inputs).logits)


def test_bfloat16_is_finite_and_near():
    model, inputs = pruned_classifier(), batch("right")
    with torch.no_grad():
        exact = model(**inputs).logits
        with torch.autocast("cpu", torch.bfloat16):
            near = model(**inputs, output_attention_scores=True)
    assert difference(exact, near.logits.float()) < 0.1 * exact.abs().max()
    assert all(torch.isfinite(s).all() for s in near.attention_scores)


def test_fresh_weights_are_berts():
    model = Classifier(EncoderConfig.uniform(2, 4, 64, 128, VOCABULARY), 2)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            assert torch.all(parameter == (1.0 if name.endswith("weight") else 0.0)), name
        elif name.endswith("bias"):
            assert torch.all(parameter == 0), name
        else:
            assert 0.012 < parameter.std().item() < 0.028, name


def test_config_survives_json():
    config = EncoderConfig(VOCABULARY, 24, PRUNED, activation="relu", position_offset=2, pad_token_id=1)
    assert EncoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_config_refuses_what_cannot_be():
    with pytest.raises(InputError, match="swish"):
        EncoderConfig.uniform(1, 2, 8, 16, VOCABULARY, activation="swish")
    with pytest.raises(InputError, match="multiple"):
        EncoderConfig.uniform(1, 3, 8, 16, VOCABULARY)


class _LogitsOnly(torch.nn.Module):
    """What is exported: three inputs, one output."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids, attention_mask, token_type_ids).logits


@pytest.mark.filterwarnings("ignore")
def test_onnx_export_with_dynamic_shapes():
    """One file for any batch and length, layers of any shape, the empty ones included; for BERT see test_export."""
    model = pruned_classifier(position_offset=2, pad_token_id=1)  # RoBERTa's way to number the tokens
    pad = model.encoder.config.pad_token_id
    names, axes = ["input_ids", "attention_mask", "token_type_ids"], dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    program = torch.onnx.export(
        _LogitsOnly(model),
        tuple(batch("right", pad).values()),
        dynamo=True,
        input_names=names,
        dynamic_shapes=(axes,) * 3,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for rows, length in ((3, 9), (1, 1), (2, 30), (1, 5)):
        mask = torch.ones(rows, length, dtype=torch.long)
        mask[-1, length // 2 + 1 :] = 0
        ids = torch.randint(5, VOCABULARY, (rows, length)) * mask + pad * (1 - mask)
        feed = dict(zip(names, (ids, mask, torch.zeros_like(ids)), strict=True))
        (logits,) = session.run(None, {name: tensor.numpy() for name, tensor in feed.items()})
        with torch.no_grad():
            assert np.abs(logits - model(**feed).logits.numpy()).max() < 1e-4


def test_training_in_16_bits_takes_the_way_of_32():
    """The gradient of the steps in bfloat16, which are faster than the one call's, points where that of fp32 does."""
    model, inputs = pruned_classifier(dropout=0.0, attention_dropout=0.0).train(), batch("right")

    def gradient(bits: torch.dtype) -> Tensor:
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bits == torch.bfloat16):
            logits = model(**inputs).logits
        torch.nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1, 2])).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    assert torch.cosine_similarity(gradient(torch.bfloat16), gradient(torch.float32), dim=0) > 0.99


def going_on(share: float, layers: int = 2) -> Classifier:
    """A classifier with large weights in whose first layer so many of the tokens go on."""
    first, other = LayerShape(3, 4, 10, share), LayerShape(2, 4, 8)
    config = EncoderConfig(VOCABULARY, 12, (first, *[other] * (layers - 1)), dropout=0.0, attention_dropout=0.0)
    model = Classifier(config, 2).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def test_those_that_received_the_most_attention_go_on_and_the_first_always():
    model, ids = going_on(0.5, layers=1), torch.tensor([[5, 9, 17, 4, 33, 8, 2]])
    found = model(ids, output_attention_scores=True, output_hidden_states=True)
    (scores,) = found.attention_scores
    received = [sum(row[key] for head in scores[0].softmax(-1).tolist() for row in head) for key in range(7)]
    chosen = [0, *sorted(range(1, 7), key=lambda key: -received[key])[:3]]  # 4 of 7, half of them rounded up
    layer = model.encoder.layers[0]
    states = layer.attention(found.hidden_states[0], torch.zeros(1, 1, 1, 7), None, False)[0] + found.hidden_states[0]
    states = layer.attention_norm(states)[0, chosen]
    by_hand = layer.feed_forward_norm(states + layer.feed_forward(states, None))
    torch.testing.assert_close(found.last_hidden_state[0], by_hand, atol=1e-5, rtol=0)


@pytest.mark.parametrize("share", [0.01, 0.33, 0.5, 0.75, 1.0])
def test_which_tokens_go_on_is_no_matter_of_the_padding(share):
    model, lengths = going_on(share), [11, 7, 3, 2]
    ids = torch.randint(1, VOCABULARY, (4, 11))
    is_token = (torch.arange(11) < torch.tensor(lengths)[:, None]).long()
    together = model(ids, is_token, first_only=True).logits
    for row, length in enumerate(lengths):
        alone = model(ids[row : row + 1, :length]).logits
        torch.testing.assert_close(together[row], alone[0], atol=TOLERANCE, rtol=0)


def test_where_all_go_on_nothing_changes_and_where_few_do_something_does():
    few = going_on(0.5)
    ids = torch.randint(1, VOCABULARY, (2, 9))
    config = replace(few.encoder.config, layers=tuple(replace(s, tokens=1.0) for s in few.encoder.config.layers))
    every = Classifier(config, 2).eval()
    every.load_state_dict(few.state_dict())
    assert not torch.allclose(few(ids).logits, every(ids).logits, atol=1e-3)
    assert few(ids).last_hidden_state.shape[1] == 5 and every(ids).last_hidden_state.shape[1] == 9
    assert "tokens" not in config.to_dict()["layers"][0], "a shape that says nothing new is written as ever"
    assert EncoderConfig.from_dict(few.encoder.config.to_dict()) == few.encoder.config


def test_the_words_learn_through_those_that_go_on():
    model = going_on(0.5).train()
    model(torch.randint(1, VOCABULARY, (2, 8))).logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("shape", "others", "says"),
    [
        (LayerShape(1, 4, 8, 0.0), {}, "more than 0"),
        (LayerShape(1, 4, 8, 1.5), {}, "at most 1"),
        (LayerShape(0, 4, 8, 0.5), {}, "without heads"),
        (LayerShape(1, 4, 8, 0.5), {"spans": 2}, "marked words"),
    ],
)
def test_a_share_that_cannot_go_on_is_refused(shape, others, says):
    with pytest.raises(InputError, match=says):
        EncoderConfig(VOCABULARY, 8, (shape,), **others)
