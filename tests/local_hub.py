"""A hub on this machine: what the Hugging Face hub's client asks for over HTTP, with faults on request.

    with LocalHub() as hub, Worker(hub, tmp_path) as worker:
        hub.add("someone/model", {"config.json": b"{}", ...})
        hub.fault("break", "/cdn/", times=1)
        answer = worker.call("fflib.hub.resolve", name="someone/model")

Large files are served as the real hub does: a redirect to another host that knows them by their SHA-256. The client
reads ``HF_ENDPOINT`` when it is imported, so what is tested runs in a process of its own: run as a script, this file is
that process.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
LARGE = (".safetensors", ".bin", ".parquet")  # what the hub keeps apart from git


@dataclass
class Fault:
    """What goes wrong with requests whose path holds ``where``.

    ``kind``: "break" (the connection ends after half of the body), "reset" (the same, abruptly), "damage" (a byte is
    wrong), "hang" (no answer), or an HTTP status such as "429".
    """

    kind: str
    where: str
    times: float
    headers: dict[str, str]


class LocalHub:
    """Repositories, what goes wrong with them, and every request that came: (method, path, range) in ``requests``."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], dict[str, Any]] = {}  # (models or datasets, name): {revision: commit, ...}
        self.blobs: dict[str, bytes] = {}  # SHA-256: bytes of the large files
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, str | None]] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> LocalHub:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.server.block_on_close = False
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        port = self.server.server_address[1]
        self.url, self.storage = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def add(
        self,
        name: str,
        files: dict[str, bytes],
        kind: str = "models",
        revision: str = "main",
        commit: str = "",
        gated: int = 0,
    ) -> str:
        """Put a commit with ``files`` there, called ``revision``, and return its 40 digits; ``gated``: 401 or 403."""
        commit = commit or _git_id(json.dumps([name, {path: _sha256(body) for path, body in files.items()}]).encode())
        repo = self.repos.setdefault((kind, name), {"gated": gated, "refs": {}, "commits": {}})
        repo["refs"][revision] = commit
        repo["commits"][commit] = files
        self.blobs |= {_sha256(body): body for path, body in files.items() if path.endswith(LARGE)}
        return commit

    def fault(self, kind: str, where: str, times: float = float("inf"), **headers: Any) -> None:
        """Let the next ``times`` requests to a path with ``where`` in it go wrong; Retry_After=1 is a header."""
        headers = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        self.faults.append(Fault(kind, where, times, headers))

    def heal(self) -> None:
        """Take all faults away and forget the requests."""
        with self._lock:
            self.faults.clear()
            self.requests.clear()

    def arrived(self, method: str, path: str, range_: str | None) -> Fault | None:
        """Note a request and return the fault that meets it."""
        with self._lock:
            self.requests.append((method, unquote(path), range_))
            for fault in self.faults:
                if fault.where in unquote(path) and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _git_id(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def _tree(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Return a listing as the hub writes it; folders are in it too."""
    folders = {str(parent) for path in files for parent in Path(path).parents} - {"."}
    entries = [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in sorted(folders)]
    for path, body in files.items():
        entry = {"type": "file", "path": path, "oid": _git_id(body), "size": len(body)}
        if path.endswith(LARGE):
            entry["lfs"] = {"oid": _sha256(body), "size": len(body), "pointerSize": 130}
        entries.append(entry)
    return entries


def _handler(hub: LocalHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            self.fault = hub.arrived(self.command, self.path, self.headers["Range"])
            kind = self.fault.kind if self.fault else ""
            if kind == "hang":
                hub.closing.wait()
                self.close_connection = True
            elif kind.isdigit():
                self.send(int(kind), b"", self.fault.headers)
            else:
                self.route([unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")])

        def route(self, parts: list[str]) -> None:
            if parts[0] == "cdn":
                return self.send_body(hub.blobs[parts[1]], {"ETag": f'"{parts[1]}"'})
            if parts[0] == "api" and parts[1] in ("models", "datasets"):
                kind, name, rest = parts[1], "/".join(parts[2:4]), parts[4:]
            else:
                kind = parts.pop(0) if parts[0] in ("datasets", "spaces") else "models"
                name, rest = "/".join(parts[:2]), parts[2:]
            repo = hub.repos.get((kind, name))
            if repo is None:
                return self.refuse(401, "RepoNotFound", "Invalid username or password.")
            revision = rest[1] if len(rest) > 1 else "main"
            commit = repo["refs"].get(revision, revision)
            files = repo["commits"].get(commit)
            if files is None:
                return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            if rest[:1] in ([], ["revision"]):
                siblings = [{"rfilename": path} for path in files]
                return self.send_json({"id": name, "sha": commit, "siblings": siblings, "gated": bool(repo["gated"])})
            if rest[0] == "tree":
                return self.send_json(_tree(files))
            if rest[0] == "resolve":
                if repo["gated"]:
                    return self.refuse(repo["gated"], "GatedRepo", f"Access to model {name} is restricted.")
                return self.send_file(files, "/".join(rest[2:]), commit)
            return self.refuse(404, "NotFound", "no such page")

        def send_file(self, files: dict[str, bytes], path: str, commit: str) -> None:
            body, headers = files.get(path), {"X-Repo-Commit": commit}
            if body is None:
                return self.refuse(404, "EntryNotFound", "Entry not found", headers)
            if not path.endswith(LARGE):
                return self.send_body(body, headers | {"ETag": f'"{_git_id(body)}"'})
            sha256 = _sha256(body)
            linked = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(body))}
            return self.send(302, b"", headers | linked | {"Location": f"{hub.storage}/cdn/{sha256}"})

        def send_body(self, body: bytes, headers: dict[str, str]) -> None:
            range_ = self.headers["Range"]
            if range_ is None or self.command == "HEAD":
                return self.send(200, body, headers | {"Accept-Ranges": "bytes"})
            start = int(range_.removeprefix("bytes=").split("-")[0])
            headers = headers | {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
            return self.send(206, body[start:], headers)

        def send_json(self, value: Any) -> None:
            self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
            self.send(status, b"", (headers or {}) | {"X-Error-Code": code, "X-Error-Message": message})

        def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            kind = self.fault.kind if self.fault else ""
            if kind == "damage":
                body = bytes([body[0] ^ 1]) + body[1:]
            if kind not in ("break", "reset"):
                self.wfile.write(body)
                return
            self.wfile.write(body[: len(body) // 2])
            if kind == "reset":  # closed with nothing said: the other side loses what it has not read
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            self.close_connection = True

    return Handler


@dataclass
class Answer:
    """What a call gave: its value, or the error's class and message; and what was written to stderr meanwhile."""

    value: Any
    error: str
    message: str
    seconds: float
    stderr: str


class Worker:
    """A process whose hub is ``hub`` (a ``LocalHub`` or a URL) and whose caches lie in ``folder``."""

    def __init__(self, hub: LocalHub | str, folder: Path, **environment: str) -> None:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "FFLIB_"))}
        ours |= {"HF_ENDPOINT": hub if isinstance(hub, str) else hub.url, "HF_HOME": str(folder / "hf")}
        ours |= {"FFLIB_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        ours |= {"NO_PROXY": "127.0.0.1,localhost", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        self.environment, self.folder = ours | environment, folder

    def __enter__(self) -> Worker:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = open(self.folder / f"stderr-{time.monotonic_ns()}", "w+", encoding="utf-8")  # noqa: SIM115
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log, "text": True, "bufsize": 1}
        self.process = subprocess.Popen([sys.executable, __file__], cwd=ROOT, env=self.environment, **pipes)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def call(self, function: str, **arguments: Any) -> Answer:
        """Call ``package.module.function`` there with arguments that JSON can hold."""
        self.send(function, **arguments)
        return self.receive()

    def send(self, function: str, **arguments: Any) -> None:
        """Begin a call, for one that takes long; the answer is the next that ``receive`` returns."""
        self.before = self.log.seek(0, os.SEEK_END)
        self.process.stdin.write(json.dumps([function, arguments]) + "\n")

    def receive(self) -> Answer:
        """Wait for the answer to ``send``."""
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        line = self.process.stdout.readline() if ready else ""
        self.log.seek(self.before)
        stderr = self.log.read()
        assert line, f"there was no answer:\n{stderr}"
        return Answer(**json.loads(line), stderr=stderr)


def _facts(value: Any) -> Any:
    """Write what a function returned as JSON."""
    if type(value).__name__ == "Classifier":
        import torch

        ids = torch.tensor([[5, 7, 9, 11, 13], [6, 8, 1, 1, 1]])
        with torch.no_grad():
            return value(ids, (ids != 1).long()).logits.tolist()
    if type(value).__name__ == "Split":
        return {"texts": value.texts, "labels": value.labels.tolist()}
    if hasattr(value, "is_fast"):
        return value("the river is cold", "a tree")["input_ids"]
    return str(value)


def _work() -> None:
    """Answer each line of stdin with one of stdout."""
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        function, arguments = json.loads(line)
        module, _, name = function.rpartition(".")
        start = time.monotonic()
        try:
            value = _facts(getattr(importlib.import_module(module), name)(**arguments))
            answer = {"value": value, "error": "", "message": ""}
        except Exception as error:
            answer = {"value": None, "error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer | {"seconds": time.monotonic() - start}), file=out, flush=True)


if __name__ == "__main__":
    _work()
