"""Databases for tests, as a pytest plugin: a test that asks for ``database`` runs on SQLite and PostgreSQL.

A test module or a conftest names the service whose tables it needs::

    @pytest.fixture(scope="session")
    def database_service() -> str:
        return "workflow"

    async def test_something(database: Database) -> None: ...

Each test gets empty, migrated tables. PostgreSQL is started once per session, at the first test that needs
it, and does without fsync; tests that kill or freeze a server start their own.
"""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from signalbox.common.storage import Database, Dialect, open_database
from signalbox.common.storage.migrations import MigrationSource, migrate
from signalbox.common.storage.sqlite import SqliteDatabase
from signalbox_local import PostgresServer

_TABLES = """
    SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables
    WHERE schemaname = current_schema() AND tablename NOT LIKE 'alembic_version%'
"""


class DatabaseSupply:
    """Migrated databases: one per service and dialect is migrated, then emptied or copied for each test."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server: PostgresServer | None = None
        self._urls: dict[str, str] = {}
        self._files: dict[str, Path] = {}

    @property
    def server(self) -> PostgresServer:
        """The PostgreSQL server of the session."""
        if self._server is None:
            self._server = PostgresServer(fsync=False).start()
        return self._server

    def url(self, source: MigrationSource, dialect: Dialect, directory: Path) -> str:
        """URL of a database with the empty tables of ``source``; a SQLite file is put into ``directory``."""
        if dialect == "postgresql":
            return self._postgres(source)
        return f"sqlite:///{self._sqlite(source, directory)}"

    def empty_postgres(self, name: str) -> str:
        """URL of a new database without tables on the session's server."""
        return self.server.create_database(f"signalbox_test_{name}")

    def stop(self) -> None:
        """Stop the server if one was started."""
        if self._server is not None:
            self._server.stop()

    def _postgres(self, source: MigrationSource) -> str:
        url = self._urls.get(source.service)
        if url is None:
            url = self._urls[source.service] = self.empty_postgres(source.service)
            migrate(source.service, source.package, url)
        with psycopg.connect(url, autocommit=True) as connection:
            # A test that failed may have left connections with locks.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND backend_type = 'client backend'"
            )
            row = connection.execute(_TABLES).fetchone()
            if row is not None and row[0] is not None:
                connection.execute(f"TRUNCATE {row[0]} CASCADE")
        return url

    def _sqlite(self, source: MigrationSource, directory: Path) -> Path:
        template = self._files.get(source.service)
        if template is None:
            template = self._files[source.service] = self._directory / f"{source.service}.db"
            migrate(source.service, source.package, f"sqlite:///{template}")
        copy = directory / f"{source.service}.db"
        shutil.copy(template, copy)
        return copy


@pytest.fixture(scope="session")
def database_supply(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseSupply]:
    """Makes databases of any service, for tests that need more than one."""
    supply = DatabaseSupply(tmp_path_factory.mktemp("databases"))
    yield supply
    supply.stop()


@pytest.fixture(scope="session")
def database_service() -> str:
    """The service whose tables the module's tests use; override it."""
    raise NotImplementedError("define a session fixture database_service that returns the service's name")


@pytest.fixture(scope="module")
def database_source(database_service: str) -> MigrationSource:
    """The migrations of that service."""
    return MigrationSource(database_service, f"signalbox.{database_service}.migrations")


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """The database that the test runs on; each in turn."""
    chosen: Dialect = request.param
    return chosen


@pytest.fixture
def database_url(
    database_supply: DatabaseSupply, database_source: MigrationSource, dialect: Dialect, tmp_path: Path
) -> str:
    """URL of a database with the service's tables, empty."""
    return database_supply.url(database_source, dialect, tmp_path)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database with the service's tables, empty."""
    if database_url.startswith("sqlite"):
        opened: Database = SqliteDatabase(Path(database_url.removeprefix("sqlite:///")), durable=False)
    else:
        opened = open_database(database_url, pool_size=4)
    yield opened
    await opened.close()
