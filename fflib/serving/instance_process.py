"""The process of one instance; `instances` starts it, by the command of the next line.

python -m fflib.serving.instance_process FD GRAPH THREADS CPU,CPU,...

Over the socket FD it says that it is ready (None), or why not (a text). Then it answers each request, a pickled dict of
arrays, with logits or the text of an error, until the other end is closed: so it never outlives who started it.
"""

from __future__ import annotations

import pickle
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from fflib.files import InputError
from fflib.measure import cores


def main(fd: int, graph: str, threads: int, cpus: list[int]) -> None:
    """Serve ``graph`` on ``cpus`` until the other end of the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: who started this process decides
    with Connection(fd) as connection, suppress(EOFError, OSError), cores.pinned(cpus):
        from fflib.engine import sessions  # only now, for NumPy's threads are to keep to ``cpus`` too

        try:
            predict = sessions.onnx_predictor(sessions.onnx_session(graph, threads))
        except InputError as error:
            connection.send(str(error))
            return
        connection.send(None)
        while True:
            request = connection.recv_bytes()
            try:
                reply = predict(pickle.loads(request))
            except Exception as error:  # whatever it is, the next request may be sound
                reply = f"{type(error).__name__}: {error}".splitlines()[0]
            connection.send(reply)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), [int(cpu) for cpu in sys.argv[4].split(",")])
