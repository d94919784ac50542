"""The embedded task `docs`: does this description belong to this parameter of this function?

Its text is the docstrings of packages that the book needs anyway, read with `ast`: nothing is imported, downloaded or
redistributed. The first text is a parameter's name with a description, the second the function: its name, summary,
signature and what else is said of it. "Yes": the description is that parameter's own. "No": it is that of another
parameter of the same function. Who finds those finds documentation that has drifted from its code. Four choices keep a
model from winning without reading both texts:

* parameters of a function go in pairs, those first whose descriptions share most words, and a pair's descriptions
  either stay (two times "yes") or change places (two times "no"): so no text alone says anything about the label;
* what can be seen by counting words, `word_clues`, is *balanced* in dev and test: wherever it is the same, as many are
  "yes" as "no". Train is as documentation is: what words tell there is how a model begins to learn. Which part of it
  is balanced too is marked, for whoever wants to go on with that;
* whole files go to train, dev or test, and copied descriptions are dropped, so nothing can be learnt by heart;
* in train a description meets several partners, `ROUNDS`, and so both answers.

Every choice follows from hashes of the text: the same packages give the same bytes.
(Longer than 200 lines: pairing and balancing are one idea.)
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

from fflib.data import docstrings, word_overlap
from fflib.data.docstrings import Function, Parameter, chance, package_folder, read_functions
from fflib.files import InputError, cache_dir, content_hash, write_json

PACKAGES = (
    *("IPython", "PIL", "anyio", "arrow", "babel", "bs4", "click", "datasets", "dateutil", "filelock", "fontTools"),
    *("fsspec", "huggingface_hub", "humanfriendly", "jedi", "jinja2", "joblib", "jupyter_server", "matplotlib"),
    *("mpl_toolkits", "narwhals", "nbconvert", "networkx", "numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript"),
    *("pandas", "platformdirs", "prompt_toolkit", "pulp", "pyarrow", "pydantic", "pyparsing", "requests", "rich"),
    *("scipy", "sentence_transformers", "sklearn", "sphinx", "sqlalchemy", "torch", "traitlets", "transformers"),
    *("urllib3", "zmq"),
)
SPLIT_ENDS = {"train": 0.62, "dev": 0.76, "test": 1.0}  # of the files 62 % are train, 14 % dev, 24 % test
MINIMUM = {"train": 30_000, "dev": 1500, "test": 3000}  # examples
BALANCED = ("dev", "test")
ROUNDS = {"train": 4, "dev": 1, "test": 1}  # how often a parameter is paired, with another partner each time
SAME_MEANING = 0.7  # descriptions that share so many of their words may both be right: no fair "no"
LENGTH = NormalDist(math.log(95), 0.65)  # log of the words and signs of a second text; pairs are as long as BoolQ's
SIGNATURE_PART = 48  # characters of a parameter in a signature: some types and defaults are whole programs

Record = dict[str, str]


class Pair(NamedTuple):
    """A parameter, by its place in the function's signature, and the place of the one whose description it is given."""

    function: Function
    parameter: int
    described: int

    @property
    def label(self) -> str:
        """The right answer."""
        return "yes" if self.parameter == self.described else "no"


def load(split: str) -> list[Record]:
    """Return "train", "dev" or "test": records with ``parameter``, ``function``, ``label``, ``module`` and
    ``balanced``, "yes" or "no": whether it belongs to a part where counting words tells nothing (all of dev and test).

    Built once (half a minute) and cached under the packages' versions and the code that makes it.
    InputError: the installed packages hold too little text.
    """
    distributions = importlib.metadata.packages_distributions()
    packages = (*PACKAGES, "docstring_parser")
    versions = {name: [importlib.metadata.version(d) for d in distributions.get(name, ())] for name in packages}
    sources = Path(__file__), Path(docstrings.__file__), Path(word_overlap.__file__)
    key = content_hash(versions, sys.version_info[:2], *sources)
    paths = {name: cache_dir("docs") / f"{key}-{name}.json" for name in SPLIT_ENDS}
    try:
        return json.loads(paths[split].read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or damaged
        splits = build()
        for name, path in paths.items():
            write_json(path, splits[name])
        return splits[split]


def build(packages: Sequence[str] = PACKAGES, minimum: Mapping[str, int] = MINIMUM) -> dict[str, list[Record]]:
    """Make the three splits from the docstrings of ``packages``; one that is not installed is left out.

    InputError: a split has fewer than ``minimum[split]`` examples.
    """
    pairs: dict[str, list[Pair]] = {name: [] for name in SPLIT_ENDS}
    for function in functions(packages):
        split = split_of(function)
        pairs[split] += pair_up(function, ROUNDS[split])
    splits = {split: _records(pairs[split], only_balanced=split in BALANCED) for split in SPLIT_ENDS}
    for split, records in splits.items():
        if len(records) < minimum[split]:
            missing = [name for name in packages if not package_folder(name)]
            hint = f"install {', '.join(missing)}" if missing else "the installed versions have too few docstrings"
            raise InputError(f"docs: {split} has {len(records)} examples, {minimum[split]} are needed; {hint}")
    return splits


def balanced_places(split: str) -> list[int]:
    """Return the places, in a split as `load` returns it, of the examples of which counting words tells nothing."""
    return [place for place, record in enumerate(load(split)) if record["balanced"] == "yes"]


def _records(pairs: list[Pair], only_balanced: bool) -> list[Record]:
    """Return the pairs as records, in an order drawn from their texts."""
    even = {id(pair) for pair in balanced(pairs)}  # by identity: the rounds may hold equal pairs
    chosen = [pair for pair in pairs if id(pair) in even] if only_balanced else pairs
    marked = [(record(pair), "yes" if id(pair) in even else "no") for pair in chosen]
    marked.sort(key=lambda each: chance("order", *each[0].values()))
    return [fields | {"balanced": mark} for fields, mark in marked]


@lru_cache(maxsize=100_000)  # each description is compared with all others of its function, in every round
def words(text: str) -> tuple[str, ...]:
    """Return the `word_overlap.words` of a name or a description."""
    return tuple(word_overlap.words(text))


def functions(packages: Sequence[str] = PACKAGES) -> Iterator[Function]:
    """Yield the functions of ``packages`` that describe their parameters, each description once."""
    yield from _without_copies(read_functions(packages))


def _without_copies(functions: Iterable[Function]) -> Iterator[Function]:
    """Empty descriptions that begin with the same words as an earlier one; drop functions with fewer than two left."""
    seen: set[str] = set()
    for function in functions:
        parameters = []
        for parameter in function.parameters:
            key = " ".join(words(parameter.description.lower()))[:120]
            parameters.append(parameter._replace(description="") if key in seen else parameter)
            seen.add(key)
        if sum(bool(parameter.description) for parameter in parameters) >= 2:
            yield function._replace(parameters=tuple(parameters))


def split_of(function: Function) -> str:
    """Return the split that a function's file belongs to."""
    number = chance("split", function.module)
    return next(name for name, end in SPLIT_ENDS.items() if number < end)


def pair_up(function: Function, rounds: int) -> list[Pair]:
    """Pair the described parameters in each of ``rounds``, most shared words first, and draw which change places."""
    pairs, earlier = [], set()
    for _ in range(rounds):
        for one, other in _partners(function.parameters, earlier):
            earlier.add((one, other))
            descriptions = [function.parameters[place].description for place in (one, other)]
            swapped = chance("swap", *descriptions) < 0.5
            pairs += [Pair(function, one, other if swapped else one), Pair(function, other, one if swapped else other)]
    return pairs


def _partners(parameters: Sequence[Parameter], earlier: set[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield pairs of places that were not paired ``earlier``, each place once, those that share most words first."""
    described = [place for place, parameter in enumerate(parameters) if parameter.description]
    shared = {
        pair: _shared_words(*(parameters[place].description for place in pair))
        for pair in itertools.combinations(described, 2)
    }
    free = set(described)
    for pair in sorted(shared, key=lambda pair: (-shared[pair], pair)):
        if pair not in earlier and free.issuperset(pair) and shared[pair] < SAME_MEANING:
            free.difference_update(pair)
            yield pair


def _shared_words(one: str, other: str) -> float:
    one_words, other_words = set(words(one)), set(words(other))
    return len(one_words & other_words) / max(1, len(one_words | other_words))


def balanced(pairs: Iterable[Pair]) -> list[Pair]:
    """Keep, of all pairs with the same `word_clues`, as many "yes" as "no"; which, is drawn from the text's hash."""
    cells: dict[tuple, dict[str, list[Pair]]] = defaultdict(lambda: {"yes": [], "no": []})
    for pair in pairs:
        cells[word_clues(pair)][pair.label].append(pair)
    kept = []
    for cell in cells.values():
        count = min(map(len, cell.values()))
        for group in cell.values():
            group.sort(key=lambda pair: chance("kept", *record(pair).values()))
            kept += group[:count]
    return kept


def word_clues(pair: Pair) -> tuple[int, int, int]:
    """Return what counting words can tell of a pair: how well the parameter's name fits the description, how well
    the best other parameter's name does (see `name_in`), and which quarter the description's length falls in.
    """
    parameters = pair.function.parameters
    description = words(parameters[pair.described].description)
    fits = [name_in(parameter.name, description) for parameter in parameters]
    own = fits.pop(pair.parameter)
    return own, max(fits), sum(len(description) > limit for limit in (8, 14, 24))


def name_in(name: str, description: tuple[str, ...]) -> int:
    """Return 3 where all words of ``name`` stand in the description, 2 where some do, 1 for a shared stem, else 0."""
    parts = words(name)
    found = sum(part in description for part in parts)
    if parts and found:
        return 3 if found == len(parts) else 2
    return int(any(part[:4] in beginnings(description) for part in parts if len(part) > 2))


@lru_cache(maxsize=100_000)
def beginnings(description: tuple[str, ...]) -> frozenset[str]:
    """Return the first three and the first four letters of each word: in them a stem is found at once."""
    return frozenset(word[:length] for word in description for length in (3, 4))


def record(pair: Pair, *draw: str) -> Record:
    """Return the two texts of a pair, its label and the file it comes from; ``draw`` as in `function_text`."""
    parameters = pair.function.parameters
    return {
        "parameter": f"{parameters[pair.parameter].name}: {parameters[pair.described].description}",
        "function": function_text(pair.function, *draw),
        "label": pair.label,
        "module": pair.function.module,
    }


@lru_cache(maxsize=100_000)  # it stands in a pair for each of the function's parameters, in every round
def function_text(function: Function, *draw: str) -> str:
    """Return the second text: name, summary, signature and description, without what the parameters' table says.

    Where it ends is drawn from its hash, with another ``draw`` elsewhere.
    """
    signature = ", ".join(_in_signature(parameter) for parameter in function.parameters if parameter.name != "self")
    text = f"{function.name}({signature}) {function.summary} {function.description}"
    wanted = round(math.exp(LENGTH.inv_cdf(chance("length", text, *draw))))
    ends = [match.end() for match in re.finditer(r"[^\W_]+|[^\w\s]|_", text)]
    return text if len(ends) <= wanted else text[: ends[wanted - 1]].rsplit(" ", 1)[0]


def _in_signature(parameter: Parameter) -> str:
    kind = f": {parameter.type}" if parameter.type else ""
    return f"{parameter.name}{kind}{f'={parameter.default}' if parameter.default else ''}"[:SIGNATURE_PART]
