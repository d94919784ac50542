"""The page "try it" of a small run: the same tokens and answers in JavaScript as in Python, also with no server."""

from __future__ import annotations

import functools
import random

import browser_model
import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_markdown_cell, new_notebook

from fflib.book import render, try_it, try_it_files, vendor
from fflib.data import registry, splits
from fflib.data.metrics import Gold
from fflib.engine import export, sessions
from fflib.files import ROOT, InputError, write_json
from fflib.model import checkpoints, encoder
from fflib.quantization import recipes
from fflib.runtime.first_token import FirstTokenClassifier
from fflib.talk import browser

TOKENIZER = "sentence-transformers/all-MiniLM-L6-v2"
ODD = [
    "naïve Ünïcödé",
    "東京 is 東京",
    "ﬁne – “quotes” …",
    "a\u200bb\u00a0c\td\r\ne",
    "👩\u200d🚀 e\u0301 \ufffd",
    "[SEP] [MASK]",
]
RECORD = {
    "chapter": "07_serving", "key": "", "written": "", "machine": {"cpu": "A processor (family 1)"},
    "rungs": [{"rung": "one thread", "batch_size": 1, "latency_p50_ms": 2.5, "accuracy": 0.7125}],
}  # fmt: skip
EMBEDDINGS_TOO = recipes.RECIPES["embeddings too"]
needs_all = pytest.mark.skipif(bool(browser_model.lacking()), reason=browser_model.lacking())


@functools.cache
def pairs() -> list[tuple[str, str]]:
    """A thousand: lines of this project's own files, odd characters among them, and some that have to be cut."""
    files = [ROOT / "README.md", *sorted((ROOT / "fflib").rglob("*.py"))]
    lines = dict.fromkeys(line.strip() for file in files for line in file.read_text().splitlines() if line.strip())
    rng = random.Random(0)
    chosen = rng.sample([*lines], 1760)
    odd = [" ".join(rng.sample([*ODD, *chosen[:50]], 8)) for _ in range(200)]
    long = [" ".join(rng.sample(chosen, n)) for n in range(2, 82, 2)]  # the longest have more than a thousand tokens
    texts = [*chosen, *odd, *long]
    rng.shuffle(texts)
    return list(zip(texts[:1000], texts[1000:], strict=True))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run that has chosen a small model in eight bits, of random weights, and one chapter to read."""
    folder = tmp_path_factory.mktemp("outputs") / "docs-cpu-smoke"
    torch.manual_seed(0)
    layers = tuple(encoder.LayerShape(2, 16, 64) for _ in range(2))
    config = encoder.EncoderConfig(vocab_size=30522, hidden_size=32, layers=layers, max_position_embeddings=512)
    model = encoder.Classifier(config, 2).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights) * 0.2)
    checkpoints.save(model, folder / "models" / "student", checkpoints.load_tokenizer(TOKENIZER))
    whole = export.save_onnx(FirstTokenClassifier(model), folder / "models" / "model.onnx")
    with export.quiet():
        served = recipes.quantize(whole, folder / "models" / "dynamic.onnx", recipes.RECIPES["dynamic"])
    facts = {"served": {"onnx": str(served), "tokenizer": str(folder / "models" / "student"), "rung": "one thread"}}
    parameters = {"task": "docs", "data_source": "auto"}
    write_json(folder / "results" / "07_serving.json", RECORD | {"facts": facts, "parameters": parameters})
    nbformat.write(new_notebook(cells=[new_markdown_cell("# 5 · Quantisation")]), folder / "05_quantization.ipynb")
    return folder


@pytest.fixture(autouse=True)
def _texts(monkeypatch):
    """The task's dev texts: lines of this project."""
    gold = Gold(np.zeros(try_it.N_TEXTS, int))
    dev = splits.text_split("docs", "dev", pairs()[: try_it.N_TEXTS], gold)
    monkeypatch.setattr(splits, "load_split", lambda *_, **__: dev)


@pytest.fixture(scope="module")
def book(run_folder, tmp_path_factory):
    """The rendered book's folder."""
    with pytest.MonkeyPatch.context() as patch:
        dev = splits.text_split("docs", "dev", pairs()[: try_it.N_TEXTS], Gold(np.zeros(try_it.N_TEXTS, int)))
        patch.setattr(splits, "load_split", lambda *_, **__: dev)
        return render.build(run_folder).parent


@needs_all
def test_tokens_and_answers_are_those_of_python(run_folder, book):
    told = browser_model.settings((book / "try_it.html").read_text())
    folder = book / try_it.FOLDER
    tokenizer = checkpoints.load_tokenizer(run_folder / "models" / "student")
    ids, types = splits.encode(pairs(), tokenizer, told["maxLength"])
    assert max(map(len, ids)) == told["maxLength"] and min(map(len, ids)) < 20
    found = browser_model.ask(folder, told, [{"fields": pair, "logits": i < 200} for i, pair in enumerate(pairs())])
    assert [(row["ids"], row["types"]) for row in found] == [
        (a.tolist(), b.tolist()) for a, b in zip(ids, types, strict=True)
    ]
    session = sessions.onnx_session(browser_model.unpacked(folder / "model.onnx.js"), 1)
    browser_model.assert_same_answers(session, found[:200])


@needs_all
def test_where_all_words_are_too_many_those_of_train_are_kept_and_a_text_with_another_is_told(
    run_folder, monkeypatch, tmp_path
):
    """The texts of train are here those of dev, so of the pairs after them some have other words."""
    monkeypatch.setattr(try_it, "LARGEST_MB", 6.4)  # with all words it is 6.9
    page = try_it.page_of(run_folder)
    for name, content in page.files.items():
        (tmp_path / name).write_bytes(content)
    told = browser_model.settings(page.text)
    assert 100 < len(told["kept"]) < 5000 and "100.0% of the dev texts hold no other" in page.text
    known = pairs()[: try_it.N_TEXTS]
    requests = [{"fields": pair, "logits": True} for pair in known]
    *found, other = browser_model.ask(tmp_path, told, [*requests, {"fields": [known[0][0], "zebra"]}])
    model = recipes.quantize(run_folder / "models" / "model.onnx", tmp_path / "model.onnx", EMBEDDINGS_TOO)
    browser_model.assert_same_answers(sessions.onnx_session(model, 1), found)
    assert other["unknown"] == ["zebra"] and not any(row["unknown"] for row in found)


@needs_all
@pytest.mark.skipif(not browser.found(), reason="there is no Chromium here")
def test_the_page_answers_from_the_file_system_without_a_network(book):
    with browser.opened(offline=True) as page:
        page.go((book / "try_it.html").as_uri())
        page.value("document.getElementById('try-it').requestSubmit()")
        page.until("!/measured/.test(document.getElementById('try-it-here').textContent)")
        assert page.value("document.querySelector('#try-it-answer strong').textContent") in ("no", "yes")
        assert page.value("document.getElementById('try-it-here').textContent").endswith(" ms")
        assert page.value("document.getElementById('try-it-status').textContent") == ""
        page.value("document.getElementById('try-it-1').value = ' '; document.getElementById('try-it').requestSubmit()")
        assert "Fill in parameter and function" in page.value("document.getElementById('try-it-status').textContent")
        assert all(address.startswith(("file:", "blob:", "data:", "about:")) for address in page.requests())


@needs_all
def test_the_page_states_its_size_and_the_native_number_and_holds_no_text_of_the_data(book):
    text = (book / "try_it.html").read_text()
    files = [path for path in (book / try_it.FOLDER).iterdir() if path.name not in ("page.js", "LICENSES.txt")]
    assert sum(path.stat().st_size for path in files) / 1e6 < try_it.LARGEST_MB
    assert f"{sum(path.stat().st_size for path in files) / 1e6:.0f} MB" in text
    assert "2.5 ms" in text and "71.2%" in text and "A processor (family 1)" in text and "kettle" in text
    assert "try_it.html" in (book / "index.html").read_text()
    assert not any(line in text for pair in pairs()[:200] for line in pair if len(line) > 30)
    licences = (book / try_it.FOLDER / "LICENSES.txt").read_text()
    assert "MIT" in licences and "Apache License" in licences


@needs_all
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"least": 1.01}, "embeddings in eight bits keep"),
        ({"largest": 0.1}, "more than 0: take a smaller student"),
        ({"task": "WiC"}, "reads marked words"),
    ],
)
def test_why_there_is_no_page_is_one_sentence(run_folder, monkeypatch, change, says):
    if "least" in change:
        chapter = {"chapter": "06_runtime", "parameters": {"min_agreement": change["least"]}}
        monkeypatch.setattr(try_it.records, "readable", lambda _: {"": chapter})
    if "largest" in change:
        monkeypatch.setattr(try_it, "LARGEST_MB", change["largest"])
    if "task" in change:
        wic = registry.get_task("WiC")
        monkeypatch.setattr(registry, "get_task", lambda _: wic)
    with pytest.raises(InputError, match=says):
        try_it.page_of(run_folder)


def test_a_run_below_its_rule_with_such_embeddings_has_no_page(run_folder, monkeypatch):
    rung = {"rung": try_it.EMBEDDINGS_RUNG, "keeps_rule": "no"}
    monkeypatch.setattr(try_it.records, "readable", lambda _: {"": {"chapter": "05_quantization", "rungs": [rung]}})
    with pytest.raises(InputError, match="below the rule of accuracy"):
        try_it.page_of(run_folder)


def test_without_front_end_files_the_book_says_so_in_a_sentence(run_folder, monkeypatch, capsys):
    monkeypatch.setattr(vendor, "there", lambda _: False)
    assert render._trial(run_folder) is None
    said = 'the book has no page "try it": fetch its front-end files with python -m fflib.book.vendor\n'
    assert capsys.readouterr().out == said


def test_a_run_without_chapter_7_has_no_page_and_nothing_is_said(tmp_path, capsys):
    assert render._trial(tmp_path) is None and capsys.readouterr().out == ""


@needs_all
def test_a_damaged_record_is_told_and_the_book_is_made_all_the_same(tmp_path, capsys):
    write_json(tmp_path / "results" / "07_serving.json", {})
    assert render._trial(tmp_path) is None and "is damaged" in capsys.readouterr().out


def test_a_text_takes_its_place_between_the_special_tokens():
    tokenizer = checkpoints.load_tokenizer(TOKENIZER)
    cls, sep = [tokenizer.cls_token_id, 0], [tokenizer.sep_token_id, 0]
    first, second = {"text": 0, "type": 0}, {"text": 1, "type": 1}
    assert try_it_files.frame(tokenizer, 1) == [cls, first, sep]
    assert try_it_files.frame(tokenizer, 2) == [cls, first, sep, second, [tokenizer.sep_token_id, 1]]


def test_embeddings_that_the_recipe_rounded_are_not_rounded_again(run_folder, tmp_path):
    graph = export.load(run_folder / "models" / "model.onnx")
    once = try_it_files.with_small_rows(graph)
    assert len(once.SerializeToString()) < 0.5 * len(graph.SerializeToString())
    assert try_it_files.with_small_rows(once) is once


def test_each_task_without_marked_words_has_an_example_with_a_text_for_each_field():
    tasks = [task for task in registry.named() if not task.spans]
    assert {task.name for task in tasks} == try_it.EXAMPLES.keys()
    assert all(len(try_it.EXAMPLES[task.name]) == len(task.text_fields) for task in tasks)
