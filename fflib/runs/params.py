"""What a run is: read ``params/``, merge run, hardware, size and overrides, and refuse whatever does not fit.

A chapter's parameters cell is the one place where its parameters are declared: name, type, default, help. Papermill
only warns of an unknown name and takes YAML's ``1e-4`` for a string; here both are refused before a run begins. (Longer
than the other modules, since what a run is and what it may not be are one idea.)
"""

from __future__ import annotations

import argparse
import ast
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from fflib.data import custom, text_files
from fflib.files import ROOT, InputError, outputs_dir, shown
from fflib.measure import device
from fflib.runs import param_files, ranges

NOTEBOOKS = ROOT / "notebooks"
TABLES = "10_tables"  # the closing chapter of a sweep, over all its runs; the book of one run ends before it
BASELINE = "01_baseline"  # the chapter that leaves a run's teacher
CARD = "11_graphics_card"  # the ladder on a graphics card: of runs on one alone
# The chapters of a run on a graphics card. The others make graphs for processors, divide their cores, or sum those up.
ON_CARD = (BASELINE, "02_batching", "03_distillation", "04_pruning", CARD)
SELDOM_CHANGED = "# Seldom changed:"  # in a parameters cell: what stands below is hidden on the page
_EXAMPLES = {"run": "docs-cpu", "size": "smoke", "hardware": "cpu"}
RUN_KEYS = ("description", "hardware", "size", "after")  # of a run's own file; everything else there is a parameter


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell. ``type`` is its annotation: str, int, float, bool or list[...] of these."""

    name: str
    type: str
    default: Any
    help: str


@dataclass(frozen=True)
class Run:
    """A run: its name, its folder under outputs/, and the parameters its files and overrides set.

    ``before`` is the run whose teacher this one trains on, if any: its `BASELINE` has to be there first. ``on_card``:
    its hardware names a device, so its chapters are those of `ON_CARD`, on whatever device it is.
    """

    name: str
    hardware: str
    size: str
    folder: Path
    values: Mapping[str, Any]
    before: Run | None = None
    on_card: bool = False

    @property
    def chapters(self) -> list[str]:
        """Names of the chapters of this run, in the order of its book."""
        return [*ON_CARD] if self.on_card else chapters()

    @property
    def order(self) -> list[str]:
        """Names of its chapters in the order in which they run: the introduction shows their result, so it is last."""
        if self.on_card:
            return self.chapters
        first, *others = self.chapters
        return [*others, first]

    def check_device(self) -> None:
        """Raise InputError where the run's device cannot be used on this machine."""
        device.check(self.values.get("device", device.CPU))

    def refuse_card(self, command: str) -> None:
        """Raise InputError where ``command`` needs chapters that a run on a graphics card does not have."""
        if self.on_card:
            why = f"{command} needs chapters that a run on a graphics card does not have"
            raise InputError(f"{why}; take the run on processors: leave HARDWARE={self.hardware} out")

    def hardware_values(self) -> dict[str, Any]:
        """Return the parameters that the hardware's file sets, as they count in this run."""
        sizes = param_files.names("size")
        return {name: self.values[name] for name in param_files.read("hardware", self.hardware) if name not in sizes}

    def chapter_values(self, chapter: str) -> dict[str, Any]:
        """Return the values for one chapter: its declared parameters, with the run's values over the defaults."""
        mine = {"run": self.name, "run_dir": shown(self.folder), **self.values}
        return {name: mine.get(name, parameter.default) for name, parameter in declared(chapter).items()}


def chapters() -> list[str]:
    """Names of the chapters of a run on processors, in the order of the book; `TABLES` and `CARD` are none of them."""
    return sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.py") if path.stem not in (TABLES, CARD))


def cells(chapter: str) -> list[tuple[str, str]]:
    """Return the cells of a chapter as (marker line, source), Markdown cells as comments.

    jupytext reads the same, but importing it takes seconds, and every chapter and every command would wait for it.
    """
    text = (NOTEBOOKS / f"{chapter}.py").read_text(encoding="utf-8")
    parts = re.split(r"^# %%(.*)$", text, flags=re.MULTILINE)[1:]  # what stands above the first marker is the header
    return [(marker.strip(), source.strip("\n")) for marker, source in zip(parts[::2], parts[1::2], strict=True)]


def declared(chapter: str) -> dict[str, Parameter]:
    """Read the parameters cell of a chapter, without running anything."""
    path = NOTEBOOKS / f"{chapter}.py"
    if not path.exists():
        raise InputError(f"there is no chapter '{chapter}'; the chapters are {', '.join([*chapters(), TABLES, CARD])}")
    sources = [source for marker, source in cells(chapter) if '"parameters"' in marker]
    if len(sources) != 1:
        raise InputError(f"{path.name} needs exactly one cell tagged 'parameters', it has {len(sources)}")
    lines = sources[0].splitlines()
    assignments = [node for node in ast.parse(sources[0]).body if isinstance(node, ast.AnnAssign)]
    return {node.target.id: _parameter(node, lines[node.lineno - 1]) for node in assignments}


def load_run(name: str, size: str = "", hardware: str = "", overrides: Iterable[str] = ()) -> Run:
    """Read a run's hardware, its size, ``params/<name>.yaml`` and ``overrides`` ("name=value"); what is later wins.

    What a hardware's file says of one size wins over that size's file.

    ``after: other`` there takes the teacher of another run, in the same size and on the same hardware, as the model to
    fine-tune: that of its first seed. That run may begin after a third. Overrides do not go to any of them.

    Raises:
        InputError: no such file, unknown name, wrong type, or a list or number that YAML read as something else.
    """
    own = param_files.read_run(name)
    check_own_folder(name)
    for key in RUN_KEYS:
        if not isinstance(own.get(key, ""), str):
            raise InputError(f"{name}.yaml: {key} is {own[key]!r}; give one text, in quotes if it looks like a number")
    for_sizes = _for_sizes(name, own)
    usual_hardware, usual_size = own.get("hardware", "cpu"), own.get("size", "standard")
    hardware, size = hardware or usual_hardware, size or usual_size
    values = {key: value for key, value in own.items() if key not in (*RUN_KEYS, *for_sizes)}
    if own.keys() & {"file", "hub"}:  # a data set of the reader's own: the file describes the task as well
        values = {key: value for key, value in values.items() if key not in custom.KEYS}
        values["task"] = shown(param_files.folder("run") / f"{name}.yaml")
    before = _before(name, own, size, hardware)
    values |= {"teacher": _teacher_of(before)} if before else {}
    # What a run's own file says wins over what it shares with others, and what it says of one size over the rest.
    machine = param_files.read("hardware", hardware)
    of_sizes = _for_sizes(hardware, machine)
    on_card = "device" in machine
    machine = {key: value for key, value in machine.items() if key not in of_sizes}
    values = machine | param_files.read("size", size) | of_sizes.get(size, {}) | values | for_sizes.get(size, {})
    for section in for_sizes.values():  # those of other sizes too: a slip there would show only when one of them runs
        _checked(section, on_card, name)
    values = _checked(values | dict(_override(text) for text in overrides), on_card, name)
    if before and values["teacher"] != _teacher_of(before):
        before = None  # a teacher set by hand
    # Another size or hardware gets a folder of its own, so that it never overwrites the results of the usual one.
    folder = "-".join(
        [name, *([hardware] if hardware != usual_hardware else []), *([size] if size != usual_size else [])]
    )
    return Run(name, hardware, size, outputs_dir() / folder, {**values, "size": size}, before, on_card)


def check_own_folder(name: str, kind: str = "run") -> None:
    """Refuse a name that is that of another run with a size or hardware behind it: both would share a folder.

    ``name`` may be that of a sweep as well, whose tables have a folder; it is told apart from other sweeps then too.
    """
    others = [*param_files.runs(), *(param_files.names(kind) if kind != "run" else [])]
    hardware, sizes = ([f"-{each}" for each in param_files.names(kind)] for kind in ("hardware", "size"))
    for suffix in [*hardware, *sizes, *(first + second for first in hardware for second in sizes)]:
        other = name.removesuffix(suffix)
        if other == name or other not in others:
            continue
        own = param_files.read_run(other) if other in param_files.runs() else {}
        usual = f"-{own.get('hardware', 'cpu')}", f"-{own.get('size', 'standard')}"
        if suffix not in (*usual, "".join(usual)):
            raise InputError(
                f"the {kind} '{name}' would share a folder with '{other}' in another size or on other hardware; rename "
                f"{shown(param_files.folder(kind))}/{name}.yaml"
            )


def before(runs: Iterable[Run]) -> list[Run]:
    """Return the runs that ``runs`` begin after, and these in their turn, each once and in order, less ``runs``."""
    runs = list(runs)
    first = {each.folder: each for run in runs for each in reversed([*_line(run)])}
    return [run for folder, run in first.items() if folder not in {run.folder for run in runs}]


def begun_after(run: Run, other: Run) -> Run:
    """Return ``run`` such that it begins after ``other``, with its teacher."""
    return replace(run, before=other, values={**run.values, "teacher": _teacher_of(other)})


def _line(run: Run) -> Iterator[Run]:
    """Yield the run that ``run`` begins after, then the one that this begins after, and so on."""
    while run.before:
        run = run.before
        yield run


def _before(name: str, own: Mapping[str, Any], size: str, hardware: str) -> Run | None:
    """Return the run that ``after`` in a run's file names. InputError: no name, or the run would begin after itself."""
    line, other = [name], own.get("after")
    while other is not None:
        if not isinstance(other, str) or other in line:
            raise InputError(
                f"{name} begins after {other!r}; name a run that does not begin after it in turn: 'after: docs-cpu'"
            )
        line.append(other)
        other = param_files.read_run(other).get("after")
    return load_run(line[1], size, hardware) if line[1:] else None


def _teacher_of(run: Run) -> str:
    seeds = run.chapter_values(BASELINE)["seeds"]
    return shown(run.folder / "models" / f"teacher-{seeds[0]}")


def _for_sizes(name: str, own: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a run's file says for one size alone: sections named as sizes, which win over that size's file."""
    sizes = set(param_files.names("size"))
    return {size: param_files.section(name, own, size) for size in own if size in sizes}


def _checked(values: Mapping[str, Any], on_card: bool, run: str) -> dict[str, Any]:
    if "device" in values and not on_card:
        raise InputError("device is what a file of params/hardware says; for a graphics card: make book HARDWARE=gpu")
    known: dict[str, Parameter] = {}
    for chapter in [*chapters(), *([CARD] if on_card else [])]:
        known |= declared(chapter)
    settable = [name for name in known if name not in ("run", "run_dir", "size")]
    for name in values:
        if name not in settable:
            raise InputError(_unknown(name, settable, run))
    checked = {name: check_value(known[name], value) for name, value in values.items()}
    for name, value in checked.items():
        if value == "" and known[name].default and '""' not in known[name].help:  # where it means something
            raise InputError(f"parameter '{name}' is empty; give it a value, or leave it out")
        ranges.check(name, value)
    return checked


def _unknown(name: str, settable: Iterable[str], run: str) -> str:
    """Say what is wrong with the name of a parameter that no chapter has, and what was perhaps meant."""
    file = f"{shown(param_files.folder('run'))}/{run}.yaml"
    if name in ("run", "size", "hardware"):
        return f"'{name}' is no parameter; say it behind make, as in {name.upper()}={_EXAMPLES[name]}"
    if name in RUN_KEYS:
        return f"'{name}' is no parameter; it can stand only in a run's own file, here {file}"
    if name in custom.KEYS:
        if param_files.read_run(run).keys() & {"file", "hub"}:
            return f"'{name}' describes data of your own, in every size alike; write it in {file}, before all sizes"
        return f"'{name}' describes data of your own: add a line 'file: ...' or 'hub: owner/name'"
    sizes = param_files.names("size")
    there = [*settable, *custom.KEYS, *RUN_KEYS, *sizes]
    close = difflib.get_close_matches(name, there, 1) or difflib.get_close_matches(name.lower(), there, 1)
    hint = f"did you mean '{close[0]}'?" if close else f"the parameters are {', '.join(sorted(settable))}"
    return f"no chapter has a parameter '{name}'; {hint}"


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Give a command line the options that name a run; `run_of` reads them."""
    parser.add_argument("--run", default="docs-cpu", help="a file in params/")
    parser.add_argument("--size", default="", help="smoke, standard or full; empty: the run's own")
    parser.add_argument("--hardware", default="", help="a file in params/hardware; empty: the run's own")
    parser.add_argument("--set", default="", metavar="'name=value ...'", help="override parameters")


def run_of(arguments: argparse.Namespace) -> Run:
    """Return the run that the options of `add_run_options` name; InputError as in `load_run`."""
    return load_run(arguments.run, arguments.size, arguments.hardware, split_overrides(arguments.set))


def split_overrides(text: str) -> list[str]:
    """Split "name=value name=[1, 2]" as YAML reads the values: spaces within brackets and quotation marks do not split.

    A quotation mark is one where a value begins or an item of a list; the one in "the paper's recipe" is a letter.
    """
    parts, depth, quote, current = [], 0, "", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and current.rstrip().endswith(("=", "[", ",")):
            quote = character
        else:
            depth += (character == "[") - (character == "]")
        if character.isspace() and depth <= 0 and not quote:
            parts, current = [*parts, current], ""
        else:
            current += character
    found = [part for part in [*parts, current] if part]
    names = [part.partition("=")[0] for part in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"'{twice[0]}' is set twice, in {text.strip()!r}; give it one value")
    return found


def check_value(parameter: Parameter, value: Any) -> Any:
    """Return ``value`` if it has the declared type (a whole number does for a float); raise InputError otherwise."""
    wanted = parameter.type
    if wanted.startswith("list["):
        if not isinstance(value, list):
            raise InputError(f"parameter '{parameter.name}' is a {wanted}, but got {value!r}; write it as [a, b]")
        element = Parameter(parameter.name, wanted[5:-1], None, parameter.help)
        return [check_value(element, item) for item in value]
    if wanted == "float" and type(value) is int:
        return float(value)
    if type(value).__name__ == wanted:
        return value
    hint = _number_hint(value, wanted) if wanted in ("int", "float") else f"give a {wanted}"
    if wanted == "str" and not isinstance(value, list | dict):
        hint += ", in quotes where YAML takes it for something else, as it does yes and no"
    raise InputError(
        f"parameter '{parameter.name}' is a {wanted}, but got the {type(value).__name__} {value!r}; {hint}"
    )


def _number_hint(value: Any, wanted: str) -> str:
    """YAML 1.1 reads 1e-4 as text, since it wants a point in the mantissa: the commonest slip, so it is named."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "give a number"
    if wanted == "int" and isinstance(value, float | str) and number.is_integer():
        return f"write {int(number)}"
    if isinstance(value, str) and "e" in value.lower():
        mantissa, exponent = value.lower().split("e")
        return f"YAML takes this for text: write {mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent):+d}"
    return "give a plain number of that type, without quotes"


def _parameter(node: ast.AnnAssign, line: str) -> Parameter:
    return Parameter(
        node.target.id, ast.unparse(node.annotation), ast.literal_eval(node.value), line.partition("#")[2].strip()
    )


def _override(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InputError(f"the override '{text}' is not of the form name=value")
    try:
        return name.strip(), text_files.parse_yaml(value)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(
            f"the override '{text[:60]}' has a value that is not whole, as in a list without its end, or begins with a "
            "sign that means something; close it, or put it in quotes"
        ) from error
