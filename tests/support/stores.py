"""Looking into the stores of a running system: rows, and where a planted text has got to."""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg import sql

from signalbox_local import LocalSystem, OneProcess, ServicesStack


class Stores(ABC):
    """Databases, caches and files of one system."""

    @abstractmethod
    def count(self, service: str, table: str) -> int:
        """Rows of a table of a service."""

    @abstractmethod
    def rows(self, service: str, table: str) -> list[dict[str, Any]]:
        """All rows of a table."""

    @abstractmethod
    def expire_session(self, tenant: str, session: str) -> None:
        """Let a session's time be over, in the database, and drop what caches know of it."""

    @abstractmethod
    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Everything that is stored: the name of the place, and its bytes."""

    def places_of(self, text: str) -> list[str]:
        """The places in which a text is stored."""
        needle = text.encode()
        return sorted({place for place, data in self.contents() if needle in data})


class SqliteStores(Stores):
    """The files of one process; its cache is in its memory."""

    def __init__(self, local: LocalSystem) -> None:
        assert isinstance(local, OneProcess)
        self._local = local

    def count(self, service: str, table: str) -> int:
        """Rows of a table of a service."""
        return len(self.rows(service, table))

    def rows(self, service: str, table: str) -> list[dict[str, Any]]:
        """All rows of a table."""
        connection = self._connect(service, "ro")
        try:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
        finally:
            connection.close()

    def expire_session(self, tenant: str, session: str) -> None:
        """Between two lives of the process: so its cache is empty too."""
        self._local.process.stop()
        connection = self._connect("workflow", "rw")
        with connection:
            changed = connection.execute(
                "UPDATE workflow_sessions SET expires_at = 1 WHERE tenant = ? AND session_id = ?",
                (tenant, session),
            ).rowcount
        connection.close()
        self._local.process.start(60)
        assert changed == 1

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Every file under the data directory, write-ahead logs included."""
        yield from _files(self._local.data)

    def _connect(self, service: str, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self._local.data / service}.db?mode={mode}", uri=True, timeout=10)


class StackStores(Stores):
    """PostgreSQL, Redis, and the directories of the services."""

    def __init__(self, local: LocalSystem) -> None:
        assert isinstance(local, ServicesStack)
        self._local = local

    def count(self, service: str, table: str) -> int:
        """Rows of a table of a service."""
        return len(self.rows(service, table))

    def rows(self, service: str, table: str) -> list[dict[str, Any]]:
        """All rows of a table."""
        statement = sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
        with psycopg.connect(self._local.database_url) as connection:
            cursor = connection.execute(statement)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def expire_session(self, tenant: str, session: str) -> None:
        """In PostgreSQL; Redis is emptied, as may happen at any moment."""
        with psycopg.connect(self._local.database_url) as connection:
            changed = connection.execute(
                "UPDATE workflow_sessions SET expires_at = 1 WHERE tenant = %s AND session_id = %s",
                (tenant, session),
            ).rowcount
        assert changed == 1
        with redis.Redis.from_url(self._local.redis.url) as client:
            client.flushall()

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Every row of every table as text, every key of Redis with its value, every file of the services."""
        with psycopg.connect(self._local.database_url) as connection:
            tables = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
            ).fetchall()
            for (table,) in tables:
                statement = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table))
                for (row,) in connection.execute(statement):
                    yield f"postgresql:{table}", row.encode()
        with redis.Redis.from_url(self._local.redis.url) as client:
            for key in client.scan_iter():
                yield "redis:key", key
                yield f"redis:{key.decode(errors='replace')}", _redis_value(client, key)
        yield from _files(self._local.directory / "data")


def _files(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in directory.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(directory)), path.read_bytes()


def _redis_value(client: redis.Redis, key: bytes) -> bytes:
    """A value as bytes in which a text can be found, whatever its type (DUMP may compress)."""
    readers: dict[bytes, Any] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda name: client.lrange(name, 0, -1),
        b"set": client.smembers,
        b"zset": lambda name: client.zrange(name, 0, -1, withscores=True),
        b"stream": client.xrange,
    }
    kind = client.type(key)
    if kind == b"none":
        return b""
    value = readers[kind](key)
    return value if isinstance(value, bytes) else b"\n".join(_leaves(value))


def _leaves(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from _leaves(pair)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _leaves(item)
