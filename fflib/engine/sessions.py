"""ONNX Runtime sessions, with settings that are the same everywhere.

Light on purpose: a process that only serves imports this module, without PyTorch and the exporter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from fflib import spent
from fflib.files import InputError
from fflib.measure import cores

if TYPE_CHECKING:
    import onnx

    from fflib.measure.timing import Predictor

    Graph = str | Path | onnx.ModelProto | bytes

SLOW_FUSIONS = ("SkipLayerNormFusion", "EmbedLayerNormFusion")
UNREADABLE = (
    ort_errors.NoSuchFile,
    ort_errors.InvalidProtobuf,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.Fail,
)


def session_options(threads: int, without: Sequence[str] = SLOW_FUSIONS) -> onnxruntime.SessionOptions:
    """Return the settings of every session: ``threads`` threads (0: all cores) that sleep while they wait.

    ``without`` names ONNX Runtime's optimisers that are left out.
    """
    options = onnxruntime.SessionOptions()
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Always a count: left to itself, ONNX Runtime takes the host's cores, also those this process may not use, and
    # pins its threads to them; with a count they keep to the cores of the thread that makes the session.
    options.intra_op_num_threads = cores.resolve_threads(threads)
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: an error is raised as well, and a notebook must stay clean
    # Threads that spin while they wait burn the cores of whatever runs next: another session, or PyTorch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The fused operator is scalar code on CPU; an addition and the vectorised LayerNormalization are several times
    # faster together. ONNX Runtime fuses at load, so it must be told here.
    options.add_session_config_entry("optimization.disable_specified_optimizers", ";".join(without))
    return options


def onnx_session(model: Graph, threads: int) -> onnxruntime.InferenceSession:
    """Load a graph, given as a file or in memory, into ONNX Runtime, with the `session_options`."""
    return load(model, session_options(threads))


@spent.on("export")
def load(model: Graph, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """Load a graph, given as a file or in memory. InputError: it is missing or damaged."""
    graph, name = (str(model), model) if isinstance(model, str | Path) else (model, "the graph")
    if not isinstance(graph, str | bytes):
        graph = graph.SerializeToString()
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except UNREADABLE as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name} is missing or is no readable ONNX model ({reason}); export it again") from error


def onnx_predictor(session: onnxruntime.InferenceSession) -> Predictor:
    """Serve the graph of ``session``, whose first output is the logits."""
    wanted = {node.name for node in session.get_inputs()}  # a graph may lack inputs on which nothing depends
    logits = session.get_outputs()[0].name

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        (answer,) = session.run([logits], {name: array for name, array in inputs.items() if name in wanted})
        return answer.astype(np.float32, copy=False)

    return predict
