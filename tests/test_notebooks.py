"""House rules that every chapter keeps, checked on its source."""

from __future__ import annotations

import ast
import re

import jupytext
import papermill
import pytest

from fflib.runs import params, provenance

CHAPTERS = [*params.chapters(), params.TABLES]
# A measured number in prose goes stale; figures that a paper published may be quoted.
MEASURED = re.compile(r"\b\d+(\.\d+)?\s*(x|×|times|ms|%|s|seconds|MB|requests/s)(?!\w)")
ALLOWED = ("95 %", "200-fold", "33 %", "50 %")


def cells(chapter, kind):
    return [c for c in jupytext.read(params.NOTEBOOKS / f"{chapter}.py").cells if c.cell_type == kind]


@pytest.mark.parametrize("chapter", CHAPTERS)
class TestChapter:
    def test_the_ipynb_is_in_step_and_has_no_outputs(self, chapter):
        path = params.NOTEBOOKS / f"{chapter}.ipynb"
        assert path.exists(), f"{path.name} is missing; run: make sync"
        paired = jupytext.read(path)
        ours = [(c.cell_type, c.source) for c in jupytext.read(path.with_suffix(".py")).cells]
        assert [(c.cell_type, c.source) for c in paired.cells] == ours, "run: make sync"
        assert not any(c.get("outputs") or c.get("execution_count") for c in paired.cells), "outputs are committed"

    def test_our_reader_of_cells_agrees_with_jupytext(self, chapter):
        read = jupytext.read(params.NOTEBOOKS / f"{chapter}.py").cells
        ours = params.cells(chapter)
        assert [marker.startswith("[markdown]") for marker, _ in ours] == [c.cell_type == "markdown" for c in read]
        code = [(marker, source) for marker, source in ours if not marker.startswith("[markdown]")]
        theirs = [c for c in read if c.cell_type == "code"]
        assert [source for _, source in code] == [c.source.strip("\n") for c in theirs]
        tagged = ["parameters" in c.metadata.get("tags", []) for c in theirs]
        assert ['"parameters"' in marker for marker, _ in code] == tagged

    def test_papermill_sees_every_parameter_with_its_type(self, chapter):
        """Papermill cannot read a line with two equal signs, and then calls the parameter unknown."""
        seen = papermill.inspect_notebook(str(params.NOTEBOOKS / f"{chapter}.ipynb"))
        declared = params.declared(chapter)
        assert {name: entry["inferred_type_name"] for name, entry in seen.items()} == {
            name: parameter.type for name, parameter in declared.items()
        }

    def test_every_parameter_has_a_help_text_and_a_default_of_its_type_and_is_used(self, chapter):
        code = "\n".join(c.source for c in cells(chapter, "code") if "parameters" not in c.metadata.get("tags", []))
        names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
        for name, parameter in params.declared(chapter).items():
            assert parameter.help, f"{name} has no comment"
            assert params.check_value(parameter, parameter.default) == parameter.default
            assert name in names | {"run", "run_dir", "size"}, f"{name} is not used"

    def test_prose_carries_no_measured_number(self, chapter):
        for cell in cells(chapter, "markdown"):
            text = cell.source
            for allowed in ALLOWED:
                text = text.replace(allowed, "")
            assert not (found := MEASURED.search(text)), f"'{found.group()}' in: {cell.source[:80]}"

    def test_cells_are_short_and_few(self, chapter):
        code = [c for c in cells(chapter, "code") if "parameters" not in c.metadata.get("tags", [])]
        assert max(len([line for line in c.source.splitlines() if line.strip()]) for c in code) <= 25
        assert len(code) + len(cells(chapter, "markdown")) <= 60

    def test_no_magics_no_installs_no_working_directory(self, chapter):
        for cell in cells(chapter, "code"):
            assert not re.search(r"^\s*[!%]|os\.chdir|os\.getcwd|subprocess", cell.source, re.MULTILINE)

    def test_the_frame_is_there(self, chapter):
        prose = "\n".join(c.source for c in cells(chapter, "markdown"))
        assert cells(chapter, "markdown")[0].source.startswith("# ")
        if re.match(r"0[1-8]", chapter):
            headings = "\n".join(re.findall(r"^## .*", prose, re.MULTILINE))
            for part in ("Idea", "Predict", "Do it", "heck", "Measure", "cost", "When it does not pay", "Exercises"):
                assert part in headings or part in prose, f"no part '{part}'"
            assert "**Claim.**" in prose and "**Cost.**" in prose


def test_a_parameter_means_the_same_in_every_chapter():
    types, sources = {}, {}
    for chapter in CHAPTERS:
        for name, parameter in params.declared(chapter).items():
            assert types.setdefault(name, parameter.type) == parameter.type
            assert sources.setdefault(name, parameter.default) == parameter.default, name


def test_a_chapter_depends_on_the_modules_it_imports_and_theirs():
    modules = provenance.modules_used("from fflib import results\nfrom fflib.model.encoder import Encoder")
    assert {"results", "encoder", "files", "measure", "data"} <= set(modules)
    assert "training" not in modules and "book" not in modules


def test_fflib_imports_run_one_way():
    """No cycles: walking the imports of any module never comes back to it."""
    for path in provenance.PACKAGE.glob("*.py"):
        for used in provenance._imports(path.read_text()):
            assert path.stem not in provenance.modules_used(f"from fflib import {used}"), f"{path.stem} <-> {used}"


def test_the_key_changes_with_parameters_and_code_but_not_with_prose_or_place(monkeypatch):
    values = params.load_run("docs-cpu", "smoke").chapter_values("09_story")
    key = provenance.chapter_key("09_story", values)
    assert provenance.chapter_key("09_story", values | {"run_dir": "elsewhere"}) == key
    assert provenance.chapter_key("09_story", values | {"size": "full"}) != key
    monkeypatch.setattr(provenance, "chapter_code", lambda chapter: "from fflib import results\nx = 1")
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
