"""How much is to do of a book or a sweep while one of its chapters runs, and how long that will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fflib.runs import params, sweep_plan, times
from fflib.runs.params import Run
from fflib.runs.sweep_plan import Sweep
from fflib.runs.times import Estimate, Wanted


@dataclass(frozen=True)
class Outlook:
    """What a chapter and all after it will take, in seconds; None: no record tells.

    ``place`` is which chapter it is, as in '3 of 9', '' if none of them; ``whole`` is 'book' or 'sweep'; ``done_s`` is
    what the chapters that are done took.
    """

    place: str
    whole: str
    chapter_s: float | None
    after_s: float | None
    done_s: float = 0.0

    def left_s(self, elapsed_s: float, loop_s: float = 0.0) -> tuple[float | None, float | None]:
        """Return the seconds left of the chapter and of the whole.

        Args:
            elapsed_s: since the chapter began.
            loop_s: what is left of the loop that it is in, which it will take at least.
        """
        if self.chapter_s is None:
            return None, None
        chapter_s = max(self.chapter_s - elapsed_s, loop_s)
        return chapter_s, None if self.after_s is None else chapter_s + self.after_s


def steps(run: Run) -> list[Wanted]:
    """Return the chapters of a run's book in their order, with those of other runs that it begins after."""
    first = [(each, params.BASELINE) for each in params.before([run])]
    return first + [(run, chapter) for chapter in run.order]


def lacking(run: Run) -> list[Wanted]:
    """Return what a run's book still needs, its rendering included."""
    first = [each for each, chapter in steps(run) if each is not run and sweep_plan.lacking(each.folder, [chapter])]
    own = [(run, chapter) for chapter in sweep_plan.lacking(run.folder, run.order)]
    return [*((each, params.BASELINE) for each in first), *own, (run, times.BOOK)]


def of_book(run: Run, chapter: str, book: Run | None = None) -> Outlook:
    """Return the outlook on a book; ``book`` is the run that it is of, where the chapter is of one it begins after."""
    book = book or run
    return _outlook("book", steps(book), lacking(book), run, chapter)


def of_sweep(sweep: Sweep, run: Run, chapter: str) -> Outlook:
    """Return the outlook on a sweep, of which some runs may have failed."""
    every = [(each, params.BASELINE) for each in params.before(sweep.runs)]
    every += [(each, name) for each in sweep.runs for name in sweep_plan.order()]
    wanted = [(each, name) for each, name in sweep_plan.wanted(sweep) if not sweep_plan.failure(each.folder)]
    mine = [each.folder.name for each in sweep.runs]
    return _outlook("sweep", every, wanted, run, chapter, mine)


def _outlook(
    whole: str,
    every: Sequence[Wanted],
    wanted: Sequence[Wanted],
    run: Run,
    chapter: str,
    sweep: Sequence[str] = (),
) -> Outlook:
    def is_this(step: Wanted) -> bool:
        return (step[0].folder, step[1]) == (run.folder, chapter)

    after = [step for step in wanted if not is_this(step)]
    this, *rest = times.estimates([(run, chapter), *after], times.here(), sweep)
    number = next((i for i, step in enumerate(every, 1) if is_this(step)), None)
    to_do = {(each.folder, name) for each, name in wanted}
    done = [(each, name) for each, name in every if (each.folder, name) not in to_do and not is_this((each, name))]
    done_s = sum(guess.seconds for guess in times.estimates(done, times.here(), sweep) if guess)
    place = f"{number} of {len(every)}" if number else ""
    return Outlook(place, whole, this.seconds if this else None, _sum_s(after, rest), done_s)


def left_s(wanted: Sequence[Wanted]) -> float | None:
    """Return the seconds that ``wanted`` will take here; None where no record tells of a chapter."""
    return _sum_s(wanted, times.estimates(wanted, times.here()))


def _sum_s(wanted: Sequence[Wanted], guesses: Sequence[Estimate | None]) -> float | None:
    # That the rendering was never timed is no reason to tell nothing: it takes seconds.
    known = [guess for (_, name), guess in zip(wanted, guesses, strict=True) if guess or name != times.BOOK]
    return times.total_s(known)
