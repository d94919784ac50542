"""How long chapters will take: which record is asked, and how what is done corrects it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fflib.files import write_json
from fflib.runs import params, times
from fflib.runs.params import Run

HERE, ELSEWHERE = {"cpu": "A Processor", "cores_available": 2}, {"cpu": "Another one", "cores_available": 2}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(times, "KEPT", tmp_path / "kept")
    return tmp_path


def run(home: Path, name: str = "a", size: str = "standard") -> Run:
    return Run(name, "cpu", size, home / "outputs" / name, {})


def record(folder: Path, chapter: str, seconds, machine=HERE, size="standard", suffix="", by_kind=None, at="1") -> None:
    content = {
        "chapter": chapter, "key": "k", "written": at, "seconds": seconds, "parameters": {"size": size},
        "machine": machine, "facts": {}, "rungs": [],
    }  # fmt: skip
    write_json(
        folder / "results" / f"{chapter}.json{suffix}", content | ({"seconds_by_kind": by_kind} if by_kind else {})
    )


def seconds(home: Path, *chapters: str, **options) -> list[float | None]:
    found = times.estimates([(run(home), chapter) for chapter in chapters], HERE, **options)
    return [guess and pytest.approx(guess.seconds) for guess in found]


def by(home: Path, chapter: str = "02_batching", sweep=()) -> tuple[float, str] | None:
    guess = times.estimates([(run(home), chapter)], HERE, sweep)[0]
    return guess and (guess.seconds, guess.by)


def test_the_nearest_record_is_asked(home):
    """Each source that is added is nearer than the one before."""
    assert by(home) is None
    record(home / "kept" / "b", "02_batching", 1.0)
    assert by(home) == (1.0, times.KEPT_OTHERS)
    record(home / "kept" / "of a sweep" / "a", "02_batching", 2.0, machine=ELSEWHERE)
    assert by(home) == (2.0, times.KEPT_ELSEWHERE)
    record(home / "outputs" / "b", "02_batching", 3.0)
    assert by(home) == (3.0, times.OF_OTHERS)
    record(home / "outputs" / "c", "02_batching", 4.0)
    assert by(home, sweep=["c"]) == (4.0, times.OF_SWEEP) and by(home) == (3.5, times.OF_OTHERS), "their median"
    table = {"size": "standard", "machine": HERE, "written": "1", "seconds": {"02_batching": {"start": 2, "rest": 3}}}
    write_json(home / "kept" / times.TABLE, {"a": table})
    assert by(home) == (5.0, times.KEPT_ALIKE)
    record(home / "outputs" / "a", "02_batching", 6.0, suffix=".old")
    assert by(home, sweep=["c"]) == (6.0, times.OWN)


@pytest.mark.parametrize("other", [{"machine": ELSEWHERE}, {"size": "smoke"}, {"seconds": None}])
def test_a_run_here_of_another_machine_or_size_tells_nothing(home, other):
    record(home / "outputs" / "b", "02_batching", **{"seconds": 1.0} | other)
    assert by(home) is None


def test_a_chapter_is_known_by_its_name_where_its_number_was_another(home):
    record(home / "kept" / "a", "07_story", 9.0)
    assert seconds(home, "09_story", "07_serving") == [9.0, None]


def test_a_record_with_kinds_counts_whole_and_one_without_as_it_says(home):
    record(home / "outputs" / "a", "02_batching", 40.0, by_kind={"start": 9.5, "timing": 30.0, "rest": 2.5})
    record(home / "outputs" / "a", "03_distillation", 40.0)
    assert seconds(home, "02_batching", "03_distillation") == [42.0, 40.0]


def test_of_its_own_times_the_last_one_counts(home):
    record(home / "outputs" / "a", "02_batching", 40.0, at="2026-01-01")
    record(home / "outputs" / "a", "02_batching", 20.0, at="2025-01-01", suffix=".old")
    assert seconds(home, "02_batching") == [40.0]


def test_a_machine_that_is_half_as_fast_shows_as_chapters_end(home):
    """By the record of another machine 100, 30, 50 and 20 seconds; two chapters took 200 and 80 here."""
    for chapter, kept in (
        ("01_baseline", 100.0),
        ("02_batching", 30.0),
        ("03_distillation", 50.0),
        ("04_pruning", 20.0),
    ):
        record(home / "kept" / "a", chapter, kept, machine=ELSEWHERE)
    assert seconds(home, "03_distillation", "04_pruning") == [50, 20]
    record(home / "outputs" / "a", "01_baseline", 200.0)
    assert seconds(home, "03_distillation", "04_pruning") == [100, 40]
    record(home / "outputs" / "a", "02_batching", 80.0)
    assert seconds(home, "03_distillation", "04_pruning") == [50 * 280 / 130, 20 * 280 / 130]


def test_where_run_and_machine_are_the_same_one_quick_chapter_says_little(home):
    """Its training was there already: 20 of 100 seconds; the rest, 300 seconds, weighs in as if it took 300."""
    for chapter, last_s in (("01_baseline", 100.0), ("02_batching", 200.0), ("03_distillation", 100.0)):
        record(home / "outputs" / "a", chapter, last_s, suffix=".old")
    record(home / "outputs" / "a", "01_baseline", 20.0)
    assert seconds(home, "02_batching", "03_distillation") == [200 * 320 / 400, 100 * 320 / 400]


# Two books of docs-cpu on one processor, the first in an hour in which it had other work too: a chapter's seconds of
# `OF_PACE`, and its others, in either.
TWO_BOOKS = {
    "01_baseline": ((99, 202), (65, 127)), "02_batching": ((98, 22), (65, 18)),
    "03_distillation": ((48, 295), (26, 244)), "04_pruning": ((76, 498), (47, 363)),
    "05_quantization": ((153, 27), (97, 24)), "06_runtime": ((84, 12), (47, 8)), "07_serving": ((139, 3), (121, 3)),
    "08_beyond": ((15, 75), (55, 7)), "09_story": ((184, 87), (150, 54)), "00_introduction": ((16, 0), (5, 0)),
}  # fmt: skip


def kinds(pace_s: float, other_s: float) -> dict[str, float]:
    return {"rest": float(pace_s), "training": float(other_s)}


def test_a_kept_book_of_a_slower_hour_misleads_for_one_chapter_only(home):
    for chapter, (slower, _) in TWO_BOOKS.items():
        record(home / "kept" / "a", chapter, sum(slower), by_kind=kinds(*slower))
    names = list(TWO_BOOKS)
    for done in range(1, 8):
        chapter = names[done - 1]
        record(home / "outputs" / "a", chapter, sum(TWO_BOOKS[chapter][1]), by_kind=kinds(*TWO_BOOKS[chapter][1]))
        left = times.total_s(times.estimates([(run(home), name) for name in names[done:]], HERE))
        assert left == pytest.approx(sum(sum(TWO_BOOKS[name][1]) for name in names[done:]), rel=0.2), f"after {chapter}"


def test_a_training_that_was_there_already_does_not_make_the_machine_fast(home):
    for chapter in ("01_baseline", "02_batching"):
        record(home / "kept" / "a", chapter, 300.0, by_kind=kinds(100, 200))
    record(home / "outputs" / "a", "01_baseline", 100.0, by_kind=kinds(100, 0))
    assert seconds(home, "02_batching") == [300]
    record(home / "outputs" / "a", "01_baseline", 50.0, by_kind=kinds(50, 0))
    assert seconds(home, "02_batching") == [300 * (50 + times.DOUBT_S) / (100 + times.DOUBT_S)]


def test_a_chapter_that_is_to_run_again_corrects_nothing(home):
    for chapter in ("01_baseline", "02_batching"):
        record(home / "kept" / "a", chapter, 10.0, machine=ELSEWHERE)
    record(home / "outputs" / "a", "01_baseline", 90.0)
    assert seconds(home, "01_baseline", "02_batching") == [90, 10]


def test_the_rendering_counts_as_it_took_the_last_time(home):
    record(home / "outputs" / "a", "01_baseline", 5.0)
    (home / "outputs" / "a" / "book").mkdir()
    assert seconds(home, times.BOOK) == [None]
    (home / "outputs" / "a" / "book" / times.SECONDS).write_text("17.5\n")
    assert seconds(home, times.BOOK) == [17.5]


def test_the_kept_records_tell_of_every_chapter_of_the_default_book():
    """On a fresh checkout, on any machine, in both sizes that come with a record."""
    for size in ("smoke", "standard"):
        loaded = params.load_run("docs-cpu", size)
        table = times.table(times.KEPT)
        found = times.estimates([(loaded, chapter) for chapter in params.chapters()], ELSEWHERE)
        assert all(guess and guess.seconds > 0 for guess in found), size
        if loaded.folder.name in table:
            of_table = table[loaded.folder.name]["seconds"]
            mine = {chapter: sum(of_table[chapter].values()) for chapter in params.chapters()}
            assert [guess.seconds for guess in found if guess] == pytest.approx(list(mine.values()))


def test_here_is_what_a_record_says_of_this_machine():
    from fflib.measure import hardware

    card = hardware.card()
    assert times.here() == {name: card[name] for name in times.ALIKE}


@pytest.mark.parametrize(
    ("seconds", "words"), [(20, "less than a minute"), (61, "about 1 min"), (5400, "about 90 min"),
                           (7200, "about 2 h 0 min")],
)  # fmt: skip
def test_an_estimate_in_words(seconds, words):
    assert times.about(seconds) == words and times.told(seconds) == f"{words} left"


def test_a_damaged_table_is_as_none(home):
    (home / "kept").mkdir()
    (home / "kept" / times.TABLE).write_text("{")
    assert times.table(home / "kept") == {}
