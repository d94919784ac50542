"""What is to do while a chapter runs: of a book, of one that begins after another, and of a sweep."""

from __future__ import annotations

import pytest

from fflib.files import write_json
from fflib.runs import outlook, params, sweep_plan, times
from fflib.runs.outlook import Outlook
from fflib.runs.params import Run
from fflib.runs.sweep_plan import Sweep

CHAPTERS = [*params.chapters()[1:], params.chapters()[0]]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(times, "KEPT", tmp_path / "kept")
    return tmp_path / "outputs"


def record(folder, chapter, seconds, suffix=""):
    minute = CHAPTERS.index(chapter)
    content = {"chapter": chapter, "key": "k", "written": f"{minute:02}", "seconds": seconds, "facts": {}, "rungs": []}
    path = folder / "results" / f"{chapter}.json{suffix}"
    write_json(path, content | {"parameters": {"size": "standard"}, "machine": times.here()})


def run(home, name, before=None, seconds=()) -> Run:
    """A run whose chapters took ``seconds`` the last time, in the order in which they run."""
    for chapter, took_s in zip(CHAPTERS, seconds, strict=False):
        record(home / name, chapter, took_s, suffix=".old")
    return Run(name, "cpu", "standard", home / name, {}, before)


def test_a_book_counts_what_it_lacks(home):
    a = run(home, "a", seconds=range(10, 10 + len(CHAPTERS)))
    record(home / "a", CHAPTERS[0], 10)
    found = outlook.of_book(a, CHAPTERS[1])
    assert found.place == f"2 of {len(CHAPTERS)}" and found.whole == "book"
    assert found.chapter_s == pytest.approx(11)
    assert found.after_s == pytest.approx(sum(range(12, 10 + len(CHAPTERS))))
    assert found.done_s == 10


def test_of_a_book_that_begins_after_another_its_first_chapter_counts_too(home):
    a = run(home, "a", seconds=[100])
    b = run(home, "b", before=a, seconds=[10] * len(CHAPTERS))
    found = outlook.of_book(a, params.BASELINE, b)
    assert found == Outlook(f"1 of {1 + len(CHAPTERS)}", "book", 100, 10 * len(CHAPTERS))
    assert outlook.left_s(outlook.lacking(b)) == 100 + 10 * len(CHAPTERS)
    record(home / "a", params.BASELINE, 100)
    assert outlook.left_s(outlook.lacking(b)) == 10 * len(CHAPTERS)


def test_a_sweep_counts_its_runs_but_those_that_failed(home):
    a, b, c = (run(home, name, seconds=[10] * len(CHAPTERS)) for name in "abc")
    sweep_plan.note_failure(c.folder, params.BASELINE, "no room")
    found = outlook.of_sweep(Sweep("all", [a, b, c], a), b, params.BASELINE)
    assert found.place == f"{1 + len(CHAPTERS)} of {3 * len(CHAPTERS)}" and found.whole == "sweep"
    assert (found.chapter_s, found.after_s) == (10, 10 * (2 * len(CHAPTERS) - 1))


def test_a_chapter_of_which_nothing_is_known_makes_the_whole_unknown(home):
    a = run(home, "a", seconds=[10] * (len(CHAPTERS) - 1))
    assert outlook.of_book(a, CHAPTERS[0]) == Outlook(f"1 of {len(CHAPTERS)}", "book", 10, None)
    assert outlook.of_book(a, CHAPTERS[-1]).left_s(5) == (None, None)


@pytest.mark.parametrize(
    ("elapsed_s", "loop_s", "left"),
    [(0, 0, (100, 400)), (30, 0, (70, 370)), (30, 90, (90, 390)), (130, 0, (0, 300)), (130, 15, (15, 315))],
)
def test_what_is_left(elapsed_s, loop_s, left):
    """A chapter that takes longer than estimated takes at least as long as the loop that it is in."""
    assert Outlook("", "book", 100, 300).left_s(elapsed_s, loop_s) == left


def test_what_is_left_where_only_the_chapter_is_known():
    assert Outlook("", "book", 100, None).left_s(30) == (70, None)
