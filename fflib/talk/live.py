"""What answers a page: the models that load while the stage serves already, a socket for events, and `/classify`.

WS   /live       says hello at once; told {"do": "race"} it sends the race's header and rows as they come
POST /classify   {"lane" or "stop": number, "slot": number, "texts": [...], "spans": [...]} -> {"label", "ms"}
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

from tornado import web
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from fflib.files import InputError
from fflib.talk import race
from fflib.talk.cast import Cast

NAMES = ("127.0.0.1", "localhost")  # by which a page may call this machine
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",  # with the line above: threads in WebAssembly
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Live:
    """The models behind the stage, which load while it serves already.

    Attributes:
        cast: None until they are loaded.
        why_not: what to say while they are not.
    """

    def __init__(self, load: Callable[[], Cast], heat_s: float) -> None:
        self.heat_s, self.cast, self.why_not = heat_s, None, "the models are still loading"
        self._load, self._closed, self._lock = load, False, threading.Lock()
        self.racing = threading.Lock()  # one race at a time
        threading.Thread(target=self._loaded, daemon=True).start()

    def close(self) -> None:
        """End all models, also those that are still loading."""
        with self._lock:
            self._closed = True
            if self.cast:
                self.cast.close()

    def _loaded(self) -> None:
        try:
            cast = self._load()
        except InputError as error:
            self.why_not = str(error)
            return
        except Exception as error:  # the stage serves on, from the recordings
            self.why_not = f"the models did not load: {type(error).__name__}: {error}".splitlines()[0]
            return
        with self._lock:
            if self._closed:
                cast.close()
            else:
                self.cast, self.why_not = cast, ""


class OnlyHere:
    """Refuses who does not call this machine by its own name, or comes from another site; says so in every answer."""

    def prepare(self) -> None:
        """Refuse with 403."""
        own = {f"{name}:{self.application.settings['port']}" for name in NAMES}
        origin = self.request.headers.get("Origin")
        if self.request.host not in own or (origin and origin not in {f"http://{host}" for host in own}):
            raise web.HTTPError(403, reason="only this machine, by its own name")

    def set_default_headers(self) -> None:
        """Isolate the page, and let nobody keep or embed what is served."""
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def check_origin(self, origin: str) -> bool:
        """Leave it to `prepare`, which comes first."""
        return True


class Classify(OnlyHere, web.RequestHandler):
    """One text, one model."""

    def initialize(self, live: Live) -> None:
        """Take the models."""
        self._live = live

    async def post(self) -> None:
        """Answer; 409 with a sentence where that cannot be, 503 while there are no models."""
        cast = self._live.cast
        if cast is None:
            raise web.HTTPError(503, reason="no models yet")
        try:
            asked = _asked(self.request.body)
            label, ms = await asyncio.get_running_loop().run_in_executor(None, _answered, cast, asked)
        except InputError as error:
            self.set_status(409)
            self.finish({"why": str(error)})
            return
        self.finish({"label": label, "ms": round(ms, 2)})


class Socket(OnlyHere, WebSocketHandler):
    """A page that listens; on its word a race begins, and its going away ends it."""

    def initialize(self, live: Live) -> None:
        """Take the models."""
        self._live, self._over = live, threading.Event()

    def open(self, *args: str, **kwargs: str) -> None:
        """Say hello, and whether anything can be live."""
        cast = self._live.cast
        at_once = cast.typing_at_once if cast else 0
        self._say({"is": "hello", "ready": cast is not None, "why": self._live.why_not, "at_once": at_once})

    def on_message(self, message: str | bytes) -> None:
        """Begin a race, or end it; whatever else is said does nothing."""
        try:
            wanted = json.loads(message).get("do")
        except (ValueError, AttributeError):
            wanted = None
        if wanted == "race" and self._live.cast:
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._race, args=(self._live.cast, loop), daemon=True).start()
        elif wanted == "stop":
            self._over.set()

    def on_close(self) -> None:
        """End the race that nobody watches."""
        self._over.set()

    def _race(self, cast: Cast, loop: asyncio.AbstractEventLoop) -> None:
        """Run a race in a thread of its own and say what happens; a race of an earlier page is waited for."""

        def say(what: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(self._say, what)

        if not self._live.racing.acquire(timeout=race.SILENCE_S):
            say({"is": "failed", "why": "another page races already"})
            return
        try:
            header, heats = cast.race(self._live.heat_s)
            say({"is": "log", "log": header})
            for rows in cast.run_race(heats, self._over.is_set):
                if rows:
                    say({"is": "rows", "rows": rows})
            say({"is": "end"})
        except InputError as error:
            say({"is": "failed", "why": str(error)})
        finally:
            self._live.racing.release()

    def _say(self, what: dict[str, Any]) -> None:
        try:
            self.write_message(json.dumps(what))
        except (WebSocketClosedError, StreamClosedError):
            self._over.set()


def _asked(body: bytes) -> dict[str, Any]:
    """Read what a page asks. InputError: it is not of that form."""
    try:
        said = json.loads(body)
        texts, spans = said["texts"], said.get("spans") or []
        numbers = [said.get(name, -1) for name in ("lane", "stop")] + [said.get("slot", 0)]
        sound = all(isinstance(text, str) for text in texts) and isinstance(texts, list)
        sound = sound and all(len(span) == 3 and all(type(n) is int and n >= 0 for n in span) for span in spans)
        sound = sound and all(type(number) is int for number in numbers) and all(s[0] < len(texts) for s in spans)
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise InputError("this is no question of a page; reload it")
    return {"texts": texts, "spans": spans, "lane": numbers[0], "stop": numbers[1], "slot": numbers[2]}


def _answered(cast: Cast, asked: dict[str, Any]) -> tuple[int, float]:
    tokens = cast.tokens(asked["texts"], asked["spans"])
    if 0 <= asked["lane"] < len(cast.lanes):
        return cast.ask_lane(asked["lane"], tokens, max(0, asked["slot"]))
    if 0 <= asked["stop"] < len(cast.run.stops):
        return cast.ask_stop(asked["stop"], tokens)
    raise InputError("there is no such lane or rung; reload the page")
