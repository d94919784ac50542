"""What a run's floors say about its teacher: the rows of a table, whether it is clearly above them, and what to change.

**The rule.** On *dev* the teacher is set beside the floor that is best there, both on the same examples. It is *clear*
if the whole paired 95 % interval of the difference lies above zero. Of a teacher that is not, no share is shown as
kept: whoever counts words keeps as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fflib.data import custom, metrics
from fflib.data.metrics import Gold, Scored
from fflib.data.task import Task

if TYPE_CHECKING:  # scikit-learn takes two seconds to load, and only chapter 1 makes floors
    from fflib.model.floors import Floor

SKEWED = 0.75  # a class that is more of all examples than this hides in an accuracy whether the others are found
Answers = Mapping[str, np.ndarray]  # logits [n, classes] by the name of a floor, or TEACHER
Fact = Mapping[str, Any]  # what `fact` returns
TEACHER = "teacher"


def fact(
    task: Task, fitted: Mapping[str, Floor], answers: Mapping[str, Answers], golds: Mapping[str, Gold], resamples: int
) -> dict[str, Any]:
    """Return what a record keeps of the floors of a run.

    Args:
        fitted: the floors by name.
        answers: for "dev" and "test" the logits of `TEACHER`; for "test" also those of every floor, and for "dev" those
            of the best one.
        golds: what is right about "dev" and "test".
        resamples: of a bootstrap interval.

    Returns:
        ``rows``, one a floor; ``best``, its name, by dev; ``teacher_above_best`` on test and ``..._on_dev``, each
        {points, low, high}, paired; ``teacher_is_clear``; and the ``dev`` scores of the best and the teacher.
    """
    from fflib.model import floors

    best = floors.best(fitted)
    scored = {name: metrics.scored(task, answers["test"][name], golds["test"], resamples) for name in fitted}
    above = {split: _above(task, answers[split], best, golds[split], resamples) for split in ("test", "dev")}
    return {
        "rows": [_row(name, floor, scored[name]) for name, floor in fitted.items()],
        "best": best,
        "teacher_above_best": above["test"],
        "teacher_above_best_on_dev": above["dev"],
        "teacher_is_clear": above["dev"]["low"] > 0,
        "dev": {
            "best": fitted[best].dev_score,
            TEACHER: metrics.score(task, answers["dev"][TEACHER], golds["dev"]),
            "largest_class": float(np.bincount(golds["dev"].labels).max() / len(golds["dev"].labels)),
        },
    }


def _row(name: str, floor: Floor, scored: Scored) -> dict[str, Any]:
    by = {"floor": name, "by": floor.by, "dev": floor.dev_score, "test": scored.value}
    return by | {"low": scored.low, "high": scored.high, "seconds": floor.seconds}


def _above(task: Task, answers: Answers, best: str, gold: Gold, resamples: int) -> dict[str, float]:
    difference = metrics.difference_interval(task, answers[TEACHER], answers[best], gold, resamples=resamples)
    return dict(zip(("points", "low", "high"), (100 * value for value in difference), strict=True))


def table(found: Fact, teacher: Scored, teacher_name: str) -> list[dict[str, str]]:
    """Return the floors and below them the teacher as rows: what each scores on test, and how."""

    def row(name: str, by: str, dev: float, scored: Scored) -> dict[str, str]:
        interval = f"{scored.low:.1%} to {scored.high:.1%}"
        scores = {
            "score on dev": f"{dev:.1%}",
            "score on test": f"{scored.value:.1%}",
            "95 % interval on test": interval,
        }
        return {"": name, "how": by} | scores

    rows = []
    for each in found["rows"]:
        name = f"floor: {each['floor']}"
        name = f"**{name}**, the best on dev" if each["floor"] == found["best"] else name
        rows.append(row(name, each["by"], each["dev"], Scored(each["test"], each["low"], each["high"])))
    return [*rows, row("**the teacher**", teacher_name, found["dev"][TEACHER], teacher)]


def verdict(found: Fact, task: Task, description: str = "") -> str:
    """Say how far the teacher is above the best floor; where it is not clearly so, what that means and what to change.

    ``description`` is the file of a reader's own data, '' for another task.
    """
    above, on_dev = found["teacher_above_best"], found["teacher_above_best_on_dev"]
    said = (
        f"On test the teacher is **{above['points']:+.1f} points** above the best floor, *{found['best']}* (paired 95 "
        f"% interval {above['low']:+.1f} to {above['high']:+.1f}: both answered the same examples)."
    )
    if not found["teacher_is_clear"]:
        said += (
            f" **It is not clearly above it**: on dev the difference is {on_dev['points']:+.1f} points "
            f"({on_dev['low']:+.1f} to {on_dev['high']:+.1f}). So this run shows no share of its accuracy as kept. "
            + what_to_change(found, task, description)
        )
    return " ".join(filter(None, [said, skew(found, task, description)]))


def what_to_change(found: Fact, task: Task, description: str = "") -> str:
    """Say what can lift a teacher above the floors, by the names of parameters, and that a floor may be enough."""
    from fflib.model import floors  # takes two seconds, and few runs come here

    metric = ", or by `metric: macro F1` in your data's file" if description and _is_plain(task) else ""
    change = (
        "Train on more examples (`n_train`) or for longer (`epochs`, `learning_rate`), start from a larger model "
        f"(`teacher`), judge by more of dev (`n_dev`){metric}; with `weak_teacher: warn` the book goes on all the same."
    )
    if found["best"] not in (floors.WORDS, floors.STATIC):  # of the others none is a model to take home
        return change
    return f"{change} Or take the floor *{found['best']}*: it scores as well, and is faster than any transformer."


def skew(found: Fact, task: Task, description: str = "") -> str:
    """Say that an accuracy hides rare classes where one class is most of all; '' where it does not."""
    share = found["dev"]["largest_class"]
    if not _is_plain(task) or share <= SKEWED:
        return ""
    ways = "`metric: macro F1` or `metric: matthews`"
    what = (
        f"write {ways} into {description}" if description else f"judge it by another metric ({ways} of your own data)"
    )
    return f"**One class is {share:.0%} of dev**: its accuracy hides whether the others are found; {what}."


def _is_plain(task: Task) -> bool:
    return tuple(task.metrics) == ("accuracy",)


def description_of(task: str) -> str:
    """Return the file that describes a reader's own data from the parameter ``task``, '' where that names a task."""
    return task if custom.is_description(task) else ""
