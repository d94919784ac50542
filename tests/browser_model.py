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

import numpy as np
import onnxruntime

from fflib.book import vendor
from fflib.engine import sessions
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


def assert_same_answers(session: onnxruntime.InferenceSession, found: Sequence[dict[str, Any]]) -> None:
    """Raise AssertionError unless the answers in Node are those of ``session``, for the same tokens.

    In eight bits a number that lies between two codes may be rounded to the other one by a kernel that adds in another
    order, and then the logits of that text differ by about a code: by less than 3 % of how far the logits reach, and
    in fewer than one text of five. All others are the same up to rounding in fp32. A label may turn where two logits
    are that near to each other, as in a model of random weights for one text of some hundreds: for 99 % it does not.
    """
    predict = sessions.onnx_predictor(session)
    ones = [np.ones((1, len(row["ids"])), np.int64) for row in found]
    inputs = [
        {"input_ids": [row["ids"]], "attention_mask": mask, "token_type_ids": [row["types"]]}
        for row, mask in zip(found, ones, strict=True)
    ]
    ours = np.concatenate([predict({name: np.array(value) for name, value in each.items()}) for each in inputs])
    theirs = np.array([row["logits"] for row in found])
    off = np.abs(ours - theirs).max(axis=1)
    assert off.max() < 0.03 * np.abs(ours).max() and (off > 1e-4).mean() < 0.2, (off.max(), (off > 1e-4).mean())
    assert (ours.argmax(1) == theirs.argmax(1)).mean() >= 0.99
