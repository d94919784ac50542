"""The kernel of the book's notebooks: IPython's own, with nobody's settings, be it reader or machine.

python -m fflib.book.kernel -f CONNECTION_FILE        Jupyter calls this, see `use`
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

from fflib.book import lifeline
from fflib.files import ROOT, write_text

KERNEL = "python3"  # the name that the notebooks ask for


def use(folder: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Let whoever asks Jupyter for `KERNEL` from this process get this Python, with settings of nobody.

    ``folder`` takes the description of the kernel and all that Jupyter writes: home may not be writable.
    """
    command = [sys.executable, "-m", "fflib.book.kernel", "-f", "{connection_file}"]
    command.append(f"--ipython-dir={folder / 'ipython'}")
    # PYTHONPATH: a kernel that begins in another folder imports this very fflib.
    kernel = {"argv": command, "display_name": "Python 3", "language": "python", "env": {"PYTHONPATH": str(ROOT)}}
    (folder / "ipython").mkdir(parents=True, exist_ok=True)  # empty: no profile, no start-up files
    write_text(folder / "share" / "kernels" / KERNEL / "kernel.json", json.dumps(kernel | {"metadata": {}}))
    places = {"PATH": "share", "DATA_DIR": "data", "CONFIG_DIR": "config", "RUNTIME_DIR": "runtime"}
    environ.update({f"JUPYTER_{name}": str(folder / place) for name, place in places.items()})
    environ["IPYTHONDIR"] = str(folder / "ipython")


def main() -> None:
    """Serve one notebook until it is told to end, or whoever started it is gone."""
    from IPython.core import application

    for folders in (application.SYSTEM_CONFIG_DIRS, application.ENV_CONFIG_DIRS):  # /etc/ipython and the like
        folders.clear()
    from ipykernel.kernelapp import launch_new_instance

    lifeline.watch(lambda: os._exit(1))
    launch_new_instance()


if __name__ == "__main__":
    main()
