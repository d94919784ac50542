"""JupyterLab over the notebooks, with the book's own kernel, settings of nobody, and nothing asked of the network.

python -m fflib.book.lab        what `make lab` calls; further options go to JupyterLab
"""

from __future__ import annotations

import os
import sys

from fflib.book import kernel
from fflib.files import ROOT, cache_dir
from fflib.runs import cli

OPTIONS = (
    "--LabApp.default_url=/lab/tree/notebooks",
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",  # its list of extensions comes from a package index
)


def main() -> int:
    """Become JupyterLab; it ends as that does."""

    def start() -> None:
        kernel.use(cache_dir("jupyter"))
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *OPTIONS, *sys.argv[1:]])

    return cli.ended(start)


if __name__ == "__main__":
    sys.exit(main())
