"""A look at the processor before int8: which instructions multiply bytes, what they can gain, and whether they err.

int8 here means what ONNX Runtime multiplies: unsigned activations (u8) by signed weights (s8), summed in 32 bits.
"""

from __future__ import annotations

import platform
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fflib.engine import predictors
from fflib.files import InputError
from fflib.measure import hardware


@dataclass(frozen=True)
class Int8Support:
    """What a processor offers for int8.

    Attributes:
        instructions: "none", "AVX2", "AVX512", "AVX512 VNNI", "AVX VNNI", "AMX" or "Arm dot product".
        saturates: two products are added in 16 bits, and a sum that does not fit is cut off: vpmaddubsw does that.
            With weights of 8 bits that happens (2 * 255 * 127 > 32767); of 7 bits it cannot (2 * 255 * 64 = 32640).
        speedup_limit: multiply-adds per cycle in int8 over those in fp32, counted from instructions, not measured.
    """

    instructions: str
    saturates: bool
    speedup_limit: float


# Best first, because a processor lists its older instructions too. The speedup limits compare registers of one width,
# and on x86 none of these multiplications is issued more often per cycle than an FMA:
#
#   class            instructions for int8              multiply-adds in int8         in fp32          limit
#   AMX              tdpbusd, tiles of 16 x 64 bytes    1024 per cycle and core       2 FMA x 16 = 32     32
#   AVX512 VNNI      vpdpbusd, adds as well             64 per instruction            16 per FMA           4
#   AVX VNNI         the same on 256 bits               32 per instruction            8 per FMA            4
#   AVX512           as AVX2, on 512 bits               64 per two multiplications    16 per FMA           2
#   AVX2             vpmaddubsw, vpmaddwd, vpaddd       32 per two multiplications    8 per FMA            2
#   Arm dot product  udot, adds as well                 16 per instruction            4 per FMA            4
#
# ONNX Runtime chooses its kernels alike (onnxruntime/core/mlas/lib/platform.cpp): AVX512 needs avx512bw for bytes.
CLASSES = (
    ({"amx_int8"}, Int8Support("AMX", saturates=False, speedup_limit=32.0)),
    ({"avx512_vnni"}, Int8Support("AVX512 VNNI", saturates=False, speedup_limit=4.0)),
    ({"avx_vnni"}, Int8Support("AVX VNNI", saturates=False, speedup_limit=4.0)),
    ({"avx512f", "avx512bw"}, Int8Support("AVX512", saturates=True, speedup_limit=2.0)),
    ({"avx2"}, Int8Support("AVX2", saturates=True, speedup_limit=2.0)),
    ({"asimddp"}, Int8Support("Arm dot product", saturates=False, speedup_limit=4.0)),
)
NONE = Int8Support("none", saturates=False, speedup_limit=1.0)  # ONNX Runtime's plain kernels add in 32 bits


def int8_support(flags: Collection[str] | None = None) -> Int8Support:
    """Return what a processor with the instruction sets ``flags`` offers; None asks about this machine.

    ``flags`` are names of /proc/cpuinfo. Outside Linux few of them are known, so the class may be too low; whether this
    machine saturates is therefore asked of the engine as well, see `saturates_here`.

    Raises:
        InputError: ``flags`` is one text instead of a collection of names.
    """
    if isinstance(flags, str):
        raise InputError(f"flags is the text {flags!r}; give a collection of names, such as {flags.split()}")
    present = _own_flags() if flags is None else set(flags)
    support = next((support for needed, support in CLASSES if needed <= present), NONE)
    return replace(support, saturates=True) if flags is None and saturates_here() else support


def saturates_here() -> bool:
    """Say whether ONNX Runtime, on this processor, gets a product of u8 by s8 wrong because 16 bits overflow.

    The engine itself is asked, with the largest activations and weights: flags do not tell which kernel it takes.
    """
    activations, weights = np.full((4, 64), 255, np.uint8), np.full((64, 16), 127, np.int8)
    exact = activations.astype(np.int32) @ weights.astype(np.int32)
    return not np.array_equal(_engine_product(activations, weights), exact)


def int8_warning(support: Int8Support, weight_bits: int) -> str:
    """Return one sentence on what to expect of int8 weights of ``weight_bits`` bits, or '' where nothing is amiss.

    Raises:
        InputError: ``weight_bits`` is neither 7 nor 8.
    """
    if weight_bits not in (7, 8):
        raise InputError(f"weight_bits is {weight_bits}; give 8, or 7 for what ONNX Runtime calls reduce_range")
    if support.instructions == NONE.instructions:
        return "This processor has no int8 instructions that we know of: int8 will hardly be faster than fp32."
    if support.saturates and weight_bits == 8:
        return (
            f"Answers may be wrong where two products together pass 16 bits, for {support.instructions} cuts off "
            "their sum: take weights of 7 bits (reduce_range)."
        )
    return ""


def _own_flags() -> set[str]:
    flags = hardware.cpu_flags()
    # macOS has no /proc/cpuinfo, but every Apple processor of its own make has the dot product.
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    return flags | {"asimddp"} if apple else flags


def _engine_product(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Multiply u8 [rows, inner] by constant s8 [inner, columns] in ONNX Runtime; int32 [rows, columns]."""
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["activations", "weights"], ["product"])],
        "product",
        [helper.make_tensor_value_info("activations", TensorProto.UINT8, activations.shape)],
        [helper.make_tensor_value_info("product", TensorProto.INT32, (activations.shape[0], weights.shape[1]))],
        [numpy_helper.from_array(weights, "weights")],
    )
    # Both versions are named: by default onnx writes its newest, which may be too new for ONNX Runtime.
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (product,) = predictors.onnx_session(model, 1).run(None, {"activations": activations})
    return product
