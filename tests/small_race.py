"""The record of a race of engines, made up."""

from __future__ import annotations

WAY = {
    "engine": "this book's file", "model": "pruned student", "version": "onnxruntime 1.31.1", "settings": "as it is",
    "note": "", "requests/s": 700.0, "interval": [690.0, 712.0], "batches": "one by one", "times this book's": 1.0,
    "p50 ms": 2.5, "labels kept %": 99.5, "answers": "checked",
}  # fmt: skip
RECORD = {
    "schema_version": 1, "run": "docs-cpu", "task": "docs", "run_written": "2026-01-02T03:04:05+00:00",
    "written": "2026-02-03T04:05:06+00:00", "machine": {"cpu": "A processor", "commit": "abc1234"}, "threads": 2,
    "versions": ["onnxruntime 1.31.1"], "rounds": 5, "n_requests": 96, "n_checked": 400,
    "ways": [WAY, WAY | {"engine": "faster", "requests/s": 1400.0, "times this book's": 2.0, "note": "it cheats"}],
    "missing": {"executorch": "not installed"}, "floors": [{"floor": "words", "requests/s": 200.0, "test %": 50.0}],
}  # fmt: skip
