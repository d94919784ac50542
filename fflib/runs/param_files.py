"""The files in ``params/``: which runs there are, and what stands in a file, as YAML reads it."""

from __future__ import annotations

import difflib
import re
import unicodedata
from pathlib import Path
from typing import Any

from fflib.data import text_files
from fflib.files import ROOT, InputError

PARAMS = ROOT / "params"
SHARED = "_shared"  # in params/task: what holds for every task there that does not say otherwise; no task itself


def folder(kind: str) -> Path:
    """Return where files of a kind lie: run, sweep, hardware, size, task, model."""
    return {"run": PARAMS, "sweep": PARAMS / "sweeps"}.get(kind, PARAMS / kind)


def names(kind: str) -> list[str]:
    """Return the names of the files of a kind."""
    return sorted(path.stem for path in folder(kind).glob("[!_.]*.yaml"))  # Macs leave a "._x.yaml" beside each


def runs() -> list[str]:
    """Return the names of all runs: those with a file, and TASK-MODEL for every task and every model with one."""
    own = names("run")
    pairs = [f"{task}-{model}" for task in names("task") for model in names("model")]
    return own + [pair for pair in pairs if pair not in own]


def read_run(name: str) -> dict[str, Any]:
    """Return what a run's file says; where there is none, what the files of its task and its model say together.

    What a model's file says wins over a task's, in every size: a large model's learning rate is its own.
    """
    task, _, model = name.partition("-")
    if name in names("run") or task not in names("task") or model not in names("model"):
        return read("run", name)
    about_task, about_model = _task(task), read("model", model)
    for_sizes = {}
    for size in {*names("size")} & {*about_task, *about_model}:
        mine = section(model, about_model, size)
        theirs = {key: value for key, value in section(task, about_task, size).items() if key not in about_model}
        for_sizes[size] = theirs | mine
    description = f"{about_task['task']}: {about_model.get('description', model)}"
    return about_task | about_model | for_sizes | {"description": description}


def _task(name: str) -> dict[str, Any]:
    """Return what a task's file says, and below each size what the file for all tasks says of it."""
    own, sizes = read("task", name), read("task", SHARED) if (folder("task") / f"{SHARED}.yaml").exists() else {}
    if "task" not in own:
        raise InputError(f"task/{name}.yaml does not say which task it is about; add a line 'task: NAME'")
    return own | {size: values | section(name, own, size) for size, values in sizes.items()}


def section(name: str, values: dict[str, Any], size: str) -> dict[str, Any]:
    """Return what a file says of one size; nothing where it has no such section, or an empty one."""
    section = values.get(size) or {}
    if not isinstance(section, dict):
        raise InputError(f"'{size}' in {name}.yaml must hold lines of the form 'name: value', further to the right")
    return section


def read(kind: str, name: str) -> dict[str, Any]:
    """Return what a file says. InputError: there is none of that name, or it holds no lines 'name: value'."""
    if kind == "run":
        _check_name(name)
    # By the names that are there: file systems take other cases and spellings for the same, and '../x' for a file too.
    there = [each for each in [*names(kind), SHARED] if _composed(each) == _composed(name)]
    path = folder(kind) / f"{there[0] if there else name}.yaml"
    if not there or not path.exists():
        raise InputError(f"there is no {kind} '{name}' in params/; {_hint(kind, name)}there are {_known(kind)}")
    values = text_files.read_yaml(path)
    if values is None:
        raise InputError(f"{path.name} is empty; give it lines of the form 'name: value', or take it away")
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"{path.name} must hold lines of the form 'name: value'")
    return values


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _check_name(name: str) -> None:
    """Refuse what cannot be the name of a folder of its own under outputs, on every system and in every shell."""
    if not re.fullmatch(r"(?!reference$)\w[\w .+@-]*(?<![ .])", _composed(name)):
        stem = Path(name.strip()).stem
        hint = f"did you mean '{stem}'? " if stem != name and stem in names("run") else ""
        raise InputError(
            f"{name!r} cannot be the name of a run; {hint}it begins with a letter or a digit, holds these, spaces and "
            "any of _ . + @ -, and is not 'reference'"
        )


def _hint(kind: str, name: str) -> str:
    name = name.removesuffix(".yaml")
    if name.isprintable() and (folder(kind) / f"{name}.yml").is_file():
        return f"call {name}.yml there {name}.yaml; "
    there = runs() if kind == "run" else names(kind)
    close = difflib.get_close_matches(name, there, 1) or difflib.get_close_matches(name.lower(), there, 1)
    return f"did you mean '{close[0]}'? " if close else ""


def _known(kind: str) -> str:
    there, tasks, models = (", ".join(names(part)) for part in (kind, "task", "model"))
    return f"{there}, and TASK-MODEL with a task of {tasks} and a model of {models}" if kind == "run" else there
