"""Recipes: each converts a model and serves it, files are kept or made anew, weights are rounded as they should be."""

from __future__ import annotations

import copy
import itertools
import logging
import os
import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from conftest import examples_of
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from fflib.data import batching
from fflib.engine import export, int8_graph, int8_support, predictors
from fflib.engine.int8_support import Int8Support
from fflib.files import InputError
from fflib.model.encoder import Classifier, EncoderConfig, LayerShape
from fflib.quantization import calibration, recipes
from fflib.quantization.calibration import Calibration
from fflib.quantization.recipes import RECIPES, Recipe

LENGTHS = [5, 9, 30, 12, 40, 8] * 8  # enough tokens for a percentile to leave some values out
TEXTS, REQUESTS = examples_of(LENGTHS, seed=1), examples_of([6, 11, 4, 9], seed=2)
STATIC = Recipe(weight_bits=7, activations="largest")
ROUGH = ("int4 weights", "library's default")  # the second has 8 bits wherever it runs, which some processors cut off


@pytest.fixture(scope="module", autouse=True)
def _exact_processor():
    """What the machine is does not matter here, and earns no warnings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8_support, "int8_support", lambda: Int8Support("invented", False, 4.0))
        yield


def seven_bits(recipe) -> Recipe:
    """So that every processor computes the same."""
    return replace(recipe, weight_bits=7) if recipe.weight_bits != 4 else recipe


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model whose answers depend on all of its products, its file, and float logits."""
    torch.manual_seed(0)
    model = Classifier(EncoderConfig(50, 32, (LayerShape(2, 16, 64),), max_position_embeddings=64), 3).eval()
    for parameter in model.parameters():
        parameter.data = parameter * 15 if parameter.ndim > 1 else parameter + 0.1 * torch.randn_like(parameter)
    path = export.save_onnx(model, tmp_path_factory.mktemp("exported") / "model.onnx")
    return model, path, logits(path)


@pytest.fixture(scope="module")
def texts(exported) -> Calibration:
    return Calibration(recipes.load(exported[1]), TEXTS, 1)


@pytest.fixture(scope="module", params=RECIPES)
def converted(request, exported, texts, tmp_path_factory):
    """A name of `RECIPES`, and what the recipe makes of the model."""
    target = tmp_path_factory.mktemp("converted") / "new" / "int8.onnx"
    recipe = seven_bits(RECIPES[request.param])
    assert recipes.quantize(exported[1], str(target), recipe, texts) == target
    return request.param, target


def logits(path) -> np.ndarray:
    predict = predictors.onnx_predictor(predictors.onnx_session(path, 1))
    return predict(batching.collate(REQUESTS, range(len(REQUESTS))).inputs)


def nodes_of(path) -> list[onnx.NodeProto]:
    return list(onnx.load(path).graph.node)


def constants_of(path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def graph_by_hand(path, matrix, note="first", operator="MatMul"):
    """Write a file that looks up rows and multiplies them by ``matrix``, with the notes of an export."""
    rows = np.random.default_rng(3).normal(size=(50, len(matrix))).astype(np.float32)
    tensors = [numpy_helper.from_array(array, name) for name, array in (("rows", rows), ("matrix", matrix))]
    nodes = [
        helper.make_node("Gather", ["rows", "input_ids"], ["found"]),
        helper.make_node(operator, ["found", "matrix"], ["logits"]),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    answers = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", matrix.shape[-1]])
    graph = helper.make_graph(nodes, "by hand", [ids], [answers], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {"weights": note, "fingerprint": note})
    onnx.save(model, path)
    return path


@pytest.fixture
def small(tmp_path):
    return graph_by_hand(tmp_path / "small.onnx", np.random.default_rng(4).normal(size=(8, 5)).astype(np.float32))


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out" / "int8.onnx"


def test_quietly(exported, tmp_path, capfd, caplog, recwarn):
    """First in this file: some messages come once a process."""
    level = logging.root.manager.disable
    texts = Calibration(recipes.load(exported[1]), TEXTS, 1)
    for name in ("library's default", "static, smoothed", "int4 weights", "embeddings too"):
        recipes.quantize(exported[1], tmp_path / "int8.onnx", recipes.get_recipe(name), texts)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert not recwarn.list
    assert logging.root.manager.disable == level
    assert [path.name for path in tmp_path.iterdir()] == ["int8.onnx"]


@pytest.mark.parametrize("saturates, bits", [(True, 7), (False, 8)])
def test_bits_that_a_recipe_leaves_open_are_the_processors(monkeypatch, saturates, bits):
    monkeypatch.setattr(int8_support, "int8_support", lambda: Int8Support("invented", saturates, 2.0))
    assert recipes.safe_weight_bits() == bits
    for name, recipe in RECIPES.items():
        got = recipes.get_recipe(name)
        assert got.weight_bits == (recipe.weight_bits or bits)
        assert replace(got, weight_bits=recipe.weight_bits) == recipe
    given = {name: recipe.weight_bits for name, recipe in RECIPES.items() if recipe.weight_bits}
    assert given == {"paper": 7, "library's default": 8, "always 8 bits": 8, "int4 weights": 4}
    assert recipes.get_recipe("dynamic").activations == "dynamic"


@pytest.mark.parametrize(
    "instructions, saturates, bits, warning",
    [
        ("AVX2", True, 8, "AVX2 cuts off their sum: take weights of 7 bits"),
        ("AVX2", True, 7, None),
        ("AVX2", True, 4, None),
        ("AVX512 VNNI", False, 8, None),
        ("none", False, 7, "hardly be faster than fp32"),
    ],
)
def test_a_warning_where_int8_errs_or_gains_nothing(small, target, monkeypatch, instructions, saturates, bits, warning):
    monkeypatch.setattr(int8_support, "int8_support", lambda: Int8Support(instructions, saturates, 2.0))
    recipe = Recipe(weight_bits=bits, activations="float" if bits == 4 else "dynamic")
    for _ in range(2):  # also where the file is there already
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            recipes.quantize(small, target, recipe)
        assert len(caught) == (warning is not None)
        assert all(warning in str(entry.message) and entry.filename == __file__ for entry in caught)


def test_an_unknown_recipe_is_refused():
    with pytest.raises(InputError, match="no recipe 'int2'; there are dynamic, paper"):
        recipes.get_recipe("int2")


def test_logits_stay_near_the_float_ones(converted, exported):
    name, path = converted
    wanted, got = exported[2], logits(path)
    assert np.ptp(wanted, axis=0).min() > 0.5  # the requests have answers of their own
    assert 1e-3 < np.abs(got - wanted).max() < (0.5 if name in ROUGH else 0.25)


def test_products_become_what_the_recipe_says(converted, exported):
    name, path = converted
    recipe, kinds = RECIPES[name], [node.op_type for node in nodes_of(path)]
    constant = sum(map(len, int8_graph.products(onnx.load(exported[1]).graph).values()))
    assert constant == 8  # four in attention, two in the feed-forward part, pooler and classifier
    if name == "int4 weights":
        operator, constant = "MatMulNBits", kinds.count("MatMulNBits")
        assert constant >= 6
    else:
        operator = "MatMulIntegerToFloat" if recipe.activations != "dynamic" else "MatMulInteger"
    assert kinds.count(operator) == constant
    assert ("DynamicQuantizeLinear" in kinds) == (recipe.activations == "dynamic")
    assert recipe.calibrated == name.startswith("static")
    arrays = constants_of(path).values()
    words = any(array.shape == (50, 32) and array.dtype == np.float32 for array in arrays)
    assert words != (recipe.embeddings or recipe.everything)
    if recipe.embeddings:
        assert any(array.shape == (50, 1) for array in arrays)


def test_products_of_two_computed_matrices_stay_float(converted, exported):
    _, path = converted
    constants = constants_of(exported[1])
    computed = [n.output[0] for n in nodes_of(exported[1]) if n.op_type == "MatMul" and n.input[1] not in constants]
    assert len(computed) == 2  # scores, and context
    kinds = {node.output[0]: node.op_type for node in nodes_of(path)}
    assert [kinds[name] for name in computed] == ["MatMul", "MatMul"]


def test_the_note_of_the_weights_stays(converted, exported):
    _, path = converted
    model = exported[0]
    export.check_belongs(path, model)
    assert export.notes(path).keys() == export.notes(exported[1]).keys()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.classifier.bias += 1
    with pytest.raises(InputError, match="not exported from these weights"):
        export.check_belongs(path, other)


def test_recipes_differ(exported, texts, tmp_path):
    """No two of them make the same answers, so none is another one in disguise."""
    answers = [
        logits(recipes.quantize(exported[1], tmp_path / "int8.onnx", seven_bits(RECIPES[name]), texts))
        for name in RECIPES
        if name != "always 8 bits"  # the default in other processors
    ]
    for one, other in itertools.combinations(answers, 2):
        assert np.abs(one - other).max() > 1e-5


def symmetric(matrix, bits, axis) -> tuple[np.ndarray, np.ndarray]:
    """Codes and scales by the textbook: the largest size gets the largest code."""
    scale = np.abs(matrix).max(axis, keepdims=True).astype(np.float64) / {7: 64, 8: 127}[bits]
    return np.rint(matrix / scale).astype(np.int8), scale.ravel()


@pytest.mark.parametrize("bits", [7, 8])
@pytest.mark.parametrize("per_column", [True, False])
def test_codes_of_the_weights(exported, target, bits, per_column):
    model, source, _ = exported
    arrays = constants_of(recipes.quantize(source, target, Recipe(per_column=per_column, weight_bits=bits)))
    matrices = [part.weight.detach().numpy().T for part in model.modules() if isinstance(part, nn.Linear)]
    codes = {name: array for name, array in arrays.items() if array.dtype == np.int8 and array.ndim == 2}
    assert len(codes) == len(matrices) == 8
    for matrix in matrices:
        wanted, scales = symmetric(matrix, bits, 0 if per_column else None)
        (name,) = (name for name, array in codes.items() if np.array_equal(array, wanted))
        stem = name.removesuffix(".codes")
        np.testing.assert_allclose(arrays[f"{stem}.scale"].ravel(), scales, rtol=1e-6)
        assert not arrays[f"{stem}.zero"].any()


def restored(path) -> np.ndarray:
    """The matrix of `graph_by_hand` as its codes, scales and zero points have it."""
    arrays = constants_of(path)
    codes, scale, zero = (arrays[f"matrix.{end}"] for end in ("codes", "scale", "zero"))
    return (codes.astype(np.float64) - zero.astype(np.float64)) * scale


def test_one_large_column_spoils_a_shared_scale(tmp_path, target):
    matrix = np.random.default_rng(5).normal(size=(16, 6)).astype(np.float32)
    matrix[:, 2] *= 50
    source = graph_by_hand(tmp_path / "small.onnx", matrix)
    wrong = {}
    for per_column in (True, False):
        path = recipes.quantize(source, target, Recipe(per_column=per_column, weight_bits=7))
        wrong[per_column] = np.abs(restored(path) - matrix)
        steps = np.abs(matrix).max(0 if per_column else None) / 64
        assert (wrong[per_column] <= steps * 0.50001).all()
    others = [0, 1, 3, 4, 5]
    assert (wrong[False][:, others].max(0) > 10 * wrong[True][:, others].max(0)).all()


def test_asymmetric_codes_go_from_the_least_to_the_largest(tmp_path, target):
    matrix = np.random.default_rng(6).uniform(-0.1, 1, (40, 5)).astype(np.float32)
    matrix[0] = -0.1
    source = graph_by_hand(tmp_path / "small.onnx", matrix)
    path = recipes.quantize(source, target, RECIPES["paper"])
    codes = constants_of(path)["matrix.codes"]
    assert (codes.min(0) <= -63).all() and (codes.max(0) >= 63).all()
    assert np.abs(codes).max() <= 64
    wrong = np.abs(restored(path) - matrix)
    # Half a step, and what is cut off at an end because zero has a whole code: half a step more.
    assert (wrong <= np.ptp(matrix, 0) / 128 * 1.0001).all()
    coarser = np.abs(restored(recipes.quantize(source, target, Recipe(weight_bits=7))) - matrix)
    assert coarser.mean() > 1.5 * wrong.mean()


def test_four_bits_have_a_scale_for_every_32_weights_of_a_column(tmp_path, target):
    matrix = np.random.default_rng(7).normal(size=(96, 3)).astype(np.float32)
    matrix[32:64] *= 100
    path = recipes.quantize(graph_by_hand(tmp_path / "small.onnx", matrix), target, RECIPES["int4 weights"])
    (node,) = (node for node in nodes_of(path) if node.op_type == "MatMulNBits")
    options = {attribute.name: attribute.i for attribute in node.attribute}
    assert (options["K"], options["N"], options["bits"], options["block_size"]) == (96, 3, 4, 32)
    packed, scales, zeros = (constants_of(path)[name] for name in node.input[1:4])

    def halves(array) -> np.ndarray:
        """Of the bytes [3 columns, ...]: the lower half first."""
        return np.stack([array & 15, array >> 4], -1).reshape(3, -1).astype(int)

    codes, zeros, steps = halves(packed).reshape(3, 3, 32), halves(zeros)[:, :3, None], scales.reshape(3, 3, 1)
    blocks = matrix.T.reshape(3, 3, 32)  # column, block, weight
    np.testing.assert_allclose(steps, np.ptp(blocks, axis=-1, keepdims=True) / 15, rtol=1e-5)
    wrong = np.abs((codes - zeros) * steps - blocks) / steps
    assert (wrong[(codes > 0) & (codes < 15)] <= 0.501).all() and (wrong <= 1.001).all()  # ends may be cut off


def test_static_ranges_are_those_of_the_calibration(exported, texts, target):
    arrays = constants_of(recipes.quantize(exported[1], target, STATIC, texts))
    for name, (low, high) in calibration.ranges(texts.histograms, "largest").items():
        low, high = min(low, 0), max(high, 0)
        assert arrays[f"{name}.scale"] == pytest.approx((high - low) / 255)
        assert arrays[f"{name}.zero"] == round(-low / ((high - low) / 255))


def test_only_a_dynamic_answer_depends_on_the_batch(converted):
    """The rest of the batch is the same text as ever, but longer than the one that is looked at."""
    name, path = converted
    predict = predictors.onnx_predictor(predictors.onnx_session(path, 1))
    together, alone = (predict(batching.collate(REQUESTS, group, pad_to=12).inputs)[0] for group in (range(4), [0]))
    change = np.abs(together - alone).max()
    if RECIPES[name].activations == "dynamic":
        assert change > 1e-4
    else:
        assert change < 1e-5


def stamped(path) -> None:
    os.utime(path, (1, 1))


def kept(path) -> bool:
    """Whether the file is the one that was stamped; stamps it again."""
    same = path.stat().st_mtime == 1
    stamped(path)
    return same


def test_a_current_file_is_kept(small, target):
    texts = Calibration(recipes.load(small), TEXTS, 1)
    stamped(recipes.quantize(small, target, STATIC, texts))
    content = target.read_bytes()
    assert recipes.quantize(str(small), str(target), replace(STATIC), texts) == target
    assert kept(target) and target.read_bytes() == content
    again = Calibration(recipes.load(small), examples_of(LENGTHS, seed=1), 1)
    recipes.quantize(small, target, STATIC, again)
    assert kept(target)


def test_texts_that_take_no_part_do_not_matter(small, target):
    recipe = Recipe(weight_bits=7)
    stamped(recipes.quantize(small, target, recipe))
    recipes.quantize(small, target, recipe, Calibration(recipes.load(small), TEXTS, 1))
    assert kept(target)


def test_another_recipe_source_or_calibration_makes_the_file_anew(small, target, tmp_path, monkeypatch):
    model = recipes.load(small)
    texts, others = Calibration(model, TEXTS, 1), Calibration(model, REQUESTS, 1)
    before = constants_of(recipes.quantize(small, target, STATIC, texts))
    stamped(target)
    recipes.quantize(small, target, STATIC, others)
    assert not kept(target)
    assert constants_of(target)["found.scale"] != before["found.scale"]
    recipes.quantize(small, target, replace(STATIC, activations="percentile"), others)
    assert not kept(target)
    recipes.quantize(small, target, replace(STATIC, per_column=False), others)
    assert not kept(target)
    small = graph_by_hand(small, np.eye(8, 5, dtype=np.float32), "second")
    others = Calibration(recipes.load(small), REQUESTS, 1)
    recipes.quantize(small, target, replace(STATIC, per_column=False), others)
    assert not kept(target)
    assert export.notes(target)["weights"] == "second"
    np.testing.assert_allclose(restored(target), np.eye(8, 5), atol=1e-6)
    monkeypatch.setattr(recipes.metadata, "version", lambda name: "0")
    recipes.quantize(small, target, replace(STATIC, per_column=False), others)
    assert not kept(target)


def test_other_code_makes_the_file_anew(small, target, tmp_path, monkeypatch):
    recipe, changed = Recipe(weight_bits=7), tmp_path / "int8_graph.py"
    stamped(recipes.quantize(small, target, recipe))
    changed.write_text("another surgery")
    for i in range(len(recipes.CODE)):
        monkeypatch.setattr(recipes, "CODE", [*recipes.CODE[:i], changed, *recipes.CODE[i + 1 :]])
        recipes.quantize(small, target, recipe)
        assert not kept(target)
    assert {path.name for path in recipes.CODE} == {changed.name}
    monkeypatch.undo()
    assert {path.name for path in recipes.CODE} == {"int8_graph.py", "calibration.py", "recipes.py"}


@pytest.mark.parametrize("damage", ["half", b"this is no graph " * 9, b""])
def test_a_damaged_target_is_made_anew(small, target, damage):
    recipe = Recipe(weight_bits=7)
    whole = recipes.quantize(small, target, recipe).read_bytes()
    target.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    recipes.quantize(small, target, recipe)
    assert target.read_bytes() == whole
    assert [path.name for path in target.parent.iterdir()] == ["int8.onnx"]


@pytest.mark.parametrize("damage", [None, "half", b"this is no graph " * 9])
def test_a_damaged_source_is_refused(small, target, damage):
    whole = small.read_bytes()
    small.unlink()
    if damage is not None:
        small.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    for use in (recipes.load, lambda path: recipes.quantize(path, target, Recipe(weight_bits=7))):
        with pytest.raises(InputError, match="small.onnx is missing or is no readable ONNX file") as error:
            use(small)
        assert "\n" not in str(error.value)
    assert not target.exists() and not list(target.parent.parent.glob("**/*tmp*"))


def test_a_graph_without_products_is_refused(tmp_path, target):
    source = graph_by_hand(tmp_path / "small.onnx", np.ones((1, 5), np.float32), operator="Add")
    target.parent.mkdir()
    target.write_bytes(b"an old file")
    for recipe in (Recipe(weight_bits=7), RECIPES["int4 weights"]):
        with pytest.raises(InputError, match="small.onnx has no product with constant weights"):
            recipes.quantize(source, target, recipe)
    assert target.read_bytes() == b"an old file"
    assert [path.name for path in target.parent.iterdir()] == ["int8.onnx"]


@pytest.mark.parametrize("recipe", [STATIC, Recipe(weight_bits=7, smooth=True)])
def test_a_calibrated_recipe_needs_texts(small, target, recipe):
    with pytest.raises(InputError, match="needs calibration texts; give a calibration.Calibration"):
        recipes.quantize(small, target, recipe)
    assert not target.parent.exists()


def test_what_the_library_cannot_convert_is_one_sentence(small, target, monkeypatch):
    def fails(*arguments, **options):
        raise ValueError("no such operator\nand a long story")

    monkeypatch.setattr(recipes, "quantize_dynamic", fails)
    with pytest.raises(InputError, match=r"cannot convert this graph \(no such operator\); take another recipe$"):
        recipes.quantize(small, target, RECIPES["library's default"])
    assert not target.exists() and not list(target.parent.parent.glob("**/*tmp*"))


def test_a_calibration_of_another_graph_is_refused(small, target, tmp_path):
    other = graph_by_hand(tmp_path / "other.onnx", np.ones((8, 5), np.float32), note="second")
    with pytest.raises(InputError, match="calibration is of another graph than .*small.onnx"):
        recipes.quantize(small, target, STATIC, Calibration(recipes.load(other), TEXTS, 1))
    assert not target.parent.exists()


def test_bits_left_open_are_filled_in_here_too(small, target):
    recipes.quantize(small, target, Recipe(weight_bits=0))
    assert np.abs(constants_of(target)["matrix.codes"]).max() == 127  # the invented processor adds products safely


def test_a_misspelt_way_of_rounding_is_refused(small, target):
    with pytest.raises(InputError, match="did you mean|there are dynamic, float, largest"):
        recipes.quantize(small, target, Recipe(activations="dynamyc"))
