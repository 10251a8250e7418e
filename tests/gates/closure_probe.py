"""Imports a service and creates its app in a process that can import the standard library and one closure only.

Reads from standard input a JSON object: ``site`` (directories of installed packages), ``files`` (those in them that
the closure has), ``sources`` (source directories of the closure's own distributions), ``workspace`` (the root of all
source directories), ``modules`` (names to import) and ``factory`` (a module whose ``create_app`` is called, or null).
Nothing that it runs may open a connection.
"""

import importlib
import json
import os
import socket
import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


class ClosureFinder:
    """Finds what ``PathFinder`` finds, unless it belongs to a distribution outside of the closure."""

    def __init__(self, closure: dict[str, Any]) -> None:
        self._site = tuple(f"{each}{os.sep}" for each in closure["site"])
        self._files = frozenset(closure["files"])
        self._sources = tuple(f"{each}{os.sep}" for each in closure["sources"])
        self._workspace = f"{closure['workspace']}{os.sep}"

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec, or None as if the module were not installed."""
        spec = PathFinder.find_spec(name, path, target)
        # A namespace package has no file of its own; what is in it is looked at when it is imported.
        if spec is None or spec.origin is None or self._allowed(os.path.realpath(spec.origin)):
            return spec
        return None

    def _allowed(self, file: str) -> bool:
        if file.startswith(self._site):
            return file in self._files
        return not file.startswith(self._workspace) or file.startswith(self._sources)


def refuse_connection(*_: Any) -> None:
    """In place of ``socket.connect``."""
    raise AssertionError("creating an app must not open a connection")


def main() -> None:
    """Import and create; a failure is a traceback and exit status 1."""
    closure = json.load(sys.stdin)
    sys.meta_path[:] = [
        ClosureFinder(closure) if finder is PathFinder else finder  # type: ignore[list-item]
        for finder in sys.meta_path
    ]
    socket.socket.connect = refuse_connection  # type: ignore[method-assign,assignment]
    for name in closure["modules"]:
        importlib.import_module(name)
    if closure["factory"] is not None:
        app = importlib.import_module(closure["factory"]).create_app()
        print(type(app).__name__)


if __name__ == "__main__":
    main()
