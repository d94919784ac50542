"""Processes in which the models of the talk answer: one that hangs or dies takes no other with it, nor the stage."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from fflib.data.splits import TokenizedSplit
from fflib.files import ROOT, InputError
from fflib.talk import lane_process
from fflib.talk.models import Model

START_S, ASK_S = 300.0, 60.0  # who has not loaded, or answered, by then never will
BUSY_S = 5.0  # who asks waits so long for what the process does already
Row = list[float]  # [t_ms, request, label, ms]


class Worker:
    """A process with some models; it does one thing at a time.

    Attributes:
        models: in the order in which they are asked.
    """

    def __init__(self, models: Sequence[Model], requests: TokenizedSplit | None = None) -> None:
        self.models = list(models)
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair()
        with theirs:
            self._connection = Connection(ours.detach())
            command = [sys.executable, "-m", lane_process.__name__, str(theirs.fileno())]
            # From the project's root, so that the process imports this very fflib.
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], cwd=ROOT)
        try:
            self._connection.send(("load", self.models, requests))
        except OSError as error:
            self.close()
            raise self._gone("cannot start") from error

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def wait_until_loaded(self) -> None:
        """Return once all models are in memory. InputError: one cannot be loaded, or it takes for ever."""
        with self._alone():
            problem = self._heard(START_S)
        if problem:
            raise InputError(f"the talk cannot load {self.models[0].name}: {problem}")

    def ask(self, index: int, ids: np.ndarray, types: np.ndarray, cpus: Sequence[int]) -> tuple[int, float]:
        """Return the label of one text, arrays [length], and the milliseconds it took on ``cpus``.

        InputError: the process is gone, is busy with a heat, or what it computes with refuses the text.
        """
        with self._alone():
            self._say(("ask", index, ids, types, tuple(cpus)))
            found = self._heard(ASK_S)
        if isinstance(found, str):
            raise InputError(f"{self.models[index].name} gave no answer: {found}")
        return found

    @contextmanager
    def heat(self, seconds: float, cpus: Sequence[int], index: int = 0) -> Iterator[Heat]:
        """Let a model answer the requests for so many seconds; the heat is over when the block is left."""
        with self._alone():
            self._say(("heat", index, seconds, tuple(cpus)))
            heat = Heat(self, index)
            try:
                yield heat
            finally:
                heat.stop()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=BUSY_S):
            raise InputError(f"{self.models[0].name} is busy; ask again")
        try:
            yield
        finally:
            self._lock.release()

    def _say(self, command: tuple) -> None:
        try:
            self._connection.send(command)
        except OSError as error:
            raise self._gone("is gone") from error

    def _heard(self, seconds: float) -> Any:
        try:
            if not self._connection.poll(seconds):
                self.close()
                raise self._gone(f"said nothing for {seconds:g} s and was ended")
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._gone("is gone") from error

    def _gone(self, how: str) -> InputError:
        return InputError(f"the process of {self.models[0].name} {how}; start the talk again")


class Heat:
    """A heat that goes on. `rows` is what came since it was last called; ``is_over`` says that no more will come."""

    def __init__(self, worker: Worker, index: int) -> None:
        self._worker, self._index, self.is_over = worker, index, False

    def rows(self, wait_s: float) -> list[Row]:
        """Return the rows that came, having waited for the first so many seconds. InputError: the process is gone."""
        found: list[Row] = []
        while not self.is_over:
            try:
                if not self._worker._connection.poll(0 if found else wait_s):
                    break
                message = self._worker._connection.recv()
            except (EOFError, OSError) as error:
                self.is_over = True
                raise self._worker._gone("is gone") from error
            if isinstance(message, str):
                self.is_over = True
                raise InputError(f"{self._worker.models[self._index].name} stopped: {message}")
            if message is None:
                self.is_over = True
            else:
                found += message
        return found

    def stop(self) -> None:
        """End it before its time, and hear the rest of what it says."""
        if self.is_over:
            return
        try:
            self._worker._say(("stop",))
            while not self.is_over:
                if not self.rows(lane_process.WINDOW / 8):  # one batch may take a while
                    break
        except InputError:
            self.is_over = True
