"""The embedded task `docs`: does this summary describe this documentation text?

Its text is the docstrings of packages that the book needs anyway, read with `ast`: nothing is imported, downloaded or
redistributed. A docstring's first sentence is the *summary*, the rest is the *passage*. Half of the passages keep their
own summary ("yes"), half get another one's ("no"). Three choices keep a model from winning without reading both texts:

* every summary and every passage is used once, so neither alone says anything about the label;
* a wrong summary comes from the same package, and of several it is the one that shares most words with the passage;
* whole files go to train, dev or test, and copies are dropped, so nothing can be learnt by heart.

Every choice follows from hashes of the text: the same packages give the same bytes.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.feature_extraction.text import TfidfVectorizer

from fflib.data import docstrings
from fflib.data.docstrings import Doc, chance, package_folder, read_docs
from fflib.files import InputError, cache_dir, content_hash, write_json

PACKAGES = (
    *("IPython", "PIL", "babel", "click", "datasets", "docutils", "fontTools", "fsspec", "huggingface_hub", "jinja2"),
    *("joblib", "matplotlib", "mpmath", "narwhals", "networkx", "numpy", "onnxruntime", "onnxscript", "pandas"),
    *("prompt_toolkit", "pydantic", "pyparsing", "rich", "scipy", "sklearn", "sphinx", "sqlalchemy", "sympy", "torch"),
    *("tornado", "transformers"),
)
SPLIT_ENDS = {"train": 0.76, "dev": 0.85, "test": 1.0}  # 76 % of the files are train, 9 % dev, 15 % test
MINIMUM = {"train": 6000, "dev": 1000, "test": 1500}  # examples
RIVALS = 3  # a wrong summary is the hardest of so many; as many in every split, or train, with more, would be harder
SAME_MEANING = 0.5  # a summary this close to the true one (TF-IDF cosine) may be right too: no fair "no"

Record = dict[str, str]


def load() -> dict[str, list[Record]]:
    """Return the splits "train", "dev", "test": records with ``summary``, ``passage``, ``label`` and ``module``.

    Built once (under a minute) and cached under the packages' versions and the code that makes it.
    InputError: the installed packages hold too little text.
    """
    distributions = importlib.metadata.packages_distributions()
    versions = {name: [importlib.metadata.version(d) for d in distributions.get(name, ())] for name in PACKAGES}
    sources = Path(__file__), Path(docstrings.__file__)
    path = cache_dir("docs") / f"{content_hash(versions, sys.version_info[:2], *sources)}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or damaged
        splits = build()
        write_json(path, splits)
        return splits


def build(packages: Sequence[str] = PACKAGES, minimum: Mapping[str, int] = MINIMUM) -> dict[str, list[Record]]:
    """Make the three splits from the docstrings of ``packages``; one that is not installed is left out.

    InputError: a split has fewer than ``minimum[split]`` examples.
    """
    groups: dict[tuple[str, str], list[Doc]] = {}
    for doc in _without_copies(read_docs(packages)):
        groups.setdefault((_split_of(doc.module), doc.package), []).append(doc)
    splits: dict[str, list[Record]] = {name: [] for name in SPLIT_ENDS}
    for (split, _), docs in groups.items():
        splits[split] += _pair_up(docs)
    for split, records in splits.items():
        records.sort(key=lambda record: chance("order", record["passage"]))
        if len(records) < minimum[split]:
            missing = [name for name in packages if not package_folder(name)]
            hint = f"install {', '.join(missing)}" if missing else "the installed versions have too few docstrings"
            raise InputError(f"docs: {split} has {len(records)} examples, {minimum[split]} are needed; {hint}")
    return splits


def _without_copies(docs: Iterator[Doc]) -> list[Doc]:
    """Drop docstrings whose summary, or the start of whose passage, has the same plain words as an earlier one's."""
    kept, seen = [], set()
    for doc in docs:
        keys = {doc.summary.lower(), _plain(doc.summary), _plain(doc.passage)[:150]}
        if seen.isdisjoint(keys):
            kept.append(doc)
        seen |= keys
    return kept


def _plain(text: str) -> str:
    """The text's words without names and numbers, for copies often differ by a class's name only."""
    return " ".join(re.findall(r"(?<![\w.])[a-z]+(?![\w(])", text[:1].lower() + text[1:]))


def _split_of(module: str) -> str:
    number = chance("split", module)
    return next(name for name, end in SPLIT_ENDS.items() if number < end)


def _pair_up(docs: list[Doc]) -> list[Record]:
    """Turn the docstrings of one package and split into records, half "yes" and half "no"."""
    docs = sorted(docs, key=lambda doc: chance("side", doc.summary))
    true, false = docs[: len(docs) // 2], docs[len(docs) // 2 :]
    others = [other for start in range(0, len(false), RIVALS) for other in _hardest(false[start : start + RIVALS])]
    wrong = [(doc, other) for doc, other in zip(false, others, strict=True) if other]
    right = [(doc, doc) for doc in true[: len(wrong)]]
    labelled = [("yes", pair) for pair in right] + [("no", pair) for pair in wrong[: len(right)]]
    return [
        {"summary": other.summary, "passage": doc.passage, "label": label, "module": doc.module}
        for label, (doc, other) in labelled
    ]


def _hardest(docs: list[Doc]) -> list[Doc | None]:
    """Permute the docstrings: each gets the one whose summary it will carry, or None if only near copies were left.

    Of all permutations it is the one with most words shared by summary and passage in sum: the hardest wrong answers
    that still use each summary once.
    """
    if len(docs) < 2:
        return [None] * len(docs)
    words = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit([f"{d.summary} {d.passage}" for d in docs])
    summaries, passages = words.transform([d.summary for d in docs]), words.transform([d.passage for d in docs])
    similarity = (summaries @ summaries.T).toarray()
    likeness = (passages @ summaries.T).toarray() + 0.5 * similarity
    allowed = similarity < SAME_MEANING
    np.fill_diagonal(allowed, False)
    rows, columns = linear_sum_assignment(np.where(allowed, likeness.round(4), -100.0), maximize=True)
    return [docs[column] if allowed[row, column] else None for row, column in zip(rows, columns, strict=True)]
