"""Answers are folded in JupyterLab, and stay so when a notebook is written again from its source."""

import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fflib.book import fold
from fflib.files import ROOT

SOURCE = '# %% [markdown]\n# ## Exercises\n\n# %% tags=["answer"]\n1 + 1\n\n# %% tags=["hide-input"]\n2\n'


def tagged(*tags: str) -> nbformat.NotebookNode:
    return new_code_cell("1", metadata={"tags": list(tags)})


def test_answers_alone_are_folded_and_what_is_none_any_more_is_unfolded() -> None:
    cells = [tagged("answer"), tagged("hide-input"), new_markdown_cell("1", metadata={"tags": ["answer"]})]
    notebook = new_notebook(cells=cells)
    assert fold.fold(notebook) and not fold.fold(notebook)
    folded = [cell.metadata.get("jupyter") for cell in cells]
    assert folded == [{"source_hidden": True, "outputs_hidden": True}, None, None]
    cells[0].metadata["tags"] = []
    assert fold.fold(notebook) and "jupyter" not in cells[0].metadata


def test_the_mark_survives_jupytext_and_never_gets_into_the_source(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    source, notebook = tmp_path / "01_a.py", tmp_path / "01_a.ipynb"
    source.write_text(SOURCE)
    write = [sys.executable, "-m", "jupytext", "--quiet", "--update", "--to", "ipynb", source.name]
    subprocess.run(write, cwd=tmp_path, check=True)
    assert fold.main([str(notebook)]) == 0
    folded = notebook.read_bytes()
    source.write_text(SOURCE.replace("1 + 1", "1 + 2"))
    subprocess.run(write, cwd=tmp_path, check=True)
    assert not fold.fold(nbformat.read(notebook, as_version=4)), "jupytext has dropped the mark"
    assert notebook.read_bytes() == folded.replace(b"1 + 1", b"1 + 2")
    assert "hidden" not in jupytext.writes(jupytext.read(notebook), "py:percent")


def test_a_notebook_that_is_folded_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=[tagged("answer")]), path)
    fold.fold_file(path)
    before = path.stat().st_mtime_ns
    fold.fold_file(path)
    assert path.stat().st_mtime_ns == before


def test_what_is_no_notebook_is_told_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.ipynb").write_text("{")
    assert fold.main([str(tmp_path / "a.ipynb")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
