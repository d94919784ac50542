"""The process in which models of the talk answer; `workers` starts it, by the command of the next line.

python -m fflib.talk.lane_process FD

Over the socket FD it is told pickled commands, and answers each with one message or, in a heat, with several:

    ("load", [Model, ...], TokenizedSplit or None)      -> None, or a text: why not
    ("ask", index, ids, types, cpus)                    -> (label, ms), or a text
    ("heat", index, seconds, cpus)                      -> rows [t_ms, request, label, ms] while it lasts, then None

Times are those of this process, from the command on. It ends when the other end of the socket is closed, so it never
outlives who started it; a message during a heat, whatever it says, ends the heat.
(Longer than 200 lines: what is said over the socket and what is done for it are one page.)
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np

from fflib.files import InputError
from fflib.measure import cores

if TYPE_CHECKING:
    from fflib.data.splits import TokenizedSplit
    from fflib.measure.timing import Predictor
    from fflib.talk.models import Model

WINDOW = 256  # requests that a lane sees at once, and may sort; it asks for the next when it has answered these


class Answerer:
    """The models of one process."""

    def __init__(self, models: Sequence[Model], requests: TokenizedSplit | None) -> None:
        self._models, self._requests = list(models), requests
        self._modules: dict[Any, Any] = {}
        self._sessions: dict[Any, Predictor] = {}
        self._several: dict[Any, list[Predictor]] = {}
        self._open = ExitStack()  # instances, until the process ends
        for model in self._models:
            self._loaded(model)

    def ask(self, index: int, ids: np.ndarray, types: np.ndarray, cpus: Sequence[int]) -> tuple[int, float]:
        """Return the label of one text, arrays [length], and the milliseconds it took on ``cpus``."""
        model = self._models[index]
        with cores.pinned(cpus):
            predict = self._predictor(model, tuple(cpus))
            start = time.perf_counter()
            logits = predict(_inputs([ids], [types], model.pad_to))
            return int(logits[0].argmax()), 1e3 * (time.perf_counter() - start)

    def heat(self, index: int, seconds: float, cpus: Sequence[int], send: Callable[[list], None], over: Any) -> None:
        """Answer the requests in their order for so many seconds, over and over, on ``cpus``; `send` gets the rows.

        ``over`` ends it before its time. An answer that comes after the time does not count.
        """
        model = self._models[index]
        with cores.pinned(cpus):
            predictors = self._instances(model, tuple(cpus))
            groups, lock, start = self._groups(model), threading.Lock(), time.perf_counter()

            def work(predict: Predictor) -> None:
                while not over.is_set():
                    with lock:
                        which = next(groups)
                    begun = time.perf_counter()
                    if begun - start > seconds:
                        return
                    rows = [i % len(self._requests) for i in which]
                    ids, types = ([field[i] for i in rows] for field in (self._requests.input_ids, self._types))
                    labels = predict(_inputs(ids, types, model.pad_to)).argmax(axis=-1)
                    done = time.perf_counter()
                    t_ms, ms = round(1e3 * (done - start)), round(1e3 * (done - begun), 2)
                    if done - start <= seconds:
                        with lock:
                            send([[t_ms, int(i), int(label), ms] for i, label in zip(which, labels, strict=True)])

            with futures.ThreadPoolExecutor(len(predictors)) as pool:
                working = [pool.submit(work, predict) for predict in predictors]
                futures.wait(working, return_when=futures.FIRST_EXCEPTION)
                over.set()  # one has come to the end of the time, or failed
            for each in working:
                each.result()

    @property
    def _types(self) -> list[np.ndarray]:
        return self._requests.token_type_ids

    def _groups(self, model: Model) -> Iterator[list[int]]:
        """Yield the batches of a lane without end, numbers of requests: window after window, each in its own plan."""
        from fflib.data import batching

        kind, size = model.batches
        lengths, first = self._requests.lengths, 0
        while True:
            window = np.arange(first, first + WINDOW)
            for group in batching.PLANS[kind](lengths[window % len(lengths)], size):
                yield window[group].tolist()
            first += WINDOW

    def _loaded(self, model: Model) -> Any:
        """Return the PyTorch module of a model, or make sure that its graph can be read."""
        if model.graph:
            return self._predictor(model, cores.physical_cores()[:1])
        if model.weights not in self._modules:
            from fflib.engine import predictors
            from fflib.model import checkpoints

            if model.folder:
                module = predictors.eager(checkpoints.load(model.folder))[0]
            else:
                module = checkpoints.untrained_classifier(model.reference, model.num_labels, spans=model.spans)
            self._modules[model.weights] = module
        return self._modules[model.weights]

    def _predictor(self, model: Model, cpus: tuple[int, ...]) -> Predictor:
        """Return what serves a model with a thread on each of ``cpus``, to which the calling thread is pinned."""
        if model.graph:
            from fflib.engine import sessions

            threads = min(model.threads or len(cpus), len(cpus))
            key = (model.graph, threads, cpus)
            if key not in self._sessions:
                self._sessions[key] = sessions.onnx_predictor(sessions.onnx_session(model.graph, threads))
            return self._sessions[key]
        import torch

        from fflib.engine import predictors

        torch.set_num_threads(len(cpus))
        return predictors.torch_predictor(self._loaded(model))

    def _instances(self, model: Model, cpus: tuple[int, ...]) -> list[Predictor]:
        """Return the predictors of a lane on ``cpus``: as many instances as they hold, where it has instances.

        They stay for the next heat: a process takes seconds to start.
        """
        if not model.kind:
            return [self._predictor(model, cpus)]
        from fflib.serving import instances

        key = (model.graph, model.threads, model.kind, cpus)
        if key not in self._several:
            threads = min(model.threads, len(cpus))
            started = instances.start(model.graph, len(cpus) // threads, threads, model.kind)
            self._several[key] = self._open.enter_context(started)
        return self._several[key]


def _inputs(ids: Sequence[np.ndarray], types: Sequence[np.ndarray], pad_to: int) -> dict[str, np.ndarray]:
    from fflib.data import batching
    from fflib.data.metrics import Gold
    from fflib.data.splits import TokenizedSplit

    texts = TokenizedSplit(list(ids), list(types), Gold(np.zeros(len(ids), np.int64)), fingerprint="")
    length = max(pad_to, *(len(row) for row in ids)) if pad_to else None
    return batching.collate(texts, range(len(ids)), length).inputs


def main(fd: int) -> None:
    """Do what the other end of the socket says until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: who started this process decides
    with Connection(fd) as connection, suppress(EOFError, OSError):
        answerer = None
        while True:
            command, *arguments = connection.recv()
            try:
                if command == "load":
                    answerer = Answerer(*arguments)
                    connection.send(None)
                elif command == "ask":
                    connection.send(answerer.ask(*arguments))
                elif command == "heat":
                    _heat(answerer, connection, *arguments)
            except (EOFError, OSError):
                raise
            except Exception as error:  # whatever it is, the next command may be sound
                text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                connection.send(text.splitlines()[0])


def _heat(answerer: Answerer, connection: Connection, index: int, seconds: float, cpus: Sequence[int]) -> None:
    over, ended = threading.Event(), threading.Event()

    def listen() -> None:
        while not ended.is_set():
            if connection.poll(0.05):  # a word to stop, or the other end is gone
                over.set()
                return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        answerer.heat(index, seconds, cpus, connection.send, over)
    finally:
        ended.set()
        listener.join()
    connection.send(None)  # a word to stop, if one came, is the next that `main` hears, and does nothing there


if __name__ == "__main__":
    main(int(sys.argv[1]))
