"""The rendered book: complete, and whole without a network."""

import base64
import re
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from fflib.book import render
from fflib.files import InputError
from fflib.runs import times

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # 1 x 1, PNG
TABLE = '<table border="1" class="dataframe"><tr><th>rung</th></tr><tr><td>padded</td></tr></table>'
# Whatever a page would fetch by itself; a plain link may lead anywhere.
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|link)\b[^>]*?(?:src|href)=[\"'](?:https?:)?//[^\"']*", re.IGNORECASE
)


def code(source: str, *outputs: nbformat.NotebookNode, tags: tuple[str, ...] = ()) -> nbformat.NotebookNode:
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)}, execution_count=1)


def figure(**metadata: str) -> nbformat.NotebookNode:
    return new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure>"}, metadata={"image/png": metadata})


def introduction() -> nbformat.NotebookNode:
    text = "# Taming Transformers\n\nFirst [the baseline](01_baseline.ipynb), then [pruning](04_pruning.ipynb)."
    formula = "$$\\mathrm{softmax}\\left(\\frac{QK^\\top}{\\sqrt{d}}\\right)V$$\n\n![a staircase](figures/ladder.png)"
    return new_notebook(cells=[new_markdown_cell(text), new_markdown_cell(formula)])


def baseline() -> nbformat.NotebookNode:
    noise = new_output("stream", name="stderr", text="a warning of a library")
    cells = [
        new_markdown_cell("# 1 · The baseline"),
        code("seed: int = 0  # of all\n# Seldom changed:\nsize: str = 'smoke'", tags=("parameters",)),
        code("seed = 7", tags=("injected-parameters",)),
        new_markdown_cell("## Measure it"),
        code("draw()", figure(), noise),
        code("draw_more()", figure(alt="the second is longer")),
        code("display.source(flops.of,\n    other)", figure(), tags=("hide-input",)),
        code("table", new_output("execute_result", {"text/html": TABLE}, execution_count=1)),
        code("6 * 7", new_output("execute_result", {"text/plain": "42 it is"}, execution_count=1), tags=("answer",)),
    ]
    return new_notebook(cells=cells)


def stopped() -> nbformat.NotebookNode:
    """A chapter as papermill leaves it when a cell raised."""
    banner = {"tags": ["papermill-error-cell-tag"]}
    raised = new_output("error", ename="ValueError", evalue="they disagree", traceback=["ValueError: they disagree"])
    cells = [
        new_markdown_cell('<span style="color:red">An Exception was encountered at In [1].</span>', metadata=banner),
        new_markdown_cell("# 2 · Batching"),
        new_markdown_cell('<span id="papermill-error-cell">Execution stopped:</span>', metadata=banner),
        code("check()", raised),
    ]
    return new_notebook(cells=cells)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which three chapters are there, rendered."""
    folder = tmp_path_factory.mktemp("outputs") / "docs-cpu-smoke"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "ladder.png").write_bytes(base64.b64decode(PIXEL))
    for name, notebook in (
        ("00_introduction", introduction()),
        ("01_baseline", baseline()),
        ("02_batching", stopped()),
    ):
        nbformat.write(notebook, folder / f"{name}.ipynb")
    start = time.perf_counter()
    assert render.main([str(folder)]) == 0
    took_s = time.perf_counter() - start
    assert took_s < 30 and 0 < float((folder / "book" / times.SECONDS).read_text()) <= took_s + 0.05
    return folder


def page(run_folder: Path, name: str) -> str:
    return (run_folder / "book" / f"{name}.html").read_text(encoding="utf-8")


def test_every_chapter_is_a_page_and_in_the_navigation(run_folder: Path) -> None:
    for name in ("index", "01_baseline", "02_batching"):
        html = page(run_folder, name)
        assert 'href="01_baseline.html"' in html or name == "01_baseline"
        assert "1 · The baseline" in html and "2 · Batching" in html and "docs-cpu-smoke" in html


def test_nothing_is_fetched_from_a_network(run_folder: Path) -> None:
    for path in (run_folder / "book").rglob("*.html"):
        assert not FETCHED.findall(path.read_text(encoding="utf-8")), path.name
    for path in (run_folder / "book").rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", path.read_text(encoding="utf-8")), path.name


def test_figures_have_alternative_texts(run_folder: Path) -> None:
    assert 'alt="a staircase"' in page(run_folder, "index")
    chapter = page(run_folder, "01_baseline")
    assert 'alt="the second is longer"' in chapter and 'alt="Figure: Measure it"' in chapter
    assert all(re.search(r'alt="[^"]', tag) for tag in re.findall(r"<img\b[^>]*>", chapter))


def text_of(html: str) -> str:
    """What a page says, without its tags."""
    return re.sub(r"<[^>]*>", "", html)


def test_the_parameters_that_readers_turn_are_seen_the_others_behind_toggles(run_folder: Path) -> None:
    html = page(run_folder, "01_baseline")
    assert html.count("<details") == 3
    assert "Parameters that are seldom changed" in html and "Parameters of this run" in html
    seen, hidden = (
        re.sub("<details.*?</details>", "", html, flags=re.DOTALL),
        re.findall("(?s)<details.*?</details>", html),
    )
    assert "# of all" in seen and "size: str" not in text_of(seen) and "size: str" in text_of(hidden[0])


def test_an_answer_is_behind_one_button_with_what_it_shows(run_folder: Path) -> None:
    (answer,) = re.findall("(?s)<details.*?</details>", page(run_folder, "01_baseline"))[2:]
    said = text_of(answer)
    assert "Answer" in said and "6 * 7".replace(" ", "") in said.replace(" ", "") and "42 it is" in said


def test_a_cell_that_shows_source_has_no_toggle_of_its_own(run_folder: Path) -> None:
    assert "flops" not in text_of(page(run_folder, "01_baseline"))


def test_a_chapter_with_few_parameters_shows_all(tmp_path: Path) -> None:
    cell = code("seed: int = 0", tags=("parameters",))
    assert render._parameters_apart(cell) == [cell]


def test_what_libraries_write_to_stderr_is_left_out(run_folder: Path) -> None:
    assert "a warning of a library" not in page(run_folder, "01_baseline")


def test_tables_and_formulas_need_no_script(run_folder: Path) -> None:
    assert 'class="dataframe' in page(run_folder, "01_baseline")
    html = page(run_folder, "index")
    assert "<math" in html and "<msqrt>" in html and not re.search("<script[^>]*mathjax", html, re.IGNORECASE)


def test_links_follow_the_chapters_that_were_run(run_folder: Path) -> None:
    html = page(run_folder, "index")
    assert re.search(r'<a[^>]*href="01_baseline.html"[^>]*>(<[^>]*>)*the baseline', html)
    assert "04_pruning" not in html and "then pruning" in html


def test_a_chapter_that_failed_says_so_below_its_title(run_folder: Path) -> None:
    html = page(run_folder, "02_batching")
    assert (
        html.index("<h1>2 · Batching") < html.index("This chapter stopped with an error") < html.index("they disagree")
    )
    assert 'href="#papermill-error-cell"' in html and 'id="papermill-error-cell"' in html


def test_without_an_introduction_there_is_still_a_first_page(tmp_path: Path) -> None:
    nbformat.write(baseline(), tmp_path / "01_baseline.ipynb")
    render.stage(render.chapters(tmp_path), tmp_path / "staged")
    assert "01_baseline" in (tmp_path / "staged" / "index.md").read_text()


def test_the_old_book_stays_when_rendering_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat.write(baseline(), tmp_path / "01_baseline.ipynb")
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "index.html").write_text("old")
    monkeypatch.setattr("sphinx.cmd.build.build_main", lambda arguments: 2)
    assert render.main([str(tmp_path)]) == 1
    assert (tmp_path / "book" / "index.html").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["01_baseline.ipynb", "book"]


@pytest.mark.parametrize("name", ["missing", "empty", "broken"])
def test_bad_input_is_told_in_one_sentence(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "01_baseline.ipynb").write_text("{")
    assert render.main([str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    with pytest.raises(InputError):
        render.build(tmp_path / name)
