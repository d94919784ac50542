"""Which code, parameters and machine a result came from, so that old results are never mixed with new code."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fflib import hardware, own_data, params, sources, tasks
from fflib.files import ROOT, content_hash

PACKAGE = ROOT / "fflib"


def chapter_code(chapter: str) -> str:
    """Return the code cells of a chapter as one text: prose may change without making a result stale."""
    return "\n".join(source for marker, source in params.cells(chapter) if not marker.startswith("[markdown]"))


def modules_used(code: str) -> list[str]:
    """Name the fflib modules that ``code`` imports, and those that they import in turn."""
    found: set[str] = set()
    pending = _imports(code)
    while pending:
        module = pending.pop()
        if module not in found:
            found.add(module)
            pending |= _imports((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    return sorted(found)


def code_of(chapter: str) -> list[Path]:
    """Return the files of fflib that a chapter's result depends on."""
    return [PACKAGE / f"{name}.py" for name in modules_used(chapter_code(chapter))]


def page_key() -> str:
    """Hash what shapes the rendered book."""
    return content_hash(*sorted(path for path in PACKAGE.glob("book*/*") if path.is_file()), PACKAGE / "book.py")


def chapter_key(chapter: str, values: Mapping[str, Any]) -> str:
    """Hash everything a chapter's result depends on but the chapters before it: code, parameters, versions, machine.

    Data that stand in files, the reader's own and SuperGLUE's, count with all they say. Where the run's folder and the
    data lie does not matter.
    """
    card = hardware.card()
    machine = [card[name] for name in ("cpu", "cores_available", "system", "python", "versions")]
    decisive = {name: value for name, value in values.items() if name not in ("run_dir", "data_source")}
    if "task" in values and "data_source" in values:
        decisive["data"] = _data(str(values["task"]), str(values["data_source"]))
    return content_hash(chapter_code(chapter), decisive, machine, *code_of(chapter))


def _data(task: str, source: str) -> str:
    """Hash the data of a task but ``docs``: its data come with the packages, whose versions are in every key."""
    if own_data.is_description(task):
        return own_data.fingerprint(task)
    known = tasks.get_task(task)
    return "" if known == tasks.DOCS else sources.fingerprint(known, source)


def _imports(code: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module == "fflib":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fflib."):
            names.add(node.module.split(".")[1])
    return {name for name in names if (PACKAGE / f"{name}.py").exists()}
