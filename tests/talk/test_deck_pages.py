"""The whole deck in a browser without a network: from the first slide to the last, with its demos."""

from __future__ import annotations

import pytest
import small_deck
import small_talk

from fflib.book import vendor
from fflib.talk import browser, deck, recording

pytestmark = pytest.mark.skipif(
    not browser.found() or not vendor.there(vendor.REVEAL), reason="no Chromium or no reveal.js here: no deck is opened"
)
RACE = "document.querySelector('.present .demo').dataset"


@pytest.fixture
def address(tmp_path, monkeypatch):
    """Where a deck lies, with recordings of a second."""
    folder = tmp_path / "small"
    small_deck.write(folder, small_deck.cells())
    for name, log in small_talk.LOGS.items():
        (folder / recording.FOLDER / f"{name}.js").write_text(recording.script(name, log()))
    monkeypatch.setattr(recording, "code_key", lambda folder: small_talk.STAMP["code"])
    return (deck.build(folder) / "index.html").as_uri()


@pytest.fixture
def page():
    with browser.opened(offline=True) as opened:
        yield opened


def open_deck(page, address):
    page.go(address)
    page.until("window.TALK && TALK.ready")


def test_from_a_folder_every_slide_comes_without_an_error_or_a_request(page, address):
    open_deck(page, address)
    seen = [page.value("Reveal.getCurrentSlide().id")]
    for _ in range(page.value("Reveal.getTotalSlides()") - 1):
        page.press("ArrowRight", 39)
        page.listen(0.1)
        seen.append(page.value("Reveal.getCurrentSlide().id"))
    assert page.value("Reveal.isLastSlide()") and len({*seen}) == 5
    assert not page.errors() and all(url.startswith(("file:", "data:")) for url in page.requests())
    assert page.value("Reveal.getConfig().totalTime") == 40 * 60 and page.value("Reveal.hasPlugin('notes')")


def test_the_race_runs_on_its_slide_alone_and_one_key_sets_it_back(page, address):
    open_deck(page, address)
    page.value("Reveal.slide(2)")
    assert page.value(f"{RACE}.mode") == "idle"
    page.press("Enter", 13)
    page.until(f"{RACE}.over === 'true'", 30)
    rows = small_talk.race_log()["events"]
    assert page.value(f"{RACE}.counts") == " ".join(str(sum(row[1] == lane for row in rows)) for lane in range(4))
    page.press("r", 82)
    assert page.value(f"[{RACE}.mode, {RACE}.counts].join()") == "idle,0 0 0 0"


def test_a_reload_comes_back_to_the_same_slide(page, address):
    open_deck(page, address)
    page.value("Reveal.slide(3)")
    before = page.value("Reveal.getCurrentSlide().id")
    page.until(f"location.hash.endsWith('{before}')")
    page.call("Page.reload")
    page.listen(0.5)
    page.until("window.TALK && TALK.ready")
    assert page.value("Reveal.getCurrentSlide().id") == before == "4-live"


def test_the_mirror_of_the_notes_window_plays_nothing(page, address):
    open_deck(page, f"{address}?receiver")
    page.value("Reveal.slide(2)")
    assert page.value(f"{RACE}.mode") is None


def test_the_pdf_has_a_page_for_each_slide(page, address, tmp_path):
    pdf = (tmp_path / "small" / "talk" / "talk.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and pdf.count(b"/Type /Page\n") == 5
    deck.build(tmp_path / "small")
    assert (tmp_path / "small" / "talk" / "talk.pdf").read_bytes() == pdf
