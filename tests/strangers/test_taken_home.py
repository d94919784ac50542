"""The folder that is taken home, on machines that speak otherwise: other encodings, pipes that close, damaged files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_tokenizer import make_tokenizer

from fflib.book.take_home import TEMPLATES

WORDS = ["maß", "über", "größe", "€"]
LABELS = ["häßlich", "schön"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with a graph whose answer is that of the sum of the words."""
    folder = tmp_path_factory.mktemp("home") / "take_home"
    folder.mkdir()
    tokenizer = make_tokenizer(WORDS)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    words = np.random.default_rng(1).normal(size=(len(tokenizer.get_vocab()), 2)).astype(np.float32)
    constants = [numpy_helper.from_array(words, "words"), numpy_helper.from_array(np.array([1]), "one")]
    steps = [
        helper.make_node("Gather", ["words", "input_ids"], ["word"]),
        helper.make_node("ReduceSum", ["word", "one"], ["logits"], keepdims=0),
    ]
    asked = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])]
    given = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])]
    graph = helper.make_graph(steps, "served", asked, given, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "model.onnx")
    config = {"labels": LABELS, "text_fields": ["text"], "words_marked": False, "threads": 1, "session": {}}
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(TEMPLATES / "classify.py", folder / "classify.py")
    return folder


def asked(folder: Path, *texts: str | bytes, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(folder / "classify.py"), *texts]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, env=os.environ | environment)


TEXT = "maß über größe € a river"


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_text_is_utf_8_whatever_the_terminal_speaks(whole, environment):
    usual = asked(whole, stdin=f"{TEXT}\n".encode())
    assert usual.returncode == 0 and usual.stdout.decode().split("\t")[0] in LABELS
    other = asked(whole, stdin=f"{TEXT}\n".encode(), **environment)
    assert (other.stdout, other.stderr, other.returncode) == (usual.stdout, b"", 0)
    assert asked(whole, stdin=f"\ufeff{TEXT}\r\n".encode()).stdout == usual.stdout, "a mark and Windows' ends of lines"


def test_a_label_that_is_not_ascii_is_printed(whole):
    answers = asked(whole, stdin="\n".join(WORDS).encode(), PYTHONIOENCODING="ascii").stdout.decode().splitlines()
    assert len(answers) == len(WORDS) and {line.split("\t")[0] for line in answers} <= {*LABELS}


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_other_encodings_are_refused_in_a_sentence(whole, encoding):
    told = asked(whole, stdin=f"a river\n{TEXT}\n".encode(encoding))
    number = 1 if encoding == "utf-16" else 2
    assert told.returncode == 2 and len(told.stdout.splitlines()) == number - 1
    assert told.stderr.decode().startswith(f"error: text {number} is not UTF-8; ") and told.stderr.count(b"\n") == 1


def test_an_argument_with_a_stray_byte_is_refused_in_a_sentence(whole):
    told = asked(whole, b"ma\xdf", LC_ALL="C.UTF-8")
    assert told.returncode == 2 and told.stderr.startswith(b"error: text 1 is not UTF-8; ")


@pytest.mark.parametrize("character", ["\x0c", "\u2028", "\r", "\x85"])
def test_only_a_line_feed_ends_a_text(whole, character):
    assert len(asked(whole, stdin=f"a{character}river\nit is\n".encode()).stdout.splitlines()) == 2


def test_who_reads_may_have_enough(whole):
    command = f"yes 'a river' | head -20000 | {sys.executable} {whole / 'classify.py'} | head -1"
    told = subprocess.run(command, shell=True, capture_output=True, timeout=60)
    assert told.stdout.count(b"\n") == 1 and told.stderr == b""


def test_each_answer_comes_at_once(whole):
    command = [sys.executable, str(whole / "classify.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"a river\n")
        process.stdin.flush()
        assert process.stdout.readline().split(b"\t")[0].decode() in LABELS  # while stdin is open
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.onnx"])
@pytest.mark.parametrize("part", [0.0, 0.5])
def test_a_damaged_file_is_one_sentence(whole, tmp_path, name, part):
    folder = shutil.copytree(whole, tmp_path / "copied")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(part * len(content))])
    told = asked(folder, "a river")
    assert told.returncode == 2 and told.stderr.count(b"\n") == 1
    assert told.stderr.startswith(b"error: ") and b"is damaged" in told.stderr


def shell(folder: Path, command: str) -> subprocess.CompletedProcess:
    script = f"{sys.executable} {folder / 'classify.py'}"
    return subprocess.run(command.format(script), shell=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("{} 'a river' > /dev/full", b"(No space left on device)"),
        ("{} <&-", b"it needs a text, as an argument or on stdin"),
        ("{} 'a river' >&-", b"and an open stdout"),
        ("printf 'a river\\n\\n' | {}", b"text 2 ('') must be text, none of them empty"),
        ("cd / && {} ''", b"text 1 ('') must be text"),
        ("printf '\\342\\200\\213\\n' | {}", b"must be text, none of them empty"),
        ("printf '\\0\\n' | {}", b"must be text, none of them empty"),
    ],
)
def test_what_a_shell_can_do_to_it_is_one_sentence(whole, command, says):
    told = shell(whole, command)
    assert told.returncode == 2 and told.stderr.startswith(b"error: ") and says in told.stderr
    assert told.stderr.count(b"\n") == 1


@pytest.mark.parametrize("command", ["printf 'a river' | {}", "printf 'a river\\r\\n' | {}", "cd / && {} 'a river'"])
def test_ends_of_lines_and_folders_change_no_answer(whole, command):
    assert shell(whole, command).stdout == asked(whole, "a river").stdout != b""
    assert shell(whole, command.replace("{}", "PYTHONOPTIMIZE=2 {}")).stdout == asked(whole, "a river").stdout


def test_help_is_no_text(whole):
    told = asked(whole, "--help")
    assert told.stdout.decode().splitlines()[-1] == "The fields here: text" and told.returncode == 0


def test_packages_that_are_missing_are_named(whole):
    command = [sys.executable, "-S", str(whole / "classify.py"), "a river"]
    told = subprocess.run(command, capture_output=True, timeout=60)
    assert told.returncode == 2 and told.stderr.count(b"\n") == 1
    assert told.stderr.startswith(b"error: No module named 'numpy'; install what is missing with: ")


def test_an_interrupt_ends_it_without_a_traceback(whole):
    command = [sys.executable, str(whole / "classify.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(b"a river\n")
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert (process.wait(60), process.stderr.read()) == (130, b"")
