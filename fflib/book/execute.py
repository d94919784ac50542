"""Run one chapter through papermill, and tell in one sentence how it went. The Snakefile and people call this.

python -m fflib.book.execute check   --run docs-cpu              are the parameters sound, the results current?
python -m fflib.book.execute chapter 01_baseline --run docs-cpu  run one chapter
python -m fflib.book.execute show    --run docs-cpu              print the ladder and where the book is

While a chapter runs, `fflib.book.life` shows what it does and how long it and the book will still take.
(Longer than 200 lines: what a chapter needs around it and how it may end are one story.)
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fflib import progress, spent
from fflib.book import cluster, glossary, kernel, life, lifeline, lock
from fflib.files import ROOT, InputError, atomic_path, remove_partial, shown, write_text
from fflib.runs import cli, nodes, outlook, params, records, sweep_plan, times
from fflib.runs.outlook import Outlook

INPUT_ERRORS = ("InputError", "NotFound")  # by name: a kernel's errors come back as text
BEGAN_S = time.time()  # when this process did, in seconds since 1970
KERNEL_START_S = 600  # on a file system that is far away, or a machine that is busy, imports take minutes
EXIT_INPUT, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_KERNEL_DIED = 2, 1, 130, 138


class ChapterFailed(Exception):
    """A chapter stopped; the message is one sentence, ``code`` the exit status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def run_chapter(run: params.Run, chapter: str, ahead: Outlook | None = None) -> Path:
    """Execute a chapter with the run's parameters and return its executed notebook.

    The notebook is written beside its final name and takes that name when execution ends well. One that fails can be
    read, too: where an earlier one ended well, that stays and the other is named ``failed-<chapter>.ipynb``. Whether
    the chapter is done is told by its results file alone.

    Args:
        ahead: what is to do and how long it takes; None: that of the run's own book.

    Raises:
        ChapterFailed: a cell raised, the kernel died, or the user interrupted.
        InputError: the chapter or a parameter does not exist, its device cannot be used, or another chapter is running.
    """
    run.check_device()
    values = run.chapter_values(chapter)
    notebook = run.folder / f"{chapter}.ipynb"
    failed = notebook.with_name(f"failed-{notebook.name}")
    if nodes.on_cluster() and cluster.is_timed(chapter):
        cluster.check_node(run, chapter)
    with lock.of_chapter(f"{chapter} of {run.folder.name}", run.folder), tempfile.TemporaryDirectory() as scratch:
        remove_partial(run.folder)  # of those that were killed: nobody else is at work here
        with atomic_path(notebook) as partial:
            try:
                lifeline.hand_down()
                source, headings = _to_ipynb(chapter, Path(scratch))
                state = Path(scratch) / "progress.json"
                _set_environment(state)
                kernel.use(Path(scratch) / "jupyter")
                alive = life.Life(chapter, ahead or outlook.of_book(run, chapter), state, headings)
                with life.shown(alive):
                    _execute(source, partial, values, alive)
                _forget_places(partial)
            except KeyboardInterrupt as error:
                why = f"{chapter} was interrupted; run again to go on from here"
                raise ChapterFailed(why, EXIT_INTERRUPTED) from error
            except ChapterFailed as error:
                left = failed if _ended_well(notebook) else notebook
                if partial.exists():
                    os.replace(partial, left)
                where = "" if error.code == EXIT_KERNEL_DIED else f" (see {shown(left)})"
                raise ChapterFailed(f"{chapter} failed: {error}{where}", error.code) from error
        failed.unlink(missing_ok=True)
        if glossary.FILE.is_file():  # the notebook's links to words lead to a file beside it
            write_text(run.folder / glossary.FILE.name, glossary.FILE.read_text(encoding="utf-8"))
    return notebook


def _forget_places(notebook: Path) -> None:
    """Take out of an executed notebook where papermill read and wrote it: folders of this machine."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for name in ("input_path", "output_path"):
        content["metadata"].get("papermill", {}).pop(name, None)
    notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _ended_well(notebook: Path) -> bool:
    """Say whether there is an executed notebook in which no cell failed; papermill marks the others."""
    return notebook.exists() and "papermill-error-cell" not in notebook.read_text(encoding="utf-8", errors="replace")


def _set_environment(state: Path) -> None:
    """Tell the kernel where to leave its bars, and when the chapter began."""
    os.environ[progress.STATE_VARIABLE] = str(state)
    os.environ[spent.STARTED_VARIABLE] = str(BEGAN_S)
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")  # of tqdm, which no page shows


def _execute(source: Path, target: Path, values: Mapping[str, Any], alive: life.Life) -> None:
    """Let papermill execute a notebook. ChapterFailed: a cell raised or the kernel died; the message says which."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            *map(_as_it_is, (source, target)),
            values,
            kernel_name=kernel.KERNEL,
            start_timeout=KERNEL_START_S,
            progress_bar=False,
            cwd=str(ROOT),
            on_cell_start=alive.cell_started,
            # It warns of unencrypted loopback at each start, and tells as an error that it is asked to end.
            extra_arguments=["--IPKernelApp.log_level=50"],
        )
    except papermill.PapermillExecutionError as error:
        said = " ".join(str(error.evalue).split())
        if error.ename in INPUT_ERRORS:  # the reader can mend it
            raise ChapterFailed(said, EXIT_INPUT) from error
        if remedy := cli.remedy(error.ename, said):
            raise ChapterFailed(f"{said}: {remedy}", EXIT_INPUT) from error
        raise ChapterFailed(f"{error.ename}: {said}", EXIT_FAILED) from error
    except RuntimeError as error:  # nbclient's DeadKernelError, or a plain one while the kernel is still starting
        if not isinstance(error, DeadKernelError) and "Kernel died" not in str(error):
            raise
        why = "its kernel died (killed, or out of memory); run again to go on from here"
        if "before replying" in str(error):
            why = "its kernel could not start; what it said stands above: set the environment up again (make setup)"
        raise ChapterFailed(why, EXIT_KERNEL_DIED) from error


def _as_it_is(path: Path) -> str:
    """Keep papermill, which puts parameters into paths, from looking for them in the name of a folder."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _to_ipynb(chapter: str, folder: Path) -> tuple[Path, dict[str, str]]:
    """Convert the chapter's py:percent source, which papermill cannot read; return where, and its cells' headings."""
    import jupytext

    path, notebook = folder / f"{chapter}.ipynb", jupytext.read(params.NOTEBOOKS / f"{chapter}.py")
    jupytext.write(notebook, path)
    return path, life.headings(notebook.cells)


def check(run: params.Run) -> list[str]:
    """Set aside the results that other code, data, parameters, packages or hardware left in a run's folder; name them.

    So it does with the one chapter of other runs that this one begins after, and with what began after an older one.
    InputError: the run's device cannot be used here; nothing is set aside then.
    """
    run.check_device()
    outdated = [asked for *asked, key in keys(run) if records.set_aside(asked[0].folder, asked[1], key)]
    return [chapter if of is run else f"{of.folder.name} {chapter}" for of, chapter in outdated]


def keys(run: params.Run) -> list[tuple[params.Run, str, str]]:
    """Return each run and chapter that `check` looks at, and the key that its result should have ('': none will do).

    InputError: what a key depends on is missing, as the reader's data may be.
    """

    def key(of: params.Run, chapter: str) -> str:
        began_after_another = chapter == params.BASELINE and of.before and not _follows(of, of.before)
        return "" if began_after_another else cluster.key(of, chapter)

    wanted = [(each, params.BASELINE) for each in params.before([run])] + [(run, each) for each in run.chapters]
    return [(of, chapter, key(of, chapter)) for of, chapter in wanted]


def _follows(run: params.Run, other: params.Run) -> bool:
    """Whether the first chapter of ``other`` is there, and older than that of ``run``, which began with its teacher."""
    found = [records.readable(each.folder, f"results/{params.BASELINE}.json").values() for each in (other, run)]
    earlier, later = ([record["written"] for record in there] for there in found)
    return bool(earlier) and (not later or earlier <= later)


def show(run: params.Run) -> str:
    """Return the run's ladder and the path of its book."""
    ladder, book = run.folder / "ladder.md", run.folder / "book" / "index.html"
    if not ladder.exists():
        raise InputError(f"run '{run.name}' has no ladder yet; make it with: make book RUN={run.name}")
    return f"{ladder.read_text(encoding='utf-8')}\nladder: {run.folder / 'ladder.csv'}\nbook:   {book}"


def _chapter(run: params.Run, chapter: str, book: str = "") -> None:
    """Run a chapter, then say how long it took and how long the ``book`` (a run's name; '': its own) will take."""
    of = params.load_run(book, run.size, run.hardware) if book else run
    try:
        run_chapter(run, chapter, outlook.of_book(run, chapter, of))
    except (InputError, ChapterFailed) as error:
        if nodes.on_cluster():  # make does not see what a job says
            sweep_plan.note_failure(run.folder, chapter, str(error))
        raise
    left = times.told(outlook.left_s(outlook.lacking(of)))
    told = f"; the book: {left}" if left else ""
    print(f"{chapter}: done in {progress.clock(time.time() - BEGAN_S)}{told}", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fflib.book.execute", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=("check", "chapter", "show"))
    parser.add_argument("chapter", nargs="?", default="")
    params.add_run_options(parser)
    parser.add_argument("--book", default="", help="the run whose book it is for, where that begins after this one")
    cluster.add_option(parser)
    return parser.parse_args()


def main() -> int:
    """Run the command line; every failure is one sentence on stderr and a non-zero status."""
    arguments = _arguments()

    def act() -> None:
        cluster.enter(arguments.cluster)
        run = params.run_of(arguments)
        if arguments.action == "chapter":
            _chapter(run, arguments.chapter, arguments.book)
        elif arguments.action == "show":
            print(show(run))
        else:
            with lock.of_book(f"check of {run.folder.name}"):
                outdated = check(run)
            if outdated:
                print(f"run again, for what they depend on has changed: {', '.join(outdated)}", file=sys.stderr)

    if arguments.action == "chapter":
        lifeline.watch()
    try:
        with lifeline.stoppable():
            return cli.ended(act)
    except ChapterFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
