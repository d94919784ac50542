"""Recordings of the three live demos: what the pages play when there is no stage, and go on from when it is gone.

python -m fflib.talk.recording --run docs-cpu    make them anew, into outputs/<run>/recordings

A recording is a script that sets `window.RECORDINGS`, so that a page opened from a folder can read it. It holds events
[t_ms, lane, request, label, ms], what is needed to draw them, the machine and the date, and the key of the code and of
the models it came of. What is asked, in which order, and how the file is laid out follow from the run alone; only
times and the date differ from one recording to the next. Numbers of a live demo never get here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fflib.files import InputError, content_hash, shown, write_text
from fflib.measure import cores
from fflib.runs import cli, params, provenance
from fflib.talk import sessions
from fflib.talk.cast import FIELDS, Cast
from fflib.talk.models import TalkRun

NAMES = ("race", "typing", "ladder")
FOLDER = "recordings"  # in the folder of a run
BUDGET_S = {"race": 60.0, "typing": 10.0, "ladder": 15.0}  # of a live part, see `stage.rehearse`
BEFORE, MIDDLE, AFTER = "window.RECORDINGS = window.RECORDINGS || {};\nwindow.RECORDINGS[", "] = ", ";\n"
N_TYPED, N_LADDER, N_CANDIDATES = 2, 6, 64  # texts; those for the ladder are chosen among so many
OTHER_TEXT = 420  # characters of the other text of an example that a slide has room for


def record(run_folder: str | Path, target: str | Path, *, seconds: float = 10.0) -> None:
    """Record the three demos into ``target``/<name>.js, in some three minutes; heats last so many ``seconds``.

    InputError: the run is not whole, or a model is missing.
    """
    with Cast(run_folder) as cast:
        stamp = _stamp(run_folder, cast.run)
        for name, made in (("race", _race(cast, seconds)), ("typing", _typing(cast)), ("ladder", _ladder(cast))):
            write_text(Path(target) / f"{name}.js", script(name, {"demo": name} | stamp | made))


def script(name: str, value: dict[str, Any]) -> str:
    """Return the script that sets a recording; the same value gives the same bytes."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII: U+2028 would end a line of a script
    text = text.replace("</", "<\\/")  # nor may a text end the script that holds it
    return f"{BEFORE}{json.dumps(name)}{MIDDLE}{text}{AFTER}"


def read(path: str | Path) -> dict[str, Any]:
    """Return a recording. InputError: it is missing or damaged."""
    path = Path(path)
    try:
        before, name, rest = path.read_text(encoding="utf-8").partition(json.dumps(path.stem))
        if before != BEFORE or not name or not rest.startswith(MIDDLE) or not rest.endswith(AFTER):
            raise ValueError("it is no recording of that name")
        value = json.loads(rest.removeprefix(MIDDLE).removesuffix(AFTER))
        lacking = [key for key in ("machine", "date", "code", "seconds", "events") if key not in value]
        if lacking:
            raise ValueError(f"it has no {lacking[0]}")
        return value
    except (OSError, ValueError) as error:
        raise InputError(f"{shown(path)} is missing or damaged ({error}); record the talk anew: make talk") from error


def code_key(run_folder: str | Path) -> str:
    """Return 16 digits that depend on all that a recording does: code, models, machine. InputError: no such run."""
    run = TalkRun(run_folder)
    modules = [importlib.util.find_spec(name).origin for name in provenance.modules_used(f"import {__name__}")]
    files = sorted(Path(origin) for origin in modules if origin)
    served = Path(run.lanes[-1].graph)
    graph = content_hash(served) if served.is_file() else ""
    keys = [record["key"] for record in run.records]
    return content_hash(keys, graph, cores.cpu_model(), len(cores.physical_cores()), *files)


def _stamp(run_folder: str | Path, run: TalkRun) -> dict[str, Any]:
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"run": run.folder.name, "machine": cores.cpu_model(), "date": date, "code": code_key(run_folder)}


def _race(cast: Cast, seconds: float) -> dict[str, Any]:
    header, heats = cast.race(seconds)
    rows = sorted(row for several in cast.run_race(heats) for row in several)
    asked = max((row[2] for row in rows), default=0)  # counted on where all have been asked and it begins anew
    header["requests"] = header["requests"][: asked + 1]  # what nobody came to is not carried along
    return header | {"events": rows}


def _typing(cast: Cast) -> dict[str, Any]:
    texts = [_text(cast.run, i) for i in _short_requests(cast.run, N_CANDIDATES)]
    # Where a marked word ends a text, nothing is left to type.
    texts = [text for text in texts if text["texts"][text["edited"]] != text["fixed"]][:N_TYPED]
    keys = sessions.typed(texts)
    rows: list[list[float]] = []
    for lane in range(len(cast.lanes)):

        def answer(key: int, lane: int = lane) -> tuple[int, float]:
            _, number, text = keys[key]
            return cast.ask_lane(lane, cast.tokens(_with(texts[number], text), texts[number]["spans"]))

        rows += [[at, lane, *rest] for at, *rest in sessions.queued([key[0] for key in keys], answer)]
    end_ms = sessions.PAUSE_MS + max((at for at, *_ in [*keys, *rows]), default=0)
    return cast.lanes_header() | {"texts": texts, "keys": keys, "seconds": end_ms / 1e3, "events": sorted(rows)}


def _ladder(cast: Cast) -> dict[str, Any]:
    stops = [_stop(stop.row, stop.model.trained) for stop in cast.run.stops]
    chosen = _for_the_ladder(cast)
    rows = []
    for number, request in enumerate(chosen):
        at = 0.0
        for stop in reversed(range(len(stops))):  # the fast ones first, as the page asks
            label, ms = cast.ask_stop(stop, _tokens(cast, request))
            at += ms
            rows.append([round(at), stop, number, label, round(ms, 2)])
    header = {"labels": cast.run.labels, "fields": FIELDS, "stops": stops, "cores": len(cast.cores)}
    texts = [_text(cast.run, request) for request in chosen]
    return header | {"texts": texts, "seconds": max(row[0] for row in rows) / 1e3, "events": rows}


def _stop(row: dict[str, Any], trained: bool) -> dict[str, Any]:
    """Return what the page shows of a rung; None stands for what was not measured."""
    numbers = ("speedup_vs_padded", "speedup_step", "accuracy", "model_mb", "latency_p50_ms", "throughput_per_s")
    what = f"{row['engine']}; {row['precision']}; batching: {row['batching']}"
    return {"rung": row["rung"], "what": what, "trained": trained} | {name: row[name] for name in numbers}


def _for_the_ladder(cast: Cast) -> list[int]:
    """Choose requests: half of them such that the rungs disagree, if there are as many; the first that fit a slide."""
    trained = [i for i, stop in enumerate(cast.run.stops) if stop.model.trained]
    agreed: list[int] = []
    apart: list[int] = []
    for request in _short_requests(cast.run, N_CANDIDATES):
        labels = {cast.ask_stop(stop, _tokens(cast, request))[0] for stop in trained}
        (agreed if len(labels) == 1 else apart).append(request)
        if len(apart) >= N_LADDER // 2 and len(agreed) >= N_LADDER // 2:
            break
    half = apart[: N_LADDER // 2]
    return sorted([*half, *agreed[: N_LADDER - len(half)]])


def _tokens(cast: Cast, request: int) -> tuple[np.ndarray, np.ndarray]:
    tokens = cast.run.requests.tokens
    return tokens.input_ids[request], tokens.token_type_ids[request]


def _short_requests(run: TalkRun, count: int) -> list[int]:
    """Return the first requests whose texts fit a slide; where hardly any does, the first."""
    asked, edited = run.requests.texts.texts, run.edited

    def fits(texts: tuple[str, ...]) -> bool:
        others = sum(len(text) for i, text in enumerate(texts) if i != edited)
        return others <= OTHER_TEXT and len(texts[edited]) <= 2 * sessions.TYPED

    short = [i for i, texts in enumerate(asked) if fits(texts)]
    return (short if len(short) >= count else list(range(len(asked))))[:count]


def _text(run: TalkRun, request: int) -> dict[str, Any]:
    """Return a prepared text as pages take it."""
    asked = run.requests.texts
    spans = [list(span) for span in asked.spans[request]] if run.task.spans else []
    typed = {"edited": run.edited, "fixed": run.fixed(request), "spans": spans, "right": int(asked.labels[request])}
    return {"texts": list(asked.texts[request]), "fields": list(run.task.text_fields)} | typed


def _with(text: dict[str, Any], typed: str) -> list[str]:
    """Return the texts of an example with what was typed."""
    texts = list(text["texts"])
    texts[text["edited"]] = text["fixed"] + typed
    return texts


def main() -> int:
    """Run the command line; what the user can mend is one sentence on stderr and status 2."""
    parser = argparse.ArgumentParser(prog="python -m fflib.talk.recording", description=(__doc__ or "").splitlines()[0])
    params.add_run_options(parser)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a heat of the race")
    chosen = parser.parse_args()

    def make() -> None:
        if chosen.seconds <= 0:
            raise InputError(f"seconds is {chosen.seconds:g}; a heat takes more than 0")
        folder = params.run_of(chosen).folder
        record(folder, folder / FOLDER, seconds=chosen.seconds)
        print(f"recorded: {', '.join(shown(folder / FOLDER / f'{name}.js') for name in NAMES)}")

    return cli.ended(make)


if __name__ == "__main__":
    sys.exit(main())
