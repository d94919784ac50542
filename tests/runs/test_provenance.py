"""What a chapter's result depends on: all modules it imports, however deep, and no other."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from modulefinder import ModuleFinder

import pytest

from fflib.files import ROOT, InputError
from fflib.model import shipped
from fflib.runs import params, provenance

CHAPTERS = [*params.chapters(), params.TABLES]
MODULES = ["pruning/sublayers.py", "engine/int8_graph.py", "data/task.py", "data/__init__.py", "pruning/figures.py"]
# Run in a copy of the project: which chapters have another key when a module, one at a time, is another one.
KEYS = """
import json, pathlib, sys
from fflib.runs import params, provenance

def keys():
    provenance._import_graph.cache_clear()
    return {name: provenance.chapter_key(name, defaults[name]) for name in defaults}

names = [*params.chapters(), params.TABLES]
defaults = {name: {key: one.default for key, one in params.declared(name).items()} for name in names}
before, stale = keys(), {}
for module in sys.argv[1:]:
    path = pathlib.Path("fflib", module)
    text = path.read_text()
    path.write_text(text + "\\nCHANGED = True\\n")
    stale[module] = [name for name, key in keys().items() if key != before[name]]
    path.write_text(text)
print(json.dumps(stale))
"""


@pytest.fixture(scope="module")
def stale(tmp_path_factory) -> dict[str, list[str]]:
    """The chapters that are stale when a module has changed, by module."""
    copy = tmp_path_factory.mktemp("copy")
    for folder in ("fflib", "notebooks", "params"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb"))
    command = [sys.executable, "-c", KEYS, *MODULES]
    return json.loads(subprocess.run(command, cwd=copy, capture_output=True, text=True, check=True).stdout)


@functools.cache
def imported(chapter: str) -> set[str]:
    """Name the modules that a chapter loads, by the standard library's own walk through compiled code."""
    finder = ModuleFinder(path=[str(ROOT)])
    code = compile(provenance.chapter_code(chapter), chapter, "exec")
    finder.scan_code(code, finder.add_module("__main__"))
    return {name for name in finder.modules if name.partition(".")[0] == "fflib"}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_depends_on_what_python_itself_would_load(chapter):
    assert set(provenance.modules_used(provenance.chapter_code(chapter))) == imported(chapter)


@pytest.mark.parametrize("module", MODULES)
def test_a_changed_module_makes_every_chapter_stale_that_loads_it_and_no_other(stale, module):
    name = f"fflib.{module.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")
    assert stale[module] == [chapter for chapter in CHAPTERS if name in imported(chapter)]
    assert stale[module] and (stale[module] == CHAPTERS) == (name in ("fflib.data", "fflib.data.task"))


def test_another_kept_model_is_another_chapter(monkeypatch, tmp_path):
    """The file's own content counts: it can be made anew by the same code."""
    kept = tmp_path / "kept"
    shutil.copytree(provenance.KEPT, kept)
    monkeypatch.setattr(provenance, "KEPT", kept)
    defaults = {key: one.default for key, one in params.declared("01_baseline").items()}
    assert shipped.FOLDER == provenance.PACKAGE / "model" / "kept"
    before = provenance.chapter_key("01_baseline", defaults)
    assert provenance.chapter_key("01_baseline", defaults) == before
    next(kept.glob("*.safetensors")).write_bytes(b"other weights")
    assert provenance.chapter_key("01_baseline", defaults) != before


def test_imports_of_every_form_are_followed():
    forms = {
        "from fflib.pruning import shape_search": "fflib.pruning.shape_search",
        "from fflib.model.encoder import Encoder as E": "fflib.model.encoder",
        "import fflib.measure.cores": "fflib.measure.cores",
        "def later():\n    from fflib import files": "fflib.files",
        "from fflib import pruning": "fflib.pruning",
    }
    for code, module in forms.items():
        assert module in provenance.modules_used(code), code
    assert {"fflib", "fflib.data", "fflib.measure.timing"} <= set(provenance.modules_used(next(iter(forms))))
    assert not provenance.modules_used("import fflibrary, numpy\nfrom os import path")


def test_what_fflib_does_not_have_is_refused_and_not_left_out():
    for code in ("from fflib.nowhere import x", "from fflib.results import read", "import fflib.pages"):
        with pytest.raises(InputError, match="which fflib does not have"):
            provenance.modules_used(code)


def test_the_instances_process_counts_though_it_is_started_by_name():
    assert "fflib.serving.instance_process" in provenance.modules_used("from fflib.serving import instances")


def test_the_key_changes_with_parameters_and_code_but_not_with_prose_or_place(monkeypatch):
    values = params.load_run("docs-cpu", "smoke").chapter_values("09_story")
    key = provenance.chapter_key("09_story", values)
    assert provenance.chapter_key("09_story", values | {"run_dir": "elsewhere"}) == key
    assert provenance.chapter_key("09_story", values | {"size": "full"}) != key
    monkeypatch.setattr(provenance, "chapter_code", lambda chapter: "from fflib.runs import records\nx = 1")
    assert provenance.chapter_key("09_story", values) != key


def test_the_key_changes_with_the_data_wherever_they_lie(monkeypatch, tmp_path):
    def key(task="RTE", source="auto"):
        return provenance.chapter_key("01_baseline", {"task": task, "data_source": source})

    def write(name, text):
        (tmp_path / name / "RTE").mkdir(parents=True)
        (tmp_path / name / "RTE" / "train.jsonl").write_text(text)
        return str(tmp_path / name)

    one, same, other = write("one", "{}\n"), write("same", "{}\n"), write("other", "{ }\n")
    monkeypatch.setenv("FFLIB_SUPERGLUE", one)
    assert key() == key(source=one) == key(source=same) == key(source=f"{one}/RTE")
    docs = key("docs")
    assert len({key(), key(source=other), key(source="hub"), key("BoolQ", one), docs}) == 5
    (tmp_path / "one" / "RTE" / "train.jsonl").write_text("{}\n\n")
    assert key() != key(source=same)
    monkeypatch.delenv("FFLIB_SUPERGLUE")
    assert key() == key(source="hub") and key("docs") == docs
