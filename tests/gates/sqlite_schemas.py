"""Each service's ``sqlite.sql`` is what its revisions make of an empty file; ``--write`` brings it so."""

import importlib
import sys
from pathlib import Path

from signalbox.common.storage.migrations import MigrationSource, discover
from signalbox.common.storage.migrations.scripts import render_sqlite_script
from signalbox.common.storage.migrations.sources import SQLITE_SCRIPT


def path_of(source: MigrationSource) -> Path:
    """Where the script of a service is kept."""
    return Path(importlib.import_module(source.package).__path__[0]) / SQLITE_SCRIPT


def stale() -> list[str]:
    """The services whose script is not what their revisions make."""
    return [source.service for source in discover() if source.sqlite_script != render_sqlite_script(source)]


def main() -> int:
    """Compare, or write; the exit status says whether a script is stale."""
    if "--write" in sys.argv:
        for source in discover():
            path_of(source).write_text(render_sqlite_script(source), encoding="utf-8")
    found = stale()
    for service in found:
        print(f"sqlite.sql of {service} is stale; run 'make schemas'")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
