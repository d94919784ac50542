"""The demos in a browser: opened as files, live from a stage, and with the stage killed or the network gone."""

import subprocess
import sys
from contextlib import contextmanager

import pytest
import small_talk

from fflib.files import ROOT
from fflib.talk import browser

pytestmark = pytest.mark.skipif(not browser.found(), reason="no Chromium here: what the demos show is not tried")
TOO_SMALL = """[...document.querySelectorAll('.demo *')].filter(
    e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) && parseFloat(getComputedStyle(e).fontSize) < 20
).map(e => e.className)"""
TOO_LARGE = """[...document.querySelectorAll('.demo, .demo *')].filter(
    e => e.clientHeight && getComputedStyle(e).display != 'inline'
        && (e.scrollHeight > e.clientHeight + 1 && getComputedStyle(e).overflow != 'visible'
            || e.scrollWidth > e.clientWidth + 1)
).map(e => e.className)"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_talk.write_pages(tmp_path_factory.mktemp("talk") / "talk")


@pytest.fixture
def page():
    with browser.opened() as opened:
        yield opened


@contextmanager
def stage(folder, *more):
    command = [sys.executable, "-m", "tests.small_talk", str(folder), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def told(page, name):
    return page.value(f"demo.dataset.{name}")


def press(page):
    page.value("document.querySelector('.demo-button').click()")


def go_live(page, address):
    """Open a demo and begin it, until it is live: on a busy machine the stage may not say hello within 300 ms."""
    for _ in range(10):
        page.go(address)
        if "race" in address:
            press(page)
        page.until("demo.dataset.mode != 'asking'", 5)
        if told(page, "mode") == "live":
            return
    raise AssertionError("the stage never said hello in time")


def badge(page):
    return page.value("document.querySelector('.demo-badge').textContent")


RECORDED = "recorded on Machine One, 2026-01-02"


def recorded_counts():
    return " ".join(str(sum(row[1] == lane for row in small_talk.race_log()["events"])) for lane in range(4))


def test_from_files_the_race_reaches_the_recorded_totals(folder, page):
    page.go((folder / "race.html").as_uri())
    assert (told(page, "mode"), badge(page)) == ("idle", RECORDED)
    page.press("Enter", 13)
    page.until("demo.dataset.mode == 'recorded'", 5)
    page.until("demo.dataset.over == 'true'", 20)
    assert told(page, "counts") == recorded_counts() and badge(page) == RECORDED
    assert "more" in page.value("document.querySelector('.race-told.slow').textContent")
    assert "untrained: speed only" in page.value("document.querySelector('.race-what').textContent")
    page.value("Demos.reset(demo)")
    assert (told(page, "mode"), told(page, "counts")) == ("idle", "0 0 0 0")
    assert not page.errors()


@pytest.mark.parametrize("name", small_talk.LOGS)
def test_a_photograph_shows_the_end_readable_and_whole(folder, page, name):
    page.go((folder / f"{name}.html").as_uri() + "?photograph")
    assert (told(page, "mode"), badge(page)) == ("recorded", RECORDED)
    assert told(page, "counts" if name == "race" else "answers").split()[-1] != "0"
    assert page.value(TOO_SMALL) == [] and page.value(TOO_LARGE) == []
    assert not page.errors() and all(asked.startswith(("file:", "data:")) for asked in page.requests())


def test_live_to_its_end(folder, page):
    with stage(folder) as (_, url):
        go_live(page, f"{url}race.html")
        page.until("Number(demo.dataset.counts.split(' ')[0]) > 2", 10)
        assert badge(page) == "live, on this machine"
    assert not [error for error in page.errors() if "WebSocket" not in error and "REFUSED" not in error]


def test_the_server_killed_in_mid_race_brings_the_badge_and_the_recorded_totals(folder, page):
    with stage(folder) as (process, url):
        go_live(page, f"{url}race.html")
        page.until("demo.dataset.counts != '0 0 0 0'", 10)
        process.kill()
        page.until("demo.dataset.mode == 'recorded'", 5)
        assert badge(page) == RECORDED
        page.until("demo.dataset.over == 'true'", 20)
        assert told(page, "counts") == recorded_counts()


def test_a_lane_that_falls_silent_brings_the_recording(folder, page):
    with stage(folder, "silent") as (_, url):
        go_live(page, f"{url}race.html")
        page.until("demo.dataset.counts != '0 0 0 0'", 10)
        page.until("demo.dataset.mode == 'recorded'", 8)
        assert badge(page) == RECORDED


def test_typing_answers_each_key_and_goes_on_from_the_recording(folder, page):
    with stage(folder) as (process, url):
        go_live(page, f"{url}typing.html")
        page.value("document.querySelector('.typing-input').focus()")
        for key in "abc":
            page.press(key, ord(key.upper()), key)
        lost = "[...document.querySelectorAll('.typing-lost')].at(-1).textContent"
        page.until(f"{lost}.endsWith('of 3 keys lost')", 10)  # how many: none, if this machine has time
        assert page.value("[...document.querySelectorAll('.typing-label')].at(-1).textContent") in small_talk.LABELS
        assert told(page, "answers").split()[1:3] == ["0", "0"]  # two cores: two lanes at a time
        process.kill()
        page.until("demo.dataset.mode == 'recorded'", 5)
        page.until("demo.dataset.over == 'true'", 10)
        assert page.value("document.querySelector('.typing-input').value") == "the axis 0"


def test_typing_from_files_replays_the_session_and_loses_keys(folder, page):
    page.go((folder / "typing.html").as_uri())
    press(page)
    page.until("demo.dataset.over == 'true'", 10)
    lost = page.value("[...document.querySelectorAll('.typing-lost')].map(e => parseInt(e.textContent))")
    assert lost[0] > lost[1] > lost[3] == 0
    assert not page.errors()


def test_the_ladder_goes_up_and_answers_that_flip_turn_red(folder, page):
    page.go((folder / "ladder.html").as_uri())
    assert told(page, "flips") == "0"
    press(page)
    assert told(page, "flips") == "1"
    assert page.value("getComputedStyle(document.querySelector('.ladder-answer.differs')).color") == "rgb(193, 18, 31)"
    slide = "const s = document.querySelector('.ladder-slider'); s.value = 1; s.dispatchEvent(new Event('input'))"
    page.value(f"{{ {slide} }}")
    assert page.value("document.querySelector('.ladder-total').textContent") == "20×"
    assert page.value("document.querySelectorAll('.ladder-row.ahead').length") == 2
    page.go((folder / "ladder.html").as_uri())  # a reload comes back to the same stop and text
    assert page.value("document.querySelector('.ladder-total').textContent") == "20×" and told(page, "flips") == "1"
    assert not page.errors()


def test_the_ladder_answers_what_is_typed_and_without_a_stage_what_is_prepared(folder, page):
    with stage(folder) as (process, url):
        go_live(page, f"{url}ladder.html")
        page.value("document.querySelector('.typing-input').focus()")
        page.press("x", 88, "x")
        page.until("demo.dataset.answers == '4'", 5)
        assert told(page, "flips") == "1"
        process.kill()
        page.until("demo.dataset.mode != 'live'", 5)
        assert badge(page) == RECORDED and told(page, "answers") == "4"
        assert page.value("document.querySelector('.typing-input').value") == "the axis 0"


def test_no_network_at_all(folder, page):
    with stage(folder) as (_, url):
        page.go(f"{url}race.html")
        page.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        press(page)
        page.until("demo.dataset.mode == 'recorded' || demo.dataset.mode == 'live'", 5)
        page.until("demo.dataset.counts != '0 0 0 0'", 10)
