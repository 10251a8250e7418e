"""Connections to one PostgreSQL database, opened when needed, at most so many."""

import asyncio
from collections import deque
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from signalbox.common.storage.errors import StorageUnavailable
from signalbox.common.storage.postgres.connection import PipelineConnection

MAX_AGE_S = 1800.0


class ConnectionPool:
    """Idle connections, and those who wait for one.

    A connection that has closed, for whatever reason, leaves the pool by itself and makes room for a new one,
    so a restarted server is found again by the next call.
    """

    def __init__(self, url: str, *, size: int, timeout_s: float) -> None:
        self._url = url
        self._size = size
        self._options = _connect_options(url, timeout_s)
        self._session = _session_settings(timeout_s)
        self._idle: list[PipelineConnection] = []
        self._open: set[PipelineConnection] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[PipelineConnection | None]] = deque()

    def take(self) -> PipelineConnection | None:
        """An idle connection that works, or None."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable():
                return connection
            connection.close()
        return None

    async def acquire(self, deadline: float) -> PipelineConnection:
        """A connection of one's own until it says that it is released.

        Raises StorageUnavailable at ``deadline`` (loop time), or at once when PostgreSQL refuses.
        """
        while True:
            connection = self.take()
            if connection is None and len(self._open) + self._opening < self._size:
                connection = await self._connect(deadline)
            if connection is None:
                connection = await self._wait(deadline)
            if connection is not None:
                return connection

    def close(self) -> None:
        """Close every connection; what is still in flight has an unknown outcome."""
        self._idle.clear()
        for connection in list(self._open):
            connection.close()

    def released(self, connection: PipelineConnection) -> None:
        """Take a connection back; a closed or an old one makes room instead."""
        loop = asyncio.get_running_loop()
        if not connection.closed and loop.time() - connection.opened_at > MAX_AGE_S:
            self._open.discard(connection)
            connection.close()
            return
        if connection.closed:
            self._open.discard(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._hand_over(None)
        elif not self._hand_over(connection):
            self._idle.append(connection)

    def _hand_over(self, connection: PipelineConnection | None) -> bool:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    async def _wait(self, deadline: float) -> PipelineConnection | None:
        waiter: asyncio.Future[PipelineConnection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout_at(deadline):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                # What came in the same moment as the end of patience belongs to the next in the queue.
                granted = waiter.result()
                if granted is None:
                    self._hand_over(None)
                else:
                    self.released(granted)
            if isinstance(error, TimeoutError):
                raise StorageUnavailable("No PostgreSQL connection became free in time.") from None
            raise

    async def _connect(self, deadline: float) -> PipelineConnection:
        self._opening += 1
        try:
            async with asyncio.timeout_at(deadline):
                opened = await self._open_one()
        except BaseException as error:
            self._opening -= 1
            # There is room again, and nobody else will say so.
            self._hand_over(None)
            if not isinstance(error, (psycopg.Error, OSError, TimeoutError)):
                raise
            reason = " ".join(str(error).split()).rstrip(".") or "no answer in time"
            raise StorageUnavailable(f"PostgreSQL cannot be reached: {reason}.") from error
        self._opening -= 1
        self._open.add(opened)
        return opened

    async def _open_one(self) -> PipelineConnection:
        connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, **self._options)
        try:
            await connection.execute(self._session)
        except BaseException:
            await connection.close()
            raise
        return PipelineConnection(connection, asyncio.get_running_loop(), self.released)


def _connect_options(url: str, timeout_s: float) -> dict[str, Any]:
    """Connection parameters that bound how long a dead peer goes unnoticed; the URL's own win."""
    options: dict[str, Any] = {
        "application_name": "signalbox",
        "connect_timeout": max(2, round(timeout_s)),
        "tcp_user_timeout": round(timeout_s * 1000),
        "keepalives_idle": 30,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }
    given = conninfo_to_dict(url)
    return {name: value for name, value in options.items() if name not in given}


def _session_settings(timeout_s: float) -> str:
    """SQL run once per connection: the server gives up when the client does, and a commit means the disk.

    A statement and not the ``options`` of the connection, which PgBouncer refuses.
    """
    return (
        f"SELECT set_config('statement_timeout', '{round(timeout_s * 1000)}', false), "
        "CASE WHEN current_setting('synchronous_commit') = 'off' "
        "THEN set_config('synchronous_commit', 'on', false) END"
    )
