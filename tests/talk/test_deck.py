"""The deck of an executed talk: what is in it, what is not, and that it is the same each time."""

from __future__ import annotations

import json
import re

import jupytext
import pytest
import small_deck
from nbformat.v4 import new_notebook, new_output

from fflib.files import InputError
from fflib.runs import params
from fflib.talk import deck, preflight, recording

run_folder = small_deck.run_folder


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_talk_gives_the_same_deck_byte_for_byte(run_folder):
    first = files_of(deck.build(run_folder))
    assert files_of(deck.build(run_folder)) == first
    assert {"index.html", "notes.html", "deck.json", "reveal/reveal.js", "events/race.js", "static/deck.js"} <= {*first}


def test_both_forms_add_up_and_the_short_one_leaves_out_what_is_long(run_folder):
    slides = deck.slides_of(deck.read_notebook(run_folder))
    for minutes, count in ((40, 5), (20, 4)):
        kept = deck.chosen(slides, minutes)
        assert len(kept) == count and sum(slide.seconds for slide in kept) == 60 * minutes
    assert [slide.begins for slide in deck.chosen(slides, 20)] == ["0:00", "9:00", "12:40", "16:20"]
    deck.build(run_folder, 20)
    assert "Only when there is time" not in small_deck.page(run_folder)
    assert json.loads((run_folder / "talk" / "deck.json").read_text())["minutes"] == 20


def test_a_slide_keeps_its_address_in_both_forms(run_folder):
    addresses = {}
    for minutes in deck.MINUTES:
        deck.build(run_folder, minutes)
        addresses[minutes] = re.findall(r'<section id="([^"]+)"', small_deck.page(run_folder))
    assert {*addresses[20]} < {*addresses[40]} and len({*addresses[40]}) == 5
    assert not any(re.fullmatch(r"\d+", address) for address in addresses[40]), "reveal takes a number for a place"


def test_each_slide_says_its_seconds_and_its_notes_to_reveal(run_folder):
    deck.build(run_folder)
    page = small_deck.page(run_folder)
    assert re.findall(r'data-timing="(\d+)"', page) == ["540", "1200", "220", "220", "220"]
    assert page.count('<aside class="notes">') == 5 and page.count("<strong>Say.</strong>") == 5
    script = (run_folder / "talk" / "notes.html").read_text()
    assert "9:00 · 1200 s" in script and "40:00: the end" in script and "600 s\n" not in script


def test_a_demo_is_an_empty_place_that_the_player_fills(run_folder):
    deck.build(run_folder)
    page = small_deck.page(run_folder)
    for name in recording.NAMES:
        assert f'<div class="demo" data-demo="{name}"></div>' in page
        assert page.index(f"events/{name}.js") < page.index("static/player.js") < page.index("static/deck.js")


def test_two_figures_share_no_id(run_folder):
    deck.build(run_folder)
    page = small_deck.page(run_folder)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len({*ids}) > 20
    wanted = {*re.findall(r'href="#([^"]+)"', page), *re.findall(r"url\(#([^)]+)\)", page)}
    assert wanted and wanted <= {*ids}, "a figure lost one of its parts"


def test_nothing_is_named_that_is_not_in_the_folder(run_folder):
    deck.build(run_folder)
    assert not preflight.addresses(small_deck.page(run_folder))
    assert all((run_folder / "talk" / name).is_file() for name in preflight._parts(run_folder / "talk"))


def test_words_of_a_slide_stay_words(run_folder):
    deck.build(run_folder)
    assert "with $x$ &amp; <b>more</b>" in small_deck.page(run_folder)


def test_a_recording_of_other_code_is_played_and_named(run_folder):
    small_deck.write_recording(run_folder, "race", "of another day")
    deck.build(run_folder)
    talk = json.loads(re.search(r"window.TALK = (.*?);</script>", small_deck.page(run_folder))[1])
    assert talk == {"live": "auto", "minutes": 40, "run": "small", "old": ["race"]}


def test_a_deck_is_current_until_anything_changes_that_it_is_made_of(run_folder):
    assert not deck.is_current(run_folder, 40, "auto")
    deck.build(run_folder)
    assert deck.is_current(run_folder, 40, "auto")
    assert not deck.is_current(run_folder, 20, "auto") and not deck.is_current(run_folder, 40, "no")
    small_deck.write_recording(run_folder, "race", "of another day")
    assert not deck.is_current(run_folder, 40, "auto")


def test_words_and_times_are_those_of_the_source_now_and_need_no_rehearsal(run_folder, tmp_path, monkeypatch):
    some_cells = small_deck.cells()
    monkeypatch.setattr(params, "NOTEBOOKS", tmp_path)
    jupytext.write(new_notebook(cells=some_cells), tmp_path / "talk.py", fmt="py:percent")
    deck.build(run_folder)
    assert deck.is_current(run_folder, 40, "auto") and deck.read_notebook(run_folder).cells[1].outputs
    text = (tmp_path / "talk.py").read_text()
    (tmp_path / "talk.py").write_text(text.replace("# 540 s", "# 270 s", 1))
    assert not deck.is_current(run_folder, 40, "auto")
    assert deck.slides_of(deck.read_notebook(run_folder))[0].seconds == 270
    (tmp_path / "talk.py").write_text(text.replace("# 540 s", "# 270 s", 1).replace("import fflib", "import other"))
    assert deck.slides_of(deck.read_notebook(run_folder))[0].seconds == 540, "of other code: nothing is mixed"


class TestBadInput:
    def test_a_slide_without_a_time_is_named(self, run_folder):
        small_deck.write(run_folder, small_deck.slide("## Endless", seconds="a while"))
        with pytest.raises(InputError, match="'Endless' has no time"):
            deck.build(run_folder)

    def test_a_live_part_without_a_recording_is_named(self, run_folder):
        (run_folder / "recordings" / "typing.js").unlink()
        with pytest.raises(InputError, match="'typing' has no recording"):
            deck.build(run_folder)

    def test_a_talk_that_was_not_executed_says_the_command(self, tmp_path):
        with pytest.raises(InputError, match="make talk RUN=docs-cpu"):
            deck.read_notebook(tmp_path / "docs-cpu")

    def test_a_talk_that_stopped_makes_no_deck_and_the_old_one_stays(self, run_folder):
        before = files_of(deck.build(run_folder))
        broken = small_deck.cells()
        broken[1].outputs = [new_output("error", ename="ValueError", evalue="no such rung", traceback=[])]
        small_deck.write(run_folder, broken)
        with pytest.raises(InputError, match="ValueError: no such rung"):
            deck.build(run_folder)
        assert files_of(run_folder / "talk") == before

    @pytest.mark.parametrize(("minutes", "live", "named"), [(30, "auto", "MINUTES is 30"), (40, "maybe", "LIVE")])
    def test_another_length_and_another_way_are_refused(self, run_folder, minutes, live, named):
        with pytest.raises(InputError, match=named):
            deck.build(run_folder, minutes, live)
