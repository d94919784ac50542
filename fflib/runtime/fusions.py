"""Graph optimisation taken apart: who fuses what, and does it pay?

ONNX Runtime fuses when it loads a file, by level; its library `onnxruntime.transformers` fuses beforehand, by patterns
that it looks for in exported graphs. FastFormers (2010.13382, section 4) lumps both with int8. Here each is apart.
Nothing that the library makes is trusted: a fused attention believes the number of heads it is told, without a word.
(Longer than 200 lines: the table of variants and what makes each stand together.)
"""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
from torch import Tensor, nn

from fflib.engine import export, int8_graph, sessions
from fflib.files import InputError, atomic_path, check_known
from fflib.measure.timing import Predictor
from fflib.model import cache
from fflib.model.encoder import Classifier

LEVELS = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
# What a session fuses by itself, by the names of its optimisers; attention it never does, only the library.
FUSIONS = {
    "skip-LayerNorm": ("SkipLayerNormFusion", "BiasSkipLayerNormFusion"),
    "embedding": ("EmbedLayerNormFusion",),
    "GELU": ("GeluFusionL1", "GeluFusionL2", "BiasGeluFusion"),
}
LIBRARY = ("attention", *FUSIONS)
LEGACY_OPSET = 14  # FastFormers took 11, in which today's PyTorch cannot export the model
HEADS_BY_ITSELF = (0, 0)  # the library is to find the number of heads, as FastFormers lets it


@dataclass(frozen=True)
class Variant:
    """One way to optimise a graph.

    Attributes:
        level: of the session, one of `LEVELS`.
        session: which of `FUSIONS` the session may do.
        library: which of `LIBRARY` is fused beforehand; then the graph comes from PyTorch's older exporter, whose
            patterns the library knows.
        heads: the library is told the number of heads; else it is to find them.
        first_token: the last layer is computed for one token, see `first_token`.
    """

    level: str = "all"
    session: tuple[str, ...] = ()
    library: tuple[str, ...] = ()
    heads: bool = True
    first_token: bool = False


BOOK, WHOLE = "this book's", "this book's, all tokens"
PAPERS = PAPER, TOLD = "the paper's recipe", "the paper's, heads told"
VARIANTS = {
    "no optimisation": Variant("none"),
    "basic": Variant("basic", tuple(FUSIONS)),
    "extended": Variant("extended", tuple(FUSIONS)),
    "all": Variant("all", tuple(FUSIONS)),
    "all but these four": Variant(),
    "+ skip-LayerNorm": Variant(session=("skip-LayerNorm",)),
    "+ embedding": Variant(session=("embedding",)),
    "+ GELU": Variant(session=("GELU",)),
    "+ attention": Variant(library=("attention",)),
    PAPER: Variant("all", tuple(FUSIONS), LIBRARY, heads=False),
    TOLD: Variant("all", tuple(FUSIONS), LIBRARY),
    WHOLE: Variant(session=("GELU",)),
    BOOK: Variant(session=("GELU",), first_token=True),
}
SHOWN = ("all", *PAPERS, WHOLE, BOOK)  # in every run: the text of chapter 6 speaks of them
# By the names of ONNX Runtime's operators: products of integers, and what fusing leaves.
INT8_PRODUCTS = ("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulInteger", "QGemm")
FUSED_OPERATORS = ("Attention", "QAttention", "SkipLayerNormalization", "EmbedLayerNormalization", "BiasGelu")


class Graphs:
    """The graphs of a model, each made once: as exported, and as fused beforehand.

    ``whole`` and ``first_token`` are files of `export.save_onnx`: of the model, and of its `FirstTokenClassifier`.
    InputError: they are of another model.
    """

    def __init__(self, model: Classifier, whole: str | Path, first_token: str | Path) -> None:
        export.check_belongs(whole, model)
        export.check_belongs(first_token, model)
        self._model = model
        self._made = {"whole": export.load(whole), "first token": export.load(first_token)}

    def optimised(self, variant: Variant, weight_bits: int = 0) -> onnx.ModelProto:
        """Return what the session of ``variant`` is given: fp32, or integers with weights of ``weight_bits`` bits.

        Raises:
            AssertionError: the fp32 graph answers otherwise than the model.
            InputError: no such level or fusion, or heads that the library cannot fuse.
        """
        check_known("level", [variant.level], LEVELS)
        check_known("fusion", (*variant.session, *variant.library), LIBRARY)
        proto = (
            self._fused(variant) if variant.library else self._made["first token" if variant.first_token else "whole"]
        )
        return _integers(proto, weight_bits) if weight_bits else proto

    def _fused(self, variant: Variant) -> onnx.ModelProto:
        if self._model.encoder.config.drops_tokens:
            raise InputError("tokens of this model end early, and a traced graph lets as many go on as in its example")
        heads = heads_of(self._model) if variant.heads else HEADS_BY_ITSELF
        name = f"{variant.library} {heads}"
        if name not in self._made:
            if "traced" not in self._made:
                self._made["traced"] = legacy_onnx(self._model)
            proto = fused(self._made["traced"], variant.library, *heads)
            export.assert_parity(self._model, proto)
            self._made[name] = proto
        return self._made[name]


def serve(proto: onnx.ModelProto, variant: Variant, threads: int) -> tuple[Predictor, dict[str, int]]:
    """Serve a graph of `Graphs` at the level of ``variant``, with only its fusions.

    Returns:
        The predictor, and how many operators of each kind are left when the session has optimised the graph.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings, path = options(variant, threads), Path(folder) / "optimised.onnx"
        settings.optimized_model_filepath = str(path)
        # The weights go beside the file, so that only the graph has to be read again.
        settings.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights")
        predict = sessions.onnx_predictor(sessions.load(proto, settings))
        left = onnx.load(path, load_external_data=False).graph.node
        return predict, dict(Counter(node.op_type for node in left))


def options(variant: Variant, threads: int) -> onnxruntime.SessionOptions:
    """Return the settings of every session but for level and fusions, which are those of ``variant``."""
    off = [name for fusion, names in FUSIONS.items() if fusion not in variant.session for name in names]
    settings = sessions.session_options(threads, without=off)
    settings.graph_optimization_level = LEVELS[variant.level]
    return settings


def fused(proto: onnx.ModelProto, fusions: tuple[str, ...], num_heads: int, hidden_size: int) -> onnx.ModelProto:
    """Fuse by `onnxruntime.transformers`; ``hidden_size`` is heads times head size. The answers are NOT checked.

    The library takes what it is told: with the heads a model had before pruning, its logits are wrong and no error says
    so. With zeros it looks for the number itself, which it does not find in graphs of today's exporters.
    """
    wanted = FusionOptions("bert")
    wanted.enable_attention = "attention" in fusions
    wanted.enable_skip_layer_norm = wanted.enable_bias_skip_layer_norm = "skip-LayerNorm" in fusions
    wanted.enable_embed_layer_norm = "embedding" in fusions
    wanted.enable_gelu = wanted.enable_bias_gelu = "GELU" in fusions
    with tempfile.TemporaryDirectory() as folder, export.quiet(), redirect_stdout(None):  # it prints what it gave up
        path = Path(folder) / "model.onnx"
        onnx.save(proto, path)
        done = optimizer.optimize_model(
            str(path), "bert", num_heads, hidden_size, optimization_options=wanted, opt_level=0
        )
    if "com.microsoft" not in [entry.domain for entry in done.model.opset_import]:
        done.model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return done.model


def legacy_onnx(model: Classifier) -> onnx.ModelProto:
    """Export by PyTorch's older, traced way, as FastFormers did; any batch size and length."""
    inputs = export.example_inputs(model)
    axes = {name: dict(enumerate(export.DIMENSIONS)) for name in inputs}
    with tempfile.TemporaryDirectory() as folder, export.quiet():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            _Positional(model).eval(),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_axes=axes,
            opset_version=LEGACY_OPSET,
            dynamo=False,
        )
        return onnx.load(path)


def told(
    proto: onnx.ModelProto, heads: tuple[int, int], inputs: dict[str, np.ndarray], expected: np.ndarray, threads: int
) -> dict[str, object]:
    """Fuse attention with ``heads`` told, see `fused`, and say what becomes of the logits ``expected``.

    Returns:
        A row: the number of heads, how many attentions were fused, and the largest change of a logit or the error.
    """
    graph = fused(proto, ("attention",), *heads)
    count = sum(node.op_type == "Attention" for node in graph.graph.node)
    row: dict[str, object] = {"heads": heads[0], "attentions fused": count}
    try:
        logits = sessions.onnx_predictor(sessions.onnx_session(graph, threads))(inputs)
    except (InputError, RuntimeError) as error:
        return row | {"error": str(error).splitlines()[0][:80]}
    return row | {"largest change of a logit": float(np.abs(logits - expected).max())}


def save(proto: onnx.ModelProto, path: str | Path, model: Classifier) -> Path:
    """Write a graph of ``model`` with the note of its weights, so that `export.check_belongs` knows it again."""
    noted, path = onnx.ModelProto(), Path(path)
    noted.CopyFrom(proto)
    helper.set_model_props(noted, export.notes(proto) | {"weights": cache.weights_hash(model)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(noted.SerializeToString())
    return path


class _Positional(nn.Module):
    """The older exporter gives inputs by position only."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        return self.model(input_ids, attention_mask, token_type_ids).logits


def heads_of(model: Classifier) -> tuple[int, int]:
    """Return the number of heads, and heads times head size, which the library wants to be the same in all layers.

    InputError: they are not.
    """
    shapes = {(layer.num_heads, layer.num_heads * layer.head_size) for layer in model.encoder.config.layers}
    if len(shapes) > 1 or (0, 0) in shapes:
        raise InputError("layers differ in their heads or have none; the library fuses attention only where all agree")
    return shapes.pop()


def _integers(proto: onnx.ModelProto, weight_bits: int) -> onnx.ModelProto:
    """Round the weights as FastFormers did, per column and with a zero point, fused attention included."""
    if not any(node.op_type == "Attention" for node in proto.graph.node):
        return int8_graph.integer_products(proto, weight_bits, symmetric=False)
    with tempfile.TemporaryDirectory() as folder, export.quiet():
        path = Path(folder) / "model.onnx"
        quantize_dynamic(
            proto,
            path,
            op_types_to_quantize=["MatMul", "Attention"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=weight_bits == 7,
            extra_options={
                "WeightSymmetric": False,
                "MatMulConstBOnly": True,
                "DefaultTensorType": onnx.TensorProto.FLOAT,
            },
        )
        return onnx.load(path)
