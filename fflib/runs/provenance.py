"""Which code, data, parameters and machine a result came from, so that old results are never mixed with new code."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grimp

from fflib.data import custom, registry, sources
from fflib.files import ROOT, InputError, content_hash
from fflib.measure import device, hardware
from fflib.runs import params

PACKAGE = ROOT / "fflib"
READS_KEPT, KEPT = "fflib.model.shipped", PACKAGE / "model" / "kept"


def chapter_code(chapter: str) -> str:
    """Return the code cells of a chapter as one text: prose may change without making a result stale."""
    return "\n".join(source for marker, source in params.cells(chapter) if not marker.startswith("[markdown]"))


def modules_used(code: str) -> list[str]:
    """Name the modules of fflib that ``code`` imports, those that they import in turn, and the packages around them.

    Imports inside functions and for type checking count too. InputError: ``code`` imports what fflib has not.
    """
    graph, found = _import_graph(), set()
    for module in _imported(code):
        found |= {module} | graph.find_upstream_modules(module)
    for package in {package for module in found for package in _packages_of(module)}:
        found |= {package} | graph.find_upstream_modules(package)
    return sorted(found)


def code_of(chapter: str) -> list[Path]:
    """Return the files of fflib that a chapter's result depends on; models that come with the book are among them."""
    modules = modules_used(chapter_code(chapter))
    return [*map(_file_of, modules), *(sorted(KEPT.iterdir()) if READS_KEPT in modules else [])]


def page_key() -> str:
    """Hash what shapes the rendered book."""
    book = PACKAGE / "book"
    found = (path for folder in ("theme", "template/try_it", "template/pages") for path in (book / folder).rglob("*"))
    shaping = sorted(path for path in found if path.is_file() and path.suffix != ".pyc")
    modules = ("render", "cells", "fold", "numbered", "masthead", "bibliography", "glossary", "redaction", "stops")
    modules += ("try_it", "try_it_files", "farm")
    texts = (params.NOTEBOOKS / "references.bib", params.NOTEBOOKS / "glossary.md")
    made = [*sorted((book / "pages").glob("*.py")), *sorted((ROOT / "outputs" / "reference").rglob("about.json"))]
    return content_hash(*shaping, *(book / f"{name}.py" for name in modules), *texts, *made)


def chapter_key(chapter: str, values: Mapping[str, Any], card: Mapping[str, Any] | None = None) -> str:
    """Hash everything a chapter's result depends on but the chapters before it: code, parameters, versions, machine.

    Data that stand in files, the reader's own and SuperGLUE's, count with all they say. Where the run's folder and the
    data lie does not matter. ``card`` is the machine, see `hardware.card`; None is this one. A chapter that runs on a
    graphics card depends on that card and its driver as well.
    """
    card = card or hardware.card()
    machine = [card[name] for name in ("cpu", "cores_available", "system", "python", "versions")]
    machine += device.key_part(values.get("device", device.CPU), card.get("device"))
    decisive = {name: value for name, value in values.items() if name not in ("run_dir", "data_source")}
    if "task" in values and "data_source" in values:
        decisive["data"] = _data(str(values["task"]), str(values["data_source"]))
    return content_hash(chapter_code(chapter), decisive, machine, *code_of(chapter))


def _data(task: str, source: str) -> str:
    """Hash the data of a task but ``docs``: its data come with the packages, whose versions are in every key."""
    if custom.is_description(task):
        return custom.fingerprint(task)
    known = registry.get_task(task)
    return "" if known == registry.DOCS else sources.fingerprint(known, source)


@functools.cache
def _import_graph() -> grimp.ImportGraph:
    """Return which module of fflib imports which, read from the files as they were when this was first asked."""
    return grimp.build_graph("fflib", cache_dir=None)


def _imported(code: str) -> set[str]:
    """Name the modules of fflib that ``code`` itself imports."""
    graph, found = _import_graph(), set()
    for wanted, parent in _names_imported(code):
        module = wanted if wanted in graph.modules else parent
        if module not in graph.modules:
            raise InputError(f"a chapter imports {wanted}, which fflib does not have")
        found.add(module)
    return found


def _names_imported(code: str) -> Iterator[tuple[str, str]]:
    """Yield each imported name of fflib in full, with the module it is in if it is no module itself."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "fflib":
            yield from ((f"{node.module}.{alias.name}", str(node.module)) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.partition(".")[0] == "fflib")


def _packages_of(module: str) -> list[str]:
    """Name the packages around a module: Python runs their ``__init__.py`` as well."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _file_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
