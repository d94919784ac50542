"""References: whole or not there, small, without texts of the data or a machine's paths, read as they were kept."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_output
from PIL import Image
from small_race import RECORD
from small_runs import (
    CHAPTERS,
    LOOK_ALIKES,
    MACHINE,
    be_current,
    cells,
    files_of,
    ladder,
    make_run,
    picture,
    png,
    splits,
)

from fflib import files
from fflib.book import readme, redaction, reference
from fflib.data import splits as data
from fflib.data.retention import Retention
from fflib.distillation import kept_runs
from fflib.files import ROOT, InputError, write_json
from fflib.runs import ladder as rungs
from fflib.runs import params, provenance

EVERY_CHAPTER = params.chapters
MACHINE_PATH = re.compile(r"(?<![\w.~:/>-])(?:/(?:home|root|Users|tmp|var|work|mnt|media|opt|private|usr)/\w|~/\w)")


@pytest.fixture(autouse=True)
def _current(monkeypatch):
    """A short book, and results whose key is "now" count as made with this code."""
    be_current(monkeypatch)


@pytest.fixture
def run(tmp_path) -> Path:
    return make_run(tmp_path / "outputs" / "docs-cpu")


@pytest.fixture
def kept(tmp_path) -> Path:
    return tmp_path / "kept"


def change_notebook(run: Path, **changes) -> None:
    """Change the code cell of chapter 4."""
    path = run / "04_pruning.ipynb"
    book = nbformat.read(path, as_version=4)
    book.cells[1].update(changes)
    nbformat.write(book, path)


def change_record(run: Path, chapter: str, **changes) -> None:
    path = run / "results" / f"{chapter}.json"
    write_json(path, json.loads(path.read_text()) | changes)


def add_fact(run: Path, **facts) -> None:
    path = run / "results" / "03_distillation.json"
    record = json.loads(path.read_text())
    change_record(run, "03_distillation", facts=record["facts"] | facts)


def code_cell(folder: Path) -> nbformat.NotebookNode:
    return nbformat.read(folder / "04_pruning.ipynb", as_version=4).cells[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The main reference, and one of another task."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as monkeypatch:
        be_current(monkeypatch)
        reference.keep(make_run(folder / "a"), reference.MAIN, splits(), folder=folder / "kept")
        other = make_run(folder / "b", "BoolQ", "boolq")
        reference.keep(other, "boolq", splits("BoolQ"), "On a subset.", folder=folder / "kept")
    return folder / "kept"


@pytest.fixture
def two(finished, kept) -> Path:
    """A copy of `finished`, to be spoilt."""
    return shutil.copytree(finished, kept)


# Keeping


def test_it_holds_the_run_and_nothing_else(run, kept):
    folder = reference.keep(run, "one", splits(), folder=kept)
    wanted = ["about.json", "ladder.csv", "ladder.md", *(f"figures/{name}.png" for name in reference.FIGURES)]
    wanted += ["glossary.md"]  # to which the notebooks link
    wanted += [f"{name}.ipynb" for name in CHAPTERS] + [f"results/{name}.json" for name in CHAPTERS]
    assert folder == kept / "one" and sorted(files_of(folder)) == sorted(wanted)
    assert [path.name for path in kept.iterdir()] == ["one"]


def test_its_numbers_alone_are_kept_without_notebooks_and_figures(run, kept):
    folder = reference.keep(run, "one", splits(), folder=kept, notebooks=False)
    assert not [path for path in files_of(folder) if path.endswith((".ipynb", ".png"))]
    assert [record["chapter"] for record in reference.read("one", kept).records] == CHAPTERS


def test_a_race_of_engines_is_kept_with_the_run_it_is_of(run, kept):
    written = json.loads((run / "results" / "07_serving.json").read_text())["written"]
    race = RECORD | {"run_written": written, "missing": {"odd": f"it failed in {run}/models"}}
    (run / "peers.json").write_text(json.dumps(race))
    found = json.loads((reference.keep(run, "one", splits(), folder=kept) / "peers.json").read_text())
    assert found["ways"] == RECORD["ways"] and str(run) not in found["missing"]["odd"]
    (run / "peers.json").write_text(json.dumps(race | {"run_written": "2025-01-01T00:00:00+00:00"}))
    with pytest.raises(InputError, match="peers.json is of another time this run was made; remove it, or race again"):
        reference.keep(run, "one", splits(), folder=kept)


def test_read_after_keep_gives_the_same(run, kept):
    reference.keep(run, "one", splits(), "A note.", "cpu", kept)
    read = reference.read("one", kept)
    wanted = ladder()
    for column in wanted.columns:
        for got, want in zip(read.ladder[column], wanted[column], strict=True):
            if pd.isna(want):
                assert pd.isna(got), column
            else:
                assert got == (want if isinstance(want, str) else pytest.approx(want, rel=1e-12)), column
    assert reference.names(kept) == ["one"] and [r["chapter"] for r in read.records] == CHAPTERS
    assert list(read.way()["rung"]) == ["reference padded", "reference unpadded", "small", "chosen"]
    assert read.about == {
        "run": "docs-cpu", "size": "smoke", "hardware": "cpu", "task": "docs", "note": "A note.",
        "written": f"2026-01-0{len(CHAPTERS)}T03:04:05+00:00", "machine": MACHINE,
        "data_fingerprint": {"train": "7ra1"}, "seeds": [3], "n_train": 1, "n_dev": 1, "n_test": 1,
    }  # fmt: skip


def test_samples_stay_with_six_digits_in_compact_json(run, kept):
    text = (reference.keep(run, "one", splits(), folder=kept) / "results" / "03_distillation.json").read_text()
    record = json.loads(text)
    assert record["rungs"][0]["evidence"]["batch_seconds"] == [0.123457, 3.33333e-8, 2.0]
    assert record["parameters"]["n_test"] == 5 and "\n" not in text.strip() and '": ' not in text
    facts = json.loads((kept / "one" / "results" / "01_baseline.json").read_text())["facts"]
    assert facts["flag"] is True and facts["n"] == 10**7


def test_a_notebook_loses_what_nobody_reads(run, kept):
    folder = reference.keep(run, "one", splits(), folder=kept)
    book = nbformat.read(folder / "04_pruning.ipynb", as_version=4)
    nbformat.validate(book)
    assert set(book.metadata) == {"kernelspec"} and dict(book.cells[1].metadata) == {"tags": ["hide-input"]}
    kinds = [list(output.get("data", {output.get("name"): 0})) for output in book.cells[1].outputs]
    assert kinds == [["stdout"], ["text/markdown"], ["text/html", "text/plain"], ["image/png"]]
    assert book.cells[1].outputs[3].metadata == {"image/png": {"alt": "a staircase"}}


def test_figures_are_smaller_and_the_same_to_the_eye(run, kept):
    folder, original = reference.keep(run, "one", splits(), folder=kept), png(picture())
    in_notebook = base64.b64decode(code_cell(folder).outputs[3].data["image/png"])
    for content in (in_notebook, (folder / "figures" / "ladder.png").read_bytes()):
        image = Image.open(io.BytesIO(content))
        image.load()
        assert image.format == "PNG" and image.mode == "P" and image.size == (48, 64)
        assert len(content) < 0.7 * len(original)
        off = np.asarray(image.convert("RGB"), float) - np.asarray(picture(), float)
        assert np.abs(off).mean() < 20  # of 256 levels; of random colours, which is the worst case


def test_what_is_transparent_becomes_white(run, kept):
    image = picture("RGBA")
    image.putalpha(0)
    (run / "figures" / "ladder.png").write_bytes(png(image))
    folder = reference.keep(run, "one", splits(), folder=kept)
    assert np.asarray(Image.open(folder / "figures" / "ladder.png").convert("RGB")).min() == 255


def test_a_figure_that_a_palette_would_blow_up_stays(run, kept):
    tiny = png(Image.new("1", (2, 2)))
    (run / "figures" / "limits.png").write_bytes(tiny)
    assert (reference.keep(run, "one", splits(), folder=kept) / "figures" / "limits.png").read_bytes() == tiny


def test_paths_of_this_machine_are_replaced_everywhere(run, kept, tmp_path, monkeypatch):
    source = tmp_path / "my data"
    source.mkdir()
    home = Path.home()
    path = run / "results" / "01_baseline.json"
    parameters = json.loads(path.read_text())["parameters"] | {"data_source": str(source)}
    change_record(run, "01_baseline", parameters=parameters)
    add_fact(run, graph=f"{ROOT}/models/x.onnx", home=[str(home / "model")], more={f"{source}/BoolQ": 1.5})
    change_notebook(run, source=f'data_source = "{source}"\nopen("{home}/x")  # {LOOK_ALIKES}')
    (run / "ladder.csv").write_text((run / "ladder.csv").read_text().replace("model of small", f"{ROOT}/m"))
    folder = reference.keep(run, "one", splits(), folder=kept)
    everything = b"\n".join(files_of(folder).values()).decode(errors="ignore")
    for known in (ROOT, home, tmp_path, source, run):
        assert f"{known}/" not in everything and f'{known}"' not in everything
    facts = json.loads((folder / "results" / "03_distillation.json").read_text())["facts"]
    assert facts["graph"] == "<folder>/models/x.onnx" and facts["home"] == ["<folder>/model"]
    assert facts["more"] == {"<folder>/BoolQ": 1.5}
    assert code_cell(folder).source == f'data_source = "<folder>"\nopen("<folder>/x")  # {LOOK_ALIKES}'
    assert code_cell(folder).outputs[0].text == f"wrote <folder>/x\n{LOOK_ALIKES}\n"
    assert reference.read("one", kept).ladder["model"][2] == "<folder>/m"


def test_a_home_at_the_root_does_not_change_every_slash(run, kept, monkeypatch):
    monkeypatch.setenv("HOME", "/")
    add_fact(run, ratio="3 / 4, and/or")
    folder = reference.keep(run, "one", splits(), folder=kept)
    assert json.loads((folder / "results" / "03_distillation.json").read_text())["facts"]["ratio"] == "3 / 4, and/or"


def test_a_relative_source_is_no_path_of_the_machine():
    change = redaction.path_remover(Path("/tmp/x"), ["words"])
    assert change(f"words of {ROOT / 'words'}") == "words of <folder>"


def test_images_are_no_text_to_be_changed():
    change = redaction.path_remover(Path("/tmp/x"), [])
    assert reference._slim({"image/png": "a+/tmp/b", "text": "+/tmp/b"}, change)["image/png"] == "a+/tmp/b"
    assert change("+/tmp/b") == "+<folder>/b"


def test_kept_again_it_is_the_same_and_nothing_is_left_of_the_old(run, kept):
    folder = reference.keep(run, "one", splits(), folder=kept)
    first = files_of(folder)
    (folder / "stray.txt").write_text("of an older version")
    assert files_of(reference.keep(run, "one", splits(), folder=kept)) == first


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize(("owner", "name", "at"), [(Path, "write_bytes", 5), (None, "rename", 1), (None, "rename", 2)])
def test_interrupted_it_leaves_the_old_reference(run, kept, monkeypatch, owner, name, at, error):
    old = files_of(reference.keep(run, "one", splits(), "the old one", folder=kept))
    owner, calls = owner or files.os, []
    real = getattr(owner, name)

    def fails(*arguments):
        calls.append(arguments)
        if len(calls) == at:
            raise error
        return real(*arguments)

    monkeypatch.setattr(owner, name, fails)
    with pytest.raises((KeyboardInterrupt, InputError)):
        reference.keep(run, "one", splits(), "the new one", folder=kept)
    monkeypatch.undo()
    assert len(calls) >= at and files_of(kept / "one") == old and [path.name for path in kept.iterdir()] == ["one"]


def drop(path: str):
    return lambda run: (run / path).unlink()


def write(path: str, content: str):
    return lambda run: (run / path).write_text(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop("results/09_story.json"), "run chapter 09_story first"),
        (drop("results/00_introduction.json"), "run chapter 00_introduction first"),
        (lambda run: change_record(run, "03_distillation", key="older"), "03_distillation was measured with other"),
        (lambda run: change_record(run, "00_introduction", key="older"), "00_introduction was measured with other"),
        (lambda run: add_fact(run, data_fingerprint={"train": "other"}), "saw different data"),
        (drop("04_pruning.ipynb"), "04_pruning.ipynb is missing"),
        (drop("ladder.csv"), "ladder.csv is missing"),
        (write("04_pruning.ipynb", "{}"), "04_pruning.ipynb is no readable notebook"),
        (write("figures/ladder.png", "no image"), "ladder.png is damaged"),
    ],
)
def test_a_run_that_is_not_whole_is_refused(run, kept, spoil, message):
    spoil(run)
    with pytest.raises(InputError, match=message):
        reference.keep(run, "one", splits(), folder=kept)
    assert not kept.exists()


@pytest.mark.parametrize(
    "wrong", [[], splits()[:2], [splits()[0]] * 3, splits("BoolQ"), [*splits()[:2], splits("BoolQ")[2]]]
)
def test_it_takes_every_split_of_the_runs_task(run, kept, wrong):
    with pytest.raises(InputError, match="give its splits train, dev, test"):
        reference.keep(run, "one", wrong, folder=kept)


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", ".hidden", "a b"])
def test_a_name_is_a_plain_one(run, kept, name):
    with pytest.raises(InputError, match="cannot name a reference"):
        reference.keep(run, name, splits(), folder=kept)


def test_a_large_one_is_refused(run, kept, monkeypatch):
    size = sum(map(len, files_of(reference.keep(run, "one", splits(), folder=kept)).values()))
    monkeypatch.setattr(reference, "MAX_BYTES", size)
    reference.keep(run, "two", splits(), folder=kept)
    monkeypatch.setattr(reference, "MAX_BYTES", size - 1)
    with pytest.raises(InputError, match=r"would take 0\.\d MB"):
        reference.keep(run, "three", splits(), folder=kept)
    assert reference.names(kept) == ["one", "two"]


# Leaks

PART = "heron waits among tall reeds until the pike"  # 8 words


def output_of(kind: str, text: str):
    return lambda run: change_notebook(run, outputs=[new_output("display_data", {kind: text})])


@pytest.mark.parametrize(
    ("spoil", "file"),
    [
        (output_of("text/plain", f"['{PART}']"), "04_pruning.ipynb"),
        (output_of("text/markdown", f"| a | {PART.replace(' ', '  ').upper()} |"), "04_pruning.ipynb"),
        (output_of("text/html", "<td>the brook doesn&#39;t grind when summer has dried</td>"), "04_pruning.ipynb"),
        (output_of("text/plain", PART.replace(" ", "\n")), "04_pruning.ipynb"),
        (output_of("application/json", {"a": [{"b": PART}]}), "04_pruning.ipynb"),
        (lambda run: change_notebook(run, outputs=[new_output("stream", text=PART)]), "04_pruning.ipynb"),
        (lambda run: change_notebook(run, source=f"text = '{PART}'"), "04_pruning.ipynb"),
        (lambda run: add_fact(run, worst=[{"text": f"...{PART}..."}]), "results/03_distillation.json"),
        (lambda run: add_fact(run, words=PART.split()), "results/03_distillation.json"),
        (lambda run: add_fact(run, losses={PART: 0.5}), "results/03_distillation.json"),
        (lambda run: change_record(run, "07_serving", parameters={"x": PART}), "results/07_serving.json"),
        (write("ladder.md", f"| {PART} |"), "ladder.md"),
    ],
)
def test_a_text_of_the_data_is_found_wherever_it_stands(run, kept, spoil, file):
    spoil(run)
    with pytest.raises(InputError, match=re.escape(file)) as caught:
        reference.keep(run, "one", splits(), folder=kept)
    assert PART in str(caught.value) or "the brook doesn t grind when summer has" in str(caught.value)
    assert not kept.exists()


def test_a_text_in_a_note_is_found_too(run, kept):
    with pytest.raises(InputError, match="about.json"):
        reference.keep(run, "one", splits(), note=f"e.g. {PART}", folder=kept)


def test_seven_words_and_numbers_are_no_leak(run, kept):
    add_fact(run, text=PART.removesuffix(" pike"), numbers="1 2 3 4 5 6 7 8 9")
    change_notebook(run, source="heron waits among tall reeds until the")
    reference.keep(run, "one", splits(), folder=kept)


def naive_leaks(texts: list[str], contents: list[str]) -> list[str]:
    """The definition, word for word."""
    contents = [f" {' '.join(re.sub('[^a-z0-9]', ' ', content.lower()).split())} " for content in contents]
    found = []
    for text in texts:
        words = re.sub("[^a-z0-9]", " ", text.lower()).split()
        for start in range(len(words) - 7):
            run = " ".join(words[start : start + 8])
            if any(f" {run} " in content for content in contents) and not run.replace(" ", "").isdigit():
                found.append(run)
                break
    return found


def test_leaks_follow_their_definition():
    """Texts and contents of few words, so that they overlap in every way, at the start, at the end, or by 7 words."""
    rng, signs, total = np.random.default_rng(0), np.array([" ", " ", ", ", "\n", " - "]), 0
    for _ in range(200):
        pairs = [
            zip(rng.choice(["a", "B", "1"], n), rng.choice(signs, n), strict=True) for n in rng.integers(1, 40, 12)
        ]
        sentences = ["".join(word + sign for word, sign in pair) for pair in pairs]
        found = redaction.leaks(sentences[:6], sentences[6:])
        assert found == naive_leaks(sentences[:6], sentences[6:])
        total += len(found)
    assert 30 < total < 1000
    assert redaction.leaks([PART], [f"x{PART}", f"{PART}x"]) == [] == redaction.leaks([], [PART])
    assert redaction.leaks([PART, PART], [PART.title()]) == [PART, PART]
    half = PART.split()
    assert redaction.leaks([PART], [" ".join(half[:4]), " ".join(half[4:])]) == []


def test_thousands_of_texts_against_megabytes_take_seconds():
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(5000)])
    texts = [" ".join(words[row]) for row in rng.integers(5000, size=(3000, 100))]
    contents = [" ".join(rng.choice(words, 40_000)) for _ in range(5)] + [texts[1234][300:600]]
    start = time.perf_counter()
    found = redaction.leaks(texts, contents)
    assert len(found) == 1 and found[0] in texts[1234] and time.perf_counter() - start < 30


# Reading


def test_a_missing_reference_names_those_there_are(two, tmp_path):
    shutil.copytree(two / "boolq", two / ".other.abc")
    (two / "half").mkdir()
    assert reference.names(two) == ["boolq", "docs-cpu"]
    for name in ("x", "half", "", ".", "../kept/boolq"):
        with pytest.raises(InputError, match="there are boolq, docs-cpu$"):
            reference.read(name, two)
    with pytest.raises(InputError, match="no reference 'x'.*there are no others"):
        reference.read("x", tmp_path / "nothing")


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("about.json", "{"), ("about.json", "{}"), ("about.json", "[]"), ("ladder.csv", ""), ("ladder.csv", "rung\nx"),
        ("ladder.csv", None), ("results/07_serving.json", ""), ("results/07_serving.json", "[]"),
        ("ladder.csv", "\0\"\n'"), ("results/07_serving.json", '{"chapter": "07", "facts": {"goes_on_from": "no"}}'),
    ],
)  # fmt: skip
def test_a_damaged_reference_names_the_others(two, path, content):
    (two / "boolq" / path).unlink()
    if content is not None:
        (two / "boolq" / path).write_text(content)
    with pytest.raises(InputError, match="'boolq' is damaged; .* there are docs-cpu$"):
        reference.read("boolq", two)


def test_a_reference_of_older_code_is_read(two, monkeypatch):
    monkeypatch.setattr(provenance, "chapter_key", lambda *_: "later")
    assert reference.read("boolq", two).name == "boolq"


def test_a_run_that_was_not_made_here_is_shown_by_its_own_reference_or_the_main_one(two):
    assert reference.instead_of("boolq", two).name == "boolq"
    assert reference.instead_of("unheard-of", two).name == "docs-cpu"
    path = two / "boolq" / "results" / f"{reference.STORY}.json"
    path.write_text(path.read_text().replace(reference.STORY, "07_story"))  # as an older version of the book kept it
    assert reference.instead_of("boolq", two).name == "docs-cpu"


# README


FIRST = f"# Title\n\n{readme.HEADLINE_BEGIN}\n{readme.HEADLINE_END}\n\n"  # the first screen of a README


def readme_of(tmp_path: Path, text: str) -> Path:
    (tmp_path / "README.md").write_text(FIRST + text)
    return tmp_path / "README.md"


def test_the_section_of_readme(two):
    section = readme.section(reference.read("docs-cpu", two), [reference.read("boolq", two)])
    first, _, told, *_ = section.split("\n\n")
    figure = readme.headline(reference.read("docs-cpu", two)).splitlines()[0]
    assert "products of steps" in told, "its story measured no headline"
    for part in ("A processor", "3 cores", "task docs", "size smoke", "2026-01-0", "PyTorch 2.1", "ONNX Runtime 1.3"):
        assert part in first
    assert first.startswith("Measured on") and "make book" in first and "subset" not in first
    assert re.fullmatch(r"!\[[^\]]{20,}\]\(outputs/reference/docs-cpu/figures/ladder.png\)", figure)
    tables = [cells(line) for line in section.splitlines() if line.startswith("|")]
    assert [row[0] for row in tables[2:6]] == ["reference padded", "reference unpadded", "small", "chosen"]
    chosen = dict(zip(tables[0], tables[5], strict=True))
    assert (chosen["step"], chosen["vs padded"], chosen["vs unpadded"]) == ("2.67x", "21.3x", "10.7x")
    summary = dict(zip(tables[6], tables[8], strict=True))
    assert summary == {
        "reference": "boolq", "task": "BoolQ", "teacher accuracy": "80.0%", "retention": "87.5%",
        "final accuracy (95 %)": "70.0% (65.0% to 75.0%)", "vs padded": "21.3x, product of steps",
        "vs unpadded": "10.7x, product of steps",
        "p50 ms": "46.9",
    }  # fmt: skip
    assert (
        len(tables) == 9
        and section.endswith("On a subset.\n\n</details>")
        and "- boolq: Measured on A processor" in section
    )
    alone = readme.section(reference.read("boolq", two))
    assert "Other runs" not in alone and "details" not in alone and "On a subset." in alone


def test_readme_says_what_the_last_rung_keeps_on_test_where_the_story_does(two):
    fact = Retention(0.875, 0.85, 0.99, 1500, 80, 20).fact(0.98)
    for name in ("docs-cpu", "boolq"):
        path = two / name / "results" / "09_story.json"
        record = json.loads(path.read_text())
        record["facts"]["retention"] = fact
        path.write_text(json.dumps(record))
    section = readme.section(reference.read("docs-cpu", two), [reference.read("boolq", two)])
    assert "On test it keeps 87.5% (85.0% to 99.0%)" in section and "**missed, but not beyond chance**" in section
    assert "keeps 87.5% (85.0% to 99.0%) of its teacher's score" in readme.headline(reference.read("docs-cpu", two))
    tables = [cells(line) for line in section.splitlines() if line.startswith("|")]
    kept = dict(zip(tables[6], tables[8], strict=True))["retention"]
    assert kept == "87.5% (85.0% to 99.0%, missed, but not beyond chance)"


def test_readme_is_written_between_its_markers(two, tmp_path):
    page = readme_of(tmp_path, f"{readme.BEGIN}\nold\n{readme.END}\n\nrest | of it\n")
    assert not readme.is_current(page, two)
    readme.write(page, two)
    text = page.read_text()
    assert text.startswith("# Title\n\n") and f"\n\n{readme.BEGIN}\nMeasured on" in text and "old" not in text
    assert text.endswith(f"</details>\n{readme.END}\n\nrest | of it\n") and "figures/ladder.png" in text
    assert readme.is_current(page, two)
    readme.write(page, two)
    assert page.read_text() == text
    page.write_text(text.replace("21.3x", "99.9x"))
    assert not readme.is_current(page, two)
    shutil.rmtree(two / "boolq")
    page.write_text(text)
    assert not readme.is_current(page, two)


@pytest.mark.parametrize(
    "text",
    ["", "{b}", "{e}", "{e}\n{b}", "{b}\n{b}\n{e}", "{b}\n{e}\n{e}", "{b}\n{e}\n{b}\n{e}"],
)
def test_readme_needs_one_pair_of_markers(two, tmp_path, text):
    text = text.format(b=readme.BEGIN, e=readme.END)
    page = readme_of(tmp_path, text)
    for function in (readme.write, readme.is_current):
        with pytest.raises(InputError, match="needs one line <!-- ladder:begin -->"):
            function(page, two)
    assert page.read_text() == FIRST + text


def test_without_a_reference_there_is_nothing_to_write(tmp_path):
    with pytest.raises(InputError, match="holds no reference yet"):
        readme.write(readme_of(tmp_path, f"{readme.BEGIN}\n{readme.END}"), tmp_path)


# The command line


@pytest.fixture
def world(run, kept, tmp_path, monkeypatch):
    """The command's own run, data, README and folder of references, all of the test's making."""
    monkeypatch.setenv("FFLIB_OUTPUTS", str(run.parent))
    for module in (reference, readme):
        monkeypatch.setattr(module, "REFERENCES", kept)
    monkeypatch.setattr(readme, "README", readme_of(tmp_path, f"{readme.BEGIN}\n{readme.END}"))
    asked, real = [], params.load_run

    def load_run(*arguments):
        with pytest.MonkeyPatch.context() as whole_book:
            whole_book.setattr(params, "chapters", EVERY_CHAPTER)
            return real(*arguments)

    def load_split(task, split, source, limit):
        asked.append((task, split, source, limit))
        return next(made for made in splits() if made.name == split)

    monkeypatch.setattr(params, "load_run", load_run)
    monkeypatch.setattr(data, "load_split", load_split)
    return asked


def test_the_command_line_keeps_and_writes(world, kept, capsys):
    assert reference.main(["--run", "docs-cpu", "--note", "Quiet machine."]) == 0
    assert world == [("docs", name, "auto", None) for name in ("train", "dev", "test")]
    about = reference.read("docs-cpu", kept).about
    assert about["note"] == "Quiet machine." and about["hardware"] == "cpu"
    assert reference.main(["--as", "other"]) == 0 and reference.names(kept) == ["docs-cpu", "other"]
    assert "docs-cpu" in capsys.readouterr().out
    assert readme.main(["--check"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert readme.main([]) == 0 == readme.main(["--check"])
    assert "Quiet machine." in readme.README.read_text()


@pytest.mark.parametrize(
    ("module", "arguments"),
    [(reference, ["--run", "nosuch"]), (reference, ["--size", "smoke"]), (readme, [])],
)
def test_a_failure_is_one_sentence(world, kept, capsys, module, arguments):
    assert module.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and not kept.exists()


# What is committed


@pytest.mark.skipif(not reference.names(), reason="outputs/reference holds nothing yet")
def test_readme_shows_the_reference_results():
    assert readme.is_current(), "README.md is stale; write it anew: python -m fflib.book.readme"


@pytest.mark.parametrize("name", reference.names())
def test_a_committed_reference_is_small_honest_and_of_no_machine(name):
    folder, read = reference.REFERENCES / name, reference.read(name)
    contents = files_of(folder)
    assert sum(map(len, contents.values())) <= reference.MAX_BYTES
    assert tuple(read.ladder.columns) == rungs.COLUMNS and read.about["machine"]["cpu"]
    assert read.about["run"] and read.about["task"]
    with_notebooks = (folder / "01_baseline.ipynb").exists()
    assert (folder / "figures" / "ladder.png").exists() == with_notebooks
    assert with_notebooks or name == kept_runs.LONGER, "its numbers alone are kept of what makes tables of others"
    for path, content in contents.items():
        assert path.endswith((".json", ".csv", ".md", ".ipynb", ".png")), path
        if not path.endswith(".png"):
            assert not MACHINE_PATH.findall(redaction._readable(path, content.decode())), path
