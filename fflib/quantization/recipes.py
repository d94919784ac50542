"""Eight bits: the products of a model in integers, by recipes with names.

Only products with constant weights become integers. Weights are rounded once, here; what flows in is rounded at run
time, with one scale for the whole tensor: of this very tensor (*dynamic*) or known from calibration (*static*). The two
products inside attention have no constant factor: both factors would have to be rounded and packed anew in each call
(FastFormers, 2010.13382, section 4), so they stay as they are.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

import onnx
from onnx import helper
from onnxruntime.quantization import quantize_dynamic

from fflib.engine import export, int8_graph, int8_support
from fflib.files import InputError, atomic_path, check_known, content_hash
from fflib.quantization import calibration
from fflib.quantization.calibration import Calibration


@dataclass(frozen=True)
class Recipe:
    """How a model becomes integers.

    Attributes:
        per_column: every column of a weight matrix has its own scale, else the matrix has one.
        symmetric: zero has the code 0; else codes go from the least weight to the largest.
        weight_bits: 8, 7 (`reduce_range`) or 4; 0 takes 8 where the processor adds products safely, else 7.
        activations: "dynamic", "float" (weights alone are rounded, the kernel may do more), or a method of
            `calibration.ranges`.
        smooth: outliers are moved from the activations into the weights first, see `int8_graph.smoothed`.
        embeddings: also the rows of the embeddings have eight bits, with a scale each.
        everything: whatever the library can convert, as its default is; the embeddings then share one scale.
    """

    per_column: bool = True
    symmetric: bool = True
    weight_bits: int = 0
    activations: str = "dynamic"
    smooth: bool = False
    embeddings: bool = False
    everything: bool = False

    @property
    def calibrated(self) -> bool:
        """Say whether the recipe needs calibration texts."""
        return self.smooth or self.activations in calibration.METHODS


CODE = [Path(module.__file__) for module in (int8_graph, calibration)] + [Path(__file__)]  # what decides the graph
RECIPES = {
    "dynamic": Recipe(),
    "paper": Recipe(symmetric=False, weight_bits=7),  # the settings in FastFormers' code
    "one scale a matrix": Recipe(per_column=False),
    "library's default": Recipe(per_column=False, weight_bits=8, everything=True),
    "always 8 bits": Recipe(weight_bits=8),
    "static, largest": Recipe(activations="largest"),
    "static, percentile": Recipe(activations="percentile"),
    "static, entropy": Recipe(activations="entropy"),
    "static, smoothed": Recipe(activations="largest", smooth=True),
    "embeddings too": Recipe(embeddings=True),
    "int4 weights": Recipe(weight_bits=4, activations="float"),
}


def get_recipe(name: str) -> Recipe:
    """Return a recipe of `RECIPES`, with the number of bits that is safe on this processor if it leaves that open."""
    check_known("recipe", [name], RECIPES)
    return _with_bits(RECIPES[name])


def _with_bits(recipe: Recipe) -> Recipe:
    return recipe if recipe.weight_bits else replace(recipe, weight_bits=safe_weight_bits())


def safe_weight_bits() -> int:
    """Return 8, or 7 on processors that add two products of codes in 16 bits: there 8 bits can overflow."""
    return 7 if int8_support.int8_support().saturates else 8


def quantize(source: str | Path, target: str | Path, recipe: Recipe, texts: Calibration | None = None) -> Path:
    """Write ``target``: the ONNX file ``source`` of `export.save_onnx` in integers; a current one is kept.

    The note of the weights it came from stays in the file, see `export.check_belongs`. A warning tells, in a sentence,
    where this processor would gain nothing or err.

    Args:
        texts: the calibration of the graph in ``source``, for a recipe that is `Recipe.calibrated`.

    Raises:
        InputError: the file is damaged, has no product with constant weights, the library cannot convert one of its
            operators, or the calibration is missing.
    """
    source, target = Path(source), Path(target)
    check_known("way of rounding activations", [recipe.activations], ("dynamic", "float", *calibration.METHODS))
    recipe = _with_bits(recipe)
    if recipe.calibrated and texts is None:
        raise InputError("this recipe needs calibration texts; give a calibration.Calibration of at least one text")
    if warning := int8_support.int8_warning(int8_support.int8_support(), 8 if recipe.weight_bits == 8 else 7):
        warnings.warn(warning, stacklevel=2)
    model, versions = load(source), [metadata.version(name) for name in ("onnx", "onnxruntime")]
    notes = export.notes(model)
    if recipe.calibrated and texts.notes.get("fingerprint") != notes.get("fingerprint"):
        raise InputError(f"the calibration is of another graph than {source}; calibrate on that file")
    seen = texts.texts.fingerprint if recipe.calibrated else ""
    fingerprint = content_hash(notes.get("fingerprint", ""), asdict(recipe), seen, versions, *CODE)
    with suppress(InputError):  # not there yet, or damaged
        if export.notes(target).get("fingerprint") == fingerprint:
            return target
    graph = _converted(model, recipe, texts)
    del graph.metadata_props[:]
    helper.set_model_props(graph, notes | {"fingerprint": fingerprint})
    with atomic_path(target) as temporary:
        temporary.write_bytes(graph.SerializeToString())
    return target


def load(path: str | Path) -> onnx.ModelProto:
    """Read an ONNX file that has products with constant weights; InputError: it has none, or is damaged."""
    model = export.load(path)
    if not int8_graph.products(model.graph):
        raise InputError(f"{path} has no product with constant weights that could become integers; export it again")
    return model


def _converted(model: onnx.ModelProto, recipe: Recipe, texts: Calibration | None) -> onnx.ModelProto:
    if recipe.smooth:
        texts = texts.smoothed
        model = texts.model
    if recipe.activations == "float":
        model = _int4(model)
    elif recipe.everything:
        model = _by_the_library(model)
    else:
        static = recipe.activations in calibration.METHODS
        ranges = calibration.ranges(texts.histograms, recipe.activations) if static else None
        model = int8_graph.integer_products(model, recipe.weight_bits, recipe.per_column, recipe.symmetric, ranges)
    return int8_graph.with_int8_embeddings(model) if recipe.embeddings else model


def _by_the_library(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert as ONNX Runtime does where it is told nothing."""
    with tempfile.TemporaryDirectory() as folder, export.quiet():
        path = Path(folder) / "model.onnx"
        try:
            quantize_dynamic(model, path)
        except (ValueError, RuntimeError, TypeError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"ONNX Runtime cannot convert this graph ({reason}); take another recipe") from error
        return onnx.load(path)


def _int4(model: onnx.ModelProto) -> onnx.ModelProto:
    """Round weights to four bits, a scale for every 32 of a column; the engine widens them again in each call."""
    from onnxruntime.quantization import matmul_nbits_quantizer  # brings SymPy along, which most chapters never need

    quantizer = matmul_nbits_quantizer.MatMulNBitsQuantizer(copy.deepcopy(model), block_size=32, accuracy_level=4)
    with export.quiet():
        quantizer.process()
    return quantizer.model.model
