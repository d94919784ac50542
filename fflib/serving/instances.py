"""Several instances of one graph, each on cores of its own: a thread's session, or a process that heals itself."""

from __future__ import annotations

import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fflib.engine import sessions
from fflib.files import ROOT, InputError, check_known
from fflib.measure import cores
from fflib.serving import instance_process

if TYPE_CHECKING:
    from fflib.measure.timing import Predictor

KINDS = ("process", "thread")
START_S = 120.0  # a process that is not ready by then will never be; large graphs load for a while


class InstanceDied(RuntimeError):
    """A request that was not answered: its process died, was started anew, and died again or could not start."""


@contextmanager
def start(
    graph: str | Path,
    instances: int,
    threads_each: int,
    kind: str = "process",
    timeout_s: float = 60.0,
    hyper_threads: bool = False,
) -> Iterator[list[Predictor]]:
    """Yield predictors of the graph's file, to be called at the same time: see `predictors.in_parallel`.

    Each has ``threads_each`` cores that no other has, and turns arrays [batch, length] into logits, float32
    [batch, labels]. Kind "process": see `ProcessInstance`; on leaving, all processes end. Kind "thread": a session in
    this process, whose threads are pinned; so is the calling thread, while the call lasts. ``hyper_threads``: the two
    halves of a core count as two.

    InputError: more threads than cores, no such kind, or the graph is missing or damaged.
    """
    check_known("kind of instance", [kind], KINDS)
    shares = cores.divide(instances, threads_each, hyper_threads)
    if kind == "thread":
        yield [_pinned_predictor(graph, cpus) for cpus in shares]
        return
    with ExitStack() as stack:
        started = [stack.enter_context(ProcessInstance(graph, cpus, timeout_s)) for cpus in shares]
        for instance in started:  # only now: all of them load at the same time
            instance.wait_until_ready()
        yield started


class ProcessInstance:
    """A predictor in a process of its own, pinned to ``cpus``; it answers one request at a time.

    A process that dies, or gives no answer within ``timeout_s``, is replaced and the request sent once more.
    ``restarts`` counts the replacements. It ends when the context is left, or this process ends in any way.

    Raises:
        InputError: by a call, for arrays that the graph does not take; the process lives on.
        InstanceDied: by a call, where the second try fails as well; the next call starts a process again.
    """

    def __init__(self, graph: str | Path, cpus: Sequence[int], timeout_s: float = 60.0) -> None:
        if not 0.001 <= timeout_s <= 1e6:
            raise InputError(f"timeout_s is {timeout_s}; give seconds, at least 0.001 and at most 1e6")
        self.cpus, self.timeout_s, self.restarts = tuple(cpus), timeout_s, 0
        self._graph = Path(graph).absolute()
        self._lock = threading.Lock()
        self._left = False
        self._process: subprocess.Popen | None = None
        self._launch()

    def __enter__(self) -> ProcessInstance:
        return self

    def __exit__(self, *exception: object) -> None:
        self._left = True  # who waits for an answer in another thread must not start a process now
        if process := self._process:
            process.kill()
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """The number of the process that answers now; None where there is none."""
        process = self._process
        return process.pid if process else None

    def wait_until_ready(self) -> None:
        """Return once the graph is loaded. InputError: it is missing or damaged; InstanceDied: the process is gone."""
        with self._ending_if_it_fails(START_S):
            if not self._connection.poll(START_S):
                raise BlockingIOError
            problem = self._connection.recv()
            if problem:
                raise InputError(problem)

    def __call__(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return the logits, float32 [batch, labels], of arrays [batch, length]."""
        request = pickle.dumps(inputs)  # before anything is sent: what cannot be pickled harms no process
        with self._lock:
            try:
                answer = self._ask(request)
            except InstanceDied:
                answer = self._ask(request)
        if isinstance(answer, str):
            raise InputError(f"the graph cannot answer this request ({answer}); give the arrays it takes")
        return answer

    def _ask(self, request: bytes) -> np.ndarray | str:
        if self._process is None:
            self._restart()
        with self._ending_if_it_fails(self.timeout_s):
            self._connection.send_bytes(request)
            return self._connection.recv()

    def _restart(self) -> None:
        if self._left:
            raise InputError("this instance has ended; call it inside the block of instances.start")
        try:
            self._launch()
            self.wait_until_ready()
        except (InputError, OSError) as error:  # the graph was sound once; or the system starts no more processes
            raise InstanceDied(f"an instance died and cannot start again: {error}") from error
        self.restarts += 1

    def _launch(self) -> None:
        # subprocess, not multiprocessing: that one runs the caller's script once more, which notebooks have not and
        # which must be guarded for it.
        ours, theirs = socket.socketpair()
        with theirs:
            # The kernel's own limits: they hold for large requests too, whose sending waits for the reader.
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                ours.setsockopt(socket.SOL_SOCKET, option, _timeval(self.timeout_s))
            self._connection = Connection(ours.detach())
            command = [sys.executable, "-m", instance_process.__name__, str(theirs.fileno()), str(self._graph)]
            command += [str(len(self.cpus)), ",".join(map(str, self.cpus))]
            # From the project's root, so that the process imports this very fflib.
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], cwd=ROOT)

    @contextmanager
    def _ending_if_it_fails(self, limit_s: float) -> Iterator[None]:
        """End the process after any exception, also Ctrl-C: its late answer must not be taken for the next one's."""
        try:
            yield
        except (EOFError, OSError) as error:
            reason = self._end()
            if isinstance(error, BlockingIOError):  # the limit is over; it was killed just now
                reason = f"gave no answer in {limit_s:g} s"
            raise InstanceDied(f"the process of an instance {reason}; ask again, or lend it memory or time") from error
        except BaseException:
            self._end()
            raise

    def _end(self) -> str:
        """End the process, if there is one, and say how it ended."""
        if self._process is None:
            return "has ended"
        self._connection.close()
        self._process.kill()
        code = self._process.wait()
        self._process = None
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def _pinned_predictor(graph: str | Path, cpus: Sequence[int]) -> Predictor:
    with cores.pinned(cpus):
        predict = sessions.onnx_predictor(sessions.onnx_session(graph, len(cpus)))

    def predict_pinned(inputs: dict[str, np.ndarray]) -> np.ndarray:
        with cores.pinned(cpus):
            return predict(inputs)

    return predict_pinned


def _timeval(seconds: float) -> bytes:
    """Pack seconds as the C structure ``timeval``: whole seconds and microseconds."""
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
