"""The deck: an executed talk becomes a folder of slides that opens from the file system, with no network.

    outputs/<run>/talk/   index.html notes.html talk.pdf deck.json  reveal/ fonts/ static/ events/

The same notebook and recordings give the same bytes; the PDF does with the same browser.
(Longer than 200 lines: what is read, what is left out, and what is written are one thing.)
"""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import jinja2
import jupytext
import nbformat
from nbconvert.filters import markdown2html
from nbformat import NotebookNode

from fflib.book import vendor
from fflib.files import InputError, content_hash, shown, swapped_in, write_json
from fflib.runs import params, records
from fflib.talk import browser, recording
from fflib.talk.slides import DEMOS

NOTEBOOK, FOLDER, TITLE = "talk", "talk", "Taming Transformers"
MINUTES, SHORT, LIVE = (40, 20), 20, ("auto", "no")
LONG = "long"  # the tag of slides that only the long form has
HERE = Path(__file__).parent
SCRIPTS = ("player.js", "race.js", "typing.js", "ladder.js")
REVEAL = {"reveal.js": "dist/reveal.js", "reveal.css": "dist/reveal.css", "reset.css": "dist/reset.css"}
REVEAL |= {"notes.js": "plugin/notes/notes.js", "LICENSE": "LICENSE"}
TYPEFACE = ("LICENSE", *(f"source-sans-pro-{cut}.woff" for cut in ("regular", "italic", "semibold")))
SECONDS = re.compile(r"^(\d+) s$")
DATES = re.compile(rb"(/(?:CreationDate|ModDate) \(D:)\d{14}")
METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)  # of a figure: names addresses, shows nothing
IDS = re.compile(r'(?P<before> id="|href="#|url\(#)(?P<name>[^")]+)')


@dataclass(frozen=True)
class Slide:
    """A slide: its heading in plain words, its seconds, whether the short form leaves it out, and its HTML.

    ``demo`` is one of `DEMOS`, or ''. ``begins`` is the minute in the deck, as in "3:15".
    """

    heading: str
    seconds: int
    is_long: bool
    body: str
    notes: str
    demo: str
    anchor: str = ""
    begins: str = ""


def build(run_folder: Path, minutes: int = 40, live: str = "auto") -> Path:
    """Write the deck of a run's executed talk and return its folder; the old one stays until the new one is whole.

    Args:
        minutes: one of `MINUTES`.
        live: one of `LIVE`; "no": only recordings are played.

    Raises:
        InputError: the talk was not executed, a slide has no time, a recording is missing, or reveal.js is.
    """
    check_choices(minutes, live)
    notebook = read_notebook(run_folder)
    slides = chosen(slides_of(notebook), minutes)
    old = _events(run_folder, slides)
    record = records.read_file(records.path_of(run_folder, NOTEBOOK))
    source = record["facts"]["source"]
    talk = {"live": live, "minutes": minutes, "run": run_folder.name, "old": old}
    values = {"title": TITLE, "slides": slides, "source": source, "talk": talk, "minutes": minutes}
    values |= {"recordings": DEMOS, "scripts": SCRIPTS, "ends": clock(sum(slide.seconds for slide in slides))}
    with swapped_in(run_folder / FOLDER) as folder:
        _copy_parts(run_folder, folder)
        for page in ("index.html", "notes.html"):
            (folder / page).write_text(_template(f"{page}.j2").render(values), encoding="utf-8")
        told = [{"heading": slide.heading, "seconds": slide.seconds, "demo": slide.demo} for slide in slides]
        made_of = stamp(run_folder, minutes, live)
        write_json(folder / "deck.json", talk | {"made_of": made_of, "source": source, "slides": told})
        if browser.found():
            _print(folder, record["written"])
    return run_folder / FOLDER


def check_choices(minutes: int, live: str) -> None:
    """Refuse another length than `MINUTES`, another way than `LIVE`."""
    if minutes not in MINUTES:
        raise InputError(f"MINUTES is {minutes}, but the talk has a form for {' and one for '.join(map(str, MINUTES))}")
    if live not in LIVE:
        raise InputError(f"LIVE is {live!r}; give {' or '.join(LIVE)}")


def stamp(run_folder: Path, minutes: int, live: str) -> str:
    """Return a hash of all that a deck is made of: another one means that the deck is to be built anew."""
    parts = sorted(path for folder in ("static", "template") for path in (HERE / folder).iterdir() if path.is_file())
    events = [run_folder / recording.FOLDER / f"{name}.js" for name in DEMOS]
    own = [HERE / "deck.py", run_folder / f"{NOTEBOOK}.ipynb", params.NOTEBOOKS / f"{NOTEBOOK}.py"]
    return content_hash(minutes, live, *own, *parts, *(path for path in events if path.exists()))


def is_current(run_folder: Path, minutes: int, live: str) -> bool:
    """Say whether the deck that is there was made of what is there now."""
    path = run_folder / FOLDER / "deck.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["made_of"] == stamp(run_folder, minutes, live)
    except (OSError, ValueError, KeyError):
        return False


def read_notebook(run_folder: Path) -> NotebookNode:
    """Return the executed talk of a run, with the words and times that its source has now: these need no rehearsal.

    InputError: it is not there, or cannot be read.
    """
    path = run_folder / f"{NOTEBOOK}.ipynb"
    if not path.exists():
        raise InputError(f"{shown(path)} is not there: the talk was not executed yet; make talk RUN={run_folder.name}")
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises whatever its parts raise
        raise InputError(f"{shown(path)} is no readable notebook; remove it and call make talk again") from error
    _take_words(notebook, params.NOTEBOOKS / f"{NOTEBOOK}.py")
    return notebook


def _take_words(notebook: NotebookNode, source: Path) -> None:
    """Give an executed talk the prose, times and tags of its source, if that still has the same code."""
    executed = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    written = jupytext.read(source).cells
    codes = ([cell.source for cell in cells if cell.cell_type == "code"] for cells in (executed, written))
    kinds = ([cell.cell_type for cell in cells] for cells in (executed, written))
    if len({*map(tuple, codes)}) > 1 or len({*map(tuple, kinds)}) > 1:
        return  # of other code: `preflight` says so
    for cell, now in zip(executed, written, strict=True):
        cell.source = now.source
        cell.metadata |= {name: now.metadata[name] for name in ("slideshow", "tags") if name in now.metadata}


def slides_of(notebook: NotebookNode) -> list[Slide]:
    """Return the slides of an executed talk; a cell of type "slide" begins one. InputError: one is without a time."""
    groups: list[list[NotebookNode]] = []
    for cell in notebook.cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "")
        if kind == "slide":
            groups.append([cell])
        elif kind not in ("skip", "") and groups:
            groups[-1].append(cell)
    if not groups:
        raise InputError("the talk has no slide: no cell of it has the slide type 'slide'")
    return [_slide(cells, number) for number, cells in enumerate(groups, 1)]


def chosen(slides: list[Slide], minutes: int) -> list[Slide]:
    """Return the slides of the form for ``minutes``, each with the time at which it begins."""
    kept = [slide for slide in slides if minutes > SHORT or not slide.is_long]
    begins = accumulate((slide.seconds for slide in kept), initial=0)
    return [replace(slide, begins=clock(start)) for slide, start in zip(kept, begins, strict=False)]


def clock(seconds: int) -> str:
    """Write seconds as minutes and seconds: "3:15"."""
    return f"{seconds // 60}:{seconds % 60:02d}"


def _slide(cells: list[NotebookNode], number: int) -> Slide:
    body = "\n".join(part for cell in cells if not _is_notes(cell) for part in _body(cell))
    body = _with_own_ids(body, f"s{number}-")
    found = re.search(r"<h[1-3][^>]*>(.*?)</h[1-3]>", body, re.DOTALL)
    heading = html.unescape(re.sub(r"<[^>]+>", "", found[1])).strip() if found else f"slide {number}"
    first, _, rest = "\n".join(cell.source for cell in cells if _is_notes(cell)).partition("\n")
    seconds = SECONDS.match(first.strip())
    if not seconds:
        raise InputError(f"slide '{heading}' has no time; the first line of its notes is how long it takes: 90 s")
    demo = re.search(r'data-demo="(\w+)"', body)
    # Named by its words: a slide keeps its address when one before it is left out.
    anchor = re.sub(r"\W+", "-", re.sub(r"[\d,.]+", "", heading.partition(":")[0]).lower()).strip("-") or f"s{number}"
    is_long = LONG in cells[0].metadata.get("tags", [])
    notes = markdown2html(rest).strip()
    return Slide(heading, int(seconds[1]), is_long, body, notes, demo[1] if demo else "", f"{number}-{anchor}")


def _is_notes(cell: NotebookNode) -> bool:
    return cell.metadata.get("slideshow", {}).get("slide_type") == "notes"


def _body(cell: NotebookNode) -> list[str]:
    """Return what a cell shows as HTML: Markdown, SVG, or HTML as it is. What was printed is for the notebook alone."""
    if cell.cell_type == "markdown":
        return [_markdown(cell.source)]
    shown_parts = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "image/svg+xml" in data:
            shown_parts.append(METADATA.sub("", data["image/svg+xml"]).strip())
        elif "text/markdown" in data:
            shown_parts.append(_markdown(data["text/markdown"]))
        elif "text/html" in data:
            shown_parts.append(re.sub(r'(<div class="demo"[^>]*>)[^<]*', r"\1", data["text/html"]))
        elif output.output_type == "error":
            raise InputError(f"the talk stopped with an error, {output.ename}: {output.evalue}; mend it and make talk")
    return shown_parts


def _markdown(text: str) -> str:
    """Render Markdown; nbconvert's link beside each heading is left away."""
    return re.sub(r'<a class="anchor-link".*?</a>', "", markdown2html(text), flags=re.DOTALL).strip()


def _with_own_ids(body: str, prefix: str) -> str:
    """Give the ids of a slide's figures a prefix: two figures in one page may not share them."""
    figure = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
    return figure.sub(lambda found: IDS.sub(rf"\g<before>{prefix}\g<name>", found[0]), body)


def _events(run_folder: Path, slides: list[Slide]) -> list[str]:
    """Check that every live part has its recording; return the names of those that other code made."""
    key, old = recording.code_key(run_folder), []
    for name in DEMOS:
        path = run_folder / recording.FOLDER / f"{name}.js"
        if not path.exists():
            raise InputError(f"the live part '{name}' has no recording ({shown(path)}); call make talk to record it")
        old += [name] if recording.read(path)["code"] != key else []
    return old


def _copy_parts(run_folder: Path, folder: Path) -> None:
    """Copy all that the pages load into the deck's folder: nothing is asked from elsewhere."""
    targets = {"reveal": REVEAL, "fonts": {name: f"{vendor.FONTS}/{name}" for name in TYPEFACE}}
    for target, wanted in targets.items():
        (folder / target).mkdir()
        for name, path in wanted.items():
            shutil.copyfile(vendor.file(vendor.REVEAL, path), folder / target / name)
    shutil.copytree(HERE / "static", folder / "static")
    (folder / "events").mkdir()
    for name in DEMOS:
        shutil.copyfile(run_folder / recording.FOLDER / f"{name}.js", folder / "events" / f"{name}.js")


def _template(name: str) -> jinja2.Template:
    loader = jinja2.FileSystemLoader(HERE / "template")
    # What is put in is HTML that this module made.
    options: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    return jinja2.Environment(loader=loader, autoescape=False, **options).get_template(name)


def _print(folder: Path, written: str) -> None:
    """Print the deck as PDF, a slide a page, with the demos as their recordings end; ``written`` is its date."""
    path = folder / "talk.pdf"
    with browser.opened(offline=True) as page:
        page.go(f"{(folder / 'index.html').as_uri()}?print-pdf&photograph")
        page.until("window.TALK && TALK.ready && document.fonts.status === 'loaded'")
        page.listen(1.0)  # reveal lays the pages out after it is ready
        page.print_pdf(path)
    # The browser writes when it printed: the same talk is to be the same file.
    day = re.sub(r"\D", "", written)[:14].encode()
    path.write_bytes(DATES.sub(rb"\g<1>" + day, path.read_bytes()))
