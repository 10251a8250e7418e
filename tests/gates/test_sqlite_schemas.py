"""A new SQLite file gets the tables that the revisions would have made."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from gates.sqlite_schemas import path_of

from signalbox.common.storage.migrations import MigrationSource, discover, migrate
from signalbox.common.storage.migrations.scripts import render_sqlite_script

SOURCES = {source.service: source for source in discover()}


@pytest.mark.parametrize("service", sorted(SOURCES))
def test_the_script_is_what_the_revisions_make(service: str) -> None:
    assert path_of(SOURCES[service]).exists(), "run 'make schemas'"
    assert SOURCES[service].sqlite_script == render_sqlite_script(SOURCES[service]), "run 'make schemas'"


@pytest.mark.parametrize("service", sorted(SOURCES))
def test_a_first_start_makes_the_tables_without_alembic(service: str, tmp_path: Path) -> None:
    source = SOURCES[service]
    url = f"sqlite:///{tmp_path / 'new.db'}"
    probe = (
        "import sys; from signalbox.common.storage.migrations import migrate\n"
        "assert migrate(*sys.argv[1:]).changed\n"
        "assert not {'alembic', 'sqlalchemy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, source.service, source.package, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not migrate(source.service, source.package, url).changed
    assert _tables(tmp_path / "new.db") == _metadata_tables(source) | {source.version_table}


def _tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    finally:
        connection.close()
    return {row[0] for row in rows}


def _metadata_tables(source: MigrationSource) -> set[str]:
    tables = __import__(source.package.replace(".migrations", ".tables"), fromlist=["METADATA"])
    return set(tables.METADATA.tables)
