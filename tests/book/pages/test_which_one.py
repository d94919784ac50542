"""Which one do I take: only what can be taken, best first, and limits that hide what is over them."""

import pytest
from small_pages import ROWS, book, rung, source

from fflib.book.pages import which_one
from fflib.book.pages.sources import Book
from fflib.book.render import THEME
from fflib.files import InputError
from fflib.talk import browser

STORY = {"09_story": {"latency": [{"rung": "distilled student", "p50_ms": 4.5}]}}


def by_name(facts=STORY):
    return {row["rung"]: row for row in which_one.rungs_of(source(facts))}


def test_rungs_come_by_their_factor_and_what_failed_or_was_not_measured_or_is_a_floor_never():
    assert [*by_name()] == ["instances", "pruned <b>", "distilled student", "teacher unpadded", "teacher padded"]


def test_a_floor_is_listed_where_the_teacher_is_not_clear_of_it_and_then_no_share_counts_as_kept():
    unclear = {"01_baseline": {"teacher": {"accuracy": 0.8}, "teacher_is_clear": False}}
    rows = [rung("floor: words", "", 900.0, 0.79, retention=None), *ROWS[:3]]
    found = which_one.rungs_of(source(unclear, rows=rows))[0]
    assert found["rung"] == "floor: words" and found["kept"] is None and found["lost"] is None


def test_no_rung_beats_one_that_is_marked():
    marked = {name for name, row in by_name().items() if row["unbeaten"]}
    assert marked == {"instances", "distilled student", "teacher unpadded"}  # the padded teacher is only slower


def test_a_rung_in_batches_has_the_time_of_one_request_where_the_story_measured_it():
    rows = by_name()
    assert rows["distilled student"]["ms"] == 4.5 and rows["distilled student"]["alone"]
    assert rows["pruned <b>"]["ms"] == pytest.approx(1e3 / 180) and rows["pruned <b>"]["in_batches"]
    assert rows["instances"]["ms"] == pytest.approx(1e3 / 360) and not rows["instances"]["in_batches"]
    assert by_name({})["distilled student"]["in_batches"]


def test_points_and_share_are_against_the_teacher():
    row = by_name()["instances"]
    assert row["lost"] == pytest.approx(3.0) and row["kept"] == pytest.approx(96.25)


def test_the_table_needs_no_script_and_says_what_is_left_out_and_why():
    page = which_one.page_of(book(STORY))
    assert page.count("<tr data-") == 5 and "pruned &lt;b&gt; ‡" in page and page.count("★") == 3 + 1
    assert "because they failed or are not served: int8 broken" in page
    assert "because the teacher is clearly above them: floor: words" in page
    assert "because a time or an accuracy was not measured: reference padded, reference unpadded" in page
    assert 'id="which-one" hidden' in page and "{" not in page.replace("```{raw}", "").replace("{doc}", "")


def test_a_run_without_a_scored_rung_has_no_page():
    with pytest.raises(InputError, match="both a time and an accuracy"):
        which_one.page_of(Book(None, source({}, rows=ROWS[:2] + [rung("instances", "", 3.0)]), []))


@pytest.mark.skipif(not browser.found(), reason="there is no Chromium here")
def test_limits_hide_rungs_and_an_unmeasured_number_keeps_none(tmp_path):
    (tmp_path / "_static").mkdir()
    for name in ("which_one.js", "pages.css"):
        (tmp_path / "_static" / name).write_text(
            (THEME / "static" / name).read_text(encoding="utf-8"), encoding="utf-8"
        )
    rows = [*ROWS, rung("unweighed", "teacher unpadded", 500.0, 0.79, model_mb=None)]
    html = which_one.page_of(Book(None, source(STORY, rows=rows), [])).split("```")[1].partition("\n")[2]
    (tmp_path / "page.html").write_text(f'<!doctype html><meta charset="utf-8">{html}', encoding="utf-8")
    seen = "[...document.querySelectorAll('tbody tr:not([hidden])')].map((row) => row.cells[1].textContent)"

    def ask(page, **limits):
        for name, value in limits.items():
            page.value(f"document.querySelector('[name={name}]').value = '{value}'")
        page.value("document.querySelector('form').dispatchEvent(new Event('input'))")
        return page.value(seen), page.value("document.getElementById('which-one-answer').textContent")

    with browser.opened(offline=True) as page:
        page.go((tmp_path / "page.html").as_uri())
        assert len(page.value(seen)) == 6 and not page.value("document.querySelector('form').hidden")
        assert ask(page, per_s=170)[0] == ["unweighed", "instances", "pruned <b> ‡"]
        assert ask(page, mb=60)[0] == ["instances", "pruned <b> ‡"]  # one that was not weighed keeps no limit of size
        rungs, answer = ask(page, kept=90)
        assert rungs == ["instances"] and "1 of 6 rungs fit" in answer and "instances, is the fastest" in answer
        rungs, answer = ask(page, ms=0.1)
        assert rungs == [] and "No rung of this run fits" in answer and "0 of 6 rungs" in answer
        assert len(ask(page, per_s="", mb="", kept="", ms="")[0]) == 6
        assert "from 0 up" in ask(page, ms=-1)[1] and not page.errors()
