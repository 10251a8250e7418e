"""The script that makes a service's tables in a new SQLite file, written from its revisions."""

import contextlib
import sqlite3
import tempfile
from pathlib import Path

from signalbox.common.storage.migrations.runner import upgrade
from signalbox.common.storage.migrations.sources import MigrationSource
from signalbox.common.storage.migrations.targets import SqliteTarget

_HEAD = """\
-- All tables of {service} at revision {revision}, for a new SQLite file. Made from the revisions by
-- tests/gates/sqlite_schemas.py; do not edit.
"""


def render_sqlite_script(source: MigrationSource) -> str:
    """What Alembic makes of an empty SQLite file, as SQL."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "new.db"
        target = SqliteTarget(source, path)
        upgrade(source, target)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            # Indexes that belong to a constraint have no SQL of their own.
            found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
            statements = [row[0] for row in found]
        revision = target.stored_version()
    statements.append(f"INSERT INTO {source.version_table} (version_num) VALUES ('{revision}')")  # noqa: S608
    return _HEAD.format(service=source.service, revision=revision) + "".join(map(_formatted, statements))


def _formatted(statement: str) -> str:
    lines = (line.rstrip() for line in statement.expandtabs(4).splitlines())
    return "\n".join(line for line in lines if line) + ";\n"
