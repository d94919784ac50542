"""`make talk` and `make talk-check`: build what is missing, check, serve, open the browser; or look at all of it.

python -m fflib.talk show  --run docs-cpu --minutes 40 --live auto
python -m fflib.talk check --run docs-cpu --minutes 40 --live auto     status 1 if anything is red
"""

from __future__ import annotations

import argparse
import sys
import webbrowser

from fflib.book import execute, vendor
from fflib.book.execute import ChapterFailed
from fflib.files import InputError, shown
from fflib.runs import cli, params
from fflib.talk import deck, preflight, stage
from fflib.talk.preflight import RED, Finding, Talk

PORT = 8808
EXIT_RED = 1


def build(talk: Talk) -> None:
    """Make what the talk lacks: its execution, which records the demos, and the deck. Twice: nothing the second time.

    InputError: the run is not there or not whole, or reveal.js was not fetched. ChapterFailed: the talk stopped.
    """
    preflight.refuse_unless_whole(talk.run)
    vendor.file(vendor.REVEAL, deck.REVEAL["reveal.js"])  # before anything takes minutes
    try:
        preflight.refuse_unless_current(talk.run)
        for finding in preflight.recordings(talk):
            if finding.light == RED:
                raise InputError(finding.told)
    except InputError:
        print("talk: rehearsing and recording, some minutes; let the machine do nothing else", file=sys.stderr)
        execute.run_chapter(talk.run, deck.NOTEBOOK)
    if not deck.is_current(talk.run.folder, talk.minutes, talk.live):
        print(f"talk: {shown(deck.build(talk.run.folder, talk.minutes, talk.live))}", file=sys.stderr)


def show(talk: Talk, port: int) -> None:
    """Build, check, serve, and open the browser; without a browser the address is printed. Ends with Ctrl-C."""
    build(talk)
    for finding in preflight.check(talk, quick=True):
        if finding.light == RED:
            _say(finding)
    if talk.live == "no":
        _open((talk.folder / "index.html").as_uri())
    else:
        stage.serve(talk.folder, talk.run.folder, port, _open)


def check(talk: Talk) -> int:
    """Print every finding as it comes; return `EXIT_RED` if one is red, else 0."""
    lights = []
    for finding in preflight.check(talk):
        _say(finding)
        lights.append(finding.light)
    red, grey = lights.count(RED), lights.count(preflight.GREY)
    told = f"{red} red" if red else "all is well" if not grey else f"nothing red, {grey} not checked"
    print(f"\n{talk.run.folder.name}, {talk.minutes} minutes: {told}")
    return EXIT_RED if red else 0


def _say(finding: Finding) -> None:
    print(finding.line(sys.stdout.isatty()), flush=True)


def _open(address: str) -> None:
    try:
        is_open = webbrowser.open(address)
    except webbrowser.Error:
        is_open = False
    print(f"talk: {address}" if is_open else f"talk: no browser opened; open this yourself: {address}", flush=True)
    if address.startswith("http"):
        print("talk: S opens the notes, R sets a demo back, Ctrl-C here ends the stage", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fflib.talk", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=("show", "check"))
    params.add_run_options(parser)
    parser.add_argument("--minutes", default="40", help="40 or 20")
    parser.add_argument("--live", default="auto", help="auto, or no: only recordings")
    parser.add_argument("--port", default=str(PORT), help="where the stage listens on this machine")
    return parser.parse_args()


def _number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"{name} is {text!r}; give a whole number")
    return int(text)


def main() -> int:
    """Run the command line; every failure is one sentence on stderr and a non-zero status."""
    arguments = _arguments()

    def act() -> int | None:
        minutes, port = _number("MINUTES", arguments.minutes), _number("PORT", arguments.port)
        deck.check_choices(minutes, arguments.live)
        stage.check_port(port)  # now, not when all is rehearsed
        run = params.run_of(arguments)
        run.refuse_card("make talk")
        talk = Talk(run, minutes, arguments.live)
        return check(talk) if arguments.action == "check" else show(talk, port)

    try:
        return cli.ended(act)
    except ChapterFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return execute.EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
