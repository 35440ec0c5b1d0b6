"""Makes unchanged programs that `import multicast_expert` use pymcast instead.

On the command line, followed by the program's own arguments:

    python -m pymcast.compat program.py
    python -m pymcast.compat -m module
    python -m pymcast.compat -c "import multicast_expert"

In a program, before its first import: `import pymcast.compat; pymcast.compat.install()`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import sys

_PACKAGE = "pymcast.multicast_expert"
_MODULES = ("async_rx_socket", "interfaces", "name_to_index", "os_multicast", "rx_socket", "tx_socket", "utils")


def install() -> None:
    """Replaces the package multicast_expert and its submodules by pymcast's for later imports.

    If netifaces is not installed, also replaces it by the part of it that pymcast implements. Modules that were
    imported before are not affected.
    """
    sys.modules["multicast_expert"] = importlib.import_module(_PACKAGE)
    for name in _MODULES:
        sys.modules[f"multicast_expert.{name}"] = importlib.import_module(f"{_PACKAGE}.{name}")
    if "netifaces" not in sys.modules and importlib.util.find_spec("netifaces") is None:
        sys.modules["netifaces"] = importlib.import_module(f"{_PACKAGE}.netifaces")


def main() -> None:
    """Runs a program, a module or code, as Python itself would."""
    arguments = sys.argv[1:]
    if len(arguments) < 1 or (arguments[0] in ("-m", "-c") and len(arguments) < 2):
        sys.exit("usage: python -m pymcast.compat (PROGRAM.py | -m MODULE | -c CODE) [ARGUMENT...]")
    install()
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
