"""The rendered book: complete, and whole without a network."""

import base64
import re
import time
from pathlib import Path

import links
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from fflib.book import cells, render
from fflib.files import InputError
from fflib.runs import times

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # 1 x 1, PNG
TABLE = '<table border="1" class="dataframe"><tr><th>rung</th></tr><tr><td>padded</td></tr></table>'
SOURCES = "A [rung](glossary.md#rung) of [the recipes, section 3](https://arxiv.org/pdf/2010.13382v1), see [here](https://a.org/b)."
# Whatever a page would fetch by itself; a plain link may lead anywhere.
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|link)\b[^>]*?(?:src|href)=[\"'](?:https?:)?//[^\"']*", re.IGNORECASE
)


def code(source: str, *outputs: nbformat.NotebookNode, tags: tuple[str, ...] = ()) -> nbformat.NotebookNode:
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)}, execution_count=1)


def figure(**metadata: str) -> nbformat.NotebookNode:
    return new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure>"}, metadata={"image/png": metadata})


def said(markdown: str) -> nbformat.NotebookNode:
    return new_output("display_data", {"text/markdown": markdown})


def introduction() -> nbformat.NotebookNode:
    text = (
        "# Taming Transformers\n\nFirst [the baseline](01_baseline.ipynb#measure-it), then [pruning](04_pruning.ipynb)."
    )
    formula = "$$\\mathrm{softmax}\\left(\\frac{QK^\\top}{\\sqrt{d}}\\right)V$$\n\n![a staircase](figures/ladder.png)"
    machinery = code("import os", tags=("hide-input",))
    parameters = [code("run: str = 'a'", tags=("parameters",)), code("run = 'b'", tags=("injected-parameters",))]
    return new_notebook(cells=[new_markdown_cell(text), *parameters, machinery, new_markdown_cell(formula)])


def baseline() -> nbformat.NotebookNode:
    noise = new_output("stream", name="stderr", text="a warning of a library")
    cells = [
        new_markdown_cell("# 1 · The baseline\n\n" + SOURCES),
        code("seed: int = 0  # of all\n# Seldom changed:\nsize: str = 'smoke'", tags=("parameters",)),
        code("seed = 7", tags=("injected-parameters",)),
        new_markdown_cell("## Measure it"),
        code("draw()", figure(), noise),
        code("facts = 1", tags=("hide-input",)),
        code("draw_more()", figure(alt="the second is longer"), figure(alt="the third"), said("said after both")),
        code("display.source(flops.of,\n    other)", figure(), tags=("hide-input",)),
        code("table", new_output("execute_result", {"text/html": TABLE}, execution_count=1)),
        code("bench.save()", said('<div class="measured">\n\n**What you measured**\n\n</div>'), tags=("hide-input",)),
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
    assert html.count("<details") == 3, "and none for what has nothing to fold"
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


def test_code_with_nothing_to_see_is_gone_and_what_is_shown_needs_no_code(run_folder: Path) -> None:
    chapter, home = text_of(page(run_folder, "01_baseline")), text_of(page(run_folder, "index"))
    assert "facts" not in chapter and "bench.save" not in chapter and "What you measured" in chapter
    assert "import os" not in home and "run:" not in home, "a home page begins with results"


def test_figures_are_numbered_with_captions_and_can_be_linked_to(run_folder: Path) -> None:
    html = page(run_folder, "01_baseline")
    captions = [" ".join(text_of(caption).split()) for caption in re.findall("(?s)<figcaption>.*?</figcaption>", html)]
    captions = [caption.rstrip("# ") for caption in captions]
    assert captions[:3] == ["Figure 1.1", "Figure 1.2: the second is longer", "Figure 1.3: the third"]
    assert [f'id="figure-01-no-{i}"' in html for i in (1, 2, 3)] == [True] * 3
    assert html.index("the third") < html.index("said after both")


def test_sources_have_numbers_and_a_page_and_words_their_meaning(run_folder: Path) -> None:
    html = page(run_folder, "01_baseline")
    assert re.search(r'href="https://arxiv.org/pdf/2010.13382v1"[^>]*>the recipes, section 3</a>', html)
    assert re.search(r'href="bibliography.html#[^"]*"[^>]*>(<[^>]*>)*1(<[^>]*>)*</a>', html)
    assert re.search(r'<a class="term" href="glossary.html#rung" title="one measured way [^"]*">rung</a>', html)
    bibliography = page(run_folder, "bibliography")
    assert "FastFormers" in bibliography and 'href="https://arxiv.org/abs/2010.13382"' in bibliography
    assert "SmoothQuant" not in bibliography, "only what is cited"
    assert "At the back" in html and 'id="rung"' in page(run_folder, "glossary")


def test_each_page_tells_what_it_takes_and_brings_notebook_and_source(run_folder: Path) -> None:
    html = page(run_folder, "01_baseline")
    assert html.index("<h1>") < html.index('class="masthead"') < html.rindex("<h2>")
    assert "1 min to read" in html
    for name in re.findall(r'download="([^"]*)"', html):
        assert (run_folder / "book" / "notebooks" / name).is_file()
    source = (run_folder / "book" / "notebooks" / "01_baseline.py").read_text(encoding="utf-8")
    assert "seed: int = 0" in source and "seed = 7" not in source, "the source, without what one run put in"


def test_every_link_leads_somewhere(run_folder: Path) -> None:
    assert links.broken(run_folder / "book") == []


def test_code_has_copy_buttons_without_a_network(run_folder: Path) -> None:
    html = page(run_folder, "01_baseline")
    assert "copybutton.js" in html and (run_folder / "book" / "_static" / "copybutton.js").is_file()


def test_a_cell_that_shows_source_has_no_toggle_of_its_own(run_folder: Path) -> None:
    assert "flops" not in text_of(page(run_folder, "01_baseline"))


def test_a_chapter_with_few_parameters_shows_all(tmp_path: Path) -> None:
    cell = code("seed: int = 0", tags=("parameters",))
    assert cells.prepared(new_notebook(cells=[cell]), "01_baseline", cells.Links({})).cells[0].source == cell.source


def test_a_sentence_with_nothing_to_say_leaves_no_box() -> None:
    told = new_notebook(cells=[code("Markdown(words)", said(""), said("So."), tags=("hide-input",))])
    (shown,) = cells.prepared(told, "01_baseline", cells.Links({})).cells
    assert [output.data["text/markdown"] for output in shown.outputs] == ["So."]


def test_what_libraries_write_to_stderr_is_left_out(run_folder: Path) -> None:
    assert "a warning of a library" not in page(run_folder, "01_baseline")


def test_tables_and_formulas_need_no_script(run_folder: Path) -> None:
    assert 'class="dataframe' in page(run_folder, "01_baseline")
    html = page(run_folder, "index")
    assert "<math" in html and "<msqrt>" in html and not re.search("<script[^>]*mathjax", html, re.IGNORECASE)


def test_links_follow_the_chapters_that_were_run(run_folder: Path) -> None:
    html = page(run_folder, "index")
    assert re.search(r'<a[^>]*href="01_baseline.html#measure-it"[^>]*>(<[^>]*>)*the baseline', html)
    assert "04_pruning" not in html and "then pruning" in html


def test_a_chapter_that_failed_says_so_below_its_title(run_folder: Path) -> None:
    html = page(run_folder, "02_batching")
    assert (
        html.index("<h1>2 · Batching") < html.index("This chapter stopped with an error") < html.index("they disagree")
    )
    assert 'href="#papermill-error-cell"' in html and 'id="papermill-error-cell"' in html


def test_without_an_introduction_there_is_still_a_first_page(tmp_path: Path) -> None:
    render.stage({"01_baseline": baseline()}, tmp_path, tmp_path / "staged")
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
