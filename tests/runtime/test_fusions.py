"""Each fusion does what it says and only that; a wrong number of heads is caught."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from conftest import examples_of

from fflib.data import batching
from fflib.engine import export, predictors, sessions
from fflib.files import InputError
from fflib.model import encoder, slicing
from fflib.runtime import fusions
from fflib.runtime.first_token import FirstTokenClassifier
from fflib.runtime.fusions import BOOK, FUSED_OPERATORS, PAPER, VARIANTS, WHOLE, Graphs, Variant

EXAMPLES = examples_of([5, 9, 12, 7, 3, 11])
INPUTS = batching.collate(EXAMPLES, range(6)).inputs


def model_of(heads=(4, 4)):
    torch.manual_seed(0)
    layers = tuple(encoder.LayerShape(count, 8, 48) for count in heads)
    config = encoder.EncoderConfig(vocab_size=50, hidden_size=32, layers=layers, max_position_embeddings=64)
    model = encoder.Classifier(config, 3).eval()
    with torch.no_grad():  # at 0.02 attention would look everywhere alike, whatever its heads
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights) * 0.2)
    return model


@pytest.fixture(scope="module")
def model():
    return model_of()


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    def graphs_of(model) -> Graphs:
        folder = tmp_path_factory.mktemp("graphs")
        modules = {"whole": model, "first": FirstTokenClassifier(model)}
        return Graphs(model, *(export.save_onnx(one, folder / f"{name}.onnx") for name, one in modules.items()))

    return graphs_of


@pytest.fixture(scope="module")
def graphs(model, make) -> Graphs:
    return make(model)


@pytest.fixture(scope="module")
def wanted(model):
    return predictors.torch_predictor(model)(INPUTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_answers_as_the_model(graphs, wanted, name):
    variant = VARIANTS[name]
    exact, rounded = (fusions.serve(graphs.optimised(variant, bits), variant, 1)[0](INPUTS) for bits in (0, 8))
    assert np.abs(exact - wanted).max() < 1e-4 < np.abs(rounded - wanted).max() < 0.2 * np.ptp(wanted)


def fused(graphs, name, bits=0):
    _, counts = fusions.serve(graphs.optimised(VARIANTS[name], bits), VARIANTS[name], 1)
    return {operator: counts[operator] for operator in FUSED_OPERATORS if operator in counts}


def test_each_variant_fuses_what_its_name_says(graphs):
    norms = 2 * 2 + 1  # two a layer, and that of the embeddings, which adds up two tables as well
    assert fused(graphs, "no optimisation") == fused(graphs, "basic") == fused(graphs, "all but these four") == {}
    assert fused(graphs, "+ skip-LayerNorm") == {"SkipLayerNormalization": norms}
    assert fused(graphs, "+ embedding") == {}, "today's exporter writes embeddings that ONNX Runtime does not know"
    assert fused(graphs, "+ GELU") == fused(graphs, WHOLE) == {"BiasGelu": 2}
    assert fused(graphs, "+ attention") == {"Attention": 2}
    assert fused(graphs, "+ attention", 8) == {"QAttention": 2}
    assert fused(graphs, "all") == fused(graphs, "extended") == {"SkipLayerNormalization": norms, "BiasGelu": 2}
    assert "Attention" not in fused(graphs, PAPER), "the library finds the heads again: the text of chapter 6 is wrong"
    assert fused(graphs, "the paper's, heads told")["Attention"] == 2


def test_the_books_graph_is_the_default_of_every_session(graphs, tmp_path):
    """What a session does that is told nothing is what the variant does."""
    ours, usual = fusions.options(VARIANTS[WHOLE], 1), predictors.session_options(1)
    counts = []
    for options, name in ((ours, "ours.onnx"), (usual, "usual.onnx")):
        options.optimized_model_filepath = str(tmp_path / name)
        sessions.load(graphs.optimised(VARIANTS[WHOLE]), options)
        counts.append(sorted(node.op_type for node in onnx.load(tmp_path / name).graph.node))
    assert counts[0] == counts[1]
    _, first = fusions.serve(graphs.optimised(VARIANTS[BOOK]), VARIANTS[BOOK], 1)
    assert first["LayerNormalization"] == 5 and "SkipLayerNormalization" not in first


def test_the_heads_before_pruning_give_wrong_logits_and_no_error(capfd):
    """The trap: the library believes what it is told. The check that each graph passes is what catches it."""
    whole = model_of()
    half = slicing.slice_model(whole, heads=[[0, 2], [1, 3]])
    traced, right = fusions.legacy_onnx(half), predictors.torch_predictor(half)(INPUTS)
    told = {heads: fusions.fused(traced, ("attention",), heads, width) for heads, width in ((2, 16), (4, 32))}
    off = {}
    for heads, proto in told.items():
        assert sum(node.op_type == "Attention" for node in proto.graph.node) == 2
        off[heads] = np.abs(predictors.onnx_predictor(predictors.onnx_session(proto, 1))(INPUTS) - right).max()
    assert off[2] < 1e-5 and off[4] > 0.05
    export.assert_parity(half, told[2])
    with pytest.raises(AssertionError, match="the ONNX graph's logits are off by"):
        export.assert_parity(half, told[4])
    assert capfd.readouterr() == ("", "")
    unfused = fusions.fused(traced, ("attention",), 0, 0)
    assert not [node for node in unfused.graph.node if node.op_type == "Attention"], "it finds the heads by itself now"


def test_a_wrong_graph_is_never_given_away(monkeypatch, make, graphs, model, tmp_path):
    half = slicing.slice_model(model_of(), heads=[[0, 2], [1, 3]])
    graphs = make(half)
    monkeypatch.setattr(fusions, "heads_of", lambda model: (4, 32))
    with pytest.raises(AssertionError, match="logits are off"):
        graphs.optimised(VARIANTS["+ attention"])
    path = export.save_onnx(half, tmp_path / "half.onnx")
    with pytest.raises(InputError, match="was not exported from these weights"):
        Graphs(model, path, path)


def test_refusals(graphs, make):
    with pytest.raises(InputError, match="no level 'most'; there are none, basic, extended, all"):
        graphs.optimised(Variant("most"))
    with pytest.raises(InputError, match="no fusion 'everything'"):
        graphs.optimised(Variant(session=("everything",)))
    with pytest.raises(InputError, match="layers differ in their heads"):
        make(model_of((4, 2))).optimised(VARIANTS["+ attention"])


def test_told_says_what_becomes_of_the_logits(model):
    halved = slicing.slice_model(model, heads=[range(0, 4, 2)] * 2)
    exported, expected = fusions.legacy_onnx(halved), predictors.torch_predictor(halved)(INPUTS)
    has, had = fusions.heads_of(halved), fusions.heads_of(model)
    assert (has, had) == ((2, 16), (4, 32))
    right = fusions.told(exported, has, INPUTS, expected, 1)
    assert right["heads"] == 2 and right["attentions fused"] == 2 and right["largest change of a logit"] < 1e-4
    wrong = fusions.told(exported, had, INPUTS, expected, 1)
    assert wrong["heads"] == 4 and ("error" in wrong or wrong["largest change of a logit"] > 1e-3)
    blind = fusions.told(exported, fusions.HEADS_BY_ITSELF, INPUTS, expected, 1)
    assert blind["attentions fused"] == 0


def test_a_saved_graph_is_known_again(model, graphs, tmp_path):
    proto = graphs.optimised(VARIANTS[fusions.TOLD])
    path = fusions.save(proto, tmp_path / "paper" / "model.onnx", model)
    export.check_belongs(path, model)
    with pytest.raises(InputError, match="not exported from these weights"):
        export.check_belongs(path, model_of((2, 2)))
    np.testing.assert_allclose(
        predictors.onnx_predictor(predictors.onnx_session(path, 1))(INPUTS),
        predictors.onnx_predictor(predictors.onnx_session(proto, 1))(INPUTS),
    )
