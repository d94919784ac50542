"""The folder to take home: alone it answers as the model does; it is whole or not there."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tokenizers
from conftest import tiny_classifier
from onnx import TensorProto, helper, numpy_helper
from packaging.requirements import Requirement
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from fflib import files
from fflib.book import take_home
from fflib.data import registry, splits, superglue
from fflib.data.metrics import Gold
from fflib.data.retention import Retention
from fflib.data.task import Span, Task
from fflib.engine import sessions
from fflib.files import ROOT, InputError, write_json
from fflib.measure import hardware
from fflib.model import checkpoints
from fflib.runs import params, provenance
from fflib.runs.ladder import Rung

WORDS = ["is", "it", "a", "river", "or", "the", "sea", "stone", "tree", "bird", "does", "have", "no"]
FILES = ["README.md", "classify.py", "config.json", "model.onnx", "requirements.txt", "tokenizer.json"]
GRAPH, MAX_LENGTH = "served.onnx", 32
NUMBERS = np.random.default_rng(0)
WEIGHTS = {  # of the graph that is taken home
    "words": NUMBERS.normal(size=(17, 8)).astype(np.float32),
    "types": NUMBERS.normal(size=(2, 8)).astype(np.float32),
    "head": 2 * NUMBERS.normal(size=(8, 2)).astype(np.float32),
}
MOOD = Task("Mood", ("text",), "label", ("so, so", "glad"), ("accuracy",), MAX_LENGTH, "What mood is it?")
# What a bare Python runs: classify.py, where only links are to be found, and where the network is out of bounds.
ALONE = """
import runpy, sys
def no_network(event, arguments):
    assert not event.startswith("socket."), event
sys.addaudithook(no_network)
links, *sys.argv = sys.argv[1:]
sys.path.insert(0, links)
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    assert not {"torch", "transformers", "onnx", "fflib", "site"} & sys.modules.keys()
    assert all("site-packages" not in path for path in sys.path)
"""


@pytest.fixture(autouse=True)
def _world(tmp_path, monkeypatch):
    """A cache of the test's own, short tasks, and results that count as current."""
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    boolq = replace(registry.get_task("BoolQ"), max_length=MAX_LENGTH)
    monkeypatch.setattr(registry, "named", lambda: (boolq, MOOD))
    monkeypatch.setattr(provenance, "chapter_key", lambda *_: "now")


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Path:
    """A folder with a tokenizer, and a graph whose answers depend on every token, on its type and on the order."""
    folder = tmp_path_factory.mktemp("models") / "served"
    checkpoints.save(tiny_classifier(), folder, make_tokenizer())
    names = ["input_ids", "attention_mask", "token_type_ids"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in names]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    weights = [numpy_helper.from_array(array, name) for name, array in {**WEIGHTS, "one": np.array([1])}.items()]
    steps = [
        helper.make_node("Gather", ["words", "input_ids"], ["word"]),
        helper.make_node("Gather", ["types", "token_type_ids"], ["type"]),
        helper.make_node("Add", ["word", "type"], ["token"]),
        helper.make_node("CumSum", ["token", "one"], ["sums"]),
        helper.make_node("Tanh", ["sums"], ["states"]),
        helper.make_node("ReduceMean", ["states", "one"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "head"], ["logits"]),
    ]
    graph = helper.make_graph(steps, "served", inputs, [output], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / GRAPH)
    return folder


@pytest.fixture(scope="module")
def links(tmp_path_factory) -> Path:
    """A folder with the packages that a taken model may use, and nothing else."""
    folder = tmp_path_factory.mktemp("links")
    for name in ("onnxruntime", "tokenizers", "numpy"):
        package = Path(importlib.util.find_spec(name).submodule_search_locations[0])
        (folder / name).symlink_to(package)
        if (libraries := package.with_name(f"{name}.libs")).exists():  # what a wheel for Linux brings along
            (folder / libraries.name).symlink_to(libraries)
    return folder


@pytest.fixture(params=["BoolQ", "Mood"])
def run(request, served, tmp_path) -> params.Run:
    return make_run(request.param, served, tmp_path)


@pytest.fixture
def boolq(served, tmp_path) -> params.Run:
    return make_run("BoolQ", served, tmp_path)


def make_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "removed")  # so that an end of a line would count
    backend.enable_padding(length=40)  # a leftover of an earlier use, such as files of tokenizers have
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")


def marks_of(task: Task, texts: dict[str, str]) -> dict[str, int | str]:
    """Where WiC's word stands: the last one of each sentence."""
    if not task.spans:
        return {}
    starts = {f"start{i}": text.rfind(" ") + 1 for i, text in enumerate(texts.values(), start=1)}
    ends = {f"end{i}": len(text) for i, text in enumerate(texts.values(), start=1)}
    return {**starts, **ends, "word": " ".join(texts.values())}


def make_run(name: str, served: Path, tmp_path: Path) -> params.Run:
    """What a run leaves that chose a model in chapter 7: the results, and data to check the model on."""
    task = registry.get_task(name)
    (tmp_path / "data" / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(200):
        texts = {field: " ".join(rng.choice(WORDS, rng.integers(1, 12))) for field in task.text_fields}
        rows.append({**texts, **marks_of(task, texts), "label": task.labels[i % task.num_labels]})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "data" / name / "train.jsonl").write_text(text)
    run = params.Run("boolq-minilm", "cpu", "smoke", tmp_path / "outputs" / "boolq-minilm-smoke", {})
    baseline = [made("reference padded", "", 1.0), made("reference unpadded", "reference padded", 0.5)]
    later = [made("student", "reference unpadded", 0.1), made("another", "reference unpadded", 0.2)]
    last = made("served", "student", 0.05, engine="an engine", precision="int8").scored(0.875, (0.8125, 0.9), 0.9)
    common = {"task": name, "data_source": str(tmp_path / "data"), "size": "smoke"}
    chosen = {"onnx": str(served / GRAPH), "tokenizer": str(served), "rung": "served"}
    write_record(run, "01_baseline", {"teacher": "an/teacher", **common}, baseline)
    write_record(run, "03_distillation", {"teacher": "an/teacher", "student_from": "a/student", **common}, later)
    write_record(run, "07_serving", common, [last], served=chosen)
    write_record(run, "09_story", {"size": "smoke"}, [])
    return run


@functools.cache
def machine() -> dict:
    return hardware.card()


def made(name: str, stacks_on: str, seconds: float, **fields) -> Rung:
    values = {"model": f"model of {name}", "engine": "e", "precision": "fp32", "batching": "none", "batch_size": 1}
    times = {"latency_p50_ms": 1e3 * seconds, "latency_p95_ms": 1e3 * seconds, "throughput_per_s": 1 / seconds}
    return Rung(name, stacks_on, threads=hardware.available_cores(), **times, **(values | fields))


def write_record(run: params.Run, chapter: str, parameters: dict, rungs: list[Rung], **facts) -> None:
    record = {
        "schema_version": 1,
        "chapter": chapter,
        "key": "now",
        "written": "2026-01-02T03:04:05+00:00",
        "parameters": {"run": run.name, **parameters},
        "machine": machine(),
        "facts": {"data_fingerprint": {"train": "7ra1", "dev": "de5", "test": "7e57"}, **facts},
        "rungs": [asdict(rung) for rung in rungs],
    }
    write_json(run.folder / "results" / f"{chapter}.json", record)


def change_record(run: params.Run, chapter: str, **served: object) -> None:
    path = run.folder / "results" / f"{chapter}.json"
    record = json.loads(path.read_text())
    record["facts"]["served"] |= served
    write_json(path, record)


def alone(links: Path, folder: Path, *texts: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run classify.py in a Python that sees ``links`` and the standard library."""
    command = [sys.executable, "-I", "-S", "-c", ALONE, str(links), str(folder / "classify.py"), *texts]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, cwd="/")


def expected(task: Task, texts: splits.Split) -> list[str]:
    """The lines of classify.py, from this package's tokens and the graph and its softmax in NumPy."""
    examples, lines = splits.tokenize(texts, make_tokenizer(), task.max_length), []
    for ids, types in zip(examples.input_ids, examples.token_type_ids, strict=True):
        states = np.tanh(np.cumsum(WEIGHTS["words"][ids] + WEIGHTS["types"][types], axis=0))
        odds = np.exp(states.mean(axis=0) @ WEIGHTS["head"])
        lines.append(f"{task.labels[odds.argmax()]}\t{odds.max() / odds.sum():.4f}")
    return lines


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_close(lines: list[str], wanted: list[str]) -> None:
    got, want = ([line.split("\t") for line in each] for each in (lines, wanted))
    assert [label for label, _ in got] == [label for label, _ in want]
    np.testing.assert_allclose([float(p) for _, p in got], [float(p) for _, p in want], atol=2e-4)


def test_alone_it_answers_as_the_model_does(run, links, tmp_path):
    folder = take_home.build(run)
    assert folder == run.folder / "take_home" and sorted(path.name for path in folder.iterdir()) == FILES
    task = registry.get_task(json.loads((folder / "config.json").read_text())["task"])
    texts = splits.load_split(task.name, "dev", str(tmp_path / "data"))
    long = tuple(" ".join(WORDS * n) for n in (7, 3))[: len(task.text_fields)]
    texts = splits.text_split(task.name, "dev", [*texts.texts, long], Gold(np.zeros(len(texts) + 1, int)))
    wanted = expected(task, texts)
    assert len(wanted) > 10 and len(set(wanted)) > len(wanted) / 2 and len({line.split("\t")[0] for line in wanted}) > 1
    lines = ["\t".join(fields) for fields in texts.texts]
    by_stdin = alone(links, folder, stdin="\n".join(lines) + "\r\n")
    assert by_stdin.stderr == "" and by_stdin.returncode == 0
    assert_close(by_stdin.stdout.splitlines(), wanted)
    assert alone(links, folder, *lines).stdout == by_stdin.stdout


def test_the_card_says_what_the_model_keeps_of_its_teacher_on_test(boolq):
    card = (take_home.build(boolq) / "README.md").read_text()
    assert "rule" not in card and "{" not in card.replace("{example}", "")
    change_record(boolq, "07_serving", retention=Retention(0.937, 0.921, 0.952, 1500, 120, 30).fact(0.98))
    card = (take_home.build(boolq) / "README.md").read_text()
    assert "On test it keeps 93.7% (92.1% to 95.2%) of its teacher's score (paired: both answered" in card
    assert "98.0%. On test that is **missed**: even the upper end of the interval is below it." in card


def test_a_word_that_the_head_reads_is_marked_by_hand(served, links, tmp_path, monkeypatch):
    """WiC: as many rivers as there are in a text, the answer is about the one between the asterisks."""
    (wic,) = (replace(task, max_length=MAX_LENGTH) for task in superglue.tasks() if task.name == "WiC")
    monkeypatch.setattr(registry, "named", lambda: (wic,))
    types = np.concatenate([WEIGHTS["types"], NUMBERS.normal(size=(4, 8)).astype(np.float32)])
    graph = onnx.load(served / GRAPH)
    (old,) = [tensor for tensor in graph.graph.initializer if tensor.name == "types"]
    old.CopyFrom(numpy_helper.from_array(types, "types"))
    marks = shutil.copytree(served, tmp_path / "marks")
    onnx.save(graph, marks / GRAPH)
    run = make_run("WiC", marks, tmp_path)
    folder = take_home.build(run)
    assert "between asterisks" in (folder / "README.md").read_text()
    texts = splits.load_split("WiC", "dev", str(tmp_path / "data"))
    monkeypatch.setitem(WEIGHTS, "types", types)
    lines = [
        "\t".join(starred(*row) for row in zip(*row_of, strict=True))
        for row_of in zip(texts.texts, texts.spans, strict=True)
    ]
    told = alone(links, folder, stdin="\n".join(lines))
    assert_close(told.stdout.splitlines(), expected(wic, texts))
    assert len({*told.stdout.splitlines()}) > len(lines) / 2
    for line in ("is *it*\ta sea", "*is* *it*\t*a* sea", "is **\t*a* sea"):
        told = alone(links, folder, line)
        assert (told.returncode, told.stdout) == (2, "") and told.stderr.startswith(
            "error: mark one word of each field"
        )
    far = alone(links, folder, f"*is* it\t{'a ' * 3 * MAX_LENGTH}*sea*")
    assert far.returncode == 2 and "stands behind what is read" in far.stderr


def starred(text: str, span: Span) -> str:
    return f"{text[: span.start]}*{text[span.start : span.end]}*{text[span.end :]}"


def test_its_session_is_set_as_ours(boolq, monkeypatch):
    """Entries cannot be listed afterwards, so they are noted as they are made."""
    folder = take_home.build(boolq)
    entries = {}

    class Noting(onnxruntime.SessionOptions):
        def add_session_config_entry(self, name, value):
            entries[name] = value
            super().add_session_config_entry(name, value)

    monkeypatch.setattr(onnxruntime, "SessionOptions", Noting)
    ours = sessions.onnx_session(folder / "model.onnx", 0).get_session_options()
    of_ours = dict(entries)
    entries.clear()
    theirs = {"__name__": "classify", "__file__": str(folder / "classify.py")}
    exec((folder / "classify.py").read_text(), theirs)
    assert entries == of_ours == json.loads((folder / "config.json").read_text())["session"] and len(entries) == 2
    options = theirs["session"].get_session_options()
    for name in ("execution_mode", "intra_op_num_threads", "graph_optimization_level", "enable_cpu_mem_arena"):
        assert getattr(options, name) == getattr(ours, name)
    assert theirs["session"].get_providers() == ["CPUExecutionProvider"]


def test_what_stands_beside_the_model(boolq):
    folder = take_home.build(boolq)
    config = json.loads((folder / "config.json").read_text())
    assert {name: config[name] for name in ("labels", "text_fields", "max_length", "threads")} == {
        "labels": [False, True],
        "text_fields": ["question", "passage"],
        "max_length": MAX_LENGTH,
        "threads": hardware.available_cores(),
    }
    least, *ranges = (folder / "requirements.txt").read_text().splitlines()
    assert least == "# Python 3.10 or newer"
    for package, wanted in zip((onnxruntime, tokenizers, np), map(Requirement, ranges), strict=True):
        assert wanted.name == package.__name__ and wanted.specifier.contains(package.__version__)
    content = json.loads((folder / "tokenizer.json").read_text())
    assert content["truncation"]["max_length"] == MAX_LENGTH and content["padding"] is None


def test_the_script_is_short(boolq):
    """Lines of code; people copy it."""
    source = (take_home.build(boolq) / "classify.py").read_text()
    assert len([line for line in source.splitlines() if line.strip() and '"""' not in line]) <= 75


def test_the_model_card(boolq):
    card = (take_home.build(boolq) / "README.md").read_text()
    rows = [re.split(r" *\| *", line)[1:-1] for line in card.splitlines() if line.startswith("|")]
    ladder = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}
    assert list(ladder) == ["reference padded", "reference unpadded", "student", "served"]  # "another" is another way
    last = ladder["served"]
    assert (last["p50 ms"], last["step"], last["vs padded"], last["vs unpadded"]) == ("50.0", "2.00x", "20.0x", "10.0x")
    assert last["accuracy (95 %)"] == "87.5% (81.2% to 90.0%)" and ladder["student"]["accuracy (95 %)"] == ""
    assert "train `7ra1`, dev `de5`, test `7e57`" in card and "an/teacher and a/student" in card
    assert "4. served: model of served; an engine; int8; batching: none" in card
    assert "Apache License 2.0" in card and "its numbers mean nothing" in card and machine()["cpu"] in card
    assert not re.search(r"[{}]|\bNone\b|\bnan\b", card)


def test_the_card_warns_of_a_teacher_that_is_not_clear_of_the_floors(boolq):
    assert "not clearly above" not in (take_home.build(boolq) / "README.md").read_text()
    path = boolq.folder / "results" / "01_baseline.json"
    record = json.loads(path.read_text())
    write_json(path, record | {"facts": record["facts"] | {"teacher_is_clear": False}})
    assert "- Its teacher was not clearly above" in (take_home.build(boolq) / "README.md").read_text()


def test_the_card_of_a_standard_run_whose_student_comes_from_its_teacher(boolq):
    path = boolq.folder / "results" / "03_distillation.json"
    path.write_text(path.read_text().replace("a/student", "teacher"))
    card = (take_home.build(replace(boolq, size="standard")) / "README.md").read_text()
    assert "mean nothing" not in card and "one run of size standard" in card
    assert "The weights come from an/teacher and are under" in card


def test_built_again_it_is_the_same_and_nothing_is_left_of_the_old(boolq):
    first = contents(take_home.build(boolq))
    (boolq.folder / "take_home" / "stray.txt").write_text("of an older version")
    assert contents(take_home.build(boolq)) == first
    assert sorted(path.name for path in boolq.folder.iterdir()) == ["results", "take_home"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("at", ["write_text", "_card", "_assert_same", "os.rename 1", "os.rename 2"])
def test_interrupted_it_leaves_the_old_folder(boolq, monkeypatch, at, error):
    old = contents(take_home.build(boolq))
    name, _, count = at.partition(" ")
    owner, name = (files.os, "rename") if count else (take_home, name)
    real, calls = getattr(owner, name), []

    def fails(*arguments):
        calls.append(arguments)
        if len(calls) == int(count or 1):
            raise error
        return real(*arguments)

    monkeypatch.setattr(owner, name, fails)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else InputError) as raised:
        take_home.build(boolq)
    assert error is KeyboardInterrupt or "No space left on device; check space" in str(raised.value)
    assert sorted(path.name for path in boolq.folder.iterdir()) == ["results", "take_home"]
    assert contents(boolq.folder / "take_home") == old


@pytest.mark.parametrize(
    ("line", "instead", "message"),
    [
        ("tokenizer.encode(*fields)", "tokenizer.encode(*fields[::-1])", "other tokens than the book"),
        ("get_inputs()})[0][0]", "get_inputs()})[0][0] + 2e-4", "off by 0.0002 in dev text 0"),
        ("get_inputs()})[0][0]", "get_inputs()})[0][0] * np.nan", "off by nan"),
        ("np.array(tokens.type_ids)", "np.zeros(len(tokens.ids), int)", "other tokens than the book"),
        ("  # cuts what is too long", "; tokenizer.no_truncation()", "other tokens than the book in dev text 8"),
        ("  # cuts what is too long", "; tokenizer.enable_padding(length=32)", "other tokens .* dev text 0"),
    ],
)  # fmt: skip
def test_a_script_that_answers_otherwise_is_not_put_in_place(boolq, tmp_path, monkeypatch, line, instead, message):
    templates = shutil.copytree(take_home.TEMPLATES, tmp_path / "templates")
    source = (templates / "classify.py").read_text()
    assert line in source
    (templates / "classify.py").write_text(source.replace(line, instead))
    monkeypatch.setattr(take_home, "TEMPLATES", templates)
    with pytest.raises(AssertionError, match=message):
        take_home.build(boolq)
    assert [path.name for path in boolq.folder.iterdir()] == ["results"]


def test_a_run_without_a_chosen_model(boolq):
    (boolq.folder / "results" / "07_serving.json").unlink()
    with pytest.raises(InputError, match="has not chosen a model yet; run make book first"):
        take_home.build(boolq)


def test_a_run_of_older_code(boolq, monkeypatch):
    monkeypatch.setattr(provenance, "chapter_key", lambda *_: "later")
    with pytest.raises(InputError, match="measured with other code"):
        take_home.build(boolq)


@pytest.mark.parametrize("damage", ["missing", "cut short", "empty", "no tokenizer", "no folder"])
def test_a_model_that_cannot_be_read(boolq, served, tmp_path, damage):
    copied = shutil.copytree(served, tmp_path / "copied")
    graph, folder, words = copied / GRAPH, copied, "served.onnx is missing or is no readable ONNX model"
    if damage == "missing":
        graph.unlink()
    elif damage == "no tokenizer":
        (copied / "tokenizer.json").unlink()
        words = "holds no readable tokenizer"
    elif damage == "no folder":
        folder, words = tmp_path / "nowhere", "nowhere' is neither a folder nor a hub name"
    else:
        whole = graph.read_bytes()
        graph.write_bytes(whole[: len(whole) // 2] if damage == "cut short" else b"")
    change_record(boolq, "07_serving", onnx=str(graph), tokenizer=str(folder))
    with pytest.raises(InputError, match=words) as error:
        take_home.build(boolq)
    assert "\n" not in str(error.value)
    assert [path.name for path in boolq.folder.iterdir()] == ["results"]


def test_the_script_tells_bad_input_in_a_sentence(boolq, links):
    folder = take_home.build(boolq)
    for texts, place in ((["is it\ta sea", "is it"], "text 2 ('is it')"), (["is it\t "], r"text 1 ('is it\t ')")):
        told = alone(links, folder, *texts)
        assert told.returncode == 2 and len(told.stdout.splitlines()) == len(texts) - 1
        assert told.stderr == f"error: {place} must be question<tab>passage, none of them empty\n"
    told = alone(links, folder, stdin="is it\ta sea\n\nis it\ta tree\n")
    assert (told.returncode, len(told.stdout.splitlines())) == (2, 1) and "error: text 2 ('')" in told.stderr
    (folder / "tokenizer.json").unlink()
    (folder / "model.onnx").unlink()
    told = alone(links, folder, "is it\ta sea")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == f"error: {folder} lacks tokenizer.json and model.onnx; copy the whole folder\n"


def test_the_command_line_says_what_to_type(boolq, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(sys, "argv", ["take_home", "--run", "boolq-minilm", "--size", "smoke"])
    assert take_home.main() == 0
    said = capsys.readouterr().out.splitlines()[-1]
    place, command = re.fullmatch("take home: (.+); try: (.+)", said).groups()
    assert Path(place) == boolq.folder / "take_home"
    typed = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert typed.returncode == 0 and re.fullmatch(r"(True|False)\t0\.\d{4}\n", typed.stdout)


def test_the_command_line_tells_bad_input_in_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path / "outputs"))
    for options in (["--run", "boolq-minilm"], ["--run", "nowhere"], ["--set", "sede=3"]):
        monkeypatch.setattr(sys, "argv", ["take_home", *options])
        assert take_home.main() == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_export_passes_the_options_on():
    told = subprocess.run(["make", "-n", "export", "RUN=x"], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert told.returncode == 0 and "python -m fflib.book.take_home --run" in told.stdout
