"""Imported by Python when a process starts that ``generalist.broken_packages`` has to tell what to hide."""

import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _hide() -> None:
    prefix, *names = os.environ.get("GENERALIST_HIDDEN_PACKAGES", "").split(os.pathsep)
    if prefix == sys.prefix:  # another environment may hold whole ones
        for name in names:
            sys.modules[name] = None  # type: ignore[assignment]


def _run_the_next() -> None:
    """The module of the same name that this one stands before, if there is one."""
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


_hide()
_run_the_next()
