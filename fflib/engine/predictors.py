"""Engines behind one call: a predictor takes the arrays of a batch and returns logits as a NumPy array."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent import futures
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fflib.data import batching
from fflib.data.splits import TokenizedSplit
from fflib.engine import export, sessions
from fflib.engine.sessions import onnx_predictor, onnx_session, session_options  # noqa: F401 (engines stand together here)
from fflib.files import InputError
from fflib.measure.timing import Predictor, Together
from fflib.model.checkpoints import to_transformers
from fflib.model.encoder import Classifier

ENGINES = ("pytorch", "onnxruntime")  # that also pieces of a model run on; for all see `engines`


def torch_predictor(model: nn.Module) -> Predictor:
    """Serve ``model`` in eager PyTorch: ours or a stock transformers classifier, both return ``.logits``."""
    model.eval()
    device = next(model.parameters()).device

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
            return model(**tensors).logits.float().cpu().numpy()

    return predict


def eager(model: nn.Module) -> tuple[nn.Module, str]:
    """Return what serves ``model`` in eager PyTorch, and the name of that engine: a user's class where there is one.

    That is the stock transformers class, unless ``model`` is no `Classifier` or has shapes it cannot hold.
    """
    ours = model, "fflib, PyTorch eager"
    if not isinstance(model, Classifier):
        return ours
    try:
        return to_transformers(model), "transformers, PyTorch eager"
    except InputError:
        return ours


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


def together(predictors: Sequence[Predictor]) -> Together:
    """Return a way to answer the batches of a plan with several predictors, as `in_parallel`; padding is timed too."""

    def run(examples: TokenizedSplit, plan: batching.Plan) -> tuple[list[np.ndarray], float, list[float]]:
        def padded(predict: Predictor) -> Predictor:
            return lambda group: predict(batching.collate(examples, group).inputs)

        return in_parallel([padded(predict) for predict in predictors], plan)

    return run


def in_turn(predict: Predictor, pad_to: int | None = None) -> Together:
    """Return a way to answer the batches of a plan one after the other, in the thread that asks; padding is timed too.

    ``pad_to`` tokens, or as many as the longest of a batch has.
    """

    def run(examples: TokenizedSplit, plan: batching.Plan) -> tuple[list[np.ndarray], float, list[float]]:
        answers, seconds = [], []
        for group in plan:
            start = time.perf_counter()
            answers.append(predict(batching.collate(examples, group, pad_to).inputs))
            seconds.append(time.perf_counter() - start)
        return answers, sum(seconds), seconds

    return run


def bucketed(served: Mapping[int, Predictor], pad_token_id: int = 0) -> Predictor:
    """Serve one text at a time, padded to the smallest of the lengths in ``served`` that holds it.

    InputError, later: several texts, or one that is too long.
    """
    sizes = sorted(served)

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        rows, length = inputs["input_ids"].shape
        if rows != 1 or length > sizes[-1]:
            raise InputError(f"{rows} x {length} tokens fit no bucket; give one text of at most {sizes[-1]} tokens")
        size = next(size for size in sizes if size >= length)
        padded = {name: np.full((1, size), pad_token_id * (name == "input_ids"), np.int64) for name in inputs}
        for name, array in inputs.items():
            padded[name][:, :length] = array
        return served[size](padded)

    return predict


def sessions_by_length(path: str | Path, threads: int, lengths: np.ndarray, step: int = 32) -> Predictor:
    """Serve one text at a time with a session for each multiple of ``step`` tokens, whose shapes are known at load."""
    served = {}
    for size in sorted({-(-int(length) // step) * step for length in lengths}):
        settings = session_options(threads)
        for dimension, value in zip(export.DIMENSIONS, (1, size), strict=True):
            settings.add_free_dimension_override_by_name(dimension, value)
        served[size] = onnx_predictor(sessions.load(path, settings))
    return bucketed(served)
