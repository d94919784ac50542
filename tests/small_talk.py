"""A talk that is made up: recordings of a few seconds, and models that answer at once, for pages and the stage.

python -m tests.small_talk FOLDER [silent]    serves FOLDER with these models and prints the address; with `silent` no
                                              lane says anything after a while
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fflib.files import ROOT, InputError
from fflib.talk import race, recording, sessions, stage
from fflib.talk.cast import FIELDS

STATIC = ROOT / "fflib" / "talk" / "static"
LABELS = ["no", "yes"]
LANES = [
    {"name": "stock model, padded", "what": "large, one at a time", "trained": False},
    {"name": "stock model, unpadded", "what": "large, one at a time", "trained": False},
    {"name": "fine-tuned teacher", "what": "small, one at a time", "trained": True},
    {"name": "the end of the story", "what": "smaller, batches", "trained": True},
]
EACH_S = (0.4, 0.2, 0.1, 0.01)  # what an answer of each lane takes
REQUESTS = [[f"axis {i}: the axis along which number {i} goes", i % 2, i % 3 % 2] for i in range(50)]
STAMP = {"run": "made-up", "machine": "Machine(R) One", "date": "2026-01-02 03:04 UTC", "code": "0" * 16}
TEXTS = [
    {
        "texts": [f"axis: the axis {i}", f"numpy.sum(a, axis) {i} </script><b>"], "fields": ["parameter", "function"],
        "edited": 0, "fixed": "axis: ", "spans": [], "right": 1,
    }
    for i in range(3)
]  # fmt: skip
STOPS = [
    {"rung": "reference padded", "trained": False, "speedup_vs_padded": 1.0, "accuracy": None},
    {"rung": "teacher unpadded", "trained": True, "speedup_vs_padded": 20.0, "accuracy": 0.73},
    {"rung": "pruned", "trained": True, "speedup_vs_padded": 15.0, "accuracy": 0.71},
    {"rung": "int8", "trained": True, "speedup_vs_padded": 90.0, "accuracy": 0.7},
]


def label(lane: int, request: int) -> int:
    """The last lane disagrees with the teacher in every fifth answer."""
    return REQUESTS[request % len(REQUESTS)][1] ^ (lane == 3 and request % 5 == 0)


def heats(seconds: float = 1.0, cores=(0, 1)) -> list[race.Planned]:
    return race.plan(len(LANES), seconds, cores)[1]


def race_rows(planned: list[race.Planned]) -> list[list[float]]:
    rows = []
    for heat in planned:
        for lane in heat.lanes:
            each_ms = 1e3 * EACH_S[lane]
            for request in range(int((heat.end_ms - heat.start_ms) / each_ms)):
                rows.append(
                    [heat.start_ms + round(each_ms * (request + 1)), lane, request, label(lane, request), each_ms]
                )
    return sorted(rows)


def race_log(seconds: float = 0.6, cores=(0, 1)) -> dict[str, Any]:
    planned = heats(seconds, cores)
    header = {
        "labels": LABELS,
        "fields": FIELDS,
        "lanes": LANES,
        "cores": len(cores),
        "mode": race.mode_for(len(cores)),
    }
    header |= {"heats": [heat.told() for heat in planned], "requests": REQUESTS, "seconds": race.total_s(planned)}
    return {"demo": "race"} | STAMP | header | {"events": race_rows(planned)}


def typing_log() -> dict[str, Any]:
    keys = [[100 * i, 0, "the axis 0"[: i + 1]] for i in range(10)]
    rows = []
    for lane, each_s in enumerate(EACH_S):
        queued = sessions.queued([key[0] for key in keys], lambda key, lane=lane, s=each_s: (label(lane, key), 1e3 * s))
        rows += [[at, lane, *rest] for at, *rest in queued]
    header = {"labels": LABELS, "fields": FIELDS, "lanes": LANES, "cores": 2, "texts": TEXTS, "keys": keys}
    return {"demo": "typing"} | STAMP | header | {"seconds": 2.0, "events": sorted(rows)}


def ladder_log() -> dict[str, Any]:
    rest = {
        "what": "an engine; fp32",
        "speedup_step": None,
        "model_mb": 12.3,
        "latency_p50_ms": 1.0,
        "throughput_per_s": 9.0,
    }
    rows = [[10 * stop, stop, text, int(stop == 3 and text == 1), 1.0 + stop] for text in range(3) for stop in range(4)]
    header = {"labels": LABELS, "fields": FIELDS, "stops": [stop | rest for stop in STOPS], "cores": 2, "texts": TEXTS}
    return {"demo": "ladder"} | STAMP | header | {"seconds": 0.1, "events": rows}


LOGS: dict[str, Callable[[], dict[str, Any]]] = {"race": race_log, "typing": typing_log, "ladder": ladder_log}


def write_pages(folder: Path) -> Path:
    """Write a page for each demo, as a deck has them, with recordings and scripts beside."""
    (folder / "events").mkdir(parents=True)
    shutil.copytree(STATIC, folder / "static")
    for name, log in LOGS.items():
        (folder / "events" / f"{name}.js").write_text(recording.script(name, log()))
        (folder / f"{name}.html").write_text(
            '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
            '<link rel="stylesheet" href="static/demos.css">'
            f'<body style="font-family:sans-serif"><div class="demo" data-demo="{name}"></div>'
            '<script>window.TALK = {live: "auto", photograph: location.search.includes("photograph")};</script>'
            f'<script src="events/{name}.js"></script><script src="static/player.js"></script>'
            f'<script src="static/{name}.js"></script>'
            '<script>window.demo = document.querySelector(".demo"); Demos.enter(demo);</script>'
        )
    return folder


class SmallCast:
    """Answers as the recordings do, at once; `silent_after_s` is when one lane says nothing more."""

    def __init__(self, silent_after_s: float = float("inf")) -> None:
        self.lanes, self.typing_at_once, self._silent_after_s = LANES, 2, silent_after_s
        self.run = SimpleNamespace(stops=STOPS, lanes=LANES)
        self.closed = False

    def race(self, seconds: float) -> tuple[dict[str, Any], list[race.Planned]]:
        log = race_log(seconds)
        return log | {"events": []}, heats(seconds)

    def run_race(self, planned: list[race.Planned], is_stopped: Callable[[], bool]) -> Iterator[list[list[float]]]:
        start = time.perf_counter()
        for row in race_rows(planned):
            while row[0] / 1e3 > time.perf_counter() - start:
                if is_stopped():
                    return
                time.sleep(0.01)
            yield [] if row[0] / 1e3 > self._silent_after_s else [row]

    def tokens(self, texts: list[str], spans: list) -> list[str]:
        if not all(text.strip() for text in texts):
            raise InputError("give parameter and function, neither of them empty")
        return texts

    def ask_lane(self, lane: int, tokens: list[str], slot: int = 0) -> tuple[int, float]:
        return len(tokens[0]) % 2, 1.5

    def ask_stop(self, stop: int, tokens: list[str]) -> tuple[int, float]:
        return (len(tokens[0]) + (stop == 3)) % 2, 2.5

    def close(self) -> None:
        self.closed = True


if __name__ == "__main__":
    is_silent = "silent" in sys.argv
    cast = SmallCast(0.5 if is_silent else float("inf"))
    heat_s = 8.0 if is_silent else 3.0
    stage.serve(sys.argv[1], "", 0, lambda url: print(url, flush=True), load=lambda: cast, heat_s=heat_s)
