"""OpenVINO with NNCF's static int8, the strongest peer on the same ONNX file; both packages are an optional extra.

Settings: docs.openvino.ai, "Performance Hints and Thread Scheduling", and "Basic Quantization Flow" for NNCF.
(Longer than 200 lines: half of it keeps the packages from telling, drawing and dying in a notebook.)
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.engine import predictors
from fflib.files import InputError
from fflib.measure import cores
from fflib.measure.timing import Predictor, Together

if TYPE_CHECKING:
    import openvino

    Graph = str | Path | openvino.Model

# Both packages report their use, and note it in the home directory, unless the first variable says that nobody is
# there; they decide at import. The second one silences NNCF even where something else has imported OpenVINO before.
NO_TELEMETRY = {"CI": "true", "NNCF_CI": "1"}
FP32, BF16 = "f32", "bf16"  # in which OpenVINO computes what is not in integers
TRIAL_SECONDS = 60
TRIAL = """
import numpy, openvino
x = openvino.opset13.parameter([-1, 64], numpy.float32)
y = openvino.opset13.matmul(x, numpy.eye(64, dtype=numpy.float32), False, False)
answer = openvino.Core().compile_model(openvino.Model([y], [x]), "CPU")(numpy.ones((2, 64), numpy.float32))
assert (answer[0] == 1).all(), "a wrong product"
"""


def missing() -> str:
    """Return '' where OpenVINO and NNCF can be used, else a sentence that says what is missing and what to do."""
    absent = [name for name in ("openvino", "nncf") if importlib.util.find_spec(name) is None]
    if absent:
        return f'not installed: {" and ".join(absent)}; run .venv/bin/python -m pip install -e ".[peers]"'
    return _trial()


def predictor(model: Graph, threads: int, length: int | None = None, precision: str = FP32) -> Predictor:
    """Serve a graph, or the file of one, for latency: arrays [batch, length] to logits, float32 [batch, labels].

    ``length`` makes the shape static, [1, length]. ``precision`` is that of all that is not in integers; `BF16` is the
    fastest where the processor multiplies it. A text longer than the model has positions for gives wrong logits, no
    error. InputError: no such file or number of threads (0: all cores); later, an input that is left out or not of the
    static shape.
    """
    compiled = _compile(model, threads, "latency", 1, length, precision)

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        fed = _feed(compiled, inputs)
        if length and any(array.shape != (1, length) for array in fed.values()):
            raise InputError(f"this graph takes one text of {length} tokens; pad to that, or leave out length")
        return compiled(fed)[0].astype(np.float32, copy=False)  # OpenVINO has copied it

    return predict


def bucketed(
    model: Graph, threads: int, lengths: Sequence[int], pad_token_id: int = 0, precision: str = FP32
) -> Predictor:
    """Serve one text at a time with static shapes, OpenVINO's fastest: a graph [1, length] for each of ``lengths``.

    A text is padded to the smallest length that holds it. Each graph has a copy of the weights in memory. InputError:
    no lengths; later, several texts, or one that is too long.
    """
    sizes = sorted(set(lengths))
    if not sizes or sizes[0] < 1:
        raise InputError(f"lengths is {list(lengths)}; give at least one, and none below 1")
    model = load(model)
    served = {size: predictor(model, threads, length=size, precision=precision) for size in sizes}
    return predictors.bucketed(served, pad_token_id)


def in_flight(model: Graph, threads: int, streams: int, precision: str = FP32) -> Together:
    """Answer batches OpenVINO's own way for throughput: a queue of asynchronous requests, as many as streams.

    Returns:
        A `timing.Together`: what fails in a request is raised there. It pads all batches beforehand and warms up with
        the largest. InputError: ``threads`` do not suffice for the ``streams``.
    """
    compiled = _compile(model, threads, "throughput", streams, precision=precision)
    return partial(_all_in_flight, compiled, streams)


def _all_in_flight(
    compiled: openvino.CompiledModel, streams: int, examples: TokenizedSplit, plan: batching.Plan
) -> tuple[list[np.ndarray], float, list[float]]:
    work = [_feed(compiled, batch.inputs) for batch in batching.batches(examples, plan)]
    queue = _package("openvino").AsyncInferQueue(compiled, streams)
    answers: dict[int, np.ndarray] = {}
    seconds: dict[int, float] = {}
    errors: list[Exception] = []

    def keep(request: openvino.InferRequest, i: int) -> None:
        try:
            answers[i], seconds[i] = _logits(request), request.latency / 1e3
        except Exception as error:  # OpenVINO ends the process when a second callback raises
            errors.append(error)

    def run(items: Sequence[dict[str, np.ndarray]]) -> float:
        start = time.perf_counter()
        try:
            for i, inputs in enumerate(items):
                queue.start_async(inputs, i)
        finally:  # also after an error: callbacks must not outlive the queue
            queue.wait_all()
        if errors:
            raise errors[0]
        return time.perf_counter() - start

    queue.set_callback(keep)
    run(sorted(work, key=lambda inputs: sum(array.size for array in inputs.values()))[-1:] * streams)
    wall = run(work) if work else 0.0
    order = range(len(work))
    return [answers[i] for i in order], wall, [seconds[i] for i in order]


def quantize(path: str | Path, texts: TokenizedSplit, n: int = 128, seed: int = 0) -> openvino.Model:
    """Return the ONNX file as a static int8 graph, calibrated on ``n`` of ``texts`` drawn by ``seed``, one by one.

    The settings are what NNCF advises for encoders: its transformer scheme, with SmoothQuant and bias correction.
    InputError: no file, no texts, or a package is missing.
    """
    chosen = np.random.default_rng(seed).permutation(len(texts))[: max(n, 0)]
    if not len(chosen):
        raise InputError(f"n={n} of {len(texts)} texts leaves nothing to calibrate with; give at least one")
    graph, nncf = load(path), _package("nncf")
    samples = nncf.Dataset([_feed(graph, batching.collate(texts, [i]).inputs) for i in chosen])
    console = importlib.import_module("rich").get_console()  # NNCF draws its bars on this one, which others may share
    level, shown = nncf.nncf_logger.level, (console.quiet, console.is_jupyter)
    nncf.set_log_level(logging.ERROR)
    console.quiet, console.is_jupyter = True, False  # in a notebook a bar is a widget, which quiet does not stop
    try:
        return nncf.quantize(graph, samples, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(chosen))
    finally:
        nncf.set_log_level(level)
        console.quiet, console.is_jupyter = shown


def load(path: Graph) -> openvino.Model:
    """Read an ONNX file; a graph is returned as it is. InputError: the file is missing or damaged."""
    if not isinstance(path, str | Path):
        return path
    core = _core()
    try:
        return core.read_model(path)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{path} is missing or is no readable graph ({reason}); export it again") from error


def save(graph: openvino.Model, path: Path) -> Path:
    """Write a graph as OpenVINO's own file, an .xml with its weights in a .bin beside it; fp32 stays fp32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _package("openvino").save_model(graph, path, compress_to_fp16=False)
    return path


@functools.cache
def _trial() -> str:
    """Use OpenVINO in a process of its own: on some AMD guests it dies of SIGFPE (openvino, issue 35943)."""
    command, environment = [sys.executable, "-c", TRIAL], {**os.environ, **NO_TELEMETRY}
    try:
        trial = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TRIAL_SECONDS)
    except subprocess.TimeoutExpired:
        reason = f"gave no answer in {TRIAL_SECONDS} s"
    else:
        code, said = trial.returncode, trial.stderr.strip().splitlines()
        if code == 0:
            return ""
        reason = f"died of {signal.Signals(-code).name}" if code < 0 else f"failed ({said[-1] if said else code})"
    return f"OpenVINO does not run here: a trial {reason}; do without it, or try another version"


def _compile(
    model: Graph, threads: int, hint: str, streams: int, length: int | None = None, precision: str = FP32
) -> openvino.CompiledModel:
    threads = cores.resolve_threads(threads)
    if not 1 <= streams <= threads:  # OpenVINO would take fewer and say nothing
        raise InputError(f"streams is {streams}, but each needs one of the {threads} threads; give 1 to {threads}")
    model = load(model)
    if length:
        model = model.clone()
        model.reshape({port: [1, length] for port in model.inputs})
    settings = {"PERFORMANCE_HINT": hint.upper(), "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams}
    # Left to itself, it rounds to bf16 on processors that multiply it: another model than the peers' fp32.
    return _core().compile_model(model, "CPU", settings | {"INFERENCE_PRECISION_HINT": precision})


def _feed(graph: openvino.Model | openvino.CompiledModel, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Pick the inputs that ``graph`` has. Where one is left out, OpenVINO would take that of the request before."""
    names = [port.get_any_name() for port in graph.inputs]
    absent = [name for name in names if name not in inputs]
    if absent:
        raise InputError(f"the graph needs {' and '.join(absent)} as well; give all its inputs")
    return {name: inputs[name] for name in names}


def _logits(request: openvino.InferRequest) -> np.ndarray:
    return request.get_output_tensor(0).data.astype(np.float32)  # a copy: the next request overwrites the tensor


@functools.cache
def _core() -> openvino.Core:
    return _package("openvino").Core()


def _package(name: str) -> ModuleType:
    if importlib.util.find_spec(name) is None:
        raise InputError(missing())
    saved = {variable: os.environ.get(variable) for variable in NO_TELEMETRY}
    os.environ.update(NO_TELEMETRY)
    try:
        return importlib.import_module(name)
    finally:
        for variable, value in saved.items():
            os.environ.pop(variable)
            if value is not None:
                os.environ[variable] = value
