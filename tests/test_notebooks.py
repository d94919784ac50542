"""House rules that every chapter keeps, checked on its source."""

from __future__ import annotations

import ast
import re
import statistics

import jupytext
import papermill
import pytest

from fflib.book import fold
from fflib.runs import params

CHAPTERS = [*params.chapters(), params.TABLES, params.CARD]
TALK = "talk"  # slides and no chapter: no lesson with visible code, and a cell of notes for each of its cells
NOTEBOOKS = [*CHAPTERS, TALK]
# A measured number in prose goes stale; figures that a paper published may be quoted.
MEASURED = re.compile(r"\b\d+(\.\d+)?\s*(x|×|times|ms|%|s|seconds|MB|requests/s)(?!\w)")
ALLOWED = ("95 %", "200-fold", "33 %", "50 %")


# The parameters that the bench reads for every chapter, so that its code need not name them.
BENCHS = {"run", "run_dir", "size", "task", "data_source", "threads", "usd_per_hour", "device"}
BENCHS |= {"n_dev", "n_test", "n_resamples", "rounds", "min_retention"}


def tags(cell):
    return cell.metadata.get("tags", [])


def lines(cell):
    """Count the lines of code: neither empty ones nor comments."""
    return len([line for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#")])


def cells(chapter, kind):
    return [c for c in jupytext.read(params.NOTEBOOKS / f"{chapter}.py").cells if c.cell_type == kind]


@pytest.mark.parametrize("chapter", NOTEBOOKS)
class TestNotebook:
    def test_the_ipynb_is_in_step_and_has_no_outputs(self, chapter):
        path = params.NOTEBOOKS / f"{chapter}.ipynb"
        assert path.exists(), f"{path.name} is missing; run: make sync"
        paired = jupytext.read(path)
        ours = [(c.cell_type, c.source) for c in jupytext.read(path.with_suffix(".py")).cells]
        assert [(c.cell_type, c.source) for c in paired.cells] == ours, "run: make sync"
        assert not any(c.get("outputs") or c.get("execution_count") for c in paired.cells), "outputs are committed"
        assert not fold.fold(paired), "an answer is not folded, or what is none is; run: make sync"

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
            assert name in names | BENCHS, f"{name} is not used"

    def test_prose_carries_no_measured_number(self, chapter):
        for cell in cells(chapter, "markdown"):
            text = cell.source
            if cell.metadata.get("slideshow", {}).get("slide_type") == "notes":
                text = text.partition("\n")[2]  # the first line is how long the slide is to take
            for allowed in ALLOWED:
                text = text.replace(allowed, "")
            assert not (found := MEASURED.search(text)), f"'{found.group()}' in: {cell.source[:80]}"

    def test_what_is_folded_is_short_too(self, chapter):
        folded = [lines(c) for c in cells(chapter, "code") if "hide-input" in tags(c)]
        assert max(folded) <= 40 and sum(folded) <= 250, "folding is for what does not matter, not for what is long"

    def test_ten_parameters_at_most_stand_on_top(self, chapter):
        (cell,) = [c for c in cells(chapter, "code") if "parameters" in tags(c)]
        top, marker, rest = cell.source.partition(params.SELDOM_CHANGED)
        assert len(top.strip().splitlines()) <= 10 and (marker or not rest)
        if marker:
            assert len(top.strip().splitlines()) == 10 and rest.strip()

    def test_no_answer_in_eight_bits_is_held_to_a_number_of_one_task(self, chapter):
        """How far rounding moves a logit goes with how large a model's logits are: `served.tolerance` knows."""
        code = "\n".join(c.source for c in cells(chapter, "code"))
        for found in re.findall(r"\btolerance=([\d.][\d.e-]*)", code):
            assert float(found) <= 1e-3, f"tolerance={found} may end the book on a reader's own data"

    def test_no_magics_no_installs_no_working_directory(self, chapter):
        for cell in cells(chapter, "code"):
            assert not re.search(r"^\s*[!%]|os\.chdir|os\.getcwd|subprocess", cell.source, re.MULTILINE)


@pytest.mark.parametrize("chapter", CHAPTERS)
class TestChapter:
    def test_visible_code_is_short_and_little(self, chapter):
        """DESIGN: 200 visible code lines and 45 cells a chapter, a median visible cell of 8 lines or fewer.

        Answers to exercises are folded and come on top.
        """
        code = [c for c in cells(chapter, "code") if not fold.is_answer(c)]
        visible = [lines(c) for c in code if not {*tags(c)} & {"parameters", "hide-input"}]
        assert sum(visible) <= 200 and max(visible, default=0) <= 20
        assert statistics.median(visible or [0]) <= 8
        assert len(code) + len(cells(chapter, "markdown")) <= 45

    def test_exercises_have_short_answers_each_below_its_exercise(self, chapter):
        found = jupytext.read(params.NOTEBOOKS / f"{chapter}.py").cells
        answers = [i for i, cell in enumerate(found) if fold.is_answer(cell)]
        assert len(answers) >= (3 if re.match(r"0[1-9]|11", chapter) else 0), "three exercises with answers at least"
        headings = [i for i, cell in enumerate(found) if re.search(r"^## .*Exercises", cell.source, re.MULTILINE)]
        for i in answers:
            assert headings and i > headings[0], "an answer stands before the heading Exercises"
            assert found[i - 1].cell_type == "markdown", "an answer stands right below its exercise"
            assert 0 < lines(found[i]) <= 12, found[i].source

    def test_the_frame_is_there(self, chapter):
        prose = "\n".join(c.source for c in cells(chapter, "markdown"))
        assert cells(chapter, "markdown")[0].source.startswith("# ")
        if re.match(r"0[1-8]|11", chapter):
            headings = "\n".join(re.findall(r"^## .*", prose, re.MULTILINE))
            for part in ("Idea", "Predict", "Do it", "heck", "Measure", "cost", "When it does not pay", "Exercises"):
                assert part in headings or part in prose, f"no part '{part}'"
            assert "**Claim.**" in prose and "**Cost.**" in prose


class TestTalk:
    """Slides, and below each what to say; see `fflib.talk.deck`."""

    @pytest.fixture
    def slides(self):
        groups = []
        for cell in jupytext.read(params.NOTEBOOKS / f"{TALK}.py").cells:
            kind = cell.metadata["slideshow"]["slide_type"]  # every cell says what it is
            if kind == "slide":
                groups.append([cell])
            elif kind != "skip":
                groups[-1].append(cell)
        return groups

    def test_every_slide_has_one_cell_of_notes_that_begins_with_its_seconds(self, slides):
        for first, *others in slides:
            assert len(others) == 1 and others[0].metadata["slideshow"]["slide_type"] == "notes", first.source
            assert re.match(r"\d+ s\n\n\*\*Say\.\*\*", others[0].source), others[0].source
            assert "**Ask" in others[0].source or first is slides[0][0]

    @pytest.mark.parametrize(("minutes", "count"), [(40, 25), (20, 14)])
    def test_the_seconds_of_both_forms_add_up_to_their_minutes(self, slides, minutes, count):
        kept = [notes for first, notes in slides if minutes == 40 or "long" not in tags(first)]
        assert len(kept) == count
        assert sum(int(notes.source.split()[0]) for notes in kept) == 60 * minutes

    def test_every_demo_is_there_in_both_forms_with_a_sentence_for_its_failure(self, slides):
        shown = {}
        for first, notes in slides:
            for name in re.findall(r'slides\.demo\("(\w+)"\)', first.source):
                shown[name] = "**If it fails.**" in notes.source and "long" not in tags(first)
        assert shown == dict.fromkeys(("race", "typing", "ladder"), True)


def test_a_parameter_means_the_same_in_every_chapter():
    types, sources = {}, {}
    for chapter in NOTEBOOKS:
        for name, parameter in params.declared(chapter).items():
            assert types.setdefault(name, parameter.type) == parameter.type
            assert sources.setdefault(name, parameter.default) == parameter.default, name
