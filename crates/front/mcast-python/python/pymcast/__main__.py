"""The command `mcast`, also as `python -m pymcast`."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from pymcast._pymcast import run_command


def main() -> NoReturn:
    """Runs the command with this process's arguments, and exits with its status."""
    program = os.path.abspath(sys.argv[0])
    # Programs in a lab must find the same `mcast`.
    os.environ["PATH"] = os.pathsep.join(
        folder for folder in (os.path.dirname(program), os.environ.get("PATH")) if folder
    )
    # Python would defer Ctrl-C until the command returns; the command handles it itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(run_command(["mcast", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
