"""Engines behind one call: a predictor takes the arrays of a batch and returns logits as a NumPy array."""

from __future__ import annotations

import json
import queue
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
from torch import nn

from fflib import hardware
from fflib.checkpoints import to_transformers
from fflib.encoder import Classifier
from fflib.export import save_onnx
from fflib.files import InputError, check_known
from fflib.measure import Predictor

ENGINES = ("pytorch", "onnxruntime")
KERNEL = "_kernel_time"  # how the profiler's entries of the nodes themselves end
SLOW_FUSIONS = "SkipLayerNormFusion;EmbedLayerNormFusion"
UNREADABLE = (
    ort_errors.NoSuchFile,
    ort_errors.InvalidProtobuf,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.Fail,
)


def torch_predictor(model: nn.Module) -> Predictor:
    """Serve ``model`` in eager PyTorch: ours or a stock transformers classifier, both return ``.logits``."""
    model.eval()
    device = next(model.parameters()).device

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
            return model(**tensors).logits.float().cpu().numpy()

    return predict


def eager(model: Classifier) -> tuple[nn.Module, str]:
    """Return what serves ``model`` in eager PyTorch, and the name of that engine: a user's class where there is one.

    That is the stock transformers class, unless the model's layers have shapes it cannot hold.
    """
    try:
        return to_transformers(model), "transformers, PyTorch eager"
    except InputError:
        return model, "fflib, PyTorch eager"


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Return the settings of every session: ``threads`` threads (0: all cores) that sleep while they wait."""
    options = onnxruntime.SessionOptions()
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Always a count: left to itself, ONNX Runtime takes the host's cores, also those this process may not use.
    options.intra_op_num_threads = hardware.resolve_threads(threads)
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: an error is raised as well, and a notebook must stay clean
    # Threads that spin while they wait burn the cores of whatever runs next: another session, or PyTorch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The fused operator is scalar code on CPU; an addition and the vectorised LayerNormalization are several times
    # faster together. ONNX Runtime fuses at load, so it must be told here.
    options.add_session_config_entry("optimization.disable_specified_optimizers", SLOW_FUSIONS)
    return options


def onnx_session(model: str | Path | onnx.ModelProto | bytes, threads: int) -> onnxruntime.InferenceSession:
    """Load a graph, given as a file or in memory, into ONNX Runtime, with the `session_options`."""
    return _load(model, session_options(threads))


def node_ms(
    model: str | Path | onnx.ModelProto | bytes, threads: int, inputs: dict[str, np.ndarray], repeats: int = 20
) -> dict[str, float]:
    """Return the time in ms of each node of the graph as ONNX Runtime runs it, by name: the median of ``repeats``.

    From its own profiler, which costs a little for each node: take shares of the sum, not the sum.
    """
    options = session_options(threads)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = _load(model, options)
        predict = onnx_predictor(session)
        for _ in range(repeats + 1):  # the first warms up
            predict(inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
            times.setdefault(event["name"].removesuffix(KERNEL), []).append(event["dur"] / 1e3)
    return {name: float(np.median(taken[1:])) for name, taken in times.items()}


def _load(
    model: str | Path | onnx.ModelProto | bytes, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    graph, name = (str(model), model) if isinstance(model, str | Path) else (model, "the graph")
    if isinstance(graph, onnx.ModelProto):
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


def serving(model: Classifier, engine: str, threads: int, folder: str | Path) -> tuple[Predictor, str]:
    """Return a predictor for ``model`` on ``engine``, one of `ENGINES`, and the name of the engine for records.

    ``folder`` keeps what the engine reads: model.onnx, exported once per weights.

    Raises:
        InputError: no such engine, or PyTorch, whose threads the whole process shares, is set to another count.
    """
    check_known("engine", [engine], ENGINES)
    if engine == "onnxruntime":
        session = onnx_session(save_onnx(model, Path(folder) / "model.onnx"), threads)
        return onnx_predictor(session), f"ONNX Runtime {onnxruntime.__version__}"
    if hardware.resolve_threads(threads) != hardware.threads_in_use():
        raise InputError(f"PyTorch runs on {hardware.threads_in_use()} threads; call hardware.set_threads({threads})")
    served, name = eager(model)
    return torch_predictor(served), name


def in_parallel(
    predictors: Sequence[Predictor], batches: Sequence[dict[str, np.ndarray]]
) -> tuple[list[np.ndarray], float, list[float]]:
    """Let several predictors, each with a session of its own, answer batches at the same time.

    Each has a thread, which takes the next batch from a queue they share; ONNX Runtime and PyTorch compute without
    the interpreter's lock.

    Returns:
        The answers in the order of ``batches``, the seconds from the first start to the last end, and the seconds of
        each batch. What a predictor raises is raised here, and the batches that nobody took yet are left.
    """
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    for item in [*enumerate(batches), *[None] * len(predictors)]:  # a None sends one predictor home
        waiting.put(item)
    answers: dict[int, np.ndarray] = {}
    spans: dict[int, tuple[float, float]] = {}
    stop = threading.Event()

    def work(predict: Predictor) -> None:
        for i, batch in iter(waiting.get, None):
            if stop.is_set():
                return
            start = time.perf_counter()
            answers[i] = predict(batch)
            spans[i] = start, time.perf_counter()

    with futures.ThreadPoolExecutor(len(predictors)) as pool:
        workers = [pool.submit(work, predict) for predict in predictors]
        try:
            futures.wait(workers, return_when=futures.FIRST_EXCEPTION)
        finally:  # also at Ctrl-C: the others finish the batch they are at, no more
            stop.set()
    for worker in workers:
        worker.result()
    order = range(len(batches))
    wall = max((end for _, end in spans.values()), default=0.0) - min(
        (start for start, _ in spans.values()), default=0.0
    )
    return [answers[i] for i in order], wall, [spans[i][1] - spans[i][0] for i in order]
