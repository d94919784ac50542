"""The evening before: is the talk fit to be given? Red or green, a line each; `make talk-check` calls it.

Each check looks at one thing and yields findings; an InputError of it is a red line, and the others go on.
(Longer than 200 lines: one short function a question.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from fflib.files import InputError, shown
from fflib.measure import cores
from fflib.runs import params, records
from fflib.talk import browser, deck, recording, stage
from fflib.talk.browser import BrowserFailed, Page
from fflib.talk.slides import DEMOS

GREEN, RED, GREY = "ok", "red", "not checked"
COLOR_BY_LIGHT = {GREEN: "\033[32m", RED: "\033[1;31m", GREY: "\033[33m"}
TRIALS = 3
LEAST_PX = 20  # of a letter, where the slide is 1280 pixels wide
LEAST_FREE_GB = 0.5  # with all models loaded
LEAST_BATTERY = 60  # per cent, without a plug
ELSEWHERE = re.compile(r"""(?:https?:)?//[\w.-]+\.\w+[^\s"')]*""")
NAMESPACES = ("http://www.w3.org/", "https://www.w3.org/")  # names, which nothing asks for
LOCAL = ("file:", "data:", "blob:", "about:")
PHOTOGRAPHS = "photographs"
INSPECT = Path(__file__).parent / "template" / "inspect.js"


@dataclass(frozen=True)
class Finding:
    """What a check found: a light, what was looked at, and a sentence."""

    light: str
    what: str
    told: str

    def line(self, colored: bool = False) -> str:
        """Return the finding as a line for a terminal."""
        start, end = (COLOR_BY_LIGHT[self.light], "\033[0m") if colored else ("", "")
        return f"{start}{self.light:<12}{end}{self.what}: {self.told}"


@dataclass(frozen=True)
class Talk:
    """What is checked: a run, and the form of its talk."""

    run: params.Run
    minutes: int
    live: str

    @property
    def folder(self) -> Path:
        """Where the deck is."""
        return self.run.folder / deck.FOLDER


Check = Callable[[Talk], Iterator[Finding]]


def check(talk: Talk, quick: bool = False) -> Iterator[Finding]:
    """Yield the findings on a talk, in the order in which they are to be mended; ``quick``: what takes no minutes."""
    slow: tuple[Check, ...] = () if quick else (live_parts, pages)
    for one in (run_is_whole, talk_is_current, timings, recordings, network, power, *slow):
        try:
            yield from one(talk)
        except (InputError, BrowserFailed) as error:
            yield Finding(RED, one.__name__.replace("_", " "), " ".join(str(error).split()))


def command(run: params.Run) -> str:
    """Return how ``RUN`` and what goes with it is written behind a make target."""
    usual = params.load_run(run.name)
    more = f" SIZE={run.size}" if run.size != usual.size else ""
    return f"RUN={run.name}{more}" + (f" HARDWARE={run.hardware}" if run.hardware != usual.hardware else "")


def refuse_unless_whole(run: params.Run) -> None:
    """Raise InputError where a chapter of a run is missing or outdated: it names the first, and the command."""
    make = f"make book {command(run)}"
    there = [records.path_of(run.folder, chapter).exists() for chapter in params.chapters()]
    if not any(there):
        raise InputError(f"run '{run.name}' is not in {shown(run.folder)}; make it with: {make}")
    for chapter, is_there in zip(params.chapters(), there, strict=True):
        if not is_there:
            raise InputError(f"run '{run.name}' lacks chapter {chapter}; make it with: {make}")
        try:
            records.current(run.folder, chapter)
        except InputError as error:
            raise InputError(f"the talk tells current numbers alone: {error}; {make}") from error


def refuse_unless_current(run: params.Run) -> None:
    """Raise InputError where the talk was not executed after the chapters, or by other code."""
    try:
        talk = records.current(run.folder, deck.NOTEBOOK)
    except InputError as error:
        raise InputError("the talk was not executed, or by other code than this; call make talk") from error
    newer = [one for one in records.readable(run.folder).values() if one["written"] > talk["written"]]
    if newer:
        raise InputError(f"{newer[0]['chapter']} was made again after the talk was executed; call make talk")


def run_is_whole(talk: Talk) -> Iterator[Finding]:
    """Is every chapter of the run there, of this code and this machine?"""
    refuse_unless_whole(talk.run)
    yield Finding(GREEN, "run", f"{shown(talk.run.folder)} is whole, and of this code and machine")


def talk_is_current(talk: Talk) -> Iterator[Finding]:
    """Was the talk executed by this code, after the chapters, and is the deck made of it?"""
    refuse_unless_current(talk.run)
    yield Finding(GREEN, "talk", "executed by this code, after the chapters")
    if deck.is_current(talk.run.folder, talk.minutes, talk.live):
        yield Finding(GREEN, "deck", f"{shown(talk.folder)} is of this talk, {talk.minutes} minutes, LIVE={talk.live}")
    else:
        yield Finding(
            RED, "deck", f"not made of what is there now; call make talk MINUTES={talk.minutes} LIVE={talk.live}"
        )


def timings(talk: Talk) -> Iterator[Finding]:
    """Do the seconds of the slides, as their notes say them, add up to the minutes?"""
    slides = deck.chosen(deck.slides_of(deck.read_notebook(talk.run.folder)), talk.minutes)
    seconds, wanted = sum(slide.seconds for slide in slides), 60 * talk.minutes
    told = f"{len(slides)} slides take {deck.clock(seconds)} of {deck.clock(wanted)}"
    light, more = (
        (GREEN, "") if seconds == wanted else (RED, "; mend the first lines of the notes in notebooks/talk.py")
    )
    yield Finding(light, "timings", told + more)


def recordings(talk: Talk) -> Iterator[Finding]:
    """Has each live part its recording, of this code and of these models?"""
    key = recording.code_key(talk.run.folder)
    for name in DEMOS:
        try:
            found = recording.read(talk.run.folder / recording.FOLDER / f"{name}.js")
        except InputError as error:
            yield Finding(RED, f"recording of {name}", str(error))
            continue
        told = f"of {found['date']} on {found['machine']}"
        if found["code"] == key:
            yield Finding(GREEN, f"recording of {name}", told)
        else:
            yield Finding(
                RED, f"recording of {name}", f"{told}, by other code or models: call make talk to record anew"
            )


def network(talk: Talk) -> Iterator[Finding]:
    """Does any page name something on the network?"""
    asks = [f"{path.name}: {address}" for path in _own_pages(talk.folder) for address in addresses(path.read_text())]
    missing = [name for name in _parts(talk.folder) if not (talk.folder / name).is_file()]
    if asks:
        yield Finding(RED, "network", f"{len(asks)} addresses are not in the folder, {asks[0]} for one")
    elif missing:
        yield Finding(RED, "network", f"{missing[0]} is not in the folder; call make talk")
    else:
        yield Finding(GREEN, "network", "all that the pages load lies in the folder")


def addresses(text: str) -> list[str]:
    """Return what a page or a script names on the network; names of XML are none of it."""
    found = [match.group() for match in ELSEWHERE.finditer(text)]
    return [
        address for address in found if not address.startswith(NAMESPACES) and "://" in address or _loads(address, text)
    ]


def _loads(address: str, text: str) -> bool:
    """Whether an address without a protocol is loaded, and no comment of a script."""
    return address.startswith("//") and any(f"{before}{address}" in text for before in ('src="', 'href="', "url("))


def _own_pages(folder: Path) -> list[Path]:
    """Return the files that are read for addresses: not reveal.js, whose bytes are pinned, nor recorded texts."""
    if not (folder / "index.html").exists():
        raise InputError(f"{shown(folder)} holds no deck; call make talk")
    return [folder / "index.html", folder / "notes.html", *sorted((folder / "static").iterdir())]


def _parts(folder: Path) -> list[str]:
    """Return what the deck's page loads, relative to its folder."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    return [name for name in re.findall(r'<(?:script src|link rel="stylesheet" href)="([^"]+)"', page)]


def power(talk: Talk) -> Iterator[Finding]:
    """Is the machine plugged in, or has it enough in its battery? A machine without one is told so."""
    battery = getattr(psutil, "sensors_battery", lambda: None)()
    count = len(cores.physical_cores())
    told = f"{count} {'core: the race runs lane by lane' if count == 1 else 'cores'}"
    if battery is None:
        yield Finding(GREEN, "machine", f"{told}; no battery")
    elif battery.power_plugged or battery.percent >= LEAST_BATTERY:
        yield Finding(GREEN, "machine", f"{told}; battery {battery.percent:.0f}%")
    else:
        yield Finding(RED, "machine", f"battery {battery.percent:.0f}% and no plug")


def live_parts(talk: Talk) -> Iterator[Finding]:
    """Do the models load, does each live part keep its time in three trials, and is memory left?"""
    if talk.live == "no":
        yield Finding(GREEN, "live parts", "none: LIVE=no plays recordings")
        return
    with stage.load(talk.run.folder) as cast:
        yield Finding(GREEN, "models", "all of them load")
        free_gb = psutil.virtual_memory().available / 1e9
        light, more = (GREEN, "") if free_gb >= LEAST_FREE_GB else (RED, "; close other programs")
        yield Finding(light, "memory", f"{free_gb:.1f} GB free with all models loaded{more}")
        for name in DEMOS:
            try:
                longest = max(stage.rehearse(cast, name) for _ in range(TRIALS))
            except InputError as error:
                yield Finding(RED, f"live {name}", str(error))
                continue
            budget = recording.BUDGET_S[name]
            told = f"{longest:.1f} s at most in {TRIALS} trials, of {budget:.0f} s"
            yield Finding(GREEN if longest <= budget else RED, f"live {name}", told)


def pages(talk: Talk) -> Iterator[Finding]:
    """Does each slide show all of its words, large enough, offline and without an error? Photographs are kept."""
    if not browser.found():
        yield Finding(GREY, "slides", "there is no Chromium here, so no slide was looked at; apt install chromium")
        return
    target = talk.run.folder / PHOTOGRAPHS
    target.mkdir(exist_ok=True)
    for old in target.glob("*.png"):
        old.unlink()
    with browser.opened(offline=True) as page:
        page.go(f"{(talk.folder / 'index.html').as_uri()}?photograph")
        page.until("window.TALK && TALK.ready && document.fonts.status === 'loaded'")
        count = page.value("Reveal.getTotalSlides()")
        wrong = [trouble for number in range(count) for trouble in _slide(page, number, target)]
        yield from (Finding(RED, f"slide {number}", told) for number, told in wrong)
        if not wrong:
            yield Finding(GREEN, "slides", f"{count} photographed, nothing cut off, no letter below {LEAST_PX} pixels")
        yield from _page_is_quiet(page)
    yield Finding(GREEN, "photographs", shown(target))


def _slide(page: Page, number: int, target: Path) -> Iterator[tuple[int, str]]:
    """Go to a slide, photograph it, and yield what is wrong with it."""
    page.value(f"Reveal.slide({number})")
    page.listen(0.25)
    page.photograph(target / f"{number + 1:02d}.png")
    found: dict[str, Any] = page.value(INSPECT.read_text().replace("LEAST_PX", str(LEAST_PX)))
    if found["over"]:
        yield number + 1, f"too much for the slide: {'; '.join(found['over'][:3])}"
    if found["small"]:
        yield number + 1, f"letters below {LEAST_PX} pixels: {'; '.join(found['small'][:3])}"
    if found["empty"]:
        yield number + 1, "the slide shows nothing"


def _page_is_quiet(page: Page) -> Iterator[Finding]:
    errors, asked = page.errors(), [url for url in page.requests() if not url.startswith(LOCAL)]
    told = "; ".join(error.splitlines()[0][:120] for error in errors[:3]) or "no error on any slide"
    yield Finding(RED if errors else GREEN, "console", told)
    if asked:
        yield Finding(RED, "offline", f"a slide asked for {asked[0]}")
    fonts = page.value("[...document.fonts].map((font) => `${font.family} ${font.status}`)")
    if any(font.endswith("error") for font in fonts) or not any(font.endswith("loaded") for font in fonts):
        yield Finding(RED, "typeface", "it was not loaded from the deck's folder")
    else:
        yield Finding(GREEN, "typeface", "from the deck's folder")
