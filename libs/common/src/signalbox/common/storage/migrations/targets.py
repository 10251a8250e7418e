"""The databases that migrations run on: what version they have, how they are locked and connected to."""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from signalbox.common.storage.errors import DatabaseInUse, MigrationFailed, StorageUnavailable
from signalbox.common.storage.factory import BadDatabaseUrl, is_postgres, sqlite_path
from signalbox.common.storage.migrations.sources import MigrationSource
from signalbox.common.storage.sqlite.lock import FileLock

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Engine

CONNECT_TIMEOUT_S = 5
LOCK_TIMEOUT = "10s"


class MigrationTarget(Protocol):
    """One service's tables in one database. Every method raises StorageUnavailable when it is away."""

    comes_later: ClassVar[bool]
    """Whether it is worth waiting for: a server may be starting, a directory does not appear by itself."""

    def stored_version(self) -> str | None:
        """The revision that the database has; None before the first."""
        ...

    def try_lock(self) -> contextlib.AbstractContextManager[bool]:
        """Hold the lock against other migrations if it is free; says whether it is held."""
        ...

    def create(self) -> None:
        """Make the tables of an empty database without Alembic where that is prepared, else do nothing."""
        ...

    def engine(self) -> "Engine":
        """What Alembic connects with."""
        ...


def target_of(source: MigrationSource, database_url: str) -> MigrationTarget:
    """The target that a URL names, as `open_database` takes it; raises BadDatabaseUrl."""
    if is_postgres(database_url):
        return PostgresTarget(source, database_url)
    path = sqlite_path(database_url)
    if path is None:
        raise BadDatabaseUrl(database_url)
    return SqliteTarget(source, path)


class PostgresTarget:
    """A PostgreSQL database, locked by an advisory lock of the service's own."""

    comes_later: ClassVar[bool] = True

    def __init__(self, source: MigrationSource, url: str) -> None:
        self._table = source.version_table
        self._url = url
        digest = hashlib.sha256(f"signalbox.migrations:{source.service}".encode()).digest()
        self._key = int.from_bytes(digest[:8], "big", signed=True)

    def stored_version(self) -> str | None:
        """The revision that the database has; None before the first."""
        with self._connect() as connection:
            found = connection.execute("SELECT to_regclass(%s)", [self._table]).fetchone()
            if found is None or found[0] is None:
                return None
            row = connection.execute(f"SELECT version_num FROM {self._table}").fetchone()  # noqa: S608
            return row[0] if row else None

    @contextlib.contextmanager
    def try_lock(self) -> Iterator[bool]:
        """Hold the advisory lock on a connection of its own; it ends with the connection."""
        with self._connect() as connection:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", [self._key]).fetchone()
            yield row is not None and row[0]

    def create(self) -> None:
        """Nothing: whoever sets up a server can wait for Alembic."""

    def engine(self) -> "Engine":
        """Connections that give up on a table lock before readers queue behind them for long."""
        from sqlalchemy import NullPool, create_engine  # noqa: PLC0415 - only when there is work to do

        def connect() -> "psycopg.Connection[tuple[Any, ...]]":
            connection = self._open()
            connection.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
            connection.autocommit = False
            return connection

        return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)

    def _open(self) -> "psycopg.Connection[tuple[Any, ...]]":
        import psycopg  # noqa: PLC0415 - not for SQLite

        try:
            return psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)
        except psycopg.Error as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise StorageUnavailable(f"PostgreSQL cannot be reached: {reason}.") from error

    @contextlib.contextmanager
    def _connect(self) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
        import psycopg  # noqa: PLC0415 - not for SQLite

        with contextlib.closing(self._open()) as connection:
            try:
                yield connection
            except psycopg.OperationalError as error:
                raise StorageUnavailable(f"PostgreSQL went away during a migration: {error}.") from error


class SqliteTarget:
    """A SQLite file, locked as a running service locks it."""

    comes_later: ClassVar[bool] = False

    def __init__(self, source: MigrationSource, path: Path) -> None:
        self._source = source
        self._table = source.version_table
        self._path = path

    def stored_version(self) -> str | None:
        """The revision that the file has; None before the first, or when there is no file."""
        if not self._path.exists():
            return None
        try:
            with contextlib.closing(
                sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            ) as connection:
                row = connection.execute(f"SELECT version_num FROM {self._table}").fetchone()  # noqa: S608
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise StorageUnavailable(f"The SQLite database {self._path} cannot be read: {error}.") from error
        return row[0] if row else None

    @contextlib.contextmanager
    def try_lock(self) -> Iterator[bool]:
        """Hold the file lock, which a running service holds too."""
        lock = FileLock(self._path)
        try:
            lock.acquire()
        except DatabaseInUse:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def create(self) -> None:
        """Run the service's script, which spares a first start the half second that Alembic takes to import."""
        script = self._source.sqlite_script
        if script is None:
            return
        from signalbox.common.storage.sqlite.session import open_connection  # noqa: PLC0415

        with contextlib.closing(open_connection(self._path)) as connection:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                # A script that fails or is killed leaves its transaction open, which the file then forgets.
                try:
                    connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nCOMMIT;")
                except sqlite3.Error as error:
                    raise MigrationFailed(
                        f"The tables of the {self._source.service} database could not be made: {error}"
                    ) from error

    def engine(self) -> "Engine":
        """Connections whose transactions cover schema changes."""
        from sqlalchemy import NullPool, create_engine, event  # noqa: PLC0415 - only when there is work to do

        from signalbox.common.storage.sqlite.session import open_connection  # noqa: PLC0415

        def connect() -> sqlite3.Connection:
            connection = open_connection(self._path)
            # A table that is rebuilt is dropped for a moment; its rows keep their references.
            connection.execute("PRAGMA foreign_keys=OFF")
            return connection

        engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

        @event.listens_for(engine, "begin")
        def _begin(connection: object) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # type: ignore[attr-defined]

        return engine
