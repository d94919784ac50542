"""The stage: serves the deck's folder on this machine alone, and lets the run's models answer live.

It listens on loopback, refuses another Host and other sites, gives away files of its own folder and nothing else, and
writes nothing at all. While the models load, and when they fail, pages play their recordings. What answers: `live`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tornado import netutil, web
from tornado.httpserver import HTTPServer

from fflib.files import InputError, shown
from fflib.talk import race
from fflib.talk.cast import Cast
from fflib.talk.live import Classify, Live, OnlyHere, Socket

HOST = "127.0.0.1"
HEAT_S = 10.0
LARGEST = 100_000  # bytes that anyone may send


class _File(OnlyHere, web.StaticFileHandler):
    """A file of the folder, wherever links lead."""

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        try:
            path = super().validate_absolute_path(root, absolute_path)
        except (ValueError, OSError) as error:  # a name that no file can have
            raise web.HTTPError(404) from error
        inside = Path(os.path.realpath(root))
        if path and not Path(os.path.realpath(path)).is_relative_to(inside):
            raise web.HTTPError(403, reason="outside the folder")
        return path


def load(run_folder: str | Path) -> Cast:
    """Load all that the live demos need, to be closed or used in a ``with``. InputError: names the missing file."""
    return Cast(run_folder)


def rehearse(cast: Cast, name: str, seconds: float = HEAT_S) -> float:
    """Run a live part once, without a page, and return the seconds it took.

    The race with heats of so many ``seconds``; for typing each lane answers one text, for the ladder each stop.

    InputError: a lane fails, or is silent so long that the page would go on from the recording; or no such part.
    """
    start, tokens = time.perf_counter(), cast.run.requests.tokens
    one = tokens.input_ids[0], tokens.token_type_ids[0]
    if name == "race":
        header, heats = cast.race(seconds)
        rows = [row for several in cast.run_race(heats) for row in several]
        race.check_silence(rows, heats, [lane["name"] for lane in header["lanes"]])
    elif name == "typing":
        for lane in range(len(cast.lanes)):
            cast.ask_lane(lane, one)
    elif name == "ladder":
        for stop in range(len(cast.run.stops)):
            cast.ask_stop(stop, one)
    else:
        raise InputError(f"there is no live part {name!r}; there are race, typing and ladder")
    return time.perf_counter() - start


def serve(
    folder: str | Path,
    run_folder: str | Path,
    port: int = 0,
    ready: Callable[[str], None] | None = None,
    *,
    load: Callable[[], Cast] | None = None,
    heat_s: float = HEAT_S,
) -> None:
    """Serve ``folder`` on loopback until Ctrl-C or SIGTERM, with the models of ``run_folder`` behind it.

    Args:
        folder: the deck's.
        run_folder: the run's; its models load while the stage serves already.
        port: 0 takes a free one.
        ready: told the address once it listens.
        load: gives the models; for tests.
        heat_s: seconds of a heat of the race.

    Raises:
        InputError: there is no such folder, or the port is in use.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {shown(folder)}; make it: make talk")
    check_port(port)
    try:
        sockets = netutil.bind_sockets(port, HOST)
    except OSError as error:
        raise InputError(f"the port {port} cannot be used ({error}); stop what uses it, or give another") from error
    live = Live(load or (lambda: Cast(run_folder)), heat_s)
    try:
        asyncio.run(_serve(folder, sockets, live, ready))
    except KeyboardInterrupt:
        pass
    finally:
        live.close()


def check_port(port: int) -> None:
    """Raise InputError where a number can be none of a port."""
    if not 0 <= port < 65536:
        raise InputError(f"the port is {port}; give a number from 1024 to 65535, or 0 for any that is free")


async def _serve(folder: Path, sockets: list, live: Live, ready: Callable[[str], None] | None) -> None:
    port = sockets[0].getsockname()[1]
    server = HTTPServer(application(folder, live, port), max_body_size=LARGEST)
    server.add_sockets(sockets)
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell lets what it starts ignore Ctrl-C
        with suppress(NotImplementedError, RuntimeError, ValueError):  # no such signals here, or not the main thread
            loop.add_signal_handler(number, over.set)
    if ready:
        ready(f"http://{HOST}:{port}/")
    await over.wait()
    live.close()  # before the loop ends: it waits for who is asked


def application(folder: Path, live: Live, port: int) -> web.Application:
    """Return what answers at ``port``."""
    files = {"path": str(folder), "default_filename": "index.html"}
    routes = [
        (r"/live", Socket, {"live": live}),
        (r"/classify", Classify, {"live": live}),
        (r"/(.*)", _File, files),
    ]
    settings = {"port": port, "log_function": lambda handler: None, "websocket_max_message_size": LARGEST}
    return web.Application(routes, **settings)
