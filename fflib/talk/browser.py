"""Chromium without a window, steered over its DevTools protocol through a pipe: no port, no driver, no download.

with browser.opened() as page:
    page.go("file:///.../index.html")
    page.value("document.title")
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fflib.files import InputError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MACOS = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
# Without a window, without a word to the network, with nothing kept.
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--disable-dev-shm-usage", "--force-device-scale-factor=1", "--remote-debugging-pipe",
)  # fmt: skip
WIDTH, HEIGHT = 1280, 720  # of the page, in pixels
WAIT_S = 60.0  # for an answer of the browser
# The browser reads at file descriptor 3 and writes at 4. A shell cannot be asked: dash knows no descriptor above 9.
LAUNCHER = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for number, pipe in enumerate(pipes, start=3):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""


class BrowserFailed(RuntimeError):
    """Chromium did not answer, or answered with an error."""


def found() -> str:
    """Return the path of Chromium or Chrome, '' where there is none."""
    there = next((path for name in NAMES if (path := shutil.which(name))), "")
    return there or (str(MACOS) if MACOS.exists() else "")


class Page:
    """One page of a headless Chromium. ``events`` holds all that it told, ``offline`` cuts it from any network."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._buffer, self._count = write, read, b"", 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)

    def call(self, method: str, wait_s: float = WAIT_S, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result. BrowserFailed: an error, or no answer in ``wait_s``."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        number, until = self._count, time.monotonic() + wait_s
        while True:
            answer = self._next(until)
            if answer is None:
                raise BrowserFailed(f"Chromium did not answer {method} within {wait_s:.0f} s")
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserFailed(f"{method}: {answer['error'].get('message', answer['error'])}")
                return answer["result"]

    def _next(self, until: float) -> dict[str, Any] | None:
        """Return the next message, events being kept as well; None: none came in time."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return None
            part = os.read(self._read, 1 << 20)
            if not part:
                raise BrowserFailed("Chromium ended by itself")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        if "method" in message:
            self.events.append(message)
        return message

    def listen(self, seconds: float) -> None:
        """Let the page live for so long, and keep what it tells."""
        until = time.monotonic() + seconds
        while self._next(until) is not None:
            pass

    def go(self, url: str, wait_s: float = WAIT_S) -> None:
        """Open an address and wait until the page has loaded with all its parts."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'", wait_s)

    def value(self, expression: str, wait_s: float = WAIT_S) -> Any:
        """Return what JavaScript evaluates to, a promise awaited; anything JSON can hold. BrowserFailed: it threw."""
        options = {"returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", wait_s, expression=expression, **options)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserFailed(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def until(self, expression: str, wait_s: float = WAIT_S) -> None:
        """Wait until JavaScript evaluates to something true. BrowserFailed: it did not within ``wait_s``."""
        end = time.monotonic() + wait_s
        while not self.value(expression):
            if time.monotonic() > end:
                raise BrowserFailed(f"still not so after {wait_s:.0f} s: {expression}")
            self.listen(0.05)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key, such as ``press("ArrowRight", 39)`` or ``press("a", 65, "a")``."""
        named = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **named, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def photograph(self, path: Path) -> None:
        """Write the window, 1280 by 720, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def print_pdf(self, path: Path) -> None:
        """Write the page as PDF, in the size that its style asks for."""
        answer = self.call("Page.printToPDF", 120, printBackground=True, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def requests(self) -> list[str]:
        """Return the addresses that the page asked for so far."""
        asked = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        opened = [e["params"]["url"] for e in self.events if e["method"] == "Network.webSocketCreated"]
        return asked + opened

    def errors(self) -> list[str]:
        """Return the errors of the console so far: what was thrown, logged as an error, or not found."""
        found = []
        for event in self.events:
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                found.append(details.get("exception", {}).get("description") or details["text"])
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
                found.append(" ".join(str(one.get("value", one.get("description"))) for one in params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(f"{params['entry']['text']} {params['entry'].get('url', '')}".strip())
        return found


@contextmanager
def opened(offline: bool = False) -> Iterator[Page]:
    """Start Chromium with an empty profile and yield its page; it ends with the block.

    Args:
        offline: every name is resolved to nothing, loopback as well: only files can be opened.

    Raises:
        InputError: there is no Chromium.
        BrowserFailed: it did not start.
    """
    program = found()
    if not program:
        raise InputError("there is no Chromium or Chrome here; install one (Debian, Ubuntu: apt install chromium)")
    network = ["--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9"] if offline else []
    theirs, ours = os.pipe(), os.pipe()  # to the browser, from the browser
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [sys.executable, "-S", "-c", LAUNCHER, str(theirs[0]), str(ours[1]), program]
        process = subprocess.Popen(
            [*command, *OPTIONS, *network, f"--user-data-dir={profile}"],
            pass_fds=(theirs[0], ours[1]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env={**os.environ, "HOME": profile}, start_new_session=True,
        )  # fmt: skip
        os.close(theirs[0])
        os.close(ours[1])
        try:
            yield Page(theirs[1], ours[0])
        finally:
            os.close(theirs[1])  # it ends when its pipe does
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
            os.close(ours[0])
