"""Documented functions of installed packages: read with `ast`, so that nothing is imported.

Of each function, or class, its signature comes from the code and what is said of each parameter from the docstring's
table of parameters, in numpydoc's, Google's or Sphinx's style (`docstring_parser` reads all three). Text becomes plain
prose: without code, tables and markup. (Longer than 200 lines: reading files and making prose of them are one path.)
"""

from __future__ import annotations

import ast
import gc
import importlib.util
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import joblib
from docstring_parser import Docstring, ParseError, google, numpydoc, rest

from fflib import progress
from fflib.files import content_hash

# Tests, and other packages' code. Near copies of one another are dropped later, by their text.
SKIPPED = re.compile(r"/(tests?|testing|_?vendor|extern|externals|compat)/")
STYLES: tuple[tuple[re.Pattern[str], ModuleType], ...] = (  # what gives a docstring's style away, and its parser
    (re.compile(r"^\s*Parameters\s*\n\s*-{3}", re.M), numpydoc),
    (re.compile(r"^\s*(Args|Arguments|Parameters):\s*$", re.M), google),
    (re.compile(r"^\s*:param\s", re.M), rest),
)
# One of these stands in each file with such a table. Most files have none, and need no parser to say so.
TABLE = re.compile(rb"Parameters|Args:|Arguments:|:param")
PART = 100  # files that a worker reads at once: about a second's work
DESCRIPTION_WORDS = range(4, 61)  # of a parameter's description; a longer one is cut
CATCH_ALL = {"args", "kwargs", "kwds", "self", "cls"}  # says nothing about what it is for

CODE = re.compile(r"```.*?(?:```|\Z)|^[ >]*>>> .*?(?:\n\s*\n|\Z)|::\s*\n\s*\n(?:[ \t]+.*(?:\n|\Z)|\s*\n)+", re.M | re.S)
MARKUP = (  # pattern and replacement, applied in this order
    (r"https?://\S+|\[\w+\]_", ""),
    (r"^\s*\.\. [\w-]+::.*$", ""),
    (r"^\W*$", ""),  # rules, of headings and tables
    (r":(?:\w+:)+`", "`"),  # the role in :func:`name`
    (r"`[~!]?([^`<]*?)\s*(<[^>`]*>)?`_*", r"\1"),
    (r"\[([^\]]+)\]\([^)]*\)", r"\1"),
    (r"[`*\\{}$|<>]+", " "),
)


class Parameter(NamedTuple):
    """A parameter as it stands in the signature (``type`` and ``default`` are code, or '') and what is said of it."""

    name: str
    type: str
    default: str
    description: str


class Function(NamedTuple):
    """A documented function or class. ``module`` is its file, relative to its package's parent folder.

    ``parameters`` are all of the signature; one that the docstring leaves out has an empty description.
    """

    package: str
    module: str
    name: str
    parameters: tuple[Parameter, ...]
    summary: str
    description: str


def read_functions(packages: Sequence[str]) -> Iterator[Function]:
    """Yield the documented functions of ``packages`` in the order of package, path and line; all cores read."""
    parts = [part for package in packages for part in _parts_of(package)]
    workers = min(joblib.cpu_count(), len(parts))
    read = joblib.Parallel(n_jobs=max(1, workers), return_as="generator")(
        joblib.delayed(_read)(*part) for part in parts
    )
    with progress.bar(len(parts), "reading docstrings", "part") as bar:
        for functions in read:
            yield from functions
            bar.update()


def _parts_of(package: str) -> list[tuple[str, Path, list[Path]]]:
    """Return a package's files in parts that take a worker about a second: its name, where it lies, and some files."""
    folder = package_folder(package)
    paths = sorted(folder.rglob("*.py")) if folder else []
    return [(package, folder.parent, paths[i : i + PART]) for i in range(0, len(paths), PART)]


def _read(package: str, above: Path, paths: Sequence[Path]) -> list[Function]:
    """Return the documented functions of some files of a package, which lies in the folder ``above``."""
    functions = []
    with _no_garbage_collection():
        for path in paths:
            module = path.relative_to(above).as_posix()
            if not SKIPPED.search(module) and TABLE.search(source := path.read_bytes()):
                functions += functions_of(_parse(source), package, module)
    return functions


def package_folder(package: str) -> Path | None:
    """Return the folder of the installed ``package``, or None."""
    spec = importlib.util.find_spec(package)  # of a top-level name: finds the folder and imports nothing
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def functions_of(tree: ast.AST, package: str, module: str) -> Iterator[Function]:
    """Yield the functions and classes of a module whose docstring describes two parameters or more."""
    nodes = [(tree, package)]
    for node, name in nodes:  # grows while it is walked, by statements only: expressions too would take much longer
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{name}.{node.name}"
            found = _function(node, package, module, name)
            if found:
                yield found
        for block in ("body", "orelse", "handlers", "finalbody"):
            nodes += [(child, name) for child in getattr(node, block, ())]


def _function(node: ast.AST, package: str, module: str, name: str) -> Function | None:
    text = ast.get_docstring(node) or ""
    parser = next((parser for pattern, parser in STYLES if pattern.search(text)), None)
    signature = _signature(node)
    if parser is None or signature is None:
        return None
    try:
        docstring = parser.parse(text)
    except ParseError:
        return None
    described = {entry.arg_name.lstrip("*"): entry for entry in docstring.params}
    parameters = tuple(_parameter(argument, default, described) for argument, default in _arguments(signature))
    if sum(bool(parameter.description) for parameter in parameters) < 2:
        return None
    return Function(package, module, name, parameters, prose(docstring.short_description or ""), _about(docstring))


def _signature(node: ast.AST) -> ast.arguments | None:
    """What a function takes; of a class, what its ``__init__`` does."""
    if isinstance(node, ast.ClassDef):
        node = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
    return node.args if node else None


def _arguments(signature: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Yield each argument with its default; ``*args`` and ``**kwargs`` say nothing and are left out."""
    positional = [*signature.posonlyargs, *signature.args]
    defaults = [None] * (len(positional) - len(signature.defaults)) + signature.defaults
    yield from zip(positional, defaults, strict=True)
    yield from zip(signature.kwonlyargs, signature.kw_defaults, strict=True)


def _parameter(argument: ast.arg, default: ast.expr | None, described: dict) -> Parameter:
    entry = described.get(argument.arg)
    annotation = ast.unparse(argument.annotation).strip("'\"") if argument.annotation else ""
    value = ast.unparse(default) if default is not None else ""
    description = _cut(prose(entry.description or "")) if entry and argument.arg not in CATCH_ALL else ""
    return Parameter(argument.arg, annotation, value, description if _is_prose(description) else "")


def _about(docstring: Docstring) -> str:
    """The text between summary and parameters, and what the function returns."""
    returns = docstring.returns.description if docstring.returns else ""
    parts = [prose(docstring.long_description or ""), f"Returns {prose(returns)}" if returns else ""]
    return " ".join(part for part in parts if part)


def prose(text: str) -> str:
    """Return the text on one line, without code, tables and markup."""
    text = CODE.sub("\n\n", text)
    for pattern, replacement in MARKUP:
        text = re.sub(pattern, replacement, text, flags=re.M)
    return " ".join(text.split())


def _is_prose(text: str) -> bool:
    letters = sum(sign.isalpha() or sign == " " for sign in text)
    return len(text.split()) >= DESCRIPTION_WORDS.start and letters > 0.75 * len(text) and "%(" not in text


def _cut(text: str) -> str:
    """Cut a description after the last sentence that ends within the limit, or else after the last word."""
    words = text.split(" ")
    if len(words) < DESCRIPTION_WORDS.stop:
        return text
    text = " ".join(words[: DESCRIPTION_WORDS.stop - 1])
    return (re.match(r".*[.!?](?= [A-Z]|$)", text) or re.match(r".*", text)).group()


def _parse(source: bytes) -> ast.AST:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            return ast.parse(source)
    except (SyntaxError, ValueError):  # templates and files for other versions of Python
        return ast.Module([], [])


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Syntax trees are millions of objects without cycles; searching them for cycles takes as long as parsing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def chance(*values: str) -> float:
    """Return a number between 0 and 1, both excluded, that depends on nothing but ``values``."""
    return (int(content_hash(*values)[:13], 16) + 0.5) / 16**13  # 52 bits: what a float can hold
