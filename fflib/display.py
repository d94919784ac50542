"""What a notebook shows beside figures: the hardware card, the lines of a function that matter, small tables."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import Markdown


def source(*functions: Callable[..., Any]) -> Markdown:
    """Show fflib's functions as they stand in the package, without what is not the idea: see `essential_lines`."""
    return Markdown("\n\n".join(f"```python\n{essential_lines(function)}\n```" for function in functions))


def essential_lines(function: Callable[..., Any]) -> str:
    """Return the source of a function without its docstring and without the checks of its arguments.

    A check is an ``if`` that does nothing but raise, or a call of ``check_known``. Comments stay.
    """
    text = textwrap.dedent(inspect.getsource(function))
    dropped: set[int] = set()
    for node in ast.walk(ast.parse(text).body[0]):
        statements = getattr(node, "body", [])
        if isinstance(statements, list):
            beside = [one for i, one in enumerate(statements) if _is_docstring(one, i, node) or _is_check(one)]
            if len(beside) < len(statements):  # a body must not be left empty
                dropped |= {number for one in beside for number in range(one.lineno, one.end_lineno + 1)}
    return "\n".join(line for number, line in enumerate(text.splitlines(), 1) if number not in dropped).strip("\n")


def _is_docstring(statement: ast.stmt, position: int, parent: ast.AST) -> bool:
    documented = isinstance(parent, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(parent) is not None
    return documented and position == 0


def _is_check(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.If):
        return not statement.orelse and all(isinstance(inner, ast.Raise) for inner in statement.body)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        called = statement.value.func
        return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) == "check_known"
    return False


def card(machine: Mapping[str, Any], threads: int) -> Markdown:
    """Show the hardware card that stands beside every number."""
    sets = ", ".join(machine["instruction_sets"]) or "none of those that matter here"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    threads_each = "hyper-threads on" if machine["hyper_threads"] else "one thread a core"
    in_use = f"{threads} thread{'s' * (threads != 1)} in use"
    rows = {
        "processor": machine["cpu"],
        "cores": f"{machine['cores_available']} usable of {machine['cores']}, {threads_each}; {in_use}",
        "instruction sets": sets,
        "memory": f"{machine['ram_gb']} GB",
        "system": f"{machine['system']}, Python {machine['python']}",
        "versions": versions,
        "commit": machine["commit"] or "not in git",
    }
    rows |= _graphics_card(machine["device"]) if "device" in machine else {}
    return table([{"this machine": name, "": value} for name, value in rows.items()])


def _graphics_card(device: Mapping[str, Any]) -> dict[str, str]:
    identity, state = device["identity"], device["state"]
    driver = identity["driver"] or "not told"
    clocks = (
        f"{state['sm_mhz'] or '?'} MHz, memory {state['memory_mhz'] or '?'} MHz, power state {state['power_state']}"
    )
    return {
        "graphics card": f"{identity['name']}, {identity['memory_gb']} GB, compute capability {identity['capability']}",
        "its software": f"driver {driver}, CUDA {identity['cuda']}, cuDNN {identity['cudnn']}",
        "its clocks, now": clocks,
    }


def table(
    rows: pd.DataFrame | Sequence[Mapping[str, Any]], decimals: int = 2, heads: Mapping[str, str] | None = None
) -> Markdown:
    """Show rows, {column: value}, as a table; floats with ``decimals`` digits; empty: not measured.

    ``heads`` says what stands above a column where that is not its name in the record: {column: head}.
    """
    shown = pd.DataFrame(rows).map(lambda value: _cell(value, decimals)).rename(columns=heads or {})
    return Markdown(shown.to_markdown(index=False, disable_numparse=True))


def _cell(value: Any, decimals: int) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:,.{decimals}f}"
    return "" if value is None else str(value).replace("|", "\\|")  # as a reader's label may have it: no further cell
