import ast
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from fflib.data import docs_task, docs_transfer, docstrings
from fflib.files import InputError

NO_MINIMUM = {"train": 0, "dev": 0, "test": 0}
VERBS = ["count", "paint", "carry", "weigh", "mend", "sort", "wash", "name", "dry", "lift"]
THINGS = ["pebbles", "kettles", "ladders", "lanterns", "barrels", "ropes", "saddles", "bells", "maps", "clocks"]


def docstring(style, entries, summary="Carry the load over the hill.", more=""):
    """A docstring whose table describes ``entries``, a dict from name to text, in one of the three styles."""
    tables = {
        "numpydoc": "Parameters\n----------\n" + "\n".join(f"{n} : str\n    {t}" for n, t in entries.items()),
        "google": "Args:\n" + "\n".join(f"    {n} (str): {t}" for n, t in entries.items()),
        "sphinx": "\n".join(f":param {n}: {t}" for n, t in entries.items()),
    }
    return f"{summary}\n\n{more}{tables[style]}"


def function(entries, style="google", **options):
    text = docstring(style, entries, **options).replace("\n", "\n    ")
    return f'def carry({", ".join(entries)}):\n    """{text}\n    """\n'


def read(source):
    return list(docstrings.functions_of(ast.parse(source), "orchard", "orchard/part.py"))


def sentence(verb, thing, place):
    return f"Who may {verb} {thing} of {thing} in {place}, by {verb}ing each."


@pytest.fixture
def orchard(tmp_path, monkeypatch):
    """An importable package of 40 files with a function of 10 parameters each, and tests that must not be read."""
    folder = tmp_path / "orchard"
    (folder / "tests").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('the package was imported')\n")
    (folder / "broken.py").write_text("def half(:\n")
    for number in range(40):
        place = "barn" + "abcdefghij"[number % 10] * (number + 1)
        names = [f"{verb}s" if i % 3 == 0 else f"p{i}" for i, verb in enumerate(VERBS)]  # most fit no description
        texts = [sentence(verb, THINGS[(i + number) % 10], place) for i, verb in enumerate(VERBS)]
        entries = dict(zip(names, texts, strict=True))
        style = ("numpydoc", "google", "sphinx")[number % 3]
        (folder / f"part{number}.py").write_text(function(entries, style))
    (folder / "tests" / "test_part.py").write_text(function({"one": "What a test is made of.", "two": "And then."}))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_files_are_found_and_read_without_import(orchard):
    functions = list(docstrings.read_functions(["orchard"]))
    assert [f.module for f in functions] == sorted(f"orchard/part{number}.py" for number in range(40))
    first = functions[0]
    assert (first.name, first.summary) == ("orchard.carry", "Carry the load over the hill.")
    assert first.parameters[0] == ("counts", "", "", "Who may count pebbles of pebbles in barna, by counting each.")
    assert all(len(f.parameters) == 10 and all(p.description for p in f.parameters) for f in functions)
    assert "orchard" not in sys.modules


@pytest.mark.parametrize("style", ["numpydoc", "google", "sphinx"])
def test_a_function_has_its_signature_from_the_code_and_its_words_from_the_table(style):
    entries = {"load": "What is carried up and down again.", "hill": "The `hill` it is :func:`carried` over, see [1]_."}
    text = docstring(style, entries, more="It rests on the top.\n\n").replace("\n", "\n        ")
    code = f'''class Mule:
    def carry(self, load: list[str], hill="Snowdon", *rest, fast: bool = True, **kwargs):
        """{text}
        """
'''
    (found,) = read(code)
    assert found.name == "orchard.Mule.carry"
    assert (found.summary, found.description) == ("Carry the load over the hill.", "It rests on the top.")
    assert found.parameters == (
        ("self", "", "", ""),
        ("load", "list[str]", "", "What is carried up and down again."),
        ("hill", "", "'Snowdon'", "The hill it is carried over, see ."),
        ("fast", "bool", "True", ""),
    )


def test_of_a_class_the_parameters_are_those_of_its_init():
    table = docstring("numpydoc", {"load": "What is carried up and down.", "hill": "What it is carried over."})
    body = table.replace("\n", "\n    ")
    (found,) = read(f'class Mule:\n    """{body}\n    """\n    def __init__(self, load, hill=None):\n        pass\n')
    assert [p.name for p in found.parameters] == ["self", "load", "hill"]


@pytest.mark.parametrize(
    "entries",
    [
        {"load": "What is carried up and down."},  # one alone has no partner
        {"load": "What is carried up and down.", "hill": "A hill."},  # too short
        {"load": "What is carried up and down.", "hill": "x = 1 + 2 * (3 / 4) ; " * 5},  # no prose
        {"load": "What is carried up and down.", "kwargs": "Whatever else the carrier asks for."},
        {"load": "What is carried up and down.", "hill": "The %(hill)s it is carried over."},  # a template
    ],
)
def test_a_function_with_fewer_than_two_descriptions_is_left_out(entries):
    assert read(function(entries)) == []


def test_a_description_is_prose_and_cut_at_a_sentence():
    long = "One walks up the hill in the morning with all that is to be carried. " * 8
    example = "What is carried. So\n            >>> mule(1)\n\n            And down again, with care."
    (found,) = read(function({"load": long, "hill": example}))
    load, hill = (parameter.description for parameter in found.parameters)
    assert load == ("One walks up the hill in the morning with all that is to be carried. " * 4).strip()
    assert hill == "What is carried. So And down again, with care."


def test_a_small_corpus_keeps_the_invariants(orchard):
    splits = docs_task.build(["orchard"], NO_MINIMUM)
    assert list(splits) == ["train", "dev", "test"]
    assert all(splits.values())
    check_invariants(splits)


def test_too_few_examples_are_refused_with_the_packages_to_install(orchard):
    with pytest.raises(InputError, match=r"docs: train has \d+ examples, 30000 are needed; the installed versions"):
        docs_task.build(["orchard"])
    with pytest.raises(InputError, match="install no_such_package_here"):
        docs_task.build(["orchard", "no_such_package_here"])


def test_copies_are_dropped_wherever_they_stand(orchard):
    before = list(docstrings.read_functions(["orchard"]))
    (orchard / "orchard" / "zcopy.py").write_text((orchard / "orchard" / "part3.py").read_text())
    after = list(docstrings.read_functions(["orchard"]))
    assert len(after) == len(before) + 1
    kept = [list(docs_task._without_copies(functions)) for functions in (before, after)]
    assert kept[0] == kept[1] == before


def test_those_that_share_most_words_are_partners_and_each_round_has_others():
    entries = {
        "top": "The highest point that a mule can reach before winter.",
        "low": "The lowest place that a mule should stay in before winter.",
        "fee": "What a carrier is paid for all his trouble.",
        "tax": "What a carrier has to pay for all his trouble.",
    }
    (found,) = read(function(entries))
    rounds = docs_task.pair_up(found, 3)
    partners = [frozenset((a.parameter, b.parameter)) for a, b in zip(rounds[::2], rounds[1::2], strict=True)]
    assert set(partners[:2]) == {frozenset((0, 1)), frozenset((2, 3))}  # most shared words come first
    assert len(set(partners)) == len(partners) == 6  # all pairs of four, each once
    for one, other in zip(rounds[::2], rounds[1::2], strict=True):
        assert one.label == other.label  # both stay, or both change places
        assert {one.described, other.described} == {one.parameter, other.parameter}


def test_descriptions_that_may_both_be_right_are_no_partners():
    (found,) = read(function({"x": "The first of the two end points.", "y": "The second of the two end points."}))
    assert docs_task.pair_up(found, 1) == []  # five of seven words are shared


@pytest.mark.parametrize(
    ("name", "description", "fit"),
    [
        ("max_iter", "largest number of iter before max is reached", 3),
        ("maxIter", "the max of steps", 2),
        ("max_iter", "how many iterations there may be", 1),
        ("max_iter", "how often it may be repeated", 0),
        ("x", "how far it extends", 0),  # a letter is no stem
        ("_", "how far it extends", 0),
    ],
)
def test_how_well_a_name_fits_a_description(name, description, fit):
    assert docs_task.name_in(name, docs_task.words(description)) == fit


def test_where_counting_words_sees_the_same_as_many_are_yes_as_no(orchard):
    pairs = [pair for f in docstrings.read_functions(["orchard"]) for pair in docs_task.pair_up(f, 2)]
    kept = docs_task.balanced(pairs)
    assert 0 < len(kept) < len(pairs)
    counts = Counter((docs_task.word_clues(pair), pair.label) for pair in kept)
    assert all(counts[clues, "yes"] == counts[clues, "no"] for clues, _ in counts)
    lost = Counter(docs_task.word_clues(pair) for pair in pairs) - Counter(map(docs_task.word_clues, kept))
    all_labels = Counter((docs_task.word_clues(pair), pair.label) for pair in pairs)
    for clues in lost:  # nothing is lost that had an opposite
        assert lost[clues] == abs(all_labels[clues, "yes"] - all_labels[clues, "no"])


def test_the_balanced_part_of_train_is_marked(orchard, monkeypatch):
    splits = docs_task.build(["orchard"], NO_MINIMUM)
    monkeypatch.setattr(docs_task, "load", splits.get)
    for split in ("dev", "test"):
        assert docs_task.balanced_places(split) == list(range(len(splits[split])))
    train = splits["train"]
    places = docs_task.balanced_places("train")
    assert 0 < len(places) < len(train)
    labels = Counter(train[place]["label"] for place in places)
    assert labels["yes"] == labels["no"]


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
    splits = {"train": [{"parameter": "S"}], "dev": [], "test": []}
    calls = []
    monkeypatch.setattr(docs_task, "build", lambda: calls.append(1) or splits)
    assert {name: docs_task.load(name) for name in splits} == splits
    assert len(calls) == 1
    (path,) = (tmp_path / "docs").glob("*-train.json")
    path.write_text('[{"parameter"')
    assert docs_task.load("train") == splits["train"]
    assert len(calls) == 2


@pytest.fixture(scope="module")
def real():
    return {split: docs_task.load(split) for split in docs_task.SPLIT_ENDS}


def test_the_real_corpus_is_large_enough_and_keeps_the_invariants(real):
    assert all(len(real[split]) >= least for split, least in docs_task.MINIMUM.items())
    check_invariants(real)


def test_the_real_corpus_is_as_long_as_boolq(real):
    signs = TfidfVectorizer(token_pattern=r"[^\W_]+|[^\w\s]|_").build_tokenizer()
    lengths = np.array([len(signs(record["parameter"] + record["function"])) for record in real["test"]])
    tokens = 1.15 * lengths  # WordPiece splits rare words; the factor was measured with MiniLM's tokenizer
    assert 110 < tokens.mean() < 160
    assert (tokens < 30).mean() < 0.03
    assert 0.002 < (tokens > 350).mean() < 0.03


@pytest.mark.parametrize("fields", [["parameter"], ["function"], ["parameter", "function"]])
def test_words_alone_say_nothing_about_the_label(real, fields):
    def texts(split):
        return [" ".join(record[field] for field in fields) for record in real[split]]

    model = make_pipeline(TfidfVectorizer(sublinear_tf=True, min_df=2), LogisticRegression(max_iter=300))
    model.fit(texts("train"), [record["label"] for record in real["train"]])
    assert 0.46 < model.score(texts("test"), [record["label"] for record in real["test"]]) < 0.56


def check_invariants(splits):
    """What holds for every build: no file or description in two splits; in dev and test labels half and half."""
    seen = [{record["parameter"].partition(": ")[2].lower() for record in records} for records in splits.values()]
    modules = [{record["module"] for record in records} for records in splits.values()]
    for sets in (seen, modules):
        assert not sets[0] & sets[1] | sets[0] & sets[2] | sets[1] & sets[2]
    for name in ("dev", "test"):  # one round: each parameter is asked about once, each description given once
        pairs = Counter((record["function"], record["parameter"].partition(": ")[2]) for record in splits[name])
        assert max(pairs.values()) == 1
    labels = {name: Counter(record["label"] for record in records) for name, records in splits.items()}
    assert all(labels[name]["yes"] == labels[name]["no"] for name in ("dev", "test"))
    assert 0.4 < labels["train"]["yes"] / labels["train"].total() < 0.6  # a coin for each pair of parameters


def test_the_transfer_set_pairs_functions_of_train_more_often(orchard):
    pairs = docs_transfer.pairs(["orchard"])
    assert pairs and {docs_task.split_of(pair.function) for pair in pairs} == {"train"}
    in_train = [each for f in docs_task.functions(["orchard"]) for each in docs_task.pair_up(f, 4)]
    per_function = max(Counter(pair.function.module for pair in pairs).values())
    assert max(Counter(pair.function.module for pair in in_train).values()) < per_function <= 10 * 9
    met = Counter((p.function.module, p.parameter, p.described) for p in pairs if p.label == "no")
    assert max(met.values()) == 1, "two parameters meet once"


def test_the_transfer_set_has_no_example_twice_and_the_balanced_ones_first(orchard, monkeypatch):
    whole = docs_transfer.pairs(["orchard"])
    monkeypatch.setattr(docs_transfer, "pairs", lambda: whole)
    split, n_balanced = docs_transfer.load()
    assert 0 < n_balanced < len(split) <= len(whole) and len(set(split.texts)) == len(split)
    again, count = docs_transfer.load()
    assert (again.fingerprint, count) == (split.fingerprint, n_balanced)
    of_clueless = {docs_task.record(pair)["parameter"] for pair in docs_task.balanced(whole)}
    assert {texts[0] for texts in split.texts[:n_balanced]} <= of_clueless
