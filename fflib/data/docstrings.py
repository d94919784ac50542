"""Docstrings of installed packages as plain prose: found and read with `ast`, so that nothing is imported.

A docstring's first sentence becomes a *summary*, the rest its *passage*: without code, tables and markup, and cut to a
length that is drawn from the passage's own hash, so that the same packages give the same text on every machine.
"""

from __future__ import annotations

import ast
import gc
import importlib.util
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

from fflib import progress
from fflib.files import content_hash

# Tests, other packages' code, near copies of one another (`transformers/models`), and a compiler's many internals.
SKIPPED = re.compile(r"/(tests?|testing|_?vendor|extern|externals|compat|models|_inductor|_dynamo)/")
SUMMARY_WORDS = range(5, 41)
PASSAGE_WORDS = 35  # at least
LENGTH = NormalDist(math.log(150), 0.55)  # log of a passage's words and signs; with it, pairs are as long as BoolQ's

BLOCKS = re.compile(r"```.*?(?:```|\Z)|^[ >]*>>> .*?(?:\n\s*\n|\Z)", re.M | re.S)  # fenced code, doctests
RULE = re.compile(r"^\s*[-=~^*#+|][-=~^*#+|: ]{2,}$")  # a heading's underline, or a table's
SECTION = re.compile(r"^\W*(examples?|references|see also|usage|tests|doctests|citations?)\W*$", re.I)
NO_PROSE = re.compile(r"^\s*\.\. (\[|_|\w*(math|code|plot|test|figure|image|table|toctree|autosum|see|version|deprec))")
MARKUP = (  # pattern and replacement, applied in this order
    (r"https?://\S+|\[\w+\]_|^\s*:r?type\b.*$", ""),
    (r"^\s*\.\. [\w-]+::", ""),
    (r"^(\s*)([\w*, ]+) : (.+)$", r"\1\2 (\3):"),  # a row of numpy's parameter table
    (r"^(\s*):(?:param|arg|keyword)\s+(.+?):", r"\1\2:"),
    (r":(?:\w+:)+`", "`"),  # the role in :func:`name`
    (r"`[~!]?([^`<]*?)\s*(<[^>`]*>)?`_*", r"\1"),
    (r"\[([^\]]+)\]\([^)]*\)", r"\1"),
    (r"[`*\\{}$|<>]+", " "),
)


class Doc(NamedTuple):
    """One docstring, cleaned. ``module`` is the file it stands in, relative to its package's parent folder."""

    package: str
    module: str
    summary: str
    passage: str


def read_docs(packages: Sequence[str]) -> Iterator[Doc]:
    """Yield the docstrings of ``packages`` that make a pair, in the order of package, path and line."""
    with progress.bar(len(packages), "reading docstrings", "package") as bar, _no_garbage_collection():
        for package in packages:
            folder = package_folder(package)
            for path in sorted(folder.rglob("*.py")) if folder else ():
                module = path.relative_to(folder.parent).as_posix()
                if not SKIPPED.search(module):
                    pairs = map(split_docstring, _docstrings(path))
                    yield from (Doc(package, module, *pair) for pair in pairs if pair)
            bar.update()


def package_folder(package: str) -> Path | None:
    """Return the folder of the installed ``package``, or None."""
    spec = importlib.util.find_spec(package)  # of a top-level name: finds the folder and imports nothing
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def split_docstring(text: str) -> tuple[str, str] | None:
    """Return a docstring's first sentence and its rest as plain prose, or None where these would not make a pair."""
    if len(text.split()) < PASSAGE_WORDS:  # most are one line: do not clean them first
        return None
    text = "\n".join(_prose(BLOCKS.sub("\n\n", text).splitlines()))
    for pattern, replacement in MARKUP:
        text = re.sub(pattern, replacement, text, flags=re.M)
    paragraphs = [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text)]
    paragraphs = [p for p in paragraphs if p and not re.match(r"[\w.]+ ?\([^)]*\)[^.]*$", p)]  # without signatures
    if not paragraphs:
        return None
    summary, rest = re.match(r"(.*?(?:[.!?](?= [A-Z(])|$))(.*)", paragraphs[0]).groups()
    passage = _cut(" ".join([rest, *paragraphs[1:]]).strip())
    letters = sum(sign.isalpha() or sign == " " for sign in passage)
    is_prose = summary[0].isupper() and letters > 0.8 * len(passage) and "%(" not in passage  # no templates
    is_sized = len(summary.split()) in SUMMARY_WORDS and len(passage.split()) >= PASSAGE_WORDS
    gives_away = summary.rstrip(".").lower() in passage.lower()
    return (summary, passage) if is_prose and is_sized and not gives_away else None


def _prose(lines: list[str]) -> Iterator[str]:
    """Yield the lines without code and tables: what is indented under such a directive or after a double colon."""
    hidden_from, in_section = None, False  # the indentation from which on lines are dropped; a section that is dropped
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        indent = len(line) - len(line.lstrip())
        if line.strip() and RULE.match(following):
            in_section, hidden_from = bool(SECTION.match(line)), None
            line = f"{line}:"
        if hidden_from is not None and line.strip() and indent < hidden_from:
            hidden_from = None
        if in_section or hidden_from is not None or RULE.match(line):
            continue
        if NO_PROSE.match(line) or SECTION.match(line):
            hidden_from = indent + 1
            continue
        if line.rstrip().endswith("::") and not line.lstrip().startswith(".. "):  # a directive's text is prose
            hidden_from, line = indent + 1, line.rstrip()[:-1]
        yield line


def _cut(passage: str) -> str:
    """Cut at the end of the sentence, or else the word, nearest to a length that is drawn from the passage's hash."""
    wanted = round(math.exp(LENGTH.inv_cdf(chance("length", passage[:200]))))
    ends = [match.end() for match in re.finditer(r"[^\W_]+|[^\w\s]|_", passage)]
    if len(ends) <= wanted:
        return passage
    limit, slack = ends[wanted - 1], 60
    sentences = [match.end() for match in re.finditer(r"[.!?](?= [A-Z])", passage[: limit + slack])]
    best = min(sentences, key=lambda end: abs(end - limit), default=0)
    return passage[:best] if limit - best <= slack else passage[:limit].rsplit(" ", 1)[0]


def _docstrings(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # templates and files for other versions of Python
        return
    nodes: list[ast.AST] = [tree]
    for (
        node
    ) in nodes:  # grows while it is walked, by statements only: walking the expressions too would take much longer
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
        for block in ("body", "orelse", "handlers", "finalbody"):
            nodes += getattr(node, block, ())


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
