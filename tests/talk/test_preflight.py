"""The evening before: each thing that is broken on purpose turns a light red, and says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import small_deck

from fflib.book import vendor
from fflib.files import InputError, write_json
from fflib.runs import params, provenance, records
from fflib.talk import browser, deck, preflight, recording
from fflib.talk.preflight import GREEN, GREY, RED, Talk

run_folder = small_deck.run_folder
HAS_SLIDES = vendor.there(vendor.REVEAL) and browser.found()
needs_browser = pytest.mark.skipif(not HAS_SLIDES, reason="no Chromium or no reveal.js here: no slide is looked at")


@pytest.fixture
def talk(run_folder):
    return Talk(replace(params.load_run("docs-cpu"), folder=run_folder), 40, "auto")


def lights(findings):
    return [finding.light for finding in findings]


def test_the_seconds_of_the_slides_have_to_be_the_minutes(talk):
    (finding,) = preflight.timings(talk)
    assert finding.light == GREEN and "5 slides take 40:00 of 40:00" in finding.told
    halved = [*small_deck.cells()[:1], *small_deck.slide("# The talk", seconds="270 s"), *small_deck.cells()[3:]]
    small_deck.write(talk.run.folder, halved)
    (finding,) = preflight.timings(talk)
    assert finding.light == RED and "35:30 of 40:00" in finding.told and "notebooks/talk.py" in finding.told


def test_every_recording_is_looked_at_one_by_one(talk):
    assert lights(preflight.recordings(talk)) == [GREEN] * 3
    small_deck.write_recording(talk.run.folder, "race", "of another day")
    (talk.run.folder / recording.FOLDER / "typing.js").write_text("window.RECORDINGS")
    race, typing, ladder = preflight.recordings(talk)
    assert race.light == RED and "2026-11-30" in race.told and "make talk" in race.told
    assert typing.light == RED and "damaged" in typing.told and ladder.light == GREEN


@pytest.mark.parametrize(
    "broken",
    [
        '<script src="https://cdn.example.org/reveal.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/css">',
        "<style>@import url(http://fonts.example.org/a.css)</style>",
    ],
)
def test_an_address_elsewhere_is_found(talk, broken):
    deck.build(talk.run.folder)
    (finding,) = preflight.network(talk)
    assert finding.light == GREEN
    page = talk.folder / "index.html"
    page.write_text(page.read_text() + broken)
    (finding,) = preflight.network(talk)
    assert finding.light == RED and "example.org" in finding.told


def test_a_part_that_was_not_copied_along_is_found(talk):
    deck.build(talk.run.folder)
    (talk.folder / "events" / "race.js").unlink()
    (finding,) = preflight.network(talk)
    assert finding.light == RED and "events/race.js" in finding.told


def test_names_of_xml_and_comments_are_no_addresses():
    text = '<svg xmlns="http://www.w3.org/2000/svg"> // a comment. www.example.org is a word\n a // b.c'
    assert not preflight.addresses(text)


class TestTheRun:
    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        """A whole run, whose keys are what the code of today gives."""
        monkeypatch.setattr(provenance, "chapter_key", lambda chapter, values: f"{chapter} today")
        run = replace(params.load_run("docs-cpu"), folder=tmp_path / "docs-cpu")
        for minute, chapter in enumerate([*params.chapters(), "talk"]):
            self.leave(run, chapter, minute)
        return run

    @staticmethod
    def leave(run, chapter, minute, key=""):
        record = {"schema_version": 1, "chapter": chapter, "key": key or f"{chapter} today", "parameters": {}}
        record |= {"written": f"2026-11-30T00:{minute:02d}:00+00:00", "machine": {}, "facts": {}, "rungs": []}
        write_json(records.path_of(run.folder, chapter), record)

    def test_a_whole_and_current_run_passes(self, run):
        preflight.refuse_unless_whole(run)
        preflight.refuse_unless_current(run)

    def test_a_missing_chapter_is_named_with_the_command(self, run):
        records.path_of(run.folder, "02_batching").unlink()
        with pytest.raises(InputError, match="lacks chapter 02_batching; make it with: make book RUN=docs-cpu$"):
            preflight.refuse_unless_whole(run)

    def test_a_run_that_is_not_there_says_so(self, run):
        with pytest.raises(InputError, match="is not in .*make book RUN=docs-cpu$"):
            preflight.refuse_unless_whole(replace(run, folder=run.folder / "nowhere"))

    def test_a_chapter_of_other_code_is_refused_for_the_headline(self, run):
        self.leave(run, "01_baseline", 0, key="of another day")
        with pytest.raises(InputError, match="current numbers alone: 01_baseline was measured with other code"):
            preflight.refuse_unless_whole(run)

    def test_a_talk_from_before_a_chapter_is_old(self, run):
        self.leave(run, "02_batching", 59)
        with pytest.raises(InputError, match="02_batching was made again after the talk"):
            preflight.refuse_unless_current(run)

    def test_the_command_names_size_and_hardware_where_they_are_not_the_usual(self):
        assert preflight.command(params.load_run("docs-cpu", "smoke")) == "RUN=docs-cpu SIZE=smoke"


def test_an_error_of_one_check_is_a_red_line_and_stops_no_other(talk, monkeypatch):
    monkeypatch.setattr(preflight, "refuse_unless_whole", refusing("run 'small' lacks chapter 02_batching"))
    monkeypatch.setattr(preflight, "refuse_unless_current", refusing("talk.json is missing"))
    found = {finding.what: finding for finding in preflight.check(talk, quick=True)}
    assert found["run is whole"].light == RED and found["run is whole"].told.endswith("02_batching")
    assert found["talk is current"].light == RED and found["timings"].light == GREEN
    assert found["timings"].line() == "ok          timings: 5 slides take 40:00 of 40:00"


def refusing(why):
    def refuse(run):
        raise InputError(why)

    return refuse


def test_without_a_browser_the_slides_are_told_as_not_checked(talk):
    (finding,) = preflight.pages(talk)
    assert finding.light == GREY and "no Chromium" in finding.told


def test_a_talk_from_recordings_needs_no_models(talk):
    (finding,) = preflight.live_parts(replace(talk, live="no"))
    assert finding.light == GREEN


def test_a_model_that_is_missing_is_named(talk, monkeypatch):
    monkeypatch.setattr(preflight.stage, "load", refusing("models/served.onnx is missing"))
    found = {finding.what: finding for finding in preflight.check(talk)}
    assert found["live parts"].light == RED and "served.onnx" in found["live parts"].told


@pytest.mark.parametrize(("plugged", "percent", "light"), [(True, 5, GREEN), (False, 90, GREEN), (False, 30, RED)])
def test_a_battery_alone_has_to_be_full_enough(talk, monkeypatch, plugged, percent, light):
    battery = type("Battery", (), {"power_plugged": plugged, "percent": percent})
    monkeypatch.setattr(preflight.psutil, "sensors_battery", lambda: battery, raising=False)
    assert lights(preflight.power(talk)) == [light]


@needs_browser
class TestTheSlides:
    """In Chromium without a network."""

    @pytest.fixture
    def real_talk(self, talk, monkeypatch):
        monkeypatch.undo()  # the real reveal.js, the real browser
        monkeypatch.setattr(recording, "code_key", lambda folder: small_deck.KEY)
        monkeypatch.setattr(deck, "_print", lambda folder, written: None)
        monkeypatch.setattr(deck, "SCRIPTS", ())
        return talk

    def of_these(self, talk, cells):
        small_deck.write(talk.run.folder, cells)
        deck.build(talk.run.folder)
        return list(preflight.pages(talk))

    def test_what_is_cut_off_or_small_or_empty_is_red_by_its_slide(self, real_talk):
        long = "## A slide\n\n" + "\n\n".join(f"paragraph {i} of too many" for i in range(20))
        small = '## Small\n\nfine <span style="font-size: 12px">but not this</span>'
        cells = [*small_deck.cells()[:3], *small_deck.slide(long), *small_deck.slide(small), *small_deck.demo("race")]
        found = self.of_these(real_talk, cells)
        red = [(finding.what, finding.told) for finding in found if finding.light == RED]
        assert [what for what, _ in red] == ["slide 2", "slide 3", "slide 4"]
        assert "paragraph 1" in red[0][1] and "but not this (12.0 px)" in red[1][1] and "nothing" in red[2][1]
        shots = sorted(path.name for path in (real_talk.run.folder / preflight.PHOTOGRAPHS).iterdir())
        assert shots == ["01.png", "02.png", "03.png", "04.png"]

    def test_a_script_that_fails_and_a_picture_from_elsewhere_are_red(self, real_talk):
        bad = '## Bad\n\n<img src="http://192.0.2.1/logo.png" width="10"><script>undefined.purpose</script>'
        found = self.of_these(real_talk, [*small_deck.cells()[:3], *small_deck.slide(bad)])
        red = {finding.what: finding.told for finding in found if finding.light == RED}
        assert "purpose" in red["console"] and "192.0.2.1" in red["offline"]

    def test_a_sound_deck_is_green_with_its_own_typeface(self, real_talk):
        found = self.of_these(real_talk, small_deck.cells()[:5])
        assert {finding.light for finding in found} == {GREEN}, [finding.line() for finding in found]
        assert any(finding.what == "typeface" for finding in found)
