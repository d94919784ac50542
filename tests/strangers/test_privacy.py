"""Pages and notebooks name no folder by which the reader's machine could be told.

By symptom: `PosixPath('/home/...')` below the last cell of every page; a traceback with the home folder.
"""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
from nbformat import v4

from fflib.book import execute, render
from fflib.files import ROOT


def notebook(folder: Path) -> None:
    home, site = Path.home(), "lib/python3.11/site-packages/torch/nn.py"
    value = {"text/plain": f"PosixPath('{folder}/models/teacher')", "text/html": f"<p>{ROOT}/params/a.yaml</p>"}
    lines = [f"File \x1b[32m{ROOT}/fflib/files.py\x1b[0m", f"/data{ROOT}/a"]
    error = v4.new_output("error", ename="ValueError", evalue=f"no {home}/data.csv", traceback=lines)
    cells = [
        v4.new_markdown_cell("# 1 · Made up"),
        v4.new_code_cell(f'run_dir = "{folder}"', metadata={"tags": ["injected-parameters"]}),
        v4.new_code_cell("bench.save()", outputs=[v4.new_output("execute_result", data=value), error]),
        v4.new_code_cell("1", outputs=[v4.new_output("stream", text=f"{home}/venv/{site}:3 and {ROOT}/x y\n")]),
    ]
    nbformat.write(v4.new_notebook(cells=cells), folder / "01_baseline.ipynb")


def test_no_page_shows_the_readers_folders(tmp_path, monkeypatch):
    folder = tmp_path / "outputs" / "a"
    folder.mkdir(parents=True)
    monkeypatch.setenv("FFLIB_OUTPUTS", str(folder.parent))
    notebook(folder)
    render.stage({"01_baseline": nbformat.read(folder / "01_baseline.ipynb", 4)}, folder, tmp_path / "staged")
    page = (tmp_path / "staged" / "01_baseline.ipynb").read_text()
    for place in (str(tmp_path), f"'{Path.home()}/", f" {Path.home()}/", f'"{ROOT}'):
        assert place not in page
    staged = nbformat.read(tmp_path / "staged" / "01_baseline.ipynb", 4)
    data, error = staged.cells[-2].outputs
    assert data["data"]["text/html"] == "<p>params/a.yaml</p>", "from the project's root"
    assert data["data"]["text/plain"] == "PosixPath('…/models/teacher')"
    assert error["traceback"] == ["File \x1b[32mfflib/files.py\x1b[0m", f"/data{ROOT}/a"]
    assert staged.cells[-1].outputs[0].text.endswith("site-packages/torch/nn.py:3 and x y\n")


def test_an_executed_notebook_forgets_where_it_was_made(tmp_path):
    path = tmp_path / "a.ipynb"
    notes = {"input_path": "/home/someone/a.ipynb", "output_path": "/home/someone/b.ipynb", "duration": 3.0}
    nbformat.write(v4.new_notebook(metadata={"papermill": notes}), path)
    execute._forget_places(path)
    assert json.loads(path.read_text())["metadata"]["papermill"] == {"duration": 3.0}
    assert "someone" not in path.read_text()
