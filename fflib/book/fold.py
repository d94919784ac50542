"""Answers are folded in JupyterLab too: `make sync` calls this after jupytext has written the notebooks.

python -m fflib.book.fold notebooks/*.ipynb

Jupytext keeps this mark in the .ipynb and out of the .py, where the tag says it all.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from fflib.files import InputError, atomic_path, shown
from fflib.runs import cli

ANSWER = "answer"  # the tag of a cell that answers an exercise
FOLDED = {"source_hidden": True, "outputs_hidden": True}  # in JupyterLab


def is_answer(cell: NotebookNode) -> bool:
    """Whether a cell answers an exercise."""
    return cell.cell_type == "code" and ANSWER in cell.metadata.get("tags", [])


def fold(notebook: NotebookNode) -> bool:
    """Fold code and output of each answer, unfold what is none any more, and say whether that changed anything."""
    changed = False
    for cell in notebook.cells:
        wanted = FOLDED if is_answer(cell) else None
        if (cell.metadata.get("jupyter") or None) != wanted:
            changed = True
            cell.metadata.pop("jupyter", None)
            if wanted:
                cell.metadata["jupyter"] = dict(wanted)
    return changed


def fold_file(path: Path) -> None:
    """Fold the answers of a notebook; a file that has them folded is not written. InputError: it is no notebook."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises whatever its parts raise
        raise InputError(f"{shown(path)} is no readable notebook; write it again with make sync") from error
    if fold(notebook):
        with atomic_path(path) as temporary:
            nbformat.write(notebook, temporary)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; what the user can mend is one sentence on stderr and status 2."""
    parser = argparse.ArgumentParser(prog="python -m fflib.book.fold", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="the notebooks, e.g. notebooks/*.ipynb")
    paths = parser.parse_args(arguments).notebooks

    def fold_all() -> None:
        for path in paths:
            fold_file(path)

    return cli.ended(fold_all)


if __name__ == "__main__":
    sys.exit(main())
