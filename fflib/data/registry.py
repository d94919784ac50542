"""Which tasks there are: the embedded ``docs``, SuperGLUE's seven, and any file of the reader's own."""

from __future__ import annotations

import difflib

from fflib.data import custom, superglue
from fflib.data.task import Task
from fflib.files import InputError

DOCS = Task(
    name="docs",
    text_fields=("parameter", "function"),
    label_field="label",
    labels=("no", "yes"),
    metrics=("accuracy",),
    max_length=512,
    description="Does this description belong to this parameter of this function?",
)


def named() -> tuple[Task, ...]:
    """Return the tasks that have a name of their own."""
    return DOCS, *superglue.tasks()


def get_task(name: str) -> Task:
    """Return the task called ``name``, in any case of letters, or the one that a file ``name`` (.yaml) describes.

    InputError: names the tasks there are, or what is wrong with the file (see ``custom``).
    """
    if custom.is_description(name):
        return custom.describe(name).task
    tasks = {task.name.lower(): task for task in named()}
    if name.lower() in tasks:
        return tasks[name.lower()]
    close = difflib.get_close_matches(name.lower(), tasks, n=1)
    hint = f"did you mean {tasks[close[0]].name!r}? " if close else ""
    known = ", ".join(task.name for task in tasks.values())
    raise InputError(f"unknown task {name!r}; {hint}the tasks are {known}, or a file that describes your own data")
