"""What a notebook shows beside figures: the hardware card, a function's source, small tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import Markdown


def source(*functions: Callable[..., Any]) -> Markdown:
    """Show the source of fflib's functions as it stands in the package: shown, never copied."""
    return Markdown("\n\n".join(f"```python\n{inspect.getsource(function).rstrip()}\n```" for function in functions))


def card(machine: Mapping[str, Any], threads: int) -> Markdown:
    """Show the hardware card that stands beside every number."""
    sets = ", ".join(machine["instruction_sets"]) or "none of those that matter here"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    threads_each = "hyper-threads on" if machine["hyper_threads"] else "one thread a core"
    rows = {
        "processor": machine["cpu"],
        "cores": f"{machine['cores_available']} usable of {machine['cores']}, {threads_each}; {threads} threads in use",
        "instruction sets": sets,
        "memory": f"{machine['ram_gb']} GB",
        "system": f"{machine['system']}, Python {machine['python']}",
        "versions": versions,
        "commit": machine["commit"] or "not in git",
    }
    return table([{"this machine": name, "": value} for name, value in rows.items()])


def table(rows: pd.DataFrame | Sequence[Mapping[str, Any]], decimals: int = 2) -> Markdown:
    """Show rows, {column: value}, as a table; floats with ``decimals`` digits; empty: not measured."""
    text = pd.DataFrame(rows).map(lambda value: _cell(value, decimals)).to_markdown(index=False, disable_numparse=True)
    return Markdown(text)


def _cell(value: Any, decimals: int) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:,.{decimals}f}"
    return "" if value is None else str(value)
