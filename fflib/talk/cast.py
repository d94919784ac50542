"""All models of the talk in memory, each in a process: what the stage asks, and what recordings are made with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fflib.data import splits
from fflib.data.task import Span
from fflib.files import InputError
from fflib.measure import cores
from fflib.talk import race
from fflib.talk.models import SHOWN, TalkRun
from fflib.talk.workers import Worker

FIELDS = ["t_ms", "lane", "request", "label", "ms"]  # of an event
WARM_S = 0.05  # of a heat that is not looked at
LONGEST = 20_000  # characters of a text; nobody types more


class Cast:
    """A process for each lane, and one for all stops of the ladder; on leaving the block they end.

    Attributes:
        run: what they were loaded from.
        cores: by number, those that this process may use.

    Raises:
        InputError: the run is not whole, or a model cannot be loaded; names the file.
    """

    def __init__(self, folder: str | Path) -> None:
        self.run = TalkRun(folder)
        self.run.check()
        self.cores = cores.physical_cores()
        requests = self.run.requests.tokens
        self._workers: list[Worker] = []
        try:
            for lane in self.run.lanes:
                self._workers.append(Worker([lane], requests))
            self._workers.append(Worker([stop.model for stop in self.run.stops]))
            *self.lanes, self.ladder = self._workers
            for worker in self._workers:
                worker.wait_until_loaded()
            self._warm_up()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Cast:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            with suppress(OSError):
                worker.close()

    @property
    def typing_at_once(self) -> int:
        """How many lanes may answer the audience at the same time: each has a core of its own."""
        return min(len(self.lanes), len(self.cores))

    def ask_lane(self, lane: int, tokens: tuple[np.ndarray, np.ndarray], slot: int = 0) -> tuple[int, float]:
        """Return the label of one text and the ms it took, on one core: that of the number ``slot``."""
        return self.lanes[lane].ask(0, *tokens, self.cores[slot % len(self.cores) :][:1])

    def ask_stop(self, stop: int, tokens: tuple[np.ndarray, np.ndarray]) -> tuple[int, float]:
        """Return the label of one text and the ms it took at a rung, on as many cores as that rung has threads."""
        threads = self.run.stops[stop].model.threads or len(self.cores)
        return self.ladder.ask(stop, *tokens, self.cores[:threads])

    def tokens(self, texts: Sequence[str], spans: Sequence[Sequence[int]] = ()) -> tuple[np.ndarray, np.ndarray]:
        """Return the token ids and types, arrays [length], of one example.

        InputError: another number of texts than the task has, one that is empty or far too long, or a marked word
        that is not there.
        """
        task = self.run.task
        if len(texts) != len(task.text_fields) or not all(text.strip() and len(text) <= LONGEST for text in texts):
            raise InputError(f"give {' and '.join(task.text_fields)}, neither of them empty")
        marked = tuple(Span(*span) for span in spans)
        if len(marked) != task.spans or any(not texts[span.text][span.start : span.end].strip() for span in marked):
            raise InputError("keep the marked words: the model reads them")
        ids, types = splits.encode([tuple(texts)], self.run.tokenizer, task.max_length, [marked] if marked else None)
        return ids[0], types[0]

    def race(self, seconds: float) -> tuple[dict[str, Any], list[race.Planned]]:
        """Return what is known of a race before it begins, and its heats."""
        mode, heats = race.plan(len(self.lanes), seconds, self.cores)
        header = self.lanes_header() | {
            "mode": mode,
            "heats": [heat.told() for heat in heats],
            "seconds": race.total_s(heats),
            "requests": self._shown_requests(),
            "events": [],
        }
        return header, heats

    def run_race(
        self, heats: Sequence[race.Planned], is_stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[list[list[float]]]:
        """Run the heats; see `race.run`."""
        return race.run(self.lanes, heats, is_stopped)

    def lanes_header(self) -> dict[str, Any]:
        """Return what pages must know of the lanes, and of what they say."""
        lanes = [{"name": lane.name, "what": lane.what, "trained": lane.trained} for lane in self.run.lanes]
        return {"labels": self.run.labels, "fields": FIELDS, "lanes": lanes, "cores": len(self.cores)}

    def _shown_requests(self) -> list[list[Any]]:
        """Return of each request what is shown of it, the teacher's answer, and the right one."""
        asked, edited = self.run.requests, self.run.edited
        answers = zip(asked.texts.texts, asked.teacher, asked.texts.labels, strict=True)
        return [[clipped(texts[edited]), int(says), int(right)] for texts, says, right in answers]

    def _warm_up(self) -> None:
        """Let each lane and each stop answer once as it will, so that threads and instances are there."""
        tokens = self.run.requests.tokens
        one = tokens.input_ids[0], tokens.token_type_ids[0]
        for heat in race.plan(len(self.lanes), WARM_S, self.cores)[1]:
            for lane, share in zip(heat.lanes, heat.cores, strict=True):
                self.ask_lane(lane, one)
                with self.lanes[lane].heat(WARM_S, share) as running:
                    while not running.is_over:
                        running.rows(WARM_S)
        for stop in range(len(self.run.stops)):
            self.ask_stop(stop, one)


def clipped(text: str, length: int = SHOWN) -> str:
    """Return the beginning of a text, on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= length else f"{flat[: length - 1].rstrip()}…"
