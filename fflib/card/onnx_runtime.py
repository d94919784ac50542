"""ONNX Runtime on the card: the graph of chapter 6's exporter in fp16, run by the CUDA provider.

The provider is in the package ``onnxruntime-gpu``, which takes the place of ``onnxruntime``; it is an optional extra.
"""

from __future__ import annotations

import copy
from pathlib import Path

import onnx
import onnxruntime

from fflib.engine import export, sessions
from fflib.files import InputError, atomic_path
from fflib.measure.timing import Predictor
from fflib.model.encoder import Classifier

CUDA, PROCESSOR = "CUDAExecutionProvider", "CPUExecutionProvider"
ENGINE = "ONNX Runtime, CUDA provider"


def lacking() -> str:
    """Say why this way cannot be taken here; '' where it can."""
    if CUDA in onnxruntime.get_available_providers():
        return ""
    return (
        f"ONNX Runtime {onnxruntime.__version__} here has no CUDA provider; it comes with the package onnxruntime-gpu, "
        "which is installed in place of onnxruntime."
    )


def half_graph(model: Classifier, path: Path) -> Path:
    """Write the graph of ``model`` with weights and products in fp16 to ``path`` and return it.

    It is given token ids and answers in fp32, as the whole graph does. LayerNorms and the softmax stay in fp32.
    """
    from onnxruntime.transformers import float16  # only now: it takes seconds to load

    whole = export.save_onnx(copy.deepcopy(model).cpu(), path.with_name("model.onnx"))
    with export.quiet():
        half = float16.convert_float_to_float16(
            onnx.load(whole), keep_io_types=True, op_block_list=["LayerNormalization", "Softmax"]
        )
    with atomic_path(path) as temporary:
        onnx.save(half, temporary)
    return path


def predictor(path: Path, threads: int, provider: str = CUDA) -> Predictor:
    """Serve a graph with ``provider``. InputError: it cannot be read, or ONNX Runtime fell back to the processor."""
    options = sessions.session_options(threads)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider, PROCESSOR])
    except sessions.UNREADABLE as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is missing or is no readable ONNX model ({reason}); export it again") from error
    if session.get_providers()[0] != provider:  # it only warns
        raise InputError(f"ONNX Runtime could not start its {provider}; see what its CUDA and cuDNN versions want")
    return sessions.onnx_predictor(session)
