import os
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import product

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from fflib.data import docs_task
from fflib.data.docstrings import LENGTH, read_docs, split_docstring
from fflib.files import InputError

NO_MINIMUM = {"train": 0, "dev": 0, "test": 0}
VERBS = ["count", "paint", "carry", "weigh", "mend", "sort", "wash", "name", "dry", "lift"]
THINGS = ["pebbles", "kettles", "ladders", "lanterns", "barrels", "ropes", "saddles", "bells", "maps", "clocks"]


def describe(verb, thing, place):
    """A docstring about as long as a real one, whose words hang together with its first sentence."""
    body = (
        f"Whoever wants to {verb} the {thing} walks down to the {place} in the morning and asks the keeper for leave. "
    )
    body += f"The keeper knows which {thing} are there and how many of them the {place} can hold until winter comes. "
    return f'"""{verb.title()} all the {thing} of the {place}.\n\n    {body}Then the work is done before noon.\n    """'


@pytest.fixture
def orchard(tmp_path, monkeypatch):
    """An importable package of 40 files with 10 docstrings each, and a folder of tests that must not be read."""
    folder = tmp_path / "orchard"
    (folder / "tests").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('the package was imported')\n")
    (folder / "broken.py").write_text("def half(:\n")
    for number in range(40):
        place = "barn" + "abcdefghij"[number % 10] * (number + 1)
        functions = [
            f"def f{i}():\n    {describe(verb, THINGS[(i + number) % 10], place)}\n" for i, verb in enumerate(VERBS)
        ]
        (folder / f"part{number}.py").write_text("\n".join(functions))
    (folder / "tests" / "test_part.py").write_text(f"def f():\n    {describe('test', 'nothing', 'cellar')}\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_files_are_found_and_read_without_import(orchard):
    docs = list(read_docs(["orchard"]))
    assert 390 <= len(docs) <= 400  # a few are drawn too short
    assert {doc.module for doc in docs} == {f"orchard/part{number}.py" for number in range(40)}
    assert docs[0].summary == "Count all the pebbles of the barna."
    assert docs[0].passage.startswith("Whoever wants to count the pebbles")
    assert "orchard" not in sys.modules


def test_a_small_corpus_keeps_the_invariants(orchard):
    splits = docs_task.build(["orchard"], NO_MINIMUM)
    assert list(splits) == ["train", "dev", "test"]
    assert all(splits.values())
    check_invariants(splits)


def test_too_few_examples_are_refused_with_the_packages_to_install(orchard):
    with pytest.raises(InputError, match=r"docs: train has \d+ examples, 6000 are needed; the installed versions"):
        docs_task.build(["orchard"])
    with pytest.raises(InputError, match="install no_such_package_here"):
        docs_task.build(["orchard", "no_such_package_here"])


def test_copies_are_dropped_wherever_they_stand(orchard):
    before = list(read_docs(["orchard"]))
    (orchard / "orchard" / "zcopy.py").write_text((orchard / "orchard" / "part3.py").read_text())
    after = list(read_docs(["orchard"]))
    assert len(after) == len(before) + 10
    kept = [docs_task._without_copies(iter(docs)) for docs in (before, after)]
    assert kept[0] == kept[1]


def test_of_many_rivals_the_wrong_summary_shares_most_words(orchard, monkeypatch):
    monkeypatch.setattr(docs_task, "RIVALS", 24)
    records = docs_task.build(["orchard"], NO_MINIMUM)["train"]
    wrong = [record for record in records if record["label"] == "no"]
    shared = [record["summary"].split()[3] in record["passage"] for record in wrong]  # the thing: by chance, one in ten
    assert np.mean(shared) > 0.3


def test_the_same_packages_give_the_same_bytes(orchard):
    code = """
from fflib import files
from fflib.data import docs_task
splits = docs_task.build(["orchard", "tabulate", "threadpoolctl"], dict.fromkeys(["train", "dev", "test"], 0))
print(files.content_hash(splits))
"""
    paths = os.pathsep.join([str(orchard), *sys.path])
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.strip()) == 16


def test_the_cache_is_read_and_a_damaged_one_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path))
    splits = {"train": [{"summary": "S"}], "dev": [], "test": []}
    calls = []
    monkeypatch.setattr(docs_task, "build", lambda: calls.append(1) or splits)
    assert docs_task.load() == docs_task.load() == splits
    assert len(calls) == 1
    (path,) = (tmp_path / "docs").iterdir()
    path.write_text('{"train": [')
    assert docs_task.load() == splits
    assert len(calls) == 2


LONG = (
    "The old mill by the stream has stood there since the first settlers came over the hills and built it of stone. "
    * 3
)


@pytest.mark.parametrize(
    ("docstring", "summary", "start"),
    [
        (f"Grind the corn of the village. {LONG}", "Grind the corn of the village.", "The old mill by"),
        (
            f"grind(corn) -> flour\n\nGrind the corn of the village.\n\n{LONG}",
            "Grind the corn of the village.",
            "The old",
        ),
        (f"Grind the :func:`corn <x.corn>` of ``it``.\n\n{LONG}", "Grind the corn of it.", "The old mill"),
        (f"Grind the corn, e.g. rye or oats.\n\n{LONG}", "Grind the corn, e.g. rye or oats.", "The old mill"),
        (
            f"Grind the corn of it.\n\nParameters\n----------\ncorn : bag\n    {LONG}",
            None,
            "Parameters: corn (bag): The",
        ),
        (f"Grind the corn of it.\n\n:param corn: a bag\n:type corn: str\n\n{LONG}", None, "corn: a bag The old mill"),
        (f"Grind the corn of it.\n\n>>> grind(1)\n2\n\n{LONG}", None, "The old mill"),
        (f"Grind the corn of it.\n\n```python\ngrind(1)\n\nx\n```\n{LONG}", None, "The old mill"),
        (f"Grind the corn of it.\n\nSo::\n\n    grind(1)\n\n    x\n\n{LONG}", None, "So: The old mill"),
        (f"Grind the corn of it.\n\n.. code-block:: c\n\n   grind()\n\n{LONG}", None, "The old mill"),
        (f"Grind the corn of it.\n\n.. note:: Mind.\n\n{LONG}", None, "Mind. The old mill"),
        (f"Grind the corn of it.\n\n.. note::\n\n   Mind.\n\n{LONG}", None, "Mind. The old mill"),
        (f"Grind the corn of it.\n\n.. seealso::\n\n   Mind.\n\n{LONG}", None, "The old mill"),
        (
            f"Grind the corn of it.\n\nSee Also\n--------\nmill : Grinds.\n\nNotes\n-----\n{LONG}",
            None,
            "Notes: The old mill",
        ),
        (f"Grind the corn of it.\n\n=== ===\nA   B\n=== ===\n\n{LONG}", None, "A B: The old mill"),
    ],
)
def test_docstrings_become_prose(docstring, summary, start):
    found = split_docstring(docstring)
    assert found is not None
    assert found[0] == (summary or "Grind the corn of it.")
    assert found[1].startswith(start)


@pytest.mark.parametrize(
    "docstring",
    [
        "",
        "Grind the corn of the village.",
        "Grind the corn of the village.\n\nThe mill stands by the stream.",
        f"Grind.\n\n{LONG}",
        f"grind the corn of the village.\n\n{LONG}",
        f"Grind the corn of the village.\n\nWe grind the corn of the village here. {LONG}",
        f"Grind the corn of the village.\n\n%(what_it_is)s {LONG}",
        "Grind the corn of the village.\n\n" + "x = 1 + 2 * (3 / 4) ; " * 30,
    ],
)
def test_what_makes_no_pair_is_left_out(docstring):
    assert split_docstring(docstring) is None


def test_passages_are_cut_at_sentences_to_lengths_that_vary():
    sentences = [f"The {verb}er of {thing} lives in the {place} house by the sea." for verb, thing, place in
                 product(VERBS, THINGS, ["red", "blue"])]  # fmt: skip
    passages = [
        split_docstring(f"Tell where they live now.\n\n{' '.join(sentences[i:] + sentences[:i])}")[1] for i in range(60)
    ]
    lengths = [len(passage.split()) for passage in passages]
    assert all(passage.endswith("by the sea.") for passage in passages)
    assert np.median(lengths) == pytest.approx(np.exp(LENGTH.mean) * 12 / 13, rel=0.2)  # 13 words and signs a sentence
    assert min(lengths) < 100 < 200 < max(lengths)


@pytest.fixture(scope="module")
def real():
    return docs_task.load()


def test_the_real_corpus_is_large_enough_and_keeps_the_invariants(real):
    assert all(len(real[split]) >= least for split, least in docs_task.MINIMUM.items())
    check_invariants(real)


def test_the_real_corpus_is_as_long_as_boolq(real):
    signs = TfidfVectorizer(token_pattern=r"[^\W_]+|[^\w\s]|_").build_tokenizer()
    lengths = np.array([len(signs(record["summary"] + record["passage"])) for record in real["train"]])
    tokens = 1.15 * lengths  # WordPiece splits rare words; the factor was measured with MiniLM's tokenizer
    assert 120 < tokens.mean() < 160
    assert (tokens < 40).mean() < 0.02
    assert 0.002 < (tokens > 400).mean() < 0.02


@pytest.mark.parametrize("field", ["summary", "passage"])
def test_one_text_alone_says_nothing_about_the_label(real, field):
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True, min_df=2), LogisticRegression(max_iter=300))
    model.fit([record[field] for record in real["train"]], [record["label"] for record in real["train"]])
    accuracy = model.score([record[field] for record in real["test"]], [record["label"] for record in real["test"]])
    assert 0.46 < accuracy < 0.54


def test_shared_words_alone_do_not_solve_it(real):
    words = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit([r["passage"] for r in real["train"]])

    def overlap(records):
        summaries, passages = (
            words.transform([record[field] for record in records]) for field in ("summary", "passage")
        )
        return 10 * np.asarray(summaries.multiply(passages).sum(axis=1)), [record["label"] for record in records]

    accuracy = LogisticRegression().fit(*overlap(real["train"])).score(*overlap(real["test"]))
    assert 0.55 < accuracy < 0.87


def check_invariants(splits):
    """What holds for every build: no file, summary or passage in two splits or used twice, labels half and half."""
    for field in ("summary", "passage"):
        texts = Counter(" ".join(record[field].lower().split()) for records in splits.values() for record in records)
        assert max(texts.values()) == 1
    modules = [{record["module"] for record in records} for records in splits.values()]
    assert not modules[0] & modules[1] | modules[0] & modules[2] | modules[1] & modules[2]
    for records in splits.values():
        labels = defaultdict(Counter)
        for record in records:
            labels[record["module"].split("/")[0]][record["label"]] += 1
            assert record["summary"].rstrip(".").lower() not in record["passage"].lower() or record["label"] == "no"
        assert all(count["yes"] == count["no"] for count in labels.values())
