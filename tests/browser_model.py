"""A book's page "try it" without a browser: its settings, its model as Python runs it, and its answers in Node."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fflib import vendor
from fflib.files import ROOT

SCRIPT = ROOT / "tests" / "browser_model.cjs"


def lacking() -> str:
    """What this machine lacks to run a page's model; '' where it has all."""
    if not all(map(vendor.there, (vendor.ONNXRUNTIME, vendor.TOKENIZERS))):
        return f"the front-end files were not fetched: {vendor.COMMAND}"
    return "" if shutil.which("node") else "there is no node here"


def settings(page: str) -> dict[str, Any]:
    """What the page (Markdown or HTML) tells its script."""
    found = re.search(r'<script type="application/json" id="try-it-settings">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


def unpacked(script: Path) -> bytes:
    """The file that a script brings along."""
    return gzip.decompress(base64.b64decode(script.read_text().split('"')[3]))


def ask(folder: Path, told: dict[str, Any], requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let the page's own scripts in ``folder`` answer in Node; see browser_model.cjs."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    command = ["node", str(SCRIPT), str(folder), json.dumps(told)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]
