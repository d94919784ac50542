"""The kernel of the book's notebooks: IPython's own, with nobody's settings, be it reader or machine.

python -m fflib.kernel -f CONNECTION_FILE        Jupyter calls this, see `environment.use_own_kernel`
"""

from __future__ import annotations

import os

from fflib import lifeline


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
